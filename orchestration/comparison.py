"""Daily figures of a mart, and which of them differ between two publishes.

A figure is a measure of one mart, business day and key (site, tenant, model, product and the like).
Sums and differences only: nothing is read from or written to files here (``restatements`` does), and
why a figure moved is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from orchestration.sql import identifier, literal

DAY = "usage_date"
# A mart's site is where the work was served, if it says so.
SITE_COLUMNS = ("serving_site_id", "site_id")
# What figures are kept by below the day; hours, jobs or single grants would make the history as large as
# the marts.
KEY_COLUMNS = (
    *SITE_COLUMNS, "tenant_id", "model_id", "product", "accelerator_id", "link_id", "direction", "segment",
    "package_id", "settlement", "token_type",
)
# Measures that add up; of any other number (a ratio, a price per million) the highest counts.
ADDITIVE = ("_tokens", "_count", "_hours", "_cny", "_kwh", "_seconds")
EXACT_TYPE = "DECIMAL(38,9)"
EXACT_TYPES = ("BIGINT", "HUGEINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER")
# The last bits of a DOUBLE sum depend on the order of addition.
RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Measure:
    """A numeric column of a mart: how it is put together, and whether it is exact."""

    name: str
    is_exact: bool

    @property
    def aggregate(self) -> str:
        """SQL function that makes one figure of many rows."""
        return "sum" if self.name.endswith(ADDITIVE) and "_per_" not in self.name else "max"

    @property
    def sql_type(self) -> str:
        """Type in which a figure is kept."""
        return EXACT_TYPE if self.is_exact else "DOUBLE"

    def differs(self, one: str, other: str) -> str:
        """SQL that is true when two figures are not the same; null is a figure of its own."""
        if self.is_exact:
            return f"({one} is distinct from {other})"
        return (
            f"(case when {one} is null or {other} is null then {one} is distinct from {other} "
            f"else abs({one} - {other}) > {RELATIVE_TOLERANCE} * greatest(1, abs({one}), abs({other})) end)"
        )


@dataclass(frozen=True)
class DailyMart:
    """A mart with a business day: the columns its figures are kept by, its measures, and all it has."""

    name: str
    keys: tuple[str, ...]
    measures: tuple[Measure, ...]
    mart_columns: tuple[str, ...]

    @property
    def site(self) -> str | None:
        """The column that says where, if there is one."""
        return next((column for column in SITE_COLUMNS if column in self.keys), None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of its figures."""
        return (DAY, *self.keys, *(measure.name for measure in self.measures))


def daily_marts(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> list[DailyMart]:
    """Marts of these schemas of the default database that have a business day and a measure."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, list(column_name order by column_index), "
        "list(data_type order by column_index) from duckdb_columns() "
        f"where database_name = current_database() and schema_name in ({', '.join(map(literal, schemas))}) "
        "and table_name like 'fct\\_%' escape '\\' group by 1 order by 1"
    ).fetchall()
    marts = [_mart(name, dict(zip(columns, types, strict=True))) for name, columns, types in rows]
    return [mart for mart in marts if mart is not None]


def _mart(name: str, columns: dict[str, str]) -> DailyMart | None:
    measures = tuple(
        Measure(column, data_type != "DOUBLE") for column, data_type in columns.items()
        if data_type in EXACT_TYPES or data_type == "DOUBLE" or data_type.startswith("DECIMAL")
    )
    if columns.get(DAY) != "DATE" or not measures:
        return None
    return DailyMart(name, tuple(column for column in KEY_COLUMNS if column in columns), measures, tuple(columns))


def fingerprints(mart: DailyMart) -> str:
    """SQL of a day's row count and a hash of its rows, whatever their order.

    DuckDB may hash otherwise in another version: that costs a closer look at every day, no more.
    """
    columns = ", ".join(map(identifier, mart.mart_columns))
    return (
        f"select {DAY}, count(*) as row_count, sum(hash({columns})::hugeint) % 9223372036854775807 as fingerprint "
        f"from {mart.name} where {DAY} is not null group by {DAY}"
    )


def figures(mart: DailyMart, days: str) -> str:
    """SQL of a mart's figures of some days (a list in SQL), one row per day and key."""
    keys = ", ".join(map(identifier, (DAY, *mart.keys)))
    measures = ", ".join(
        f"cast({measure.aggregate}({identifier(measure.name)}) as {measure.sql_type}) as {identifier(measure.name)}"
        for measure in mart.measures
    )
    return f"select {keys}, {measures} from {mart.name} where {DAY} in ({days}) group by {keys}"


def pair(mart: DailyMart, after: str, before: str, before_columns: Sequence[str]) -> str:
    """SQL that puts figures of two relations side by side, by the keys and measures that both have."""
    keys = [DAY, *(key for key in mart.keys if key in before_columns)]
    measures = shared_measures(mart, before_columns)
    listed = ", ".join(map(identifier, [*keys, *(measure.name for measure in measures)]))
    sides = ", ".join(
        f"cast({measure.aggregate}({identifier(measure.name)}) filter ({condition}) as {measure.sql_type}) "
        f"as {side(measure, name)}"
        for measure in measures for name, condition in (("before", "not is_after"), ("after", "is_after"))
    )
    return (
        f"select {', '.join(map(identifier, keys))}, {sides}, "
        f"bool_or(not is_after) as in_before from ("
        f"select true as is_after, {listed} from {after} union all select false, {listed} from {before}"
        f") group by {', '.join(map(identifier, keys))}"
    )


def shared_measures(mart: DailyMart, before_columns: Sequence[str]) -> list[Measure]:
    """Measures that the earlier publish had too; a new one has nothing to differ from."""
    return [measure for measure in mart.measures if measure.name in before_columns]


def side(measure: Measure, name: str) -> str:
    """Column of pair() that holds a measure before or after."""
    return identifier(f"{measure.name}:{name}")


def moved(mart: DailyMart, pairs: str, measures: Sequence[Measure]) -> str:
    """SQL of the figures by day and site that are not what they were, on days that had figures before.

    ``gross_change`` adds up the changes below the site, so it is not zero when figures moved between
    two tenants of one site and the site's own figure stayed. A new tenant with nothing moves nothing.
    """
    site = identifier(mart.site) if mart.site else "cast(null as VARCHAR)"
    parts = []
    for measure in measures:
        before, after = side(measure, "before"), side(measure, "after")
        change = f"abs(coalesce({after}, 0) - coalesce({before}, 0))"
        differs = measure.differs(before, after)
        site_differs = measure.differs(f"{measure.aggregate}({before})", f"{measure.aggregate}({after})")
        parts.append(
            f"select {DAY}, {literal(mart.name)} as mart, {site} as site_id, {literal(measure.name)} as metric, "
            f"try_cast({measure.aggregate}({before}) as {EXACT_TYPE}) as before, "
            f"try_cast({measure.aggregate}({after}) as {EXACT_TYPE}) as after, "
            f"try_cast({measure.aggregate}({change}) filter ({differs}) as {EXACT_TYPE}) as gross_change "
            f"from {pairs} where {DAY} in (select {DAY} from {pairs} where in_before) "
            f"group by all having {site_differs} or bool_or({differs} and {change} > 0)"
        )
    return " union all ".join(parts)
