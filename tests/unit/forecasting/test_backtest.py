"""Scores of past forecasts: the backtest at every level, and forecasts that were kept until the truth came."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.backtest import Backtest, backtest, losing_levels, score
from orchestration.forecasting.members import LEVELS, Setting
from orchestration.forecasting.panel import Panel
from orchestration.forecasting.past_forecasts import (
    losing_levels_in_use,
    losing_record,
    scored_past,
)
from orchestration.forecasting.tables import (
    DEMAND_FORECAST,
    FORECAST_ACCURACY,
    HORIZON_WEEKS,
    QUANTILES,
)

FIRST_MONDAY = date(2026, 8, 31)
SETTING = Setting("1w", 1, HORIZON_WEEKS, 7)
PARENTS = {"nation": {name: "nation" for name in "abcd"}}


def growing(weeks: int = 12, seed: int = 0) -> np.ndarray:
    """Four pools that grow 1 to 4% a week, with a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.01, (4, weeks))
    return 100 * np.exp(np.array([[0.01], [0.02], [0.03], [0.04]]) * np.arange(weeks) + noise)


def panel(values: np.ndarray) -> Panel:
    """The values as weekly series a, b, c, d."""
    periods = tuple(FIRST_MONDAY + timedelta(weeks=step) for step in range(values.shape[1]))
    return Panel(tuple("abcd"[:len(values)]), periods, values, "1w")


def metrics(result: Backtest, level: str, model: str, series_id: str = "all") -> dict[str, float]:
    """Scores by metric."""
    return {row["metric"]: row["value"] for row in result.rows
            if (row["level"], row["model"], row["series_id"]) == (level, model, series_id)}


@pytest.fixture(scope="module")
def tested() -> Backtest:
    """The backtest of four growing pools and their sum."""
    return backtest(panel(growing()), "pool", PARENTS, SETTING)


def test_every_level_has_both_models_and_the_simple_rules(tested: Backtest) -> None:
    """A score without its yardstick beside it says nothing, and a level without any can't be guarded."""
    for level in ("pool", "nation"):
        ours, naive = metrics(tested, level, "weighted"), metrics(tested, level, "seasonal_naive")
        assert set(ours) == set(naive) >= {
            "wape", "relative_quantile_loss", "coverage_80_ratio", "coverage_95_ratio", "order_regret", "scored_count",
            "wape_week_01"}
        assert naive["relative_quantile_loss"] == 1
        assert ours["relative_quantile_loss"] < 1, "steady growth is where the combination must beat repeating"
        assert ours["scored_count"] == naive["scored_count"] > 0
        for rule in ("last_peak", "mean_x_1.3"):
            assert set(metrics(tested, level, rule)) == {"order_regret"}


def test_a_backtest_knows_nothing_of_the_future() -> None:
    """A score made with truth that had not arrived flatters the model, and the order is wrong."""
    changed = growing()
    changed[:, 8:] *= 7
    before, after = (backtest(panel(values), "pool", {}, SETTING).rolled for values in (growing(), changed))
    for name in before.members:
        seen = before.origins <= 8
        np.testing.assert_array_equal(before.members[name][seen], after.members[name][seen])


def test_a_drop_out_leaves_the_nation_its_score() -> None:
    """One silent site in one week would otherwise leave the whole network without a judgement."""
    values = growing()
    values[0, 9] = np.nan
    whole, gap = (backtest(panel(each), "pool", PARENTS, SETTING) for each in (growing(), values))
    assert metrics(gap, "nation", "weighted")["scored_count"] == metrics(whole, "nation", "weighted")["scored_count"]
    assert metrics(gap, "nation", "weighted")["wape"] < 0.1


def test_too_short_a_history_has_no_score() -> None:
    """A score of nothing would be read as perfection."""
    assert backtest(panel(growing(weeks=4)), "pool", PARENTS, SETTING).rows == []


def test_a_score_by_hand() -> None:
    """Every comparison of models rests on these few lines."""
    truth = np.array([[[10.0, 20.0]]])
    certain = np.broadcast_to(np.array([10.0, 16.0])[None, None, :, None], (1, 1, 2, len(LEVELS)))
    naive = np.full((1, 1, 2, len(LEVELS)), 12.0)
    rows = score("pool", ("a",), truth, {"weighted": certain, "seasonal_naive": naive})
    ours = {row["metric"]: row["value"] for row in rows if row["model"] == "weighted" and row["series_id"] == "a"}
    assert ours["wape"] == pytest.approx(4 / 30)
    # Misses of 0 and +4 against -2 and +8; the levels scored add up evenly above and below.
    assert ours["relative_quantile_loss"] == pytest.approx(4 / 10)
    assert ours["scored_count"] == 2
    by_week = {row["metric"]: row["value"] for row in rows if row["model"] == "weighted" and row["series_id"] == "all"}
    assert (by_week["wape_week_01"], by_week["wape_week_02"]) == (0, pytest.approx(0.2))


