"""The rows behind a figure as CSV: exact numbers, and texts that no spreadsheet runs as a formula."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dashboards.margin_dashboard.blocks import Table
from orchestration.exports import FORMULA_STARTS


def csv_of(table: Table) -> str:
    """The whole table; numbers as they were summed, with every digit and without separators."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([exported(row.get(column.key)) for column in table.columns] for row in table.rows)
    return out.getvalue()


def exported(value: Any) -> str:
    """One cell. A text that begins like a formula gets an apostrophe; a number stays a number, signs included."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(tuple(FORMULA_STARTS)) else text
