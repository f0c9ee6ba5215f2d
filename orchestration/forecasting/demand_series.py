"""Weekly busy-hour demand series, from the supply and demand marts.

Shapes what the marts hold into one matrix per level (series by week). No forecasting,
and no other metric: demand and utilization are computed in dbt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.forecasting.iso_weeks import monday_of, weeks_after

HISTORY_WEEKS = 60
"""Older weeks say nothing about the next quarter and would only slow the backtest."""

FEWEST_KNOWN_RATIO = 0.5
"""A week with more of its hours dropped out than this has no busy hour to speak of. Assumption."""

DEFAULT_BUSY_HOUR_FACTOR = 1.5
"""Busy hour over mean hour where no pool's hours are known. Assumption: the peak hour of public LLM
services is 1.74 to 1.98 times the mean, and the 95th percentile lies below the peak."""

NATION = "nation"


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


def pool_weeks(supply_demand_weekly: pl.DataFrame, cutoff_week: str) -> pl.DataFrame:
    """One row per (site_id, accelerator_id, week_start_date) up to the cutoff week, with busy-hour demand.

    Busy-hour demand is p95_utilization_ratio (demand over what was up) times mean available accelerators,
    never below the mean hour's demand. Where the ratio is null (nothing was up) it is the mean hour times
    the busy-hour factor: the pool's own median, else the median of all pools, else DEFAULT_BUSY_HOUR_FACTOR.
    A week that is not whole counts only where the pool has no whole week at all. Hours whose demand is not
    known (the site's usage dropped out) count in no mean; a week with fewer than FEWEST_KNOWN_RATIO of its
    hours known is not known.
    """
    cutoff = monday_of(cutoff_week)
    hours = pl.col("day_count").cast(pl.Float64) * 24
    known_hours = pl.col("known_hour_count").cast(pl.Float64)
    mean_demand = (
        pl.col("serving_demand_accelerator_hours").cast(pl.Float64).fill_null(0)
        + pl.col("training_demand_accelerator_hours").cast(pl.Float64).fill_null(0)
    ) / known_hours
    weeks = (
        supply_demand_weekly.filter(
            (pl.col("week_start_date") <= cutoff)
            & (pl.col("week_start_date") > weeks_after(cutoff, -HISTORY_WEEKS))
            & (pl.col("day_count") > 0)
            & (known_hours > 0) & (known_hours >= FEWEST_KNOWN_RATIO * hours)
        )
        .with_columns(
            mean_demand.alias("mean_demand"),
            *(
                (pl.col(f"{name}_accelerator_hours").cast(pl.Float64).fill_null(0) / hours)
                .clip(lower_bound=0).alias(name)
                for name in ("usable", "available")
            ),
        )
        .with_columns(
            pl.when(pl.col("available") > 0)
            .then(pl.col("p95_utilization_ratio") * pl.col("available")).alias("measured")
        )
        .with_columns(
            pl.when((pl.col("mean_demand") > 0) & (pl.col("measured") >= pl.col("mean_demand")))
            .then(pl.col("measured") / pl.col("mean_demand")).alias("factor")
        )
    )
    network_factor = weeks["factor"].median() or DEFAULT_BUSY_HOUR_FACTOR
    pool = ["site_id", "accelerator_id"]
    return (
        weeks.with_columns(
            pl.col("factor").median().over(pool).fill_null(network_factor).alias("pool_factor"),
            (pl.col("day_count") >= 7).any().over(pool).alias("has_whole_week"),
        )
        .filter((pl.col("day_count") >= 7) | ~pl.col("has_whole_week"))
        .with_columns(
            pl.max_horizontal(
                pl.coalesce("measured", pl.col("mean_demand") * pl.col("pool_factor")), "mean_demand"
            ).alias("demand")
        )
        .select(*pool, "week_start_date", "demand", "usable", "available")
        .sort(*pool, "week_start_date")
    )


def weekly_series(pools: pl.DataFrame, level: str, cutoff_week: str) -> WeeklySeries:
    """The series of one level; a site or the nation sums the pools that are known in each week."""
    keyed = pools.with_columns(
        {
            "site_accelerator": pl.concat_str("site_id", "accelerator_id", separator="/"),
            "site": pl.col("site_id"),
            "nation": pl.lit(NATION),
        }[level].alias("series_id")
    )
    summed = keyed.group_by("series_id", "week_start_date").agg(pl.sum("demand", "usable", "available"))
    series_ids = tuple(summed["series_id"].unique().sort())
    cutoff = monday_of(cutoff_week)
    first = summed["week_start_date"].min() or cutoff
    weeks = tuple(first + timedelta(weeks=step) for step in range((cutoff - first).days // 7 + 1))
    row_of = {series_id: row for row, series_id in enumerate(series_ids)}
    matrices = [np.full((len(series_ids), len(weeks)), np.nan) for _ in range(3)]
    for series_id, monday, *measures in summed.iter_rows():
        for matrix, measure in zip(matrices, measures, strict=True):
            matrix[row_of[series_id], (monday - first).days // 7] = measure
    return WeeklySeries(level, series_ids, weeks, *matrices)
