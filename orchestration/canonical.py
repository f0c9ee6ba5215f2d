"""The canonical form of tables: text that depends on nothing but the rows, and its hash.

Two builds are equal when these hashes are; the files they are stored in never are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import duckdb

from orchestration.sql import identifier

# What differs between two runs over the same landing files, so no hash may depend on it.
RUN_DEPENDENT_COLUMNS = frozenset({"ingested_at", "published_at", "run_id", "built_at"})
# What readers were told before is no function of the landing files either.
RUN_DEPENDENT_TABLES = frozenset({("quality", "fct_restatements")})
# Tables that also keep what was forecast before: only their newest is a function of the landing files.
CUTOFF_COLUMNS = {("capacity", "fct_forecast_accuracy"): "cutoff_date"}


def hash_tables(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> dict[str, str]:
    marks = ", ".join("?" for _ in schemas)
    rows = connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() "
        f"where database_name = current_database() and schema_name in ({marks}) "
        "order by schema_name, table_name, column_name",
        list(schemas),
    ).fetchall()
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, column, data_type in rows:
        if column not in RUN_DEPENDENT_COLUMNS and (schema, table) not in RUN_DEPENDENT_TABLES:
            columns.setdefault((schema, table), []).append((column, data_type))
    return {
        f"{schema}.{table}": _hash_table(
            connection, _rows_to_hash(schema, table, {name for name, _ in names}), names)
        for (schema, table), names in columns.items()
    }


def _rows_to_hash(schema: str, table: str, columns: set[str]) -> str:
    name = f"{identifier(schema)}.{identifier(table)}"
    cutoff = CUTOFF_COLUMNS.get((schema, table))
    if cutoff not in columns:
        return name
    return f"(select * from {name} where {cutoff} = (select max({cutoff}) from {name}))"


def _hash_table(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[tuple[str, str]]
) -> str:
    digest = hashlib.sha256(repr(list(columns)).encode())
    text = " || ".join(_canonical_text(name, data_type) for name, data_type in columns)
    result = connection.execute(
        f"select {text} as row_text from {table} order by row_text"
    )
    while batch := result.fetchmany(50_000):
        digest.update("".join(row[0] for row in batch).encode())
    return digest.hexdigest()


def _canonical_text(name: str, data_type: str) -> str:
    """SQL for a value as text that ends in a line feed and can't be taken for two values."""
    column = identifier(name)
    if data_type in ("DOUBLE", "FLOAT"):
        text = f"case when {column} = 0 then '0' else printf('%.9e', {column}) end"
    elif data_type.startswith("TIMESTAMP"):
        text = f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%f')"
    elif data_type == "BLOB":
        text = f"hex({column})"
    else:
        text = f"cast({column} as VARCHAR)"
    escaped = f"replace(replace({text}, '\\', '\\\\'), chr(10), '\\n')"
    return f"coalesce('=' || {escaped}, '-') || chr(10)"
