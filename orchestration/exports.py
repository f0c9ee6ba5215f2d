"""Published marts as files for other tools: CSV that a spreadsheet can open safely, or Parquet.

Reads only the published file. No joins and no figures of its own: an export is a mart, row for row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration.warehouse import identifier, literal, open_published

FORMATS = ("csv", "parquet")
# A spreadsheet runs a text cell that begins with one of these as a formula (OWASP ASVS 1.2.10).
FORMULA_STARTS = "=+-@\t\r\n\x00"


@dataclass(frozen=True)
class Exported:
    """One table written: where, and how many rows."""

    table: str
    path: Path
    row_count: int


def tables_of(published: Path) -> list[str]:
    """Names of the marts in a published file, as schema.table."""
    with open_published(published) as connection:
        return [row[0] for row in connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where database_name = current_database() order by 1"
        ).fetchall()]


def export(published: Path, out: Path, format: str, tables: Sequence[str]) -> list[Exported]:
    """Writes each table to out/<schema>.<table>.<format>, aside and then renamed."""
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not an export format; use {' or '.join(FORMATS)}")
    out.mkdir(parents=True, exist_ok=True)
    exported = []
    with open_published(published) as connection:
        for table in tables:
            target = out / f"{table}.{format}"
            aside = target.with_name(f".{target.name}.part")
            settings = "format csv, header" if format == "csv" else "format parquet, compression zstd"
            row_count = connection.execute(
                f"copy ({_select(connection, table, format)}) to {literal(str(aside))} ({settings})"
            ).fetchone()[0]
            os.replace(aside, target)
            exported.append(Exported(table, target, row_count))
    return exported


def _select(connection: duckdb.DuckDBPyConnection, table: str, format: str) -> str:
    schema, name = table.split(".", 1)
    columns = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = current_database() "
        "and schema_name = ? and table_name = ? order by column_index",
        [schema, name],
    ).fetchall()
    if not columns:
        raise ValueError(f"no published table is named {table}")
    values = ", ".join(
        f"{_value(identifier(column), data_type, format)} as {identifier(column)}" for column, data_type in columns
    )
    return f"select {values} from {identifier(schema)}.{identifier(name)} order by all"


def _value(column: str, data_type: str, format: str) -> str:
    if format == "csv" and data_type == "VARCHAR":
        starts = " or ".join(f"starts_with({column}, chr({ord(start)}))" for start in FORMULA_STARTS)
        return f"case when {starts} then '''' || {column} else {column} end"
    if format == "parquet" and data_type in ("HUGEINT", "UHUGEINT"):
        # Parquet has no 128-bit integer, and DuckDB would write a DOUBLE.
        return f"cast({column} as DECIMAL(38, 0))"
    return column
