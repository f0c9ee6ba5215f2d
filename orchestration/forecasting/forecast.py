"""The forecast step as one pure function: marts in, the forecast's tables out.

Reading and writing them is Dagster's and the warehouse's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from orchestration.forecasting import methods
from orchestration.forecasting.backtest import Backtest, backtest
from orchestration.forecasting.capacity_need import (
    IDLE_WEEKS,
    Pool,
    available_ratio,
    capacity_need,
    commit,
    current_supply,
)
from orchestration.forecasting.demand_series import (
    HISTORY_WEEKS,
    POOL,
    WeeklySeries,
    parents_of,
    pool_series_id,
    pool_weeks,
    weekly_series,
)
from orchestration.forecasting.iso_weeks import monday_of, week_of, weeks_after
from orchestration.forecasting.members import LEVELS as QUANTILE_LEVELS
from orchestration.forecasting.members import MEMBERS, Member, Setting, seasonal_growth
from orchestration.forecasting.moves import Moves
from orchestration.forecasting.panel import Panel, panel_of
from orchestration.forecasting.past_forecasts import chosen_model, scored_past
from orchestration.forecasting.paths import Paths, exact
from orchestration.forecasting.rolling import COMBINED, YARDSTICK
from orchestration.forecasting.serving_staffing import served_of, staffing_rows
from orchestration.forecasting.tables import (
    ASKED_TABLES,
    BUSY_HOUR_DEMAND,
    CAPACITY_NEED,
    DEMAND_FORECAST,
    FORECAST_ACCURACY,
    HORIZON_WEEKS,
    LEVELS,
    QUANTILES,
    SERVING_STAFFING,
    SITE_GROUPS,
    STAFFING_BASES,
    SUPPLY_PLAN,
)
from orchestration.forecasting.token_forecast import AskedDemand, forecast_asked

BOTTOM = "site_accelerator"
SEED = 7
PATH_COUNT = 500
HOURS_A_WEEK = 168
NO_SEASON = 1
"""Busy hours of weeks have no season that a year or less of history shows."""


@dataclass(frozen=True)
class Forecast:
    """The tables of one forecast, each shaped as ``tables`` declares it, and the paths they were read from."""

    demand_forecast: pl.DataFrame
    capacity_need: pl.DataFrame
    serving_staffing: pl.DataFrame
    accuracy: pl.DataFrame
    busy_hour_demand: pl.DataFrame
    supply_plan: pl.DataFrame
    asked: Mapping[str, pl.DataFrame]
    """Tokens and serving demand, by the name of the table."""
    model: str = YARDSTICK
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a pool has no forecast, or only a fallback: a code of methods.REASONS."""
    paths: Paths | None = field(default=None, repr=False)

    def by_table_name(self) -> dict[str, pl.DataFrame]:
        """Each frame by the name of its table."""
        return {
            DEMAND_FORECAST.name: self.demand_forecast,
            **self.asked,
            BUSY_HOUR_DEMAND.name: self.busy_hour_demand,
            SUPPLY_PLAN.name: self.supply_plan,
            CAPACITY_NEED.name: self.capacity_need,
            SERVING_STAFFING.name: self.serving_staffing,
            FORECAST_ACCURACY.name: self.accuracy,
        }


