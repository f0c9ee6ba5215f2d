"""Published marts as files for other tools: CSV that a spreadsheet can open safely, Parquet, and FOCUS.

Reads only published files. No joins and no figures of its own: an export is a mart, row for row. The one
exception is what FOCUS asks for beside the charges: a figure of a closed month that was restated becomes an
adjustment in the month that it was restated in.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

import duckdb

from orchestration.sql import identifier, literal
from orchestration.warehouse import open_published

FORMATS = ("csv", "parquet")
# A spreadsheet runs a text cell that begins with one of these as a formula (OWASP ASVS 1.2.10).
FORMULA_STARTS = "=+-@\t\r\n\x00"
# What only its group may read: everything of the finance edition.
FINANCE_MODE = 0o640

FOCUS_TABLE = "finance.focus_cost_and_usage"
FOCUS_VERSIONS = ("1.2", "1.4")
# FOCUS 1.3 deprecated the two old names, 1.4 removed them. The operator runs what it sells, so it is the
# host as well.
FOCUS_RENAMED = {"1.2": {}, "1.4": {"ProviderName": "ServiceProviderName", "PublisherName": "HostProviderName"}}

# A charge shows what is known now. Where that differs from what was billed for a month that had ended, one
# row takes the ended month back to what was billed, and another, a correction, bills the difference in the
# month in which it was found. Restatements are kept by day and site, so no account is named.
ADJUSTMENTS = f"""
    select
        'unattributed' as "BillingAccountId", 'unattributed' as "BillingAccountName",
        list_cost * sign as "ListCost", billed_cost * sign as "ContractedCost", billed_cost * sign as "BilledCost",
        effective_cost * sign as "EffectiveCost", effective_cost * sign as "PricingCurrencyEffectiveCost",
        'Adjustment' as "ChargeCategory", case when sign > 0 then 'Correction' end as "ChargeClass",
        case when sign > 0 then 'Restated: ' else 'Restated later: ' end || reason as "ChargeDescription",
        'One-Time' as "ChargeFrequency",
        usage_date - interval 8 hours as "ChargePeriodStart", usage_date + interval 16 hours as "ChargePeriodEnd",
        billing_month - interval 8 hours as "BillingPeriodStart",
        billing_month + interval 1 month - interval 8 hours as "BillingPeriodEnd",
        nullif(site_id, 'unallocated') as "RegionId",
        case when "RegionId" is not null then coalesce(site_name, site_id) end as "RegionName",
        md5(concat_ws(chr(31), 'restatement', restated_at, usage_date, site_id, sign)) as "x_ChargeId",
        constants.*
    from (
        select
            restated_at, usage_date, site_id, unnest([-1, 1]) as sign, any_value(reason) as reason,
            date_trunc('month', case when sign > 0 then restated_at + interval 8 hours else usage_date end) as billing_month,
            coalesce(sum(change) filter (metric = 'list_revenue_cny'), 0) as list_cost,
            coalesce(sum(change) filter (metric in ('list_revenue_cny', 'discount_cny')), 0) as billed_cost,
            coalesce(sum(change), 0) as effective_cost
        from (
            select
                restated_at, usage_date, site_id, metric, reason,
                (coalesce(after, 0) - coalesce(before, 0)) * case when metric = 'discount_cny' then -1 else 1 end as change
            from quality.fct_restatements
            where
                mart = 'finance.fct_margin_daily'
                and metric in ('list_revenue_cny', 'discount_cny', 'package_revenue_cny', 'breakage_cny')
                and date_trunc('month', restated_at + interval 8 hours) > date_trunc('month', usage_date)
        ) as changes
        group by restated_at, usage_date, site_id
        having billed_cost <> 0 or effective_cost <> 0
    ) as restated
    left join capacity.dim_site using (site_id)
    cross join (
        select
            "BillingCurrency", "PricingCurrency", "InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceCategory",
            "ServiceName", "ServiceSubcategory"
        from {FOCUS_TABLE} order by "ServiceName" desc limit 1
    ) as constants
"""


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
    """Writes each table to out/<schema>.<table>.<format>, aside and then renamed.

    A file of the finance edition is named finance.* whatever the schema, and only its group may read it.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not an export format; use {' or '.join(FORMATS)}")
    out.mkdir(parents=True, exist_ok=True)
    exported = []
    with open_published(published) as connection:
        holds_money = _holds_money(connection)
        for table in tables:
            prefix = "finance." if holds_money and not table.startswith("finance.") else ""
            target = out / f"{prefix}{table}.{format}"
            columns = _columns(connection, table)
            values = ", ".join(
                f"{_value(identifier(column), data_type, format)} as {identifier(column)}"
                for column, data_type in columns
            )
            schema, name = table.split(".", 1)
            select = f"select {values} from {identifier(schema)}.{identifier(name)} order by all"
            row_count = _write(connection, select, target, format, FINANCE_MODE if holds_money else None)
            exported.append(Exported(table, target, row_count))
    return exported


