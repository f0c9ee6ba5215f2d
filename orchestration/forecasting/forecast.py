"""The forecast step as one pure function: marts in, the forecast's tables out.

Reading and writing them is Dagster's and the warehouse's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from orchestration.forecasting.backtest import ALL_SERIES, YARDSTICK, accuracy_rows
from orchestration.forecasting.capacity_need import Pool, capacity_need, commit, current_supply
from orchestration.forecasting.demand_series import (
    HISTORY_WEEKS,
    pool_series_id,
    pool_weeks,
    weekly_series,
)
from orchestration.forecasting.iso_weeks import monday_of, week_of, weeks_after
from orchestration.forecasting.seasonal_naive import (
    MODELS,
    past_forecasts,
    past_quantiles,
    weekly_log_growth,
)
from orchestration.forecasting.tables import (
    BUSY_HOUR_DEMAND,
    CAPACITY_NEED,
    DEMAND_FORECAST,
    FORECAST_ACCURACY,
    HORIZON_WEEKS,
    LEVELS,
    QUANTILES,
    SUPPLY_PLAN,
)
from orchestration.forecasting.weighted import weighted_average

WEIGHTED = "weighted"
FEWEST_SCORES = 20
"""Forecast weeks scored at the pool level before a model other than the yardstick may be chosen."""


@dataclass(frozen=True)
class Forecast:
    """The tables of one forecast, each shaped as ``tables`` declares it."""

    demand_forecast: pl.DataFrame
    capacity_need: pl.DataFrame
    accuracy: pl.DataFrame
    busy_hour_demand: pl.DataFrame
    supply_plan: pl.DataFrame

    def by_table_name(self) -> dict[str, pl.DataFrame]:
        """Each frame by the name of its table."""
        return {
            DEMAND_FORECAST.name: self.demand_forecast,
            BUSY_HOUR_DEMAND.name: self.busy_hour_demand,
            SUPPLY_PLAN.name: self.supply_plan,
            CAPACITY_NEED.name: self.capacity_need,
            FORECAST_ACCURACY.name: self.accuracy,
        }


def chosen_model(accuracy: list[dict]) -> str:
    """The model with the lowest relative quantile loss over all pools, if below seasonal naive; else that."""
    scores: dict[str, dict[str, float]] = {}
    for row in accuracy:
        if row["level"] == "site_accelerator" and row["series_id"] == ALL_SERIES:
            scores.setdefault(row["model"], {})[row["metric"]] = row["value"]
    rivals = [
        (score["relative_quantile_loss"], model) for model, score in scores.items()
        if score.get("relative_quantile_loss", 1.0) < 1.0 and score.get("scored_count", 0) >= FEWEST_SCORES
    ]
    return min(rivals)[1] if rivals else YARDSTICK


def forecast_all(
    supply_demand_daily: pl.DataFrame,
    supply_demand_weekly: pl.DataFrame,
    planned_deliveries: pl.DataFrame,
    links: pl.DataFrame,
    sites: pl.DataFrame,
    cutoff_week: str,
) -> Forecast:
    """Demand quantiles for 13 weeks, their accuracy, and the decision per pool, as known after the cutoff week.

    Args:
        supply_demand_daily, supply_demand_weekly: the marts; later weeks than the cutoff are not looked at.
        planned_deliveries: rows of the reference table valid at the cutoff.
        links: dim_link (link_id, a_site_id, b_site_id, one_way_ms).
        sites: dim_site; a site that no mart row names has no pool and no row.
        cutoff_week: ISO week, like 2026-W47.
    """
    cutoff_monday = monday_of(cutoff_week)
    cutoff_date = cutoff_monday + timedelta(days=6)
    targets = [weeks_after(cutoff_monday, step + 1) for step in range(HORIZON_WEEKS)]
    known_sites = sites.select("site_id").unique()
    weekly = supply_demand_weekly.join(known_sites, on="site_id", how="semi")
    daily = supply_demand_daily.join(known_sites, on="site_id", how="semi").filter(
        pl.col("usage_date").is_between(weeks_after(cutoff_monday, -HISTORY_WEEKS), cutoff_date)
    )
    weeks = pool_weeks(weekly, cutoff_week)

    forecast_rows: list[dict] = []
    history_rows: list[dict] = []
    accuracy: list[dict] = []
    pool_quantiles: dict[str, dict[str, np.ndarray]] = {}
    for level in LEVELS:
        series = weekly_series(weeks, level, cutoff_week)
        given = {model: past_quantiles(past_forecasts(function, series.demand), series.demand)
                 for model, function in MODELS.items()}
        given[WEIGHTED] = weighted_average(list(given.values()), series.demand)
        accuracy += accuracy_rows(series, given)
        for row, series_id in enumerate(series.series_ids):
            history_rows += [
                {"cutoff_date": cutoff_date, "level": level, "series_id": series_id, "week_start_date": monday,
                 "demand_accelerator_count": float(demand), "usable_accelerator_count": float(usable),
                 "available_accelerator_count": float(available)}
                for monday, demand, usable, available in zip(
                    series.weeks, series.demand[row], series.usable[row], series.available[row], strict=True)
                if np.isfinite(demand)
            ]
        for model, quantiles_by_origin in given.items():
            quantiles = quantiles_by_origin[-1]
            for row, series_id in enumerate(series.series_ids):
                if not np.isfinite(quantiles[row]).all():
                    continue
                if level == "site_accelerator":
                    pool_quantiles.setdefault(model, {})[series_id] = quantiles[row]
                forecast_rows += [
                    {"cutoff_date": cutoff_date, "level": level, "series_id": series_id, "target_date": target,
                     "model": model, "quantile": quantile, "value": float(quantiles[row, step, index])}
                    for step, target in enumerate(targets) for index, quantile in enumerate(QUANTILES)
                ]

    model = chosen_model(accuracy)
    pools = _pools(weeks, daily, weekly, cutoff_week, pool_quantiles.get(model, {}), accuracy, model)
    commit(pools, planned_deliveries, cutoff_week)
    return Forecast(
        demand_forecast=DEMAND_FORECAST.frame(forecast_rows),
        capacity_need=CAPACITY_NEED.frame(capacity_need(pools, links, cutoff_week, model)),
        accuracy=FORECAST_ACCURACY.frame([{"cutoff_date": cutoff_date, **row} for row in accuracy]),
        busy_hour_demand=BUSY_HOUR_DEMAND.frame(history_rows),
        supply_plan=SUPPLY_PLAN.frame([
            {"cutoff_date": cutoff_date, "site_id": pool.site_id, "accelerator_id": pool.accelerator_id,
             "target_date": target, "usable_accelerator_count": float(usable),
             "committed_accelerator_count": committed}
            for pool in pools.values()
            for target, usable, committed in zip(targets, pool.supply, pool.committed, strict=True)
        ]),
    )


def _pools(
    weeks: pl.DataFrame, daily: pl.DataFrame, weekly: pl.DataFrame, cutoff_week: str,
    quantiles: dict[str, np.ndarray], accuracy: list[dict], model: str,
) -> dict[str, Pool]:
    """Every pool that has a week or supply, with what the decision needs."""
    series = weekly_series(weeks, "site_accelerator", cutoff_week)
    growth = dict(zip(series.series_ids, np.expm1(weekly_log_growth(series.demand)), strict=True))
    row_of = {series_id: row for row, series_id in enumerate(series.series_ids)}
    wape = {row["series_id"]: row["value"] for row in accuracy
            if row["level"] == "site_accelerator" and row["model"] == model and row["metric"] == "wape"}
    ratios = {
        pool_series_id(row["site_id"], row["accelerator_id"]): row["p95_utilization_ratio"]
        for row in weekly.filter(pl.col("week_start_date") == monday_of(cutoff_week)).iter_rows(named=True)
    }
    supply = {
        pool_series_id(row["site_id"], row["accelerator_id"]): row
        for row in current_supply(daily, cutoff_week).iter_rows(named=True)
    }
    fallback_ratio = float(np.median([row["usable_ratio"] for row in supply.values()])) if supply else 1.0
    names = {
        pool_series_id(site_id, accelerator_id): (site_id, accelerator_id)
        for frame in (weeks, daily) for site_id, accelerator_id in
        frame.select("site_id", "accelerator_id").unique().iter_rows()
    }
    pools = {}
    for key in sorted(names):
        site_id, accelerator_id = names[key]
        history = series.demand[row_of[key]] if key in row_of else np.array([])
        known = np.flatnonzero(np.isfinite(history))
        here = supply.get(key)
        pools[key] = Pool(
            site_id=site_id,
            accelerator_id=accelerator_id,
            usable=here["usable"] if here else 0.0,
            usable_ratio=here["usable_ratio"] if here else fallback_ratio,
            now_p95_utilization_ratio=ratios.get(key),
            demand=float(history[-1]) if len(known) and known[-1] == len(history) - 1 else None,
            known_weeks=len(known),
            last_known_week=week_of(series.weeks[known[-1]]) if len(known) else "",
            weekly_growth_ratio=float(growth.get(key, 0.0)),
            wape=wape.get(key),
            quantiles=quantiles.get(key),
        )
    return pools