def forecast_all(
    supply_demand_daily: pl.DataFrame,
    supply_demand_weekly: pl.DataFrame,
    planned_deliveries: pl.DataFrame,
    links: pl.DataFrame,
    sites: pl.DataFrame,
    cutoff_week: str,
    holidays: pl.DataFrame | None = None,
    node_sizes: pl.DataFrame | None = None,
    kept: pl.DataFrame | None = None,
    demand: AskedDemand | None = None,
    moves: Moves | None = None,
    granted: pl.DataFrame | None = None,
    served: pl.DataFrame | None = None,
    members: Mapping[str, Member] = MEMBERS,
) -> Forecast:
    """Demand quantiles for 13 weeks, their accuracy, and the decision per pool, as known after the cutoff week.

    Args:
        supply_demand_daily, supply_demand_weekly: the marts; later weeks than the cutoff are not looked at.
        planned_deliveries: rows of the reference table valid at the cutoff.
        links: dim_link (link_id, a_site_id, b_site_id, one_way_ms).
        sites: dim_site (site_id and, where known, region, hub_region, site_kind); a site that no mart row names has no pool and no row.
        cutoff_week: ISO week, like 2026-W47.
        holidays: (holiday_date, day_type); without it every week is an ordinary one.
        node_sizes: (site_id, accelerator_id, largest_node): accelerators of a pool that fail as one.
        kept: rows of fct_demand_forecast as they were made after earlier weeks; they are scored on what has come.
        demand: what was asked for by whom; without it neither tokens nor serving demand are forecast.
        moves: what may move over the links; without it nothing may.
        granted: site_id, accelerator_id, iso_week, additional_accelerator_hours: what unspent tokens will ask for beyond
            what the history holds; it comes on top of the forecast.
        served: rows of int_serving_demand__loads of the cutoff week; without it no pool is staffed for latency.
        members: what the forecast of accelerators is combined from, by name; tokens always take those built in.
    """
    cutoff_monday = monday_of(cutoff_week)
    cutoff_date = cutoff_monday + timedelta(days=6)
    targets = [weeks_after(cutoff_monday, step + 1) for step in range(HORIZON_WEEKS)]
    known_sites = sites.select("site_id").unique()
    # In order, because a sum of floats depends on it, and a build by two threads leaves rows as they happened to come.
    weekly = supply_demand_weekly.join(known_sites, on="site_id", how="semi").sort(*POOL, "week_start_date")
    daily = supply_demand_daily.join(known_sites, on="site_id", how="semi").filter(
        pl.col("usage_date").is_between(weeks_after(cutoff_monday, -HISTORY_WEEKS), cutoff_date)
    ).sort(*POOL, "usage_date")
    hub_regions = dict(sites.select("site_id", "hub_region").iter_rows()) if "hub_region" in sites.columns else {}
    weeks = pool_weeks(daily, weekly, cutoff_week, holidays)
    series = {level: weekly_series(weeks, level, cutoff_week, hub_regions) for level in LEVELS}
    busy_hours = BUSY_HOUR_DEMAND.frame([
        {"cutoff_date": cutoff_date, "level": level, "series_id": series_id, "week_start_date": monday,
         "demand_accelerator_count": float(demand), "usable_accelerator_count": float(usable),
         "available_accelerator_count": float(available)}
        for level, each in series.items() for row, series_id in enumerate(each.series_ids)
        for monday, demand, usable, available in zip(
            each.weeks, each.demand[row], each.usable[row], each.available[row], strict=True)
        if np.isfinite(demand)
    ])
    made = _forecast_pools(weeks, daily, sites, cutoff_week, hub_regions, granted, members)
    record = scored_past(
        DEMAND_FORECAST.frame([]) if kept is None else kept,
        busy_hours.rename({"demand_accelerator_count": "value"}), cutoff_date)
    model = chosen_model(made.backtest.rows, record, BOTTOM)
    site_groups = {level: dict(sites.select("site_id", level).iter_rows()) for level in SITE_GROUPS if level in sites.columns}
    asked = None if demand is None else forecast_asked(demand, site_groups, cutoff_week, holidays)
    pools = _pools(series[BOTTOM], daily, weekly, cutoff_week, made, model, node_sizes)
    for key, error in _level_errors(weeks).items():
        pools[key].level_error = error
    for key, mix in ({} if served is None else served_of(served)).items():
        if key in pools:
            pools[key].served = mix
    commit(pools, planned_deliveries, cutoff_week)
    need = CAPACITY_NEED.frame(capacity_need(pools, links, moves or Moves(), cutoff_week, model))
    return Forecast(
        demand_forecast=_forecast_frame(made, cutoff_date, model, hub_regions),
        capacity_need=need,
        serving_staffing=SERVING_STAFFING.frame(_staffing(pools, need, cutoff_week)),
        accuracy=pl.concat([
            FORECAST_ACCURACY.frame([{"cutoff_date": cutoff_date, "basis": "backtest", **row} for row in made.backtest.rows]),
            record,
            *([] if asked is None else [asked.accuracy]),
        ]).sort(FORECAST_ACCURACY.grain),
        busy_hour_demand=busy_hours,
        supply_plan=SUPPLY_PLAN.frame([
            {"cutoff_date": cutoff_date, "site_id": pool.site_id, "accelerator_id": pool.accelerator_id,
             "target_date": target, "usable_accelerator_count": float(usable),
             "committed_accelerator_count": committed}
            for pool in pools.values()
            for target, usable, committed in zip(targets, pool.supply, pool.committed, strict=True)
        ]),
        asked={table.name: table.frame([]) for table in ASKED_TABLES} if asked is None else asked.tables,
        model=model,
        reasons=made.reasons,
        paths=made.paths.get(model),
    )