def export_focus(
    published: Path, out: Path | BinaryIO, version: str, format: str, first: date | None = None, last: date | None = None,
) -> int:
    """Writes the charges of these business days as a FOCUS file; returns how many there are.

    Args:
        out: a file to write aside and rename, or a stream that is written once the file is whole.
        version: one of FOCUS_VERSIONS.
        first: first business day (Asia/Shanghai) that a charge is for; None: from the beginning.
        last: last one; None: to the end.
    """
    if version not in FOCUS_VERSIONS:
        raise ValueError(f"{version!r} is not a version of FOCUS that can be written; use {' or '.join(FOCUS_VERSIONS)}")
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not an export format; use {' or '.join(FORMATS)}")
    with open_published(published) as connection:
        select = focus_select(connection, version, format, first, last)
        if isinstance(out, Path):
            return _write(connection, select, out, format, FINANCE_MODE)
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / f"focus.{format}"
            row_count = _write(connection, select, whole, format, FINANCE_MODE)
            with whole.open("rb") as stream:
                shutil.copyfileobj(stream, out)
            return row_count


def focus_select(
    connection: duckdb.DuckDBPyConnection, version: str, format: str, first: date | None, last: date | None,
) -> str:
    """The query that gives the rows of a FOCUS file, its columns named and ordered as that version has them."""
    columns = _columns(connection, FOCUS_TABLE)
    renamed = FOCUS_RENAMED[version]
    # The standard's own columns by name, then ours.
    ordered = sorted(columns, key=lambda column: (column[0].startswith("x_"), renamed.get(column[0], column[0])))
    values = ", ".join(
        f"{_focus_value(identifier(column), data_type, format)} as {identifier(renamed.get(column, column))}"
        for column, data_type in ordered
    )
    charges = f"select * from {FOCUS_TABLE}"
    if _columns(connection, "quality.fct_restatements", required=False):
        # A union takes the fewer decimals of the two, so the adjustments are given the types of the charges.
        typed = ", ".join(f"cast({identifier(column)} as {data_type})" for column, data_type in columns)
        charges += f" union all select {typed} from ({charges} where false union all by name {ADJUSTMENTS})"
    day = '("ChargePeriodStart" + interval 8 hours)::date'
    bounds = [f"{day} >= {literal(first.isoformat())}"] if first else []
    bounds += [f"{day} <= {literal(last.isoformat())}"] if last else []
    where = f" where {' and '.join(bounds)}" if bounds else ""
    return (
        f"select {values} from ({charges}) as charges{where} "
        'order by charges."ChargePeriodStart", charges."SubAccountId", charges."ChargeCategory", charges."x_ChargeId"'
    )


def _columns(
    connection: duckdb.DuckDBPyConnection, table: str, required: bool = True
) -> list[tuple[str, str]]:
    schema, name = table.split(".", 1)
    columns = connection.execute(
        "select column_name, data_type from duckdb_columns() where database_name = current_database() "
        "and schema_name = ? and table_name = ? order by column_index",
        [schema, name],
    ).fetchall()
    if required and not columns:
        raise ValueError(f"no published table is named {table}")
    return columns


def _holds_money(connection: duckdb.DuckDBPyConnection) -> bool:
    return connection.execute(
        "select count(*) > 0 from duckdb_schemas() where database_name = current_database() and schema_name = 'finance'"
    ).fetchone()[0]


def _write(
    connection: duckdb.DuckDBPyConnection, select: str, target: Path, format: str, mode: int | None
) -> int:
    aside = target.with_name(f".{target.name}.part")
    aside.unlink(missing_ok=True)
    # Made before anything is in it, so that there is no moment at which others can read it.
    aside.touch(mode=0o600)
    aside.chmod(0o666 & ~_umask() if mode is None else mode)
    settings = "format csv, header" if format == "csv" else "format parquet, compression zstd"
    row_count = connection.execute(
        f"copy ({select}) to {literal(str(aside))} ({settings}, use_tmp_file false)"
    ).fetchone()[0]
    os.replace(aside, target)
    return row_count


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _value(column: str, data_type: str, format: str) -> str:
    if format == "csv" and data_type == "VARCHAR":
        starts = " or ".join(f"starts_with({column}, chr({ord(start)}))" for start in FORMULA_STARTS)
        return f"case when {starts} then '''' || {column} else {column} end"
    if format == "parquet" and data_type in ("HUGEINT", "UHUGEINT"):
        # Parquet has no 128-bit integer, and DuckDB would write a DOUBLE.
        return f"cast({column} as DECIMAL(38, 0))"
    return column


def _focus_value(column: str, data_type: str, format: str) -> str:
    if data_type == "TIMESTAMP":
        return f"strftime({column}, '%Y-%m-%dT%H:%M:%SZ')" if format == "csv" else f"cast({column} as TIMESTAMPTZ)"
    return _value(column, data_type, format)
