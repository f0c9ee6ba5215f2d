"""The forecast step as a whole: shapes, keys, determinism, and odd inputs."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.forecast import Forecast, forecast_all
from orchestration.forecasting.iso_weeks import week_of
from orchestration.forecasting.past_forecasts import chosen_model
from orchestration.forecasting.tables import (
    FORECAST_ACCURACY,
    HORIZON_WEEKS,
    QUANTILES,
    TABLES,
)
from orchestration.forecasting.token_forecast import AskedDemand

CUTOFF = "2026-W47"
MONDAY = date(2026, 11, 16)
LINKS = pl.DataFrame(schema={"link_id": pl.String, "a_site_id": pl.String, "b_site_id": pl.String,
                             "one_way_ms": pl.Float64})
PLANNED = pl.DataFrame(schema={"site_id": pl.String, "accelerator_id": pl.String, "accelerator_count": pl.Int64,
                               "planned_date": pl.Date, "commitment": pl.String})
HOURS = ("installed", "available", "usable", "serving_demand", "training_demand")


def chosen(rows: list[dict]) -> str:
    """The model that these scores of a backtest choose, where nothing was published before."""
    return chosen_model(rows, FORECAST_ACCURACY.frame([]), "site_accelerator")


def marts(demands: dict[str, list[float | None]], installed: float = 100.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Daily and weekly marts of one accelerator type, from mean demand per site and week (None: no row)."""
    daily, weekly = [], []
    for site, weeks in demands.items():
        for index, demand in enumerate(weeks):
            if demand is None:
                continue
            monday = MONDAY - timedelta(weeks=len(weeks) - 1 - index)
            day = {f"{name}_accelerator_hours": 24 * value for name, value in zip(
                HOURS, (installed, installed, 0.85 * installed, demand, 0.0), strict=True)}
            key = {"site_id": site, "accelerator_id": "x", "p95_utilization_ratio": demand / installed}
            daily += [{"usage_date": monday + timedelta(days=step), "known_hour_count": 24, **key, **day}
                      for step in range(7)]
            weekly.append({"iso_week": week_of(monday), "week_start_date": monday, "day_count": 7, "known_hour_count": 168, **key,
                           **{name: 7 * value for name, value in day.items()}})
    return (
        pl.DataFrame(daily, schema_overrides={"usage_date": pl.Date}),
        pl.DataFrame(weekly, schema_overrides={"week_start_date": pl.Date}),
    )


def run(demands: dict[str, list[float | None]], cutoff: str = CUTOFF) -> Forecast:
    """The forecast of these sites."""
    daily, weekly = marts(demands)
    sites = pl.DataFrame({"site_id": list(demands)})
    return forecast_all(daily, weekly, PLANNED, LINKS, sites, cutoff, demand=asked(daily), served=served(daily))


def served(daily: pl.DataFrame) -> pl.DataFrame:
    """Its week's requests, a thousand tokens in and 200 out each, at rates that make of them what is asked for."""
    hours = pl.col("serving_demand_accelerator_hours")
    return daily.tail(7).select(
        "usage_date", "site_id", "accelerator_id", pl.lit("chat").alias("model_id"), (1000 * hours).alias("request_count"),
        (1e6 * hours).alias("input_tokens"), (2e5 * hours).alias("output_tokens"), pl.lit(555.6).alias("input_tokens_per_second"),
        pl.lit(111.1).alias("output_tokens_per_second"), pl.lit("TPOT <= 50 ms").alias("objective"))


def asked(daily: pl.DataFrame) -> AskedDemand:
    """A million input and 200,000 output tokens for each accelerator-hour asked for."""
    hours = pl.col("serving_demand_accelerator_hours")
    return AskedDemand(daily.select(
        "usage_date", pl.col("site_id").alias("origin_site_id"), pl.lit("developer").alias("segment"),
        pl.lit("chat").alias("model_id"), pl.lit("tenant").alias("tenant_id"), (1e6 * hours).alias("input_tokens"),
        (2e5 * hours).alias("output_tokens"), hours.alias("accelerator_hours")))


def test_every_table_has_its_declared_columns_and_one_row_per_key() -> None:
    """Readers and the publish audit rely on these names, types and grains."""
    result = run({"a": [50.0 + week for week in range(8)], "b": [40.0] * 8}).by_table_name()
    assert set(result) == {table.name for table in TABLES}
    for table in TABLES:
        frame = result[table.name]
        assert frame.schema == table.schema, table.name
        assert frame.select(table.grain).is_duplicated().sum() == 0, table.name
        assert frame.height > 0, table.name
        required = [column.name for column in table.columns if column.required]
        assert frame.select(required).null_count().row(0) == (0,) * len(required), table.name