@dataclass(frozen=True)
class _Made:
    """What was forecast of the pools: coherent paths by model, and what the backtest said."""

    paths: dict[str, Paths]
    reasons: dict[str, str]
    backtest: Backtest
    panel: Panel | None = None


def known_future_of(granted: pl.DataFrame, weeks: pl.DataFrame) -> pl.DataFrame:
    """Busy-hour demand that comes on top of a pool's course (series_id, target, value), from hours of work in a week.

    The mean hour of the week times the pool's busy-hour factor, as its history is measured. A pool without a known week
    has no course to come on top of, and no row.
    """
    factors = weeks.select(*POOL, "busy_hour_factor").unique()
    return granted.join(factors, on=POOL).select(
        pl.concat_str(POOL, separator="/").alias("series_id"),
        pl.col("iso_week").map_elements(monday_of, return_dtype=pl.Date).alias("target"),
        (pl.col("additional_accelerator_hours").cast(pl.Float64) / HOURS_A_WEEK * pl.col("busy_hour_factor")).alias("value"),
    ).sort("series_id", "target")


def _forecast_pools(
    weeks: pl.DataFrame, daily: pl.DataFrame, sites: pl.DataFrame, cutoff_week: str, hub_regions: Mapping[str, str | None],
    granted: pl.DataFrame | None, members: Mapping[str, Member],
) -> _Made:
    """Paths of every pool, by the combination and by seasonal naive; a pool of no known week starts from its like.

    A pool without a row in the cutoff week has left service: nothing is installed, nobody asks. It has no forecast.
    """
    in_service = daily.filter(pl.col("usage_date") >= monday_of(cutoff_week)).select(POOL).unique()
    history = weeks.join(in_service, on=POOL, how="semi").select(
        pl.concat_str(POOL, separator="/").alias("series_id"), pl.col("week_start_date").alias("period"),
        pl.col("demand").alias("value"),
    )
    if history.is_empty():
        return _Made({}, {}, Backtest([], None))
    # A row for the cutoff week, so that a history that ended earlier ends there and not the clock.
    cutoff_monday = monday_of(cutoff_week)
    if history["period"].max() < cutoff_monday:
        first = history["series_id"].min()
        history = pl.concat([history, pl.DataFrame(
            {"series_id": [first], "period": [cutoff_monday], "value": [None]}, schema=history.schema)])
    panel = panel_of(history, "1w")
    setting = Setting("1w", NO_SEASON, HORIZON_WEEKS, SEED, members)
    tested = backtest(panel, BOTTOM, parents_of(panel.series_ids, hub_regions), setting)
    kinds = dict(sites.select("site_id", "site_kind").iter_rows()) if "site_kind" in sites.columns else {}
    groups = {
        pool_series_id(site, accelerator): kinds.get(site) or "unknown"
        for site, accelerator in in_service.sort(POOL).iter_rows()
    }
    made = methods.forecast(
        history, frequency="1w", season_length=NO_SEASON, horizon=HORIZON_WEEKS, quantiles=tuple(QUANTILE_LEVELS),
        seed=SEED, cold_start_groups=groups, known_future=None if granted is None else known_future_of(granted, weeks),
        past=methods.Past(
            panel.series_ids, tuple(panel.periods[origin - 1] for origin in tested.rolled.origins), tested.rolled.members),
        members=members,
    )
    level_errors = _level_errors(weeks)
    paths = {
        model: _with_level_errors(
            methods.paths_of(made, season_length=NO_SEASON, seed=SEED, count=PATH_COUNT, model=model), level_errors)
        for model in (COMBINED, YARDSTICK)
    }
    return _Made(paths, made.reasons, tested, made.panel)


