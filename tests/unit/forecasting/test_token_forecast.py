"""The forecast of tokens: exact sums over every level, the calendar, silence, and what was said before."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.defs.forecasts import yardstick_check
from orchestration.forecasting import token_forecast
from orchestration.forecasting.tables import (
    ASKED_LEVELS,
    ASKED_MEASURES,
    ASKED_TABLES,
    DEMAND_FORECAST,
    FORECAST_ACCURACY,
    SERVING_DEMAND,
    SERVING_FORECAST,
    TOKEN_DEMAND,
    TOKEN_FORECAST,
)
from orchestration.forecasting.token_forecast import (
    AskedDemand,
    Cells,
    cells_of,
    forecast_asked,
    parents_of_cells,
    units_of,
)

CUTOFF = "2026-W47"
MONDAY = date(2026, 11, 16)
WEEKS = 8
SITES = ("a", "b", "c")
GROUPS = {"hub_region": {"a": "north", "b": "north", "c": "south"}, "region": {"a": "east", "b": "west"}}
TOKENS_AN_HOUR = 1e5
WEEKEND_SHARE = 0.5


def demand(holidays: tuple[date, ...] = (), growth: float = 1.01) -> pl.DataFrame:
    """Three sites, two segments of a tenant each a site, three models for eight weeks; a day off asks for half of a workday."""
    first = MONDAY - timedelta(weeks=WEEKS - 1)
    rows = []
    for step in range(7 * WEEKS):
        day = first + timedelta(days=step)
        off = day.weekday() >= 5 or day in holidays
        for index, (site, segment, model) in enumerate(
                (site, segment, model) for site in SITES for segment in ("developer", "enterprise") for model in ("m1", "m2", "m3")):
            level = 1e6 * (index + 1) * growth ** (step // 7) * (WEEKEND_SHARE if off else 1)
            rows.append({"usage_date": day, "origin_site_id": site, "segment": segment, "model_id": model,
                         "tenant_id": f"{segment}-{site}", "input_tokens": level, "output_tokens": level / 4,
                         "accelerator_hours": level / TOKENS_AN_HOUR})
    return pl.DataFrame(rows)


def holidays(*days: date) -> pl.DataFrame:
    """These days off."""
    return pl.DataFrame({"holiday_date": list(days), "day_type": ["off"] * len(days)},
                        schema={"holiday_date": pl.Date, "day_type": pl.String})


def test_every_level_adds_up_to_the_last_bit_where_cells_share_a_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner who adds the models must get the nation, or trusts neither."""
    monkeypatch.setattr(token_forecast, "LARGEST_CELLS", 4)
    monkeypatch.setattr(token_forecast, "LARGEST_TENANTS", 3)
    cells = cells_of(AskedDemand(demand()), None, "input_tokens", CUTOFF)
    assert len(units_of(cells).series_ids) == 4 + 5, "four by themselves, the rest of each site and segment but c/enterprise"
    paths, _ = token_forecast._forecast_measure("input_tokens", cells, parents_of_cells(cells, GROUPS), None, AskedDemand(demand()).granted)
    for model in ("weighted", "seasonal_naive"):
        nation = paths[model, "nation"].samples[:, 0]
        for level in ASKED_LEVELS:
            assert np.array_equal(paths[model, level].samples.sum(axis=1), nation), (model, level)
            assert np.array_equal(paths[model, level].samples[:, ::-1].sum(axis=1), nation), (model, level)
        assert nation.min() > 0
        # The three largest are of the last two sites; those that remain of each segment are one.
        assert paths[model, "tenant"].series_ids == (
            "developer-c", "enterprise-b", "enterprise-c", "other/developer", "other/enterprise")
        enterprise = paths[model, "segment"].samples[:, paths[model, "segment"].series_ids.index("enterprise")]
        assert np.array_equal(paths[model, "tenant"].samples[:, [1, 2, 4]].sum(axis=1), enterprise)