def test_a_loss_at_one_level_is_named() -> None:
    """What is published must not lose to repeating last week anywhere that a reader looks."""
    def scores(level: str, loss: float, count: float) -> list[dict]:
        base = {"level": level, "series_id": "all", "model": "weighted"}
        return [{**base, "metric": "relative_quantile_loss", "value": loss}, {**base, "metric": "scored_count", "value": count}]

    rows = scores("site", 0.8, 100) + scores("nation", 1.1, 100) + scores("hub_region", 1.5, 7)
    assert losing_levels(rows, "weighted") == {"nation": 1.1}


def kept_forecast(cutoff: date, weighted: float, naive: float) -> pl.DataFrame:
    """A forecast of one pool as it was published: the same for all weeks, ten percent of band on both sides."""
    rows = [
        {"cutoff_date": cutoff, "level": "site_accelerator", "series_id": "a/x",
         "target_date": cutoff - timedelta(days=6) + timedelta(weeks=step), "model": model, "quantile": quantile,
         "value": median * (1 + 0.2 * (quantile - 0.5)), "is_in_use": model == "weighted"}
        for model, median in (("weighted", weighted), ("seasonal_naive", naive))
        for step in range(1, HORIZON_WEEKS + 1) for quantile in QUANTILES
    ]
    return DEMAND_FORECAST.frame(rows)


def came(cutoff: date, weeks: int) -> pl.DataFrame:
    """What the pool asked for in the weeks up to the cutoff."""
    return pl.DataFrame([
        {"level": "site_accelerator", "series_id": "a/x",
         "week_start_date": cutoff - timedelta(days=6) - timedelta(weeks=ago), "value": 100.0} for ago in range(weeks)
    ])


def test_a_kept_forecast_is_scored_when_its_weeks_have_come() -> None:
    """A backtest is what we would have said; readers acted on what we did say."""
    made, now = date(2026, 11, 1), date(2026, 11, 22)
    rows = scored_past(kept_forecast(made, weighted=104.0, naive=110.0), came(now, weeks=8), now)
    assert set(rows["cutoff_date"]) == {made}
    assert set(rows["basis"]) == {"forecast"}
    ours = {metric: value for model, series_id, metric, value in rows.select(
        "model", "series_id", "metric", "value").iter_rows() if (model, series_id) == ("weighted", "a/x")}
    assert ours["scored_count"] == 3
    assert ours["wape"] == pytest.approx(0.04)
    assert ours["relative_quantile_loss"] < 1
    assert ours["coverage_80_ratio"] == 1


def test_a_forecast_of_this_week_or_a_later_one_is_not_scored_yet() -> None:
    """Scored against the weeks it was fitted on, every forecast would look perfect."""
    now = date(2026, 11, 22)
    for made in (now, now + timedelta(weeks=1)):
        assert scored_past(kept_forecast(made, 100.0, 100.0), came(now, weeks=8), now).is_empty()


def test_published_forecasts_that_lost_bring_the_yardstick_back() -> None:
    """A model that shines in backtests and loses in the world must not go on ordering servers."""
    now = date(2026, 11, 22)
    kept = pl.concat([kept_forecast(now - timedelta(weeks=back), weighted=130.0, naive=101.0) for back in range(1, 8)])
    record = scored_past(kept, came(now, weeks=10), now)
    assert losing_record(record, "weighted")["site_accelerator"] > 1
    assert losing_record(record, "seasonal_naive") == {"site_accelerator": 1.0}
    few = record.filter(pl.col("cutoff_date") >= now - timedelta(weeks=2))
    assert losing_record(few, "weighted") == {}, "three weeks scored say nothing"
    assert losing_record(FORECAST_ACCURACY.frame([]), "weighted") == {}


def test_the_gate_speaks_of_the_model_in_use_only() -> None:
    """Falling back to seasonal naive must open the gate: it can't lose to itself."""
    now = date(2026, 11, 22)
    kept = pl.concat([kept_forecast(now - timedelta(weeks=back), weighted=130.0, naive=101.0) for back in range(1, 8)])
    record = scored_past(kept, came(now, weeks=10), now)
    def in_use(model: str, level: str = "site_accelerator") -> pl.DataFrame:
        return pl.DataFrame({"level": [level], "model": [model]})

    assert list(losing_levels_in_use(in_use("weighted"), record)) == ["site_accelerator"]
    assert losing_levels_in_use(in_use("seasonal_naive"), record) == {}
    # Tokens by site have a model of their own: what loses for pools says nothing of it.
    assert losing_levels_in_use(in_use("weighted", "input_tokens_site"), record) == {}
