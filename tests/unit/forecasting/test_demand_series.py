"""Weekly busy-hour series from the marts, with numbers a person can check."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.demand_series import (
    ordinary_week_demand,
    parents_of,
    pool_weeks,
    weekly_series,
    workdays,
)
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


def series_of(*rows: dict, holidays: pl.DataFrame | None = None) -> pl.DataFrame:
    """The pools' weeks of a weekly mart of these rows, and of a daily one in which each day is a seventh of its week."""
    daily = [
        {**{name: row[name] for name in ("site_id", "accelerator_id")},
         **{name: row[name] / row["day_count"] for name in row if name.endswith("_accelerator_hours")},
         "usage_date": row["week_start_date"] + timedelta(days=day), "known_hour_count": row["known_hour_count"] / row["day_count"]}
        for row in rows for day in range(row["day_count"])
    ]
    weekly = pl.DataFrame(list(rows), schema_overrides={"p95_utilization_ratio": pl.Float64})
    return pool_weeks(pl.DataFrame(daily), weekly, CUTOFF, holidays)


def test_busy_hour_demand_is_the_ratio_times_what_was_up() -> None:
    """Against usable instead of available supply, demand would be understated by the target utilization."""
    pools = series_of(week(0))
    # 210 available hours in 168 hours are 1.25 accelerators; 80% of them are asked for in the busy hour.
    assert pools["demand"].to_list() == [pytest.approx(1.0)]
    assert pools["usable"].to_list() == [pytest.approx(1.0)]


def test_busy_hour_demand_is_never_below_the_mean_hour() -> None:
    """A week with demand in a few hours has a 95th percentile of zero, and would look idle."""
    pools = series_of(week(0, demand=168.0, ratio=0.0))
    assert pools["demand"].to_list() == [pytest.approx(1.0)]


def test_a_pool_without_supply_uses_the_busy_hour_factor_of_the_others() -> None:
    """Demand where nothing is installed has no ratio; taken at its mean it would be ordered too small."""
    pools = series_of(week(0), week(0, site="b", usable=0.0, available=0.0, ratio=None, demand=168.0))
    # Pool a: mean 0.5, busy hour 1.0, factor 2. Pool b: mean 1.0, so 2.0.
    assert pools.filter(pl.col("site_id") == "b")["demand"].to_list() == [pytest.approx(2.0)]


def test_a_part_of_a_week_counts_only_where_there_is_no_whole_one() -> None:
    """The first, cut week of a history would look like growth in the second."""
    pools = series_of(week(0), week(1, days=3), week(0, site="b", days=2))
    assert pools.select("site_id", "week_start_date").rows() == [("a", MONDAY), ("b", MONDAY)]


def test_hours_that_dropped_out_are_no_hours_of_zero_demand() -> None:
    """A day of silence averaged in as zero would read as a seventh less demand, and as the end of growth."""
    whole, partial = series_of(week(0, demand=168.0, ratio=0.0)), series_of(week(0, demand=147.0, ratio=0.0, known_hours=147))
    assert whole["demand"].to_list() == partial["demand"].to_list() == [1.0]


def test_a_week_that_mostly_dropped_out_is_not_known() -> None:
    """Sixty hours are no week: their busiest hour says nothing of the other hundred."""
    pools = series_of(week(0, known_hours=60), week(1), week(2, known_hours=0))
    assert pools["week_start_date"].to_list() == [MONDAY - timedelta(weeks=1)]


def test_weeks_after_the_cutoff_are_not_seen() -> None:
    """A forecast made again for a past week must not know what came after."""
    assert series_of(week(0), week(-1, demand=999.0))["week_start_date"].to_list() == [MONDAY]


def test_levels_sum_the_pools_and_keep_unknown_weeks_unknown() -> None:
    """A drop-out taken as zero demand would drag the forecast down."""
    pools = series_of(week(0), week(0, accelerator="y"), week(2), week(2, accelerator="y"))
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


def days_of(demand_by_day: dict[date, float], known_hours: int = 24) -> pl.DataFrame:
    """One pool's daily mart with this mean demand."""
    return pl.DataFrame([
        {"usage_date": day, "site_id": "a", "accelerator_id": "x", "serving_demand_accelerator_hours": known_hours * demand,
         "training_demand_accelerator_hours": 0.0, "known_hour_count": known_hours} for day, demand in demand_by_day.items()
    ])


def test_a_week_of_holidays_is_no_loss_of_customers() -> None:
    """National Day read as demand would show every site growing by a tenth in the fortnight after it."""
    days = [MONDAY - timedelta(weeks=1) + timedelta(days=step) for step in range(14)]
    holidays = pl.DataFrame({"holiday_date": days[:3], "day_type": ["off"] * 3})
    # 10 on a workday and 6 on a day off; in the first week Monday to Wednesday are off.
    asked = {day: 6.0 if day.weekday() >= 5 or day in days[:3] else 10.0 for day in days}
    assert ordinary_week_demand(days_of(asked), holidays).sort("week_start_date")["mean_demand"].to_list() == [
        pytest.approx((5 * 10 + 2 * 6) / 7)] * 2
    unaware = ordinary_week_demand(days_of(asked), None).sort("week_start_date")["mean_demand"].to_list()
    assert unaware[0] < unaware[1]


def test_a_make_up_workday_is_worked() -> None:
    """China moves workdays to weekends around its holidays."""
    saturday = MONDAY + timedelta(days=5)
    holidays = pl.DataFrame({"holiday_date": [saturday, MONDAY], "day_type": ["make_up_workday", "event"]})
    days = pl.Series([MONDAY, saturday, saturday + timedelta(days=1)])
    assert workdays(days, holidays)["is_workday"].to_list() == [True, True, False]
    assert workdays(days, None)["is_workday"].to_list() == [True, False, False]


def test_a_week_without_a_workday_takes_it_at_the_ratio_of_the_others() -> None:
    """Spring Festival leaves a week without any; its mean must still say what an ordinary week would have asked for."""
    days = [MONDAY - timedelta(weeks=1) + timedelta(days=step) for step in range(14)]
    holidays = pl.DataFrame({"holiday_date": days[:5], "day_type": ["off"] * 5})
    asked = {day: 6.0 if day.weekday() >= 5 or day in days[:5] else 10.0 for day in days}
    assert ordinary_week_demand(days_of(asked), holidays)["mean_demand"].to_list() == [pytest.approx((5 * 10 + 2 * 6) / 7)] * 2


def test_one_burst_does_not_move_the_busy_hour() -> None:
    """A week's own 95th percentile is a draw from its bursts: taken as it is, its noise hides 2% of growth a week."""
    weeks = [week(ago, ratio=0.8) for ago in range(1, 8)] + [week(0, ratio=1.1)]
    assert set(series_of(*weeks)["demand"].round(9)) == {1.0}


def test_a_pool_adds_up_into_its_site_its_region_and_the_nation() -> None:
    """A pool that belongs nowhere is missing from every sum above it."""
    parents = parents_of(("a/x", "b/x"), {"a": "yangtze", "b": None})
    assert parents == {"site": {"a/x": "a", "b/x": "b"}, "hub_region": {"a/x": "yangtze", "b/x": "unknown"},
                       "nation": {"a/x": "nation", "b/x": "nation"}}
