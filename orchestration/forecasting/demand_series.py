"""Weekly busy-hour demand series of pools, from the supply and demand marts.

Shapes what the marts hold into one matrix per level (series by week). No forecasting, and no other
metric: demand and utilization are computed in dbt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.forecasting.iso_weeks import monday_of, weeks_after

HISTORY_WEEKS = 60
"""Older weeks say nothing about the next quarter and would only slow the backtest."""

FEWEST_KNOWN_RATIO = 0.5
"""A week, or a day, with fewer of its hours known has no demand to speak of. Assumption."""

BUSY_HOUR_WEEKS = 13
"""Weeks whose busy hours make a pool's busy-hour factor."""

DEFAULT_BUSY_HOUR_FACTOR = 1.5
"""Busy hour over mean hour where no pool's hours are known. Assumption: the peak hour of public LLM
services is 1.74 to 1.98 times the mean, and the 95th percentile lies below the peak."""

DEFAULT_FACTOR_SCATTER = 0.1
"""Standard deviation, in logs, of a week's busy hour over its mean where no pool shows one. Assumption."""

NATION = "nation"
UNKNOWN_REGION = "unknown"
POOL = ["site_id", "accelerator_id"]
WORKDAYS_A_WEEK = 5


@dataclass(frozen=True)
class WeeklySeries:
    """Series of one level over the same weeks; NaN is a week that is not known."""

    level: str
    series_ids: tuple[str, ...]
    weeks: tuple[date, ...]
    demand: np.ndarray
    usable: np.ndarray
    available: np.ndarray


def pool_series_id(site_id: str, accelerator_id: str) -> str:
    """The series_id of a pool: what is at one site of one accelerator type."""
    return f"{site_id}/{accelerator_id}"