def test_every_series_has_every_quantile_of_every_week_ahead() -> None:
    """A missing quantile would be read as a missing band, or worse, joined away."""
    forecast = run({"a": [50.0] * 8, "b": [40.0] * 8}).demand_forecast
    per_series = forecast.group_by("level", "series_id", "model").len()
    assert per_series["len"].unique().to_list() == [HORIZON_WEEKS * len(QUANTILES)]
    assert set(per_series["level"]) == {"site_accelerator", "site", "hub_region", "nation"}
    assert forecast["target_date"].min() == MONDAY + timedelta(weeks=1)
    assert forecast["target_date"].max() == MONDAY + timedelta(weeks=13)


def test_the_same_input_gives_the_same_tables_in_any_order_of_rows() -> None:
    """Two runs that differ make every published hash differ: a sum of floats depends on their order."""
    random = np.random.default_rng(1)
    names = [f"s{number:02d}" for number in range(30)]
    daily, weekly = marts({name: random.lognormal(4, 0.3, 8).tolist() for name in names})
    uneven = pl.Series(random.lognormal(0, 0.2, daily.height))
    daily = daily.with_columns(pl.col("serving_demand_accelerator_hours", "usable_accelerator_hours") * uneven)
    sites = pl.DataFrame({"site_id": names})
    first = forecast_all(daily, weekly, PLANNED, LINKS, sites, CUTOFF, demand=asked(daily))
    mixed = daily.sample(fraction=1, shuffle=True, seed=1)
    second = forecast_all(mixed, weekly.sample(fraction=1, shuffle=True, seed=1), PLANNED, LINKS, sites, CUTOFF,
                          demand=asked(mixed))
    for name, frame in first.by_table_name().items():
        assert frame.equals(second.by_table_name()[name]), name


@pytest.mark.parametrize("weeks", [
    [0.0] * 8, [50.0], [50.0] * 2, [50.0, 50.0, 50.0, 400.0, 400.0, 400.0, 400.0, 400.0],
    [50.0, 50.0, None, 50.0, 50.0, 50.0, 50.0, 50.0], [50.0] * 7 + [5000.0], [50.0] * 3 + [None] * 5,
    [None] * 7 + [3.0],
])
def test_odd_series_give_a_forecast_or_a_reason(weeks: list[float | None]) -> None:
    """Zeros, one point, a level shift, a drop-out, a spike, a closed site, a site opened yesterday."""
    result = run({"odd": weeks, "steady": [50.0] * len(weeks)})
    row = result.capacity_need.filter(pl.col("site_id") == "odd").row(0, named=True)
    has_forecast = result.demand_forecast.filter(pl.col("series_id") == "odd/x").height > 0
    assert has_forecast or '"code": "ended"' in row["why"] or '"code": "new_pool"' in row["why"]
    assert result.demand_forecast["value"].is_finite().all()
    assert result.demand_forecast["value"].min() >= 0


def test_a_growing_site_is_found_and_flat_sites_are_left_alone() -> None:
    """The report's one reason to exist, on eight weeks of history."""
    flat = {f"flat{number}": [50 + 0.5 * (-1) ** week for week in range(8)] for number in range(10)}
    growing = [50 * 1.06**week for week in range(8)]
    need = run({**flat, "hot": growing}).capacity_need
    by_site = {row["site_id"]: row for row in need.iter_rows(named=True)}
    assert by_site["hot"]["action"] == "add"
    # 75.2 now, growing 6% a week, 85 usable: the true crossing is three weeks ahead.
    assert by_site["hot"]["runs_out_week_p50"] in ("2026-W49", "2026-W50", "2026-W51")
    assert {by_site[site]["action"] for site in flat} == {"none"}


def test_no_model_but_the_yardstick_is_chosen_without_a_better_score() -> None:
    """A cleverer model that was never measured has no claim on an order."""
    def score(model: str, loss: float, count: int) -> list[dict]:
        base = {"level": "site_accelerator", "series_id": "all", "model": model}
        return [{**base, "metric": "relative_quantile_loss", "value": loss},
                {**base, "metric": "scored_count", "value": count}]

    naive = score("seasonal_naive", 1.0, 500)
    assert chosen([]) == "seasonal_naive"
    assert chosen(naive + score("weighted", 1.01, 500)) == "seasonal_naive"
    assert chosen(naive + score("weighted", 0.5, 19)) == "seasonal_naive"
    assert chosen(naive + score("weighted", 0.9, 500)) == "weighted"


def test_a_loss_to_the_yardstick_at_one_level_brings_the_yardstick_to_all() -> None:
    """The levels are sums of the same paths: one that loses nationally can't be used for its sites."""
    def score(level: str, loss: float, count: int) -> list[dict]:
        base = {"level": level, "series_id": "all", "model": "weighted"}
        return [{**base, "metric": "relative_quantile_loss", "value": loss},
                {**base, "metric": "scored_count", "value": count}]

    good = score("site_accelerator", 0.7, 500)
    assert chosen(good + score("nation", 0.9, 50)) == "weighted"
    assert chosen(good + score("nation", 1.0, 50)) == "seasonal_naive"
    assert chosen(good + score("nation", 1.2, 7)) == "weighted"  # seven weeks scored say nothing


