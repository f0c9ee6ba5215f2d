"""Which published figures moved between two published files: day by day, before and after.

Compares what readers see, so a replay can say what it changed. No metric is computed here: the
measures of a mart are added up by business day and subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb

from orchestration.warehouse import identifier, literal

MEASURES = ("_tokens", "_count", "_accelerator_hours")
# The last bits of a DOUBLE sum depend on the order of addition.
RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Moved:
    """One figure of one business day that is not what it was; None where the day was not there."""

    table: str
    usage_date: date
    measure: str
    before: Decimal | float | int | None
    after: Decimal | float | int | None


def moved_figures(before: Path | None, after: Path) -> list[Moved]:
    """Every figure by day that differs, ordered by mart, day and measure; all of them without a before."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach {literal(str(after))} as after_edition (read_only)")
        if before is not None:
            connection.execute(f"attach {literal(str(before))} as before_edition (read_only)")
        moved = []
        for table, measures in _daily_marts(connection).items():
            new = _by_day(connection, "after_edition", table, measures)
            old = _by_day(connection, "before_edition", table, measures) if before is not None else {}
            moved += _differences(table, measures, old, new)
    return moved


def _daily_marts(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    rows = connection.execute(
        "select schema_name || '.' || table_name, list(column_name order by column_index) from duckdb_columns() "
        "where database_name = 'after_edition' and schema_name = 'capacity' group by 1 order by 1"
    ).fetchall()
    return {
        table: [column for column in columns if column.endswith(MEASURES)]
        for table, columns in rows
        if "usage_date" in columns and ".fct_" in table
    }


def _by_day(
    connection: duckdb.DuckDBPyConnection, edition: str, table: str, measures: list[str]
) -> dict[date, tuple]:
    known = {row[0] for row in connection.execute(
        "select column_name from duckdb_columns() where database_name = ? and schema_name || '.' || table_name = ?",
        [edition, table],
    ).fetchall()}
    if not known:
        return {}
    sums = ", ".join(f"sum({identifier(name)})" if name in known else "null" for name in measures)
    rows = connection.execute(f"select usage_date, {sums} from {edition}.{table} group by 1").fetchall()
    return {row[0]: row[1:] for row in rows}


def _differences(table: str, measures: list[str], old: dict[date, tuple], new: dict[date, tuple]) -> Iterator[Moved]:
    nothing = (None,) * len(measures)
    for day in sorted(old.keys() | new.keys()):
        for measure, before, after in zip(measures, old.get(day, nothing), new.get(day, nothing), strict=True):
            if not _same(before, after):
                yield Moved(table, day, measure, before, after)


def _same(before: object, after: object) -> bool:
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) <= RELATIVE_TOLERANCE * max(1.0, abs(before), abs(after))
    return before == after