def parents_of(series_ids: tuple[str, ...], hub_regions: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """The series of each level above that a pool adds up into, by pool's series_id."""
    site_of = {series_id: series_id.partition("/")[0] for series_id in series_ids}
    return {
        "site": site_of,
        "hub_region": {pool: hub_regions.get(site) or UNKNOWN_REGION for pool, site in site_of.items()},
        "nation": dict.fromkeys(series_ids, NATION),
    }


def workdays(days: pl.Series, holidays: pl.DataFrame | None) -> pl.DataFrame:
    """Whether each day is worked (usage_date, is_workday): Monday to Friday but for days off, and make-up workdays.

    ``holidays``: (holiday_date, day_type) with day_type off or make_up_workday; other kinds change nothing.
    """
    calendar = pl.DataFrame({"usage_date": days.unique().sort()}, schema={"usage_date": pl.Date})
    weekday = pl.col("usage_date").dt.weekday() <= WORKDAYS_A_WEEK
    if holidays is None:
        return calendar.with_columns(weekday.alias("is_workday"))
    by_kind = {
        kind: holidays.filter(pl.col("day_type") == kind)["holiday_date"].unique().to_list()
        for kind in ("off", "make_up_workday")
    }
    return calendar.with_columns(
        ((weekday & ~pl.col("usage_date").is_in(by_kind["off"])) | pl.col("usage_date").is_in(by_kind["make_up_workday"]))
        .alias("is_workday")
    )


def ordinary_week_demand(supply_demand_daily: pl.DataFrame, holidays: pl.DataFrame | None) -> pl.DataFrame:
    """Mean demand of each pool's weeks as if five days were worked: (site_id, accelerator_id, week_start_date, mean_demand).

    The mean of the workdays counts five sevenths, that of the days off two sevenths, whatever the calendar made of
    the week; so a week of holidays neither looks like a loss of customers nor the next like growth. A week without
    days of a kind takes them at the pool's ratio of days off to workdays. Days are per known hour; a day with fewer
    than FEWEST_KNOWN_RATIO of its hours known is left out.
    """
    known_hours = pl.col("known_hour_count").cast(pl.Float64)
    days = (
        supply_demand_daily.filter(known_hours >= FEWEST_KNOWN_RATIO * 24)
        .with_columns(
            (
                (
                    pl.col("serving_demand_accelerator_hours").cast(pl.Float64).fill_null(0)
                    + pl.col("training_demand_accelerator_hours").cast(pl.Float64).fill_null(0)
                ) / known_hours
            ).alias("demand"),
            pl.col("usage_date").dt.truncate("1w").alias("week_start_date"),
        )
        .join(workdays(supply_demand_daily["usage_date"], holidays), on="usage_date")
    )
    of_kind = [
        pl.col("demand").filter(kind).mean().alias(name)
        for name, kind in (("worked", pl.col("is_workday")), ("off", ~pl.col("is_workday")))
    ]
    ratio = (
        days.group_by(POOL).agg(of_kind)
        .select(*POOL, pl.when(pl.col("worked") > 0).then(pl.col("off") / pl.col("worked")).fill_null(1).alias("ratio"))
    )
    weeks = days.group_by(*POOL, "week_start_date").agg(of_kind).join(ratio, on=POOL)
    worked = pl.coalesce("worked", pl.when(pl.col("ratio") > 0).then(pl.col("off") / pl.col("ratio")), "off")
    off = pl.coalesce("off", pl.col("worked") * pl.col("ratio"))
    return weeks.select(
        *POOL, "week_start_date", ((WORKDAYS_A_WEEK * worked + (7 - WORKDAYS_A_WEEK) * off) / 7).alias("mean_demand")
    )


def pool_weeks(
    supply_demand_daily: pl.DataFrame, supply_demand_weekly: pl.DataFrame, cutoff_week: str,
    holidays: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row per (site_id, accelerator_id, week_start_date) up to the cutoff week, with busy-hour demand and its factor.

    Busy-hour demand is the mean demand of an ordinary week times the pool's busy-hour factor. The factor is the
    median over its last BUSY_HOUR_WEEKS known weeks of the week's measured busy hour over its mean; the measured busy
    hour is p95_utilization_ratio (demand over what was up) times mean available accelerators. A pool that was never
    up takes the median of all pools, else DEFAULT_BUSY_HOUR_FACTOR; no factor is below 1. One week's own busy hour
    is a draw from its bursts, good to some 5%; the mean is known ten times better, and growth is read from it.

    ``level_error`` is the standard error of the factor, in logs: the scatter of weekly factors (the median of all pools')
    over the root of the pool's weeks. It is the same in all weeks of a pool, so no backtest sees it.

    A week that is not whole counts only where the pool has no whole week at all; a week with fewer than
    FEWEST_KNOWN_RATIO of its hours known (the site's usage dropped out) is not known.
    """
    cutoff = monday_of(cutoff_week)
    hours = pl.col("day_count").cast(pl.Float64) * 24
    known_hours = pl.col("known_hour_count").cast(pl.Float64)
    days = supply_demand_daily.filter(
        pl.col("usage_date").is_between(weeks_after(cutoff, 1 - HISTORY_WEEKS), cutoff + timedelta(days=6))
    )
    weeks = (
        supply_demand_weekly.filter(
            (pl.col("week_start_date") <= cutoff)
            & (pl.col("week_start_date") > weeks_after(cutoff, -HISTORY_WEEKS))
            & (pl.col("day_count") > 0)
            & (known_hours > 0) & (known_hours >= FEWEST_KNOWN_RATIO * hours)
        )
        .with_columns(
            (pl.col(f"{name}_accelerator_hours").cast(pl.Float64).fill_null(0) / hours).clip(lower_bound=0).alias(name)
            for name in ("usable", "available")
        )
        .join(ordinary_week_demand(days, holidays), on=[*POOL, "week_start_date"])
        .sort(*POOL, "week_start_date")
        .with_columns(
            pl.when((pl.col("available") > 0) & (pl.col("mean_demand") > 0))
            .then(pl.col("p95_utilization_ratio") * pl.col("available") / pl.col("mean_demand")).alias("factor"),
            (pl.col("day_count") >= 7).any().over(POOL).alias("has_whole_week"),
        )
        .filter((pl.col("day_count") >= 7) | ~pl.col("has_whole_week"))
    )
    recent = pl.col("factor").drop_nulls().tail(BUSY_HOUR_WEEKS)
    factors = weeks.group_by(POOL).agg(
        recent.median().alias("pool_factor"), recent.len().alias("factor_count"),
        recent.filter(recent > 0).log().std().alias("scatter"),
    )
    network_factor = factors["pool_factor"].median() or DEFAULT_BUSY_HOUR_FACTOR
    scatter = factors["scatter"].median()
    return (
        weeks.join(factors, on=POOL)
        .with_columns(pl.col("pool_factor").fill_null(network_factor).clip(lower_bound=1).alias("busy_hour_factor"))
        .with_columns(
            (pl.col("mean_demand") * pl.col("busy_hour_factor")).alias("demand"),
            ((DEFAULT_FACTOR_SCATTER if scatter is None else scatter) / pl.col("factor_count").clip(lower_bound=1).sqrt())
            .alias("level_error"),
        )
        .select(*POOL, "week_start_date", "demand", "usable", "available", "busy_hour_factor", "level_error")
        .sort(*POOL, "week_start_date")
    )


def weekly_series(
    pools: pl.DataFrame, level: str, cutoff_week: str, hub_regions: Mapping[str, str | None] | None = None
) -> WeeklySeries:
    """The series of one level; a level above the pools sums those that are known in each week."""
    named = pools.with_columns(pl.concat_str("site_id", "accelerator_id", separator="/").alias("series_id"))
    if level != "site_accelerator":
        parents = parents_of(tuple(named["series_id"].unique()), hub_regions or {})[level]
        named = named.with_columns(pl.col("series_id").replace_strict(parents, return_dtype=pl.String))
    summed = named.group_by("series_id", "week_start_date").agg(pl.sum("demand", "usable", "available"))
    series_ids = tuple(summed["series_id"].unique().sort())
    cutoff = monday_of(cutoff_week)
    first = summed["week_start_date"].min() or cutoff
    weeks = tuple(first + timedelta(weeks=step) for step in range((cutoff - first).days // 7 + 1))
    row_of = {series_id: row for row, series_id in enumerate(series_ids)}
    matrices = [np.full((len(series_ids), len(weeks)), np.nan) for _ in range(3)]
    for series_id, monday, *measures in summed.sort("series_id", "week_start_date").iter_rows():
        for matrix, measure in zip(matrices, measures, strict=True):
            matrix[row_of[series_id], (monday - first).days // 7] = measure
    return WeeklySeries(level, series_ids, weeks, *matrices)