def _level_errors(weeks: pl.DataFrame) -> dict[str, float]:
    """The standard error of each pool's busy-hour level, in logs, by series_id."""
    return {
        pool_series_id(site, accelerator): error
        for site, accelerator, error in weeks.select(*POOL, "level_error").unique().iter_rows()
    }


def _with_level_errors(paths: Paths, level_errors: Mapping[str, float]) -> Paths:
    """Paths whose level is as uncertain as the pool's busy-hour factor, each path wrong by the same in every week."""
    drawn = np.random.default_rng(SEED).standard_normal(paths.samples.shape[:2])
    sigma = np.array([level_errors.get(series_id, 0.0) for series_id in paths.series_ids])
    return Paths(exact(paths.samples * np.exp(sigma * drawn)[..., None]), paths.series_ids, paths.targets)


def _forecast_frame(made: _Made, cutoff_date, model: str, hub_regions: Mapping[str, str | None]) -> pl.DataFrame:
    """Rows of fct_demand_forecast: quantiles of the paths at every level, by model."""
    frames = []
    for name, below in made.paths.items():
        by_level = {BOTTOM: below} | {
            level: below.aggregate(parents) for level, parents in parents_of(below.series_ids, hub_regions).items()
        }
        frames += [
            paths.quantiles(QUANTILES).select(
                pl.lit(cutoff_date).alias("cutoff_date"), pl.lit(level).alias("level"), "series_id",
                pl.col("target").alias("target_date"), pl.lit(name).alias("model"), "quantile", "value",
                pl.lit(name == model).alias("is_in_use"),
            )
            for level, paths in by_level.items() if paths.series_ids
        ]
    if not frames:
        return DEMAND_FORECAST.frame([])
    return pl.concat(frames).cast(dict(DEMAND_FORECAST.schema)).sort(DEMAND_FORECAST.grain)