def test_what_grants_will_ask_for_comes_on_top_of_the_pool_and_may_order() -> None:
    """A trial for ten thousand developers is known weeks before its first token; history is not."""
    daily, weekly = marts({"a": [50.0] * 8, "b": [50.0] * 8})
    granted = pl.DataFrame([
        {"iso_week": week, "site_id": site, "accelerator_id": "x", "additional_accelerator_hours": 168 * 60.0}
        for week in (week_of(MONDAY + timedelta(weeks=step)) for step in range(3, 14)) for site in ("a", "never-seen")])
    result = forecast_all(daily, weekly, PLANNED, LINKS, pl.DataFrame({"site_id": ["a", "b"]}), CUTOFF, granted=granted)
    median = {
        (series_id, target): value for series_id, target, value in result.demand_forecast.filter(
            (pl.col("quantile") == 0.5) & pl.col("is_in_use")).select("series_id", "target_date", "value").iter_rows()}
    second, third = (MONDAY + timedelta(weeks=step) for step in (2, 3))
    assert median["a/x", second] == pytest.approx(50, rel=0.02)
    assert median["a/x", third] == pytest.approx(110, rel=0.02)
    assert median["nation", third] == pytest.approx(160, rel=0.02)
    need = {row["site_id"]: row for row in result.capacity_need.iter_rows(named=True)}
    assert need["a"]["runs_out_week_p50"] == week_of(third)
    assert (need["a"]["action"], need["b"]["action"]) == ("add", "none")


def test_empty_marts_give_empty_tables() -> None:
    """The first run of a fresh machine has no week yet, and must not crash."""
    daily, weekly = marts({"a": [50.0]})
    result = forecast_all(daily.head(0), weekly.head(0), PLANNED, LINKS, pl.DataFrame({"site_id": ["a"]}), CUTOFF)
    assert all(frame.is_empty() for frame in result.by_table_name().values())


def test_every_level_is_the_sum_of_its_paths_to_the_last_bit() -> None:
    """Levels forecast apart disagree by up to a fifth of the total, and nobody knows which one to believe."""
    from orchestration.forecasting.demand_series import parents_of

    result = run({name: [40.0 + index + week for week in range(8)] for index, name in enumerate("abcdefg")})
    paths = result.paths
    parents = parents_of(paths.series_ids, {"a": "yangtze", "b": "yangtze", "c": "bay"})
    nation = paths.aggregate(parents["nation"])
    for level in ("site", "hub_region"):
        above = paths.aggregate(parents[level])
        assert (above.samples.sum(axis=1) == nation.samples[:, 0]).all(), level
    published = result.demand_forecast.filter((pl.col("level") == "nation") & pl.col("is_in_use"))
    read = nation.quantiles(QUANTILES)
    assert published.sort("target_date", "quantile")["value"].to_list() == read.sort("target", "quantile")["value"].to_list()


def test_what_was_forecast_before_is_scored_beside_the_backtest() -> None:
    """The table is asked how good we have been, and the backtest only says how good we would have been."""
    demands = {name: [40.0 + index + 2 * week for week in range(12)] for index, name in enumerate("abc")}
    earlier = run(demands, cutoff="2026-W44")
    daily, weekly = marts(demands)
    now = forecast_all(daily, weekly, PLANNED, LINKS, pl.DataFrame({"site_id": list(demands)}), CUTOFF,
                       kept=earlier.demand_forecast)
    scored = now.accuracy.filter(pl.col("basis") == "forecast")
    assert set(scored["cutoff_date"]) == {date(2026, 11, 1)}
    assert set(scored["level"]) == {"site_accelerator", "site", "hub_region", "nation"}
    counts = scored.filter((pl.col("metric") == "scored_count") & (pl.col("series_id") == "all") & (pl.col("level") == "nation"))
    assert set(counts["value"]) == {3.0}
    assert set(now.accuracy.filter(pl.col("basis") == "backtest")["cutoff_date"]) == {date(2026, 11, 22)}


def test_a_pool_taken_out_of_service_has_no_forecast() -> None:
    """A retired pool's demand repeated for a quarter would order a hundred servers for nobody."""
    daily, weekly = marts({"gone": [50.0] * 5 + [None], "steady": [50.0] * 6})
    result = forecast_all(daily, weekly, PLANNED, LINKS, pl.DataFrame({"site_id": ["gone", "steady"]}), CUTOFF)
    row = result.capacity_need.filter(pl.col("site_id") == "gone").row(0, named=True)
    assert (row["action"], row["add_accelerator_count"]) == ("none", 0)
    assert '"code": "ended"' in row["why"]
    assert result.demand_forecast.filter(pl.col("series_id") == "gone/x").is_empty()