def test_a_tenant_grows_at_its_own_pace_and_not_at_that_of_its_segment() -> None:
    """As shares of their segment all tenants would grow alike, and the one that doubles would be nobody's."""
    daily = demand(growth=1.0).with_columns(
        pl.when(pl.col("tenant_id") == "developer-a").then(
            pl.col("input_tokens") * 1.1 ** ((pl.col("usage_date") - (MONDAY - timedelta(weeks=WEEKS - 1))).dt.total_days() // 7))
        .otherwise("input_tokens").alias("input_tokens"))
    made = forecast_asked(AskedDemand(daily), GROUPS, CUTOFF).tables[TOKEN_FORECAST.name].filter(
        (pl.col("level") == "tenant") & (pl.col("measure") == "input_tokens") & (pl.col("quantile") == 0.5)
        & (pl.col("model") == "weighted") & (pl.col("target_date") == MONDAY + timedelta(weeks=4)))
    ahead = dict(made.select("series_id", "value").iter_rows())
    # 6 million a workday in the first week, six days' worth of it a week, 1.1 a week since.
    assert ahead["developer-a"] > 1.1 * 6 * 6e6 * 1.1 ** (WEEKS - 1)
    assert ahead["developer-b"] == pytest.approx(6 * 24e6, rel=0.05)


def test_hours_of_accelerators_have_tables_of_their_own_unit() -> None:
    """Hours in one column with tokens would be added to them by whoever forgets a filter."""
    tables = forecast_asked(AskedDemand(demand(growth=1.0)), GROUPS, CUTOFF).tables
    assert {name: frame.schema for name, frame in tables.items()} == {table.name: table.schema for table in ASKED_TABLES}
    seen = tables[SERVING_DEMAND.name].filter((pl.col("level") == "model") & (pl.col("series_id") == "m1"))
    # 1, 4, 7, 10, 13 and 16 million a workday of m1, six days' worth a week.
    assert seen["value"].to_list() == pytest.approx([6 * 51e6 / TOKENS_AN_HOUR] * WEEKS)
    ahead = tables[SERVING_FORECAST.name].filter(
        (pl.col("level") == "region") & (pl.col("quantile") == 0.5) & (pl.col("target_date") == MONDAY + timedelta(weeks=1)) & pl.col("is_in_use"))
    assert dict(ahead.select("series_id", "value").iter_rows()) == pytest.approx(
        {"east": 6 * 21e6 / TOKENS_AN_HOUR, "west": 6 * 57e6 / TOKENS_AN_HOUR, "unknown": 6 * 93e6 / TOKENS_AN_HOUR}, rel=0.01)


def test_shares_of_a_remainder_are_whole_parts_that_sum_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that is lost in rounding is demand that no model has."""
    monkeypatch.setattr(token_forecast, "LARGEST_CELLS", 0)
    cells = cells_of(AskedDemand(demand()), None, "input_tokens", CUTOFF)
    units = units_of(cells)
    share = units.shares(cells, WEEKS)
    assert np.array_equal(np.bincount(units.of_cell, share), np.ones(len(units.series_ids)))
    assert np.array_equal(share * 2**12, np.round(share * 2**12))
    # 1, 2 and 3 of 6 million.
    assert share[:3] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=2**-11)


def test_a_week_of_holidays_is_no_loss_and_a_coming_one_is_expected() -> None:
    """National Day would look like customers leaving, and the week after like growth."""
    past, coming = tuple(date(2026, 10, day) for day in (5, 6, 7)), tuple(date(2026, 11, day) for day in (25, 26, 27))
    daily = demand(past, growth=1.0)
    cells = cells_of(AskedDemand(daily), holidays(*past), "input_tokens", CUTOFF)
    assert cells.mean[0] == pytest.approx([6 / 7 * 1e6] * WEEKS)
    assert cells.total[0, 1] == pytest.approx(1e6 * (2 + 5 * WEEKEND_SHARE))
    made = forecast_asked(AskedDemand(daily), GROUPS, CUTOFF, holidays(*past, *coming)).tables[TOKEN_FORECAST.name]
    nation = made.filter((pl.col("level") == "nation") & (pl.col("measure") == "input_tokens") & pl.col("is_in_use")
                         & (pl.col("quantile") == 0.5)).sort("target_date")["value"]
    # Two workdays and five days off at half, beside five and two.
    assert nation[0] / nation[1] == pytest.approx(4.5 / 6, rel=0.02)


def test_hours_in_which_a_site_was_silent_are_not_demand_that_fell() -> None:
    """A broken feed must neither pull the forecast down nor make the next week growth."""
    day = MONDAY + timedelta(days=1)
    half = demand(growth=1.0).with_columns(
        pl.when((pl.col("usage_date") == day) & (pl.col("origin_site_id") == "a")).then(pl.col("input_tokens") / 2)
        .otherwise("input_tokens").alias("input_tokens"))
    silent = pl.DataFrame({"usage_date": [day], "site_id": ["a"], "silent_hour_count": [12]})
    assert cells_of(AskedDemand(half, silent), None, "input_tokens", CUTOFF).mean[0] == pytest.approx([6 / 7 * 1e6] * WEEKS)
    gone = silent.with_columns(pl.lit(20).alias("silent_hour_count"))
    assert cells_of(AskedDemand(half, gone), None, "input_tokens", CUTOFF).mean[0] == pytest.approx([6 / 7 * 1e6] * WEEKS)
    week = pl.DataFrame({"usage_date": [MONDAY + timedelta(days=step) for step in range(5)], "site_id": ["a"] * 5,
                         "silent_hour_count": [24] * 5})
    unknown = cells_of(AskedDemand(half, week), None, "input_tokens", CUTOFF)
    assert np.isnan(unknown.mean[0, -1]) and np.isfinite(unknown.mean[0, :-1]).all()
    assert np.isfinite(unknown.mean[-1]).all(), "another site was heard"


def test_a_week_that_an_origin_was_silent_in_is_no_row_and_no_lower_sum() -> None:
    """The report drew a drop-out as tokens that were lost, beside a forecast that knew better."""
    silent = pl.DataFrame({"usage_date": [MONDAY + timedelta(days=step) for step in range(5)], "site_id": ["a"] * 5,
                           "silent_hour_count": [24] * 5})
    seen = forecast_asked(AskedDemand(demand(growth=1.0), silent), GROUPS, CUTOFF).tables[TOKEN_DEMAND.name]
    assert seen.schema == TOKEN_DEMAND.schema
    weeks = {
        (level, series_id): rows["week_start_date"].to_list()
        for (level, series_id), rows in seen.filter(pl.col("measure") == "input_tokens").group_by("level", "series_id")
    }
    for key in (("nation", "nation"), ("site", "a"), ("hub_region", "north"), ("segment", "developer")):
        assert MONDAY not in weeks[key] and len(weeks[key]) == WEEKS - 1, key
    assert MONDAY in weeks["site", "b"] and MONDAY in weeks["hub_region", "south"]
    nation = seen.filter((pl.col("level") == "nation") & (pl.col("measure") == "input_tokens"))["value"]
    # 1 to 18 million a workday, of which six days' worth a week.
    assert nation.to_list() == pytest.approx([6 * 171e6] * (WEEKS - 1))


def test_what_was_said_of_tokens_is_scored_when_its_weeks_have_come() -> None:
    """Readers acted on what was published; a level that lost there has no claim."""
    daily = demand()
    earlier = forecast_asked(AskedDemand(daily.filter(pl.col("usage_date") < MONDAY)), GROUPS, "2026-W46").tables
    scored = forecast_asked(AskedDemand(daily, kept=earlier), GROUPS, CUTOFF).accuracy.filter(pl.col("basis") == "forecast")
    assert set(scored["level"]) == {
        f"{measure}_{level}" for measure in ASKED_MEASURES for level in ASKED_LEVELS}
    wape = scored.filter((pl.col("level") == "input_tokens_nation") & (pl.col("series_id") == "all")
                         & (pl.col("metric") == "wape"))
    assert wape["value"].max() < 0.03, "steady growth of 1% a week is known to a week"


def test_unspent_grants_are_in_every_level_of_their_weeks_and_of_no_other() -> None:
    """A grant that nobody has touched is demand that no history shows."""
    week, other = MONDAY + timedelta(weeks=2), MONDAY + timedelta(weeks=3)
    grant = pl.DataFrame([
        {"iso_week": "2026-W49", "origin_site_id": "a", "segment": "developer", "model_id": "m1", "tenant_id": "developer-a", "input_tokens": 7e6, "output_tokens": 0.0, "accelerator_hours": 70.0},
        # A customer of a site and with a model that nobody has used.
        {"iso_week": "2026-W49", "origin_site_id": "d", "segment": "trial", "model_id": "unknown", "tenant_id": "new", "input_tokens": 3e6, "output_tokens": 0.0, "accelerator_hours": 30.0},
        {"iso_week": "2026-W47", "origin_site_id": "a", "segment": "developer", "model_id": "m1", "tenant_id": "developer-a", "input_tokens": 9e9, "output_tokens": 0.0, "accelerator_hours": 9e4},
    ])

    def medians(**granted: pl.DataFrame) -> dict:
        made = forecast_asked(AskedDemand(demand(growth=1.0), **granted), GROUPS, CUTOFF).tables[TOKEN_FORECAST.name]
        rows = made.filter((pl.col("quantile") == 0.5) & (pl.col("model") == "weighted") & (pl.col("measure") == "input_tokens"))
        return {(level, series_id, target): value for level, series_id, target, value in rows.select(
            "level", "series_id", "target_date", "value").iter_rows()}

    without, with_grants = medians(), medians(granted=grant)
    for level, series_id, tokens in (("nation", "nation", 10e6), ("site", "a", 7e6), ("site", "d", 3e6), ("segment", "trial", 3e6),
                                     ("model", "m1", 7e6), ("model", "unknown", 3e6), ("hub_region", "north", 7e6),
                                     ("tenant", "developer-a", 7e6), ("tenant", "new", 3e6)):
        more = with_grants[level, series_id, week] - without.get((level, series_id, week), 0)
        assert more == pytest.approx(tokens, rel=0.01), (level, series_id)
        assert with_grants[level, series_id, other] == pytest.approx(without.get((level, series_id, other), 0), rel=0.01)


def test_a_level_of_tokens_that_loses_to_repeating_last_week_blocks() -> None:
    """The gate that guards accelerators would let a worse forecast of tokens through."""
    score = {"cutoff_date": MONDAY + timedelta(days=6), "basis": "backtest", "level": "output_tokens_model",
             "series_id": "all", "model": "weighted"}
    row = {"cutoff_date": MONDAY, "measure": "output_tokens", "level": "model", "series_id": "m1", "target_date": MONDAY,
           "model": "weighted", "quantile": 0.5, "value": 1.0, "is_in_use": True}
    frames = {
        DEMAND_FORECAST.name: DEMAND_FORECAST.frame([]), TOKEN_FORECAST.name: TOKEN_FORECAST.frame([row]),
        SERVING_FORECAST.name: SERVING_FORECAST.frame([]),
        FORECAST_ACCURACY.name: FORECAST_ACCURACY.frame([
            {**score, "metric": "relative_quantile_loss", "value": 1.2}, {**score, "metric": "scored_count", "value": 50.0}]),
    }
    assert not yardstick_check(frames).passed
    frames[TOKEN_FORECAST.name] = TOKEN_FORECAST.frame([{**row, "model": "seasonal_naive"}])
    assert yardstick_check(frames).passed


def test_nothing_asked_for_gives_empty_tables() -> None:
    """A home whose first feed is the job log has no token yet, and must not crash."""
    made = forecast_asked(AskedDemand(demand().clear()), GROUPS, CUTOFF)
    for table in ASKED_TABLES:
        assert made.tables[table.name].schema == table.schema and made.tables[table.name].is_empty()
    assert made.accuracy.is_empty()
    assert isinstance(cells_of(AskedDemand(demand().head(1)), None, "input_tokens", CUTOFF), Cells)