def _pools(
    series: WeeklySeries, daily: pl.DataFrame, weekly: pl.DataFrame, cutoff_week: str, made: _Made, model: str,
    node_sizes: pl.DataFrame | None,
) -> dict[str, Pool]:
    """Every pool that has a week or supply, with what the decision needs."""
    row_of = {series_id: row for row, series_id in enumerate(series.series_ids)}
    growth = dict(zip(
        series.series_ids, np.expm1(seasonal_growth(series.demand, NO_SEASON)) if len(series.weeks) else (), strict=True))
    wape = {row["series_id"]: float(row["value"]) for row in made.backtest.rows
            if row["level"] == BOTTOM and row["model"] == model and row["metric"] == "wape"}
    ratios = {
        pool_series_id(row["site_id"], row["accelerator_id"]): row["p95_utilization_ratio"]
        for row in weekly.filter(pl.col("week_start_date") == monday_of(cutoff_week)).iter_rows(named=True)
    }
    supply = {
        pool_series_id(row["site_id"], row["accelerator_id"]): row
        for row in current_supply(daily, cutoff_week).iter_rows(named=True)
    }
    fallback_ratio = float(np.median([row["usable_ratio"] for row in supply.values()])) if supply else 1.0
    up_ratio = available_ratio(daily)
    serving_ratios = _serving_ratios(daily, cutoff_week)
    paths = made.paths.get(model)
    samples = {series_id: paths.samples[:, row] for row, series_id in enumerate(paths.series_ids)} if paths else {}
    nodes = {
        pool_series_id(site, accelerator): int(size)
        for site, accelerator, size in node_sizes.select(*POOL, "largest_node").iter_rows()
    } if node_sizes is not None else {}
    names = {
        pool_series_id(site_id, accelerator_id): (site_id, accelerator_id)
        for site_id, accelerator_id in pl.concat([daily.select(POOL), weekly.select(POOL)]).unique().iter_rows()
        if pool_series_id(site_id, accelerator_id) in row_of or pool_series_id(site_id, accelerator_id) in supply
    }
    pools = {}
    for key in sorted(names):
        site_id, accelerator_id = names[key]
        history = series.demand[row_of[key]] if key in row_of else np.array([])
        known = np.flatnonzero(np.isfinite(history))
        here = supply.get(key, {})
        pool = Pool(
            site_id=site_id,
            accelerator_id=accelerator_id,
            usable=here.get("usable", 0.0),
            usable_ratio=here.get("usable_ratio", fallback_ratio),
            available_ratio=up_ratio,
            now_p95_utilization_ratio=ratios.get(key),
            demand=float(history[-1]) if len(known) and known[-1] == len(history) - 1 else None,
            known_weeks=len(known),
            last_known_week=week_of(series.weeks[known[-1]]) if len(known) else "",
            weekly_growth_ratio=float(growth.get(key, 0.0)),
            wape=wape.get(key),
            paths=samples.get(key),
            recent_use_ratio=_recent_use(series, row_of[key]) if key in row_of else None,
            serving_ratio=serving_ratios.get(key, 0.0),
        )
        pool.largest_node = nodes.get(key, pool.largest_node)
        pools[key] = pool
    return pools


def _serving_ratios(daily: pl.DataFrame, cutoff_week: str) -> dict[str, float]:
    """Share of serving in each pool's demand of the cutoff week, by series_id."""
    serving, training = (pl.col(f"{kind}_demand_accelerator_hours").cast(pl.Float64).sum() for kind in ("serving", "training"))
    week = daily.filter(pl.col("usage_date") >= monday_of(cutoff_week)).group_by(POOL).agg(
        pl.when(serving + training > 0).then(serving / (serving + training)).otherwise(0.0).alias("ratio"))
    return {pool_series_id(site, accelerator): ratio for site, accelerator, ratio in week.iter_rows()}


def _staffing(pools: Mapping[str, Pool], need: pl.DataFrame, cutoff_week: str) -> list[dict]:
    """Rows of fct_serving_staffing: what each pool's requests need now, and at the order's demand with the order."""
    cases = []
    for row in need.iter_rows(named=True):
        pool = pools[pool_series_id(row["site_id"], row["accelerator_id"])]
        installed = {"now": pool.usable / pool.usable_ratio, "order": pool.installed_then + row["add_accelerator_count"]}
        demand = {"now": row["demand_accelerator_count"], "order": row["order_up_to_accelerator_count"]}
        cases += [
            {"site_id": pool.site_id, "accelerator_id": pool.accelerator_id, "basis": basis,
             "serving_accelerator_count": demand[basis] * pool.serving_ratio,
             "other_accelerator_count": demand[basis] * (1 - pool.serving_ratio),
             "available_accelerator_count": installed[basis] * pool.available_ratio, "available_ratio": pool.available_ratio}
            for basis in STAFFING_BASES if demand[basis] is not None
        ]
    return staffing_rows(cases, {key: pool.served for key, pool in pools.items() if pool.served is not None}, cutoff_week)


def _recent_use(series: WeeklySeries, row: int) -> float | None:
    """The most that demand took of usable supply in the last IDLE_WEEKS weeks; None when one of them is not known."""
    demand, usable = series.demand[row, -IDLE_WEEKS:], series.usable[row, -IDLE_WEEKS:]
    if len(demand) < IDLE_WEEKS or not np.isfinite(demand).all() or not (usable > 0).all():
        return None
    return float((demand / usable).max())
