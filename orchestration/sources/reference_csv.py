"""Reference tables as CSV with a heading: RFC 4180 quoting, since names and sources hold commas.

One RowFormat per reference table; the heading tells which. No validity logic here: overlaps and gaps
are judged in dbt, where seeds and deliveries meet.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from orchestration.contracts import REFERENCE_TABLES, Table
from orchestration.sources.base import FormatError, Heading, Lines, Options, Reject, Row, RowFormat


def records(lines: Lines) -> Iterator[tuple[int, int, list[str] | None, str]]:
    """CSV records of lines: (first line, lines, fields or None when malformed, raw text).

    A quoted field may hold line ends, so one record can be several lines; a quote that is never
    closed spoils only the line it opens on.
    """
    held: list[tuple[int, str]] = []
    for number, text in lines:
        held.append((number, text))
        while held:
            raw = "\n".join(part for _, part in held)
            if raw.count('"') % 2 and len(held) < 100:
                break
            first, span = held[0][0], len(held)
            if raw.count('"') % 2:
                first, raw, span = held[0][0], held[0][1], 1
            fields = _fields(raw)
            yield first, span, fields, raw
            held = held[span:]
    for number, text in held:
        yield number, 1, _fields(text), text


def _fields(raw: str) -> list[str] | None:
    try:
        rows = list(csv.reader(raw.split("\n"), strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def reader(table: Table, key: tuple[str, ...]):
    """A read function for a CSV with a heading that names the table's columns."""
    known = {column.name for column in table.columns}
    required = {column.name for column in table.columns if column.required and column.default is None}

    def read(lines: Lines, _options: Options) -> Iterator[Row | Reject | Heading]:
        heading: list[str] | None = None
        for number, span, fields, _raw in records(lines):
            if heading is None:
                if fields is None or not required <= set(fields):
                    missing = ", ".join(sorted(required - set(fields or ())))
                    raise FormatError("missing_column", f"the heading lacks {missing}; {table.name} needs {', '.join(sorted(required))}")
                heading = fields
                yield Heading(number)
                continue
            if fields is None:
                yield Reject(number, "malformed_csv", "a quote is not closed or stands inside a field", span)
                continue
            if len(fields) != len(heading):
                yield Reject(number, "wrong_column_count", f"{len(fields)} fields where the heading has {len(heading)}", span)
                continue
            values = {name: value or None for name, value in zip(heading, fields, strict=True) if name in known}
            yield Row(number, values, event_id="|".join(values.get(name) or "" for name in key), line_count=span)

    return read


def _matches(table: Table):
    required = [column.name for column in table.columns if column.required]
    return lambda _name, head: set(required) <= set(head.lstrip("\ufeff").split("\n", 1)[0].strip().replace('"', "").split(","))


REFERENCE_CSV = tuple(
    RowFormat(
        name=f"reference_{table.name}",
        table=table,
        description=f"Reference table {table.name} as CSV with a heading.",
        matches=_matches(table),
        read=reader(table, table.grain),
    )
    for table in REFERENCE_TABLES
)
