"""Small helpers for SQL in Python: names and text made safe to stand in it, and one number out of it."""

from __future__ import annotations

import duckdb


def literal(text: str) -> str:
    """Text as an SQL string, for statements that take no bound parameters."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query gives."""
    return connection.execute(query).fetchone()[0]
