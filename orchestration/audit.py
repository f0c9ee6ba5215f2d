"""What must hold before marts are published: keys, sums, identities, and no money where none belongs.

Every check reads the copy that is about to be published, open as the connection's default database.
Nothing is written here, and no figure is corrected: a check that fails blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from orchestration.forecasting.matching_tables import MATCHING_MONEY_TABLES, MATCHING_TABLES
from orchestration.forecasting.tables import TABLES as FORECAST_TABLES
from orchestration.sql import count

# Parts of a column name that would put money into the edition that holds none.
MONEY_NAME_PARTS = ("price", "cost", "margin", "cny", "revenue")
# One row per this key, in the published marts whose grain is a contract.
MART_KEYS: dict[str, tuple[str, ...]] = {
    "capacity.dim_site": ("site_id",),
    "capacity.dim_link": ("link_id",),
    "capacity.dim_accelerator": ("accelerator_id",),
    "capacity.dim_model": ("model_id",),
    "capacity.dim_tenant": ("tenant_id",),
    "capacity.dim_date": ("usage_date",),
    "capacity.fct_token_usage_hourly": (
        "usage_hour", "origin_site_id", "serving_site_id", "tenant_id", "model_id", "product",
    ),
    "capacity.fct_accelerator_hours_daily": ("usage_date", "site_id", "accelerator_id"),
    "capacity.fct_link_utilization_hourly": ("usage_hour", "link_id", "direction"),
    "capacity.fct_supply_demand_daily": ("usage_date", "site_id", "accelerator_id"),
    "capacity.fct_supply_demand_weekly": ("iso_week", "site_id", "accelerator_id"),
    "capacity.fct_demand_hourly": ("usage_hour", "origin_site_id", "tenant_id", "model_id"),
    "capacity.fct_usage_dropouts": ("site_role", "site_id", "usage_hour"),
    "capacity.fct_demand_daily": ("usage_date", "origin_site_id", "tenant_id", "model_id"),
    "capacity.fct_training_demand_daily": ("usage_date", "site_id", "accelerator_id", "tenant_id"),
    "quality.fct_deliveries": ("delivery_id",),
    "quality.fct_restatements": ("restated_at", "mart", "usage_date", "site_id", "metric"),
    **{f"capacity.{table.name}": table.grain for table in (*FORECAST_TABLES, *MATCHING_TABLES)},
}
# The same in the finance edition.
FINANCE_KEYS: dict[str, tuple[str, ...]] = {
    "finance.fct_margin_daily": ("usage_date", "serving_site_id", "tenant_id", "model_id", "product"),
    "finance.dim_margin_target": ("measure", "site_id", "valid_from"),
    "finance.fct_unit_economics_weekly": ("iso_week", "site_id", "model_id"),
    "finance.fct_price_position": ("price_date", "model_id", "token_type", "vendor", "model_name"),
    "finance.fct_package_burndown_daily": ("usage_date", "subscription_id"),
    "finance.fct_trial_conversion": ("cohort_week", "segment"),
    "finance.fct_money_reconciliation": ("metric",),
    "finance.focus_cost_and_usage": ("x_ChargeId",),
    **{f"finance.{table.name}": table.grain for table in MATCHING_MONEY_TABLES},
}
QUALITY_TABLES = (
    "quality.fct_deliveries", "quality.fct_reconciliation", "quality.fct_freshness", "quality.fct_restatements",
)
EXPECTED_TABLES = {
    "capacity": (*MART_KEYS, "capacity.fct_jobs", *QUALITY_TABLES[1:]),
    "finance": (*FINANCE_KEYS, "finance.focus_cost_and_usage", *QUALITY_TABLES, *(name for name in MART_KEYS if name.startswith("capacity.dim_"))),
}
# A mart must hold rows once raw holds rows of the table it is made from. Other marts need more than
# rows: link utilization two samples of one link, accelerator hours a pool that has accelerators.
MART_SOURCES = {"capacity.fct_token_usage_hourly": "token_usage", "capacity.fct_jobs": "job_logs"}
IDENTITY_PARTS = ("down", "planned_down", "allocated_busy", "allocated_idle", "fragmented", "free")


@dataclass(frozen=True)
class AuditCheck:
    """One condition of publishing: whether it held, the figure seen, and what to do when it did not."""

    name: str
    passed: bool
    figure: str
    next_step: str = ""


class AuditFailed(RuntimeError):
    """A blocking check failed; nothing was published and the last good file stays."""

    def __init__(self, checks: Sequence[AuditCheck], edition: str = "capacity"):
        self.edition = edition
        self.checks = tuple(checks)
        self.failures = tuple(check for check in checks if not check.passed)
        lines = [f"- {check.name}: {check.figure}. {check.next_step}" for check in self.failures]
        super().__init__(
            f"the audit of the {edition} edition blocked publishing; the last published files are unchanged\n" + "\n".join(lines)
        )


def audit(connection: duckdb.DuckDBPyConnection, edition: str = "capacity") -> list[AuditCheck]:
    """Every condition that the edition (capacity or finance) open on this connection must meet."""
    columns = _columns(connection)
    expected = EXPECTED_TABLES[edition]
    present = {name for name in expected if name in columns}
    checks = [_check_present(columns, expected)]
    if "quality.fct_deliveries" in present:
        checks.append(_check_line_accounting(connection))
        checks.append(_check_not_empty(connection, present))
    if "quality.fct_reconciliation" in present:
        checks.append(_check_reconciliation(connection, "quality.fct_reconciliation", "landing = raw = marts"))
    if "capacity.fct_accelerator_hours_daily" in present:
        checks.append(_check_capacity_identity(connection))
    checks += [
        _check_key(connection, table, key) for table, key in (MART_KEYS | FINANCE_KEYS).items() if table in present
    ]
    checks += [
        _check_forecast(connection, f"capacity.{table.name}") for table in FORECAST_TABLES
        if "quantile" in table.grain and f"capacity.{table.name}" in present
    ]
    if edition == "capacity":
        checks.append(_check_no_money(connection, columns))
    if "finance.fct_money_reconciliation" in present:
        checks.append(_check_reconciliation(
            connection, "finance.fct_money_reconciliation", "tokens settled = received, cost allocated = pools"
        ))
    if "finance.fct_margin_daily" in present:
        checks.append(_check_margin_identity(connection))
    if edition == "finance":
        checks.append(_check_exact_money(columns))
    checks.append(_check_exact_tokens(columns))
    return checks


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Column types of every table of the editions' schemas, by schema.table."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() "
        "where database_name = current_database() and schema_name in ('capacity', 'finance', 'quality') "
        "order by schema_name, table_name, column_index"
    ).fetchall()
    columns: dict[str, dict[str, str]] = {}
    for table, column, data_type in rows:
        columns.setdefault(table, {})[column] = data_type
    return columns


def _check_present(columns: Mapping[str, object], expected: Sequence[str]) -> AuditCheck:
    missing = [name for name in expected if name not in columns]
    return AuditCheck(
        "every contract mart is there", not missing,
        f"missing: {', '.join(missing)}" if missing else f"{len(expected)} marts",
        "Run `tidegauge build` and `tidegauge forecast`, then publish again.",
    )


def _check_line_accounting(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    broken = count(connection, """
        select count(*) from quality.fct_deliveries
        where (received_count = loaded_count + duplicate_count + quarantined_count) is not true
    """)
    return AuditCheck(
        "received = loaded + duplicate + quarantined for every delivery", broken == 0,
        f"{broken} deliveries do not add up",
        "Look at them in quality.fct_deliveries; `tidegauge rebuild` loads them again from landing.",
    )


def _check_not_empty(connection: duckdb.DuckDBPyConnection, present: set[str]) -> AuditCheck:
    loaded = dict(connection.execute("""
        select table_name, sum(loaded_count) from quality.fct_deliveries
        where status = 'loaded' group by table_name
    """).fetchall())
    empty = [
        mart for mart, source in MART_SOURCES.items()
        if mart in present and loaded.get(source) and not count(connection, f"select count(*) from {mart}")
    ]
    empty += [
        mart for mart in sorted(present)
        if mart.startswith("capacity.dim_") and not count(connection, f"select count(*) from {mart}")
    ]
    if not loaded:
        empty.append("quality.fct_deliveries")
    return AuditCheck(
        "no mart is empty while raw has rows for it", not empty,
        f"empty: {', '.join(empty)}" if empty else "none empty",
        "Check what was delivered with `tidegauge status`, then run `tidegauge build`.",
    )


def _check_reconciliation(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> AuditCheck:
    rows = connection.execute(
        f"select metric, difference from {table} where (difference = 0) is not true order by metric"
    ).fetchall()
    shown = ", ".join(f"{metric} {difference}" for metric, difference in rows[:5])
    return AuditCheck(
        name, not rows,
        f"{len(rows)} metrics differ: {shown}" if rows else "difference 0",
        f"See {table}; `tidegauge rebuild` tells a lost row from a wrong model.",
    )


def _check_capacity_identity(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    parts = " + ".join(f"{part}_accelerator_hours" for part in IDENTITY_PARTS)
    rows, worst = connection.execute(f"""
        select count(*), max(abs(residue)) from (
            select installed_accelerator_hours - ({parts}) as residue, installed_accelerator_hours
            from capacity.fct_accelerator_hours_daily
        ) where (abs(residue) <= 1e-6 * greatest(1, installed_accelerator_hours)) is not true
    """).fetchone()
    return AuditCheck(
        "installed accelerator hours = the sum of their parts", rows == 0,
        f"{rows} site-days open, worst by {worst} hours" if rows else "closes to zero",
        "See capacity.fct_accelerator_hours_daily; more may be allocated or down than is installed.",
    )


def _check_key(connection: duckdb.DuckDBPyConnection, table: str, key: Sequence[str]) -> AuditCheck:
    columns = ", ".join(key)
    repeated = count(connection, f"""
        select count(*) from (select 1 from {table} group by {columns} having count(*) > 1)
    """)
    return AuditCheck(
        f"{table} has one row per {columns}", repeated == 0, f"{repeated} keys repeat",
        "A join fans out or a reference row is doubled; run `tidegauge build` after correcting it.",
    )


def _check_forecast(connection: duckdb.DuckDBPyConnection, table: str) -> AuditCheck:
    broken = count(connection, f"""
        select count(*) from {table}
        where (isfinite(value) and value >= 0 and quantile > 0 and quantile < 1) is not true
    """)
    return AuditCheck(
        f"forecast values of {table} are finite and not negative", broken == 0, f"{broken} values are not",
        "Run `tidegauge forecast` again; if they stay, look at the series in fct_supply_demand_daily and fct_demand_daily.",
    )


def _check_no_money(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Mapping[str, str]]
) -> AuditCheck:
    money = [
        f"{table}.{column}" for table, names in columns.items() for column in names
        if any(part in column.lower().split("_") for part in MONEY_NAME_PARTS)
    ]
    if "quality.fct_restatements" in columns:
        metrics = connection.execute("select distinct mart, metric from quality.fct_restatements order by all").fetchall()
        money += [
            f"restatements of {mart}.{metric}" for mart, metric in metrics
            if mart.startswith("finance.") or any(part in metric.lower().split("_") for part in MONEY_NAME_PARTS)
        ]
    return AuditCheck(
        "the capacity edition holds no price, cost or margin", not money,
        f"found {', '.join(money)}" if money else "none",
        "Move the column to a finance mart.",
    )


def _check_margin_identity(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    broken = count(connection, """
        select count(*) from finance.fct_margin_daily where (
            net_revenue_cny = list_revenue_cny - discount_cny - tax_cny + package_revenue_cny + breakage_cny
            and cost_cny = depreciation_cny + energy_cny + network_cny + operations_cny + idle_cny
            and gross_margin_cny = net_revenue_cny - cost_cny and idle_cny >= 0
            and tokens = priced_tokens + package_tokens + trial_tokens + unpriced_tokens
        ) is not true
    """)
    return AuditCheck(
        "margin = net revenue - cost, to the last digit", broken == 0, f"{broken} rows do not add up",
        "See finance.fct_margin_daily; run `tidegauge build` after correcting the model.",
    )


def _check_exact_money(columns: Mapping[str, Mapping[str, str]]) -> AuditCheck:
    inexact = [
        f"{table}.{column}" for table, names in columns.items() for column, data_type in names.items()
        if "cny" in column.split("_") and data_type != "DECIMAL(38,9)"
    ]
    return AuditCheck(
        "money columns are DECIMAL(38,9)", not inexact, f"inexact: {', '.join(inexact)}" if inexact else "all are",
        "Cast the amount to decimal(38, 9) in the model.",
    )


def _check_exact_tokens(columns: Mapping[str, Mapping[str, str]]) -> AuditCheck:
    inexact = [
        f"{table}.{column}" for table, names in columns.items() for column, data_type in names.items()
        if column.endswith("_tokens") and data_type in ("DOUBLE", "FLOAT")
    ]
    return AuditCheck(
        "token columns are exact", not inexact,
        f"inexact: {', '.join(inexact)}" if inexact else "none inexact",
        "Cast the sum to HUGEINT or DECIMAL(38,0) in the model.",
    )
