"""Demand by the hour and the day: what is not known is masked, holidays are no loss, sums are of the same paths."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.asked_series import CLOCKS, history, look_ahead

LAST = date(2026, 11, 22)
QUANTILES = (0.1, 0.5, 0.9)
NO_HOLIDAYS = pl.DataFrame(schema={"holiday_date": pl.Date, "day_type": pl.String})
NO_SILENCE = pl.DataFrame(schema={"series_id": pl.String, "usage_hour": pl.Datetime("us"), "silent_ratio": pl.Float64})
WEEKEND_SHARE = 0.5


def asked(weeks: int, holidays: tuple[date, ...] = (), **hourly: float) -> pl.DataFrame:
    """So much an hour of a workday by series, half of it on days off, in business days up to LAST."""
    rows = []
    for step in range(7 * weeks * 24):
        hour = datetime(2026, 11, 22, 16) - timedelta(hours=7 * weeks * 24 - step)
        day = (hour + timedelta(hours=8)).date()
        share = WEEKEND_SHARE if day.weekday() >= 5 or day in holidays else 1.0
        rows += [{"series_id": name, "usage_hour": hour, "value": share * value} for name, value in hourly.items()]
    return pl.DataFrame(rows, schema={"series_id": pl.String, "usage_hour": pl.Datetime("us"), "value": pl.Float64})


def first_of(weeks: int) -> date:
    """The first business day of so many weeks."""
    return LAST - timedelta(days=7 * weeks - 1)


def silent(hours: range, ratio: float) -> pl.DataFrame:
    """These hours of the UTC day 2026-11-18, in which so much of ``a`` was not heard."""
    return pl.DataFrame(
        [{"series_id": "a", "usage_hour": datetime(2026, 11, 18, hour), "silent_ratio": ratio} for hour in hours],
        schema=NO_SILENCE.schema)


def test_a_day_is_that_of_shanghai_and_its_hours_add_up_to_it() -> None:
    """Days cut at midnight in Greenwich would mix a Sunday evening with a Monday morning."""
    days = history(asked(1, a=10.0), NO_SILENCE, "day", first_of(1), LAST)
    assert days["period"].to_list() == [first_of(1) + timedelta(days=step) for step in range(7)]
    assert days["value"].to_list() == [240.0] * 5 + [120.0] * 2
    hours = history(asked(1, a=10.0), NO_SILENCE, "hour", first_of(1), LAST)
    assert hours["period"][0] == datetime(2026, 11, 15, 16) and hours["period"][-1] == datetime(2026, 11, 22, 15)
    assert hours["value"].sum() == days["value"].sum()


def test_an_hour_that_nobody_was_heard_in_is_not_known_and_one_without_demand_is_zero() -> None:
    """A drop-out that counts as zero is a customer lost; a quiet night that counts as unknown is growth."""
    whole = asked(1, a=10.0).filter(pl.col("usage_hour") != datetime(2026, 11, 17, 3))
    gone = whole.filter(~pl.col("usage_hour").is_between(datetime(2026, 11, 18, 2), datetime(2026, 11, 18, 5)))
    hours = history(gone, silent(range(2, 6), 1.0), "hour", first_of(1), LAST)
    value = dict(hours.select("period", "value").iter_rows())
    assert value[datetime(2026, 11, 17, 3)] == 0.0
    assert [value[datetime(2026, 11, 18, hour)] for hour in range(1, 7)] == [10.0, None, None, None, None, 10.0]
    days = dict(history(gone, silent(range(2, 6), 1.0), "day", first_of(1), LAST).select("period", "value").iter_rows())
    # 20 of 24 hours were heard, of ten each.
    assert days[date(2026, 11, 18)] == pytest.approx(240.0)
    assert days[date(2026, 11, 17)] == 230.0


def test_a_sum_with_one_silent_part_counts_what_was_heard_for_the_whole() -> None:
    """One site of thirty must not make the nation unknown, nor three tenths smaller."""
    part = asked(1, a=7.0)
    hours = dict(history(part, silent(range(4), 0.3), "hour", first_of(1), LAST).select("period", "value").iter_rows())
    assert hours[datetime(2026, 11, 18, 2)] == pytest.approx(10.0)
    most = dict(history(part, silent(range(4), 0.6), "hour", first_of(1), LAST).select("period", "value").iter_rows())
    assert most[datetime(2026, 11, 18, 2)] is None


def test_a_series_begins_with_its_first_demand() -> None:
    """A site that opened on Friday noon did not ask for nothing before, nor for half a day then."""
    opened = asked(1, a=10.0).filter(pl.col("usage_hour") >= datetime(2026, 11, 20, 4))
    assert history(opened, NO_SILENCE, "day", first_of(1), LAST)["period"].to_list() == [date(2026, 11, 21), LAST]
    assert history(opened, NO_SILENCE, "hour", first_of(1), LAST)["period"][0] == datetime(2026, 11, 20, 4)


def test_a_coming_holiday_asks_for_a_day_off_and_the_days_around_it_do_not() -> None:
    """National Day as a Monday like any other would order for a peak that stays away."""
    past, coming = date(2026, 11, 4), date(2026, 11, 25)
    seen = history(asked(8, (past,), a=100.0), NO_SILENCE, "day", first_of(8), LAST)
    holidays = pl.DataFrame({"holiday_date": [past, coming, date(2026, 11, 28)], "day_type": ["off", "off", "make_up_workday"]})
    ahead = look_ahead(seen, "day", holidays, QUANTILES, 7).quantiles
    median = dict(ahead.filter(pl.col("quantile") == 0.5).select("period", "value").iter_rows())
    expected = {date(2026, 11, 24): 2400, coming: 1200, date(2026, 11, 26): 2400, date(2026, 11, 28): 2400, date(2026, 11, 29): 1200}
    assert {day: median[day] for day in expected} == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("by", ["hour", "day"])
def test_the_sum_of_the_series_is_read_from_the_same_paths(by: str) -> None:
    """The nation would be wider than its sites together, or narrower, and no reader could say which is right."""
    random = np.random.default_rng(3)
    noisy = asked(8, a=100.0, b=300.0).with_columns(
        pl.col("value") * pl.Series(random.lognormal(0, 0.2, 2 * 8 * 168)))
    made = look_ahead(history(noisy, NO_SILENCE, by, first_of(8), LAST), by, NO_HOLIDAYS, QUANTILES)
    assert set(made.quantiles["series_id"]) == {"a", "b", "all"}
    assert made.quantiles.group_by("series_id").len()["len"].unique().to_list() == [len(QUANTILES) * CLOCKS[by].horizon]
    a, b = (made.paths.samples[:, index] for index in range(2))
    total = made.quantiles.filter(pl.col("series_id") == "all").pivot(on="quantile", index="period", values="value").sort("period")
    for quantile in QUANTILES:
        assert total[str(quantile)].to_numpy() == pytest.approx(np.quantile(a + b, quantile, axis=0), rel=1e-12)
    assert np.array_equal((a + b) - b, a), "no sum of paths is rounded"
    again = look_ahead(history(noisy, NO_SILENCE, by, first_of(8), LAST), by, NO_HOLIDAYS, QUANTILES)
    assert again.quantiles.equals(made.quantiles), "same input, same figures"


@pytest.mark.parametrize("case", ["zeros", "one hour", "level shift", "silent week", "spike", "closed", "opened yesterday"])
@pytest.mark.parametrize("by", ["hour", "day"])
def test_any_history_gives_a_forecast_or_a_reason(by: str, case: str) -> None:
    """Who asks about one odd tenant must not meet a traceback."""
    whole, quiet = asked(6, a=100.0, b=50.0), NO_SILENCE
    of_a, hour = pl.col("series_id") == "a", pl.col("usage_hour")
    match case:
        case "zeros":
            whole = whole.with_columns(pl.when(of_a).then(0.0).otherwise("value").alias("value"))
        case "one hour":
            whole = whole.filter(~of_a | (hour == datetime(2026, 11, 22, 15)))
        case "level shift":
            whole = whole.with_columns(pl.when(of_a & (hour >= datetime(2026, 11, 8))).then(pl.col("value") * 10).otherwise("value").alias("value"))
        case "silent week":
            gone = [datetime(2026, 11, 9) + timedelta(hours=step) for step in range(168)]
            whole = whole.filter(~of_a | ~hour.is_in(gone))
            quiet = pl.DataFrame({"series_id": ["a"] * 168, "usage_hour": gone, "silent_ratio": [1.0] * 168}, schema=NO_SILENCE.schema)
        case "spike":
            whole = whole.with_columns(pl.when(of_a & (hour == datetime(2026, 11, 18, 3))).then(pl.col("value") * 100).otherwise("value").alias("value"))
        case "closed":
            whole = whole.filter(~of_a | (hour < datetime(2026, 10, 25)))
        case "opened yesterday":
            whole = whole.filter(~of_a | (hour >= datetime(2026, 11, 20, 16)))
    made = look_ahead(history(whole, quiet, by, first_of(6), LAST), by, NO_HOLIDAYS, QUANTILES)
    assert made.quantiles["value"].is_finite().all() and (made.quantiles["value"] >= 0).all()
    of_b = made.quantiles.filter((pl.col("series_id") == "b") & (pl.col("quantile") == 0.5))["value"]
    assert of_b.max() <= 20 * 50 * (24 if by == "day" else 1)
    named = set(made.quantiles["series_id"]) | set(made.reasons)
    # A series that never asked for anything is no series.
    assert ("a" in named) == (case not in ("zeros", "one hour") or (case == "one hour" and by == "hour"))
