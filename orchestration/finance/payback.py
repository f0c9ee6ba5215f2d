"""When the capital of a tranche comes back: cash so far, and cash to come along the forecast's paths.

Gross cash of a tranche is margin with depreciation added back: what it earned less energy, network and
operations. What it has earned is dbt's (finance.fct_tranche_cash); here it is carried forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from orchestration.contracts import Column
from orchestration.forecasting.tables import ForecastTable

MONEY = pl.Decimal(38, 9)
PATHS = {"low": 0.1, "base": 0.5, "high": 0.9}

CAPITAL_PAYBACK = ForecastTable(
    name="fct_capital_payback",
    grain=("tranche_id",),
    description=(
        "One row per tranche of accelerators: what it cost, what of it had been written off when the data begin, the "
        "gross cash since, and the day the rest comes back if demand follows the forecast's 10, 50 or 90% path."
    ),
    columns=(
        Column("tranche_id", pl.String, "The tranche.", required=True),
        Column("site_id", pl.String, "Site that holds it.", required=True),
        Column("accelerator_id", pl.String, "Type of accelerator.", required=True),
        Column("accelerator_count", pl.Int64, "Accelerators in it.", unit="accelerators", required=True),
        Column("commissioned_date", pl.Date, "First business day in service."),
        Column("capital_cny", MONEY, "Capital spent.", unit="CNY", required=True),
        Column("opening_book_cny", MONEY, "Capital not yet written off on observed_from_date: what is to come back from then.",
               unit="CNY", required=True),
        Column("observed_from_date", pl.Date, "First business day whose cash is known."),
        Column("cumulative_gross_cash_cny", MONEY, "Margin with depreciation added back, since observed_from_date.",
               unit="CNY", required=True),
        Column("weekly_gross_cash_cny", MONEY, "Mean of the last 28 days (fewer where fewer are known), a week.",
               unit="CNY/week", required=True),
        Column("payback_date_low", pl.Date, "Day the opening book is back along the 10% demand path; null: not within its life."),
        Column("payback_date_base", pl.Date, "The same along the median path."),
        Column("payback_date_high", pl.Date, "The same along the 90% path."),
    ),
)


@dataclass(frozen=True)
class Tranche:
    """Where a tranche stands on the cutoff date; amounts in CNY."""

    opening_book_cny: Decimal
    cumulative_gross_cash_cny: Decimal
    weekly_gross_cash_cny: Decimal
    ends_on: date


def growth_by_week(demand_now: float, usable: Sequence[float], demand: Sequence[float]) -> list[float]:
    """Served demand of each week to come over that of now: no more is served than is usable.

    ``demand`` and ``usable`` are accelerators by week. 1.0 throughout where nothing is served now.
    """
    served_now = min(demand_now, usable[0]) if usable else demand_now
    if served_now <= 0:
        return [1.0 for _ in demand]
    return [min(wanted, most) / served_now for wanted, most in zip(demand, usable, strict=True)]


def payback_date(tranche: Tranche, cutoff_date: date, growth: Sequence[float]) -> date | None:
    """Last day of the week in which cumulative cash reaches the opening book; None when its life ends before.

    Cash of a week to come is that of now times its growth; after the last forecast week it stays at that
    week's. What has come back by the cutoff has come back on the cutoff date at the latest.
    """
    missing = tranche.opening_book_cny - tranche.cumulative_gross_cash_cny
    if missing <= 0:
        return cutoff_date
    if tranche.weekly_gross_cash_cny <= 0:
        return None
    week_end, factor = cutoff_date, Decimal(1)
    weeks = iter(growth)
    while missing > 0:
        factor = Decimal(repr(next(weeks, float(factor))))
        week_end += timedelta(days=7)
        if week_end > tranche.ends_on:
            return None
        missing -= tranche.weekly_gross_cash_cny * factor
    return week_end


def growth_paths(
    forecast: pl.DataFrame, history: pl.DataFrame, supply: pl.DataFrame, need: pl.DataFrame
) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Growth of served demand by (site, accelerator) and path, from the forecast's tables and the model chosen.

    Empty where no week is whole or a pool has no forecast.
    """
    if need.is_empty():
        return {}
    now = {
        row["series_id"]: row["demand_accelerator_count"]
        for row in history.filter(pl.col("level") == "site_accelerator").sort("week_start_date").iter_rows(named=True)
    }
    models = {f"{row['site_id']}/{row['accelerator_id']}": row["model"] for row in need.iter_rows(named=True)}
    usable = {
        (site, accelerator): group.sort("target_date")["usable_accelerator_count"].to_list()
        for (site, accelerator), group in supply.group_by("site_id", "accelerator_id")
    }
    paths: dict[tuple[str, str], dict[str, list[float]]] = {}
    chosen = forecast.filter(pl.col("level") == "site_accelerator").sort("target_date")
    for (series, model, quantile), group in chosen.group_by("series_id", "model", "quantile", maintain_order=True):
        pool = tuple(series.split("/", 1))
        name = next((name for name, wanted in PATHS.items() if wanted == quantile), None)
        if name is None or model != models.get(series) or pool not in usable or series not in now:
            continue
        paths.setdefault(pool, {})[name] = growth_by_week(now[series], usable[pool], group["value"].to_list())
    return paths


def payback(
    cash: pl.DataFrame, cutoff_date: date | None, paths: Mapping[tuple[str, str], Mapping[str, Sequence[float]]]
) -> pl.DataFrame:
    """The table of CAPITAL_PAYBACK from finance.fct_tranche_cash and the growth paths by (site, accelerator).

    A pool without a forecast stays at what it earns now.
    """
    rows = []
    for row in cash.iter_rows(named=True):
        tranche = Tranche(
            row["opening_book_cny"], row["cumulative_gross_cash_cny"], row["weekly_gross_cash_cny"],
            row["life_ends_date"],
        )
        growth = paths.get((row["site_id"], row["accelerator_id"]), {})
        dates = {
            f"payback_date_{name}": payback_date(tranche, cutoff_date, growth.get(name, ())) if cutoff_date else None
            for name in PATHS
        }
        rows.append({column.name: row.get(column.name) for column in CAPITAL_PAYBACK.columns} | dates)
    return CAPITAL_PAYBACK.frame(rows)
