"""Calibration, combination and scores, against numbers a person can check."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from orchestration.forecasting.accuracy import (
    ORDER_QUANTILE,
    held,
    order_cost,
    order_from_quantiles,
    order_regret,
    relative_quantile_loss,
    rule_orders,
    wape,
)
from orchestration.forecasting.combination import arrived, member_weights, mixture, quantile_loss
from orchestration.forecasting.conformal import (
    LARGEST_WIDENING,
    offsets,
    ratios,
    shrunk,
    widened,
    widenings,
)
from orchestration.forecasting.members import LEVELS, MEDIAN
from orchestration.forecasting.paths import read_at
from orchestration.forecasting.rolling import Rolled, calibrate

TENTH, NINE_TENTHS = np.searchsorted(LEVELS, (0.1, 0.9))


def normal(middle: float = 100.0, sigma: float = 10.0, shape: tuple[int, ...] = (1, 1, 1)) -> np.ndarray:
    """Quantiles of a normal at LEVELS, (*shape, level)."""
    return np.broadcast_to(middle + sigma * ndtri(LEVELS), (*shape, len(LEVELS))).copy()


def test_a_band_half_as_wide_as_the_errors_is_widened_to_hold() -> None:
    """Bands that are too narrow order too little, and nobody notices until the tail comes."""
    rng = np.random.default_rng(1)
    truth = 100 + 15 * rng.standard_normal((40, 20, 5))
    said = normal(sigma=10, shape=truth.shape)
    factor, errors = widenings(ratios(truth, said, offsets(said, np.zeros_like(said))).reshape(-1, len(LEVELS)))
    assert errors == truth.size
    assert factor[[0, TENTH, NINE_TENTHS, -1]] == pytest.approx(1.5, abs=0.06)
    assert factor[MEDIAN] == 1
    calibrated = widened(said, offsets(said, np.zeros_like(said)), factor)
    assert held(truth, calibrated, 0.1, 0.9).mean() == pytest.approx(0.8, abs=0.01)


def test_a_calm_past_narrows_by_a_tenth_at_most_and_widens_the_tails_all_the_same() -> None:
    """A few quiet weeks would sell the reserve that the next surprise needs."""
    truth = np.full((10, 10, 5), 100.0)
    said = normal(shape=truth.shape)
    factor, _ = widenings(ratios(truth, said, offsets(said, np.zeros_like(said))).reshape(-1, len(LEVELS)))
    assert factor[[TENTH, NINE_TENTHS]] == pytest.approx(0.9)
    assert factor[[0, -1]] == pytest.approx(1.3)


def test_no_past_changes_nothing_and_a_wild_one_has_a_limit() -> None:
    """One broken week must not make a band that orders the whole country's supply."""
    assert widenings(np.full((0, len(LEVELS)), np.nan)) == (pytest.approx(np.ones(len(LEVELS))), 0)
    assert widenings(np.full((100, len(LEVELS)), 1000.0))[0].max() == LARGEST_WIDENING


def test_a_group_leans_on_all_series_while_it_has_few_errors() -> None:
    """A nation of one series and three origins cannot be calibrated by itself."""
    own, together = np.full(3, 2.0), np.full(3, 1.0)
    assert shrunk(own, 0, together) == pytest.approx(together)
    assert shrunk(own, 200, together) == pytest.approx(np.sqrt(2))
    assert shrunk(own, 10**9, together) == pytest.approx(own)


def test_a_calibration_sees_only_what_had_arrived() -> None:
    """With tomorrow's errors in it a backtest shows a coverage that no forecast will ever have."""
    origins = np.array([10, 12, 14])
    assert arrived(origins, 14, 3).tolist() == [[True] * 3, [True, True, False], [False] * 3]
    rng = np.random.default_rng(2)
    truth = 100 + 30 * rng.standard_normal((3, 30, 3))
    said = normal(shape=truth.shape)
    def at(last: np.ndarray) -> np.ndarray:
        rolled = Rolled(origins, {"climate": np.zeros_like(said)}, last, np.full((3, 30), 1e9))
        return calibrate(said, rolled, np.full(30, "series"))
    future = truth.copy()
    future[1, :, 2], future[2] = 9999.0, 9999.0
    np.testing.assert_array_equal(at(truth), at(future))
    np.testing.assert_array_equal(at(truth)[0], said[0])


def test_the_loss_of_a_quantile_by_hand() -> None:
    """Too low at 90% costs nine times what too high does; everything else rests on this."""
    said = np.full((1, len(LEVELS)), 10.0)
    levels = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
    assert quantile_loss(np.array([11.0]), said)[0] == pytest.approx(levels.mean())
    assert quantile_loss(np.array([9.0]), said)[0] == pytest.approx((1 - levels).mean())
    assert np.isnan(quantile_loss(np.array([np.nan]), said)[0])


