"""The forecast on a part of the real series, in seconds; ``make bench-forecast`` is the whole of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from orchestration.forecasting.members import MEMBERS
from orchestration.forecasting.rolling import COMBINED, YARDSTICK
from tests.bench import real_series
from tests.bench.forecast import BOTTOM, incoherence, mean_by_level, of_all, over_series, scores_of


@pytest.fixture(scope="module")
def sets(shared_data: Path) -> list[real_series.RealSet]:
    """Jobs of a cluster by day, and the accelerators of one job by five minutes."""
    return [*real_series.philly(shared_data)[:1], *real_series.llview(shared_data)]


@pytest.fixture(scope="module")
def scores(sets: list[real_series.RealSet]) -> pl.DataFrame:
    """Their backtests."""
    return pl.concat([scores_of(real, MEMBERS) for real in sets])


def test_the_combination_beats_seasonal_naive_on_every_set_and_level(scores: pl.DataFrame) -> None:
    """A forecast that repeating last week would beat is worth nothing, whatever it costs."""
    assert max(of_all(scores, "relative_quantile_loss", COMBINED).values()) < 1
    assert max(over_series(scores, "relative_quantile_loss").values()) < 0.85
    assert list(of_all(scores, "relative_quantile_loss", YARDSTICK).values()) == pytest.approx([1.0] * 5)


def test_bands_hold_about_what_they_say(scores: pl.DataFrame) -> None:
    """Wide limits, for a few origins: the bench holds every level to 77-83% and 93-97%."""
    for level, held in mean_by_level(of_all(scores, "coverage_80_ratio", COMBINED)).items():
        assert 0.7 < held < 0.92, level
    for level, held in mean_by_level(of_all(scores, "coverage_95_ratio", COMBINED)).items():
        assert 0.88 < held <= 1, level


def test_orders_regret_less_than_simple_rules(scores: pl.DataFrame) -> None:
    """The loss is a means; what it is for is the number of servers."""
    ours = of_all(scores, "order_regret", COMBINED)
    for rule in (YARDSTICK, "mean_x_1.3"):
        theirs = of_all(scores, "order_regret", rule)
        assert all(ours[key] < theirs[key] for key in ours if key[1] == BOTTOM)


def test_sums_of_real_paths_agree_to_the_last_bit(sets: list[real_series.RealSet]) -> None:
    """Coherence that holds for round numbers only is none."""
    assert max(incoherence(real) for real in sets) == 0
