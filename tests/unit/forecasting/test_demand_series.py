"""Weekly busy-hour series from the marts, with numbers a person can check."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.demand_series import pool_weeks, weekly_series
from orchestration.forecasting.iso_weeks import monday_of, week_of

CUTOFF = "2026-W47"
MONDAY = date(2026, 11, 16)


def week(
    weeks_ago: int, site: str = "a", accelerator: str = "x", demand: float = 84.0, usable: float = 168.0,
    available: float = 210.0, ratio: float | None = 0.8, days: int = 7, known_hours: int | None = None,
) -> dict:
    """One row of fct_supply_demand_weekly; hours of a week by default."""
    return {
        "week_start_date": MONDAY - timedelta(weeks=weeks_ago), "site_id": site, "accelerator_id": accelerator,
        "day_count": days, "usable_accelerator_hours": usable, "available_accelerator_hours": available,
        "serving_demand_accelerator_hours": demand, "training_demand_accelerator_hours": 0.0,
        "p95_utilization_ratio": ratio, "known_hour_count": days * 24 if known_hours is None else known_hours,
    }


def frame(*rows: dict) -> pl.DataFrame:
    """Rows as a weekly mart."""
    return pl.DataFrame(list(rows), schema_overrides={"p95_utilization_ratio": pl.Float64})


def test_busy_hour_demand_is_the_ratio_times_what_was_up() -> None:
    """Against usable instead of available supply, demand would be understated by the target utilization."""
    pools = pool_weeks(frame(week(0)), CUTOFF)
    # 210 available hours in 168 hours are 1.25 accelerators; 80% of them are asked for in the busy hour.
    assert pools["demand"].to_list() == [pytest.approx(1.0)]
    assert pools["usable"].to_list() == [pytest.approx(1.0)]


def test_busy_hour_demand_is_never_below_the_mean_hour() -> None:
    """A week with demand in a few hours has a 95th percentile of zero, and would look idle."""
    pools = pool_weeks(frame(week(0, demand=168.0, ratio=0.0)), CUTOFF)
    assert pools["demand"].to_list() == [pytest.approx(1.0)]


def test_a_pool_without_supply_uses_the_busy_hour_factor_of_the_others() -> None:
    """Demand where nothing is installed has no ratio; taken at its mean it would be ordered too small."""
    pools = pool_weeks(
        frame(week(0), week(0, site="b", usable=0.0, available=0.0, ratio=None, demand=168.0)), CUTOFF
    )
    # Pool a: mean 0.5, busy hour 1.0, factor 2. Pool b: mean 1.0, so 2.0.
    assert pools.filter(pl.col("site_id") == "b")["demand"].to_list() == [pytest.approx(2.0)]


def test_a_part_of_a_week_counts_only_where_there_is_no_whole_one() -> None:
    """The first, cut week of a history would look like growth in the second."""
    pools = pool_weeks(frame(week(0), week(1, days=3), week(0, site="b", days=2)), CUTOFF)
    assert pools.select("site_id", "week_start_date").rows() == [("a", MONDAY), ("b", MONDAY)]


def test_hours_that_dropped_out_are_no_hours_of_zero_demand() -> None:
    """A day of silence averaged in as zero would read as a seventh less demand, and as the end of growth."""
    whole, partial = frame(week(0, demand=168.0, ratio=0.0)), frame(week(0, demand=144.0, ratio=0.0, known_hours=144))
    assert pool_weeks(whole, CUTOFF)["demand"].to_list() == pool_weeks(partial, CUTOFF)["demand"].to_list() == [1.0]


def test_a_week_that_mostly_dropped_out_is_not_known() -> None:
    """Sixty hours are no week: their busiest hour says nothing of the other hundred."""
    pools = pool_weeks(frame(week(0, known_hours=60), week(1), week(2, known_hours=0)), CUTOFF)
    assert pools["week_start_date"].to_list() == [MONDAY - timedelta(weeks=1)]


def test_weeks_after_the_cutoff_are_not_seen() -> None:
    """A forecast made again for a past week must not know what came after."""
    assert pool_weeks(frame(week(0), week(-1, demand=999.0)), CUTOFF)["week_start_date"].to_list() == [MONDAY]


def test_levels_sum_the_pools_and_keep_unknown_weeks_unknown() -> None:
    """A drop-out taken as zero demand would drag the forecast down."""
    pools = pool_weeks(frame(week(0), week(0, accelerator="y"), week(2), week(2, accelerator="y")), CUTOFF)
    site = weekly_series(pools, "site", CUTOFF)
    assert site.series_ids == ("a",)
    assert len(site.weeks) == 3
    np.testing.assert_allclose(site.demand, [[2.0, np.nan, 2.0]])
    assert weekly_series(pools, "site_accelerator", CUTOFF).series_ids == ("a/x", "a/y")


def test_iso_weeks_round_trip_over_a_year_of_53_weeks() -> None:
    """2026 has a week 53; a week table of 52 would shift every date after it."""
    assert week_of(date(2026, 12, 31)) == "2026-W53"
    assert monday_of("2026-W53") == date(2026, 12, 28)
    assert week_of(date(2027, 1, 4)) == "2027-W01"