def test_weights_follow_past_loss_and_are_equal_before_any() -> None:
    """The best member of each series must lead, and luck of one day must not."""
    losses = np.ones((2, 4, 3, 5))
    losses[1, :, 0] = 0.5
    none = member_weights(losses, np.zeros((4, 5), dtype=bool))
    assert none == pytest.approx(0.5)
    seen = member_weights(losses, np.ones((4, 5), dtype=bool))
    assert seen[1, 0] > 0.9
    assert seen.sum(axis=0) == pytest.approx(1)
    # The other series have equal losses of their own; the first one's success counts there a little.
    assert 0.5 < seen[1, 1] < 0.7


def test_a_mixture_keeps_both_levels_of_what_is_on_or_off() -> None:
    """The average of on and off is a half-full accelerator that never was."""
    off, on = np.zeros((1, 1, len(LEVELS))), np.full((1, 1, len(LEVELS)), 8.0)
    mixed = mixture(np.stack([off, on]), np.array([[0.7], [0.3]]))[0, 0]
    assert mixed[LEVELS <= 0.65].max() == 0
    assert mixed[LEVELS >= 0.75].min() == 8
    alone = mixture(np.stack([np.full_like(off, np.nan), on]), np.array([[0.7], [0.3]]))
    assert alone == pytest.approx(8.0)
    assert np.isnan(mixture(np.full((1, 1, 1, len(LEVELS)), np.nan), np.ones((1, 1)))).all()


def test_a_mixture_of_the_same_is_the_same() -> None:
    """Joining members that agree must not move them."""
    said = normal(shape=(3, 2))
    np.testing.assert_allclose(mixture(np.stack([said, said]), np.full((2, 3), 0.5)), said, rtol=0.01)


def test_levels_are_read_exactly_and_between_them_on_a_normal() -> None:
    """The order quantile read a little off buys the wrong number of servers."""
    said = normal(shape=())
    assert read_at(said, [0.1, 0.5, 0.975]) == pytest.approx(said[[TENTH, MEDIAN, -1]], abs=0)
    assert read_at(said, [0.88, 0.99]) == pytest.approx(100 + 10 * ndtri([0.88, 0.99]))


def test_coverage_shares_ties() -> None:
    """A client said to ask for nothing, and that does, would else make every band look too wide."""
    nothing = np.zeros((1, len(LEVELS)))
    assert held(np.array([0.0]), nothing, 0.1, 0.9)[0] == pytest.approx(0.8)
    assert held(np.array([1.0]), nothing, 0.1, 0.9)[0] == 0
    half = np.where(LEVELS <= 0.5, 0.0, 5.0)[None]
    # Nothing stands for the levels up to .5, of which .1 to .5 lie in the band.
    assert held(np.array([0.0]), half, 0.1, 0.9)[0] == pytest.approx(0.8)
    plain = normal(shape=(1,))
    assert held(np.array([112.0]), plain, 0.1, 0.9)[0] == 1
    assert held(np.array([113.0]), plain, 0.1, 0.9)[0] == 0


def test_relative_loss_and_wape_by_hand() -> None:
    """The table's two first columns."""
    truth = np.array([[[10.0, 20.0], [0.0, 0.0]]])
    exact, off = np.repeat(truth[..., None], len(LEVELS), axis=-1), np.zeros((1, 2, 2, len(LEVELS)))
    assert relative_quantile_loss(truth, off, off)[0] == pytest.approx(1)
    assert np.isnan(relative_quantile_loss(truth, off, off)[1])
    assert relative_quantile_loss(truth, exact, off)[0] == pytest.approx(0.1)  # at most ten times better
    assert wape(truth, off)[0] == pytest.approx(1)
    assert np.isnan(wape(truth, off)[1])


def test_the_cost_and_the_regret_of_an_order_by_hand() -> None:
    """Unserved demand costs 5.5 times idle capacity; the rules are judged by it."""
    truth = np.array([[[8.0, 12.0]]])
    assert order_cost(truth, np.array([[10.0]]))[0, 0] == pytest.approx(2 * ORDER_QUANTILE + 2 * (1 - ORDER_QUANTILE))
    # The best constant capacity is 12: 4 idle once.
    regret = 2 - 4 * (1 - ORDER_QUANTILE)
    assert order_regret(truth, np.array([[10.0]]))[0] == pytest.approx(regret / 20)
    assert order_regret(truth, np.array([[12.0]]))[0] == pytest.approx(0)


def test_what_each_rule_orders() -> None:
    """Beating a rule that was computed wrong is no merit."""
    values = np.array([[1.0, 9.0, 2.0, 4.0]])
    orders = rule_orders(values, np.array([4]), 2)
    assert orders["last_peak"][0, 0] == 4
    assert orders["mean_x_1.3"][0, 0] == pytest.approx(3.9)
    one = normal(shape=(1,))[None]
    assert order_from_quantiles(one)[0] == pytest.approx(read_at(one[0], [ORDER_QUANTILE])[0, 0], rel=0.02)
