"""The models: what they must never do, and what they must do on series a person can foresee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestration.forecasting.backtest import accuracy_rows
from orchestration.forecasting.demand_series import WeeklySeries
from orchestration.forecasting.iso_weeks import monday_of, weeks_after
from orchestration.forecasting.seasonal_naive import (
    GROWTH_DAMPING,
    LARGEST_MULTIPLE_OF_HISTORY,
    MODELS,
    damped_drift,
    error_shapes,
    past_forecasts,
    past_quantiles,
    seasonal_naive,
    spread,
    weekly_log_growth,
)
from orchestration.forecasting.tables import HORIZON_WEEKS, QUANTILES
from orchestration.forecasting.weighted import quantile_loss, truth_of, weighted_average

MEDIAN = QUANTILES.index(0.5)


def quantiles_of(history: np.ndarray) -> dict[str, np.ndarray]:
    """What every model gives after the last week, (series, horizon, quantile) by model."""
    given_quantiles = {name: past_quantiles(past_forecasts(model, history), history) for name, model in MODELS.items()}
    given_quantiles["weighted"] = weighted_average(list(given_quantiles.values()), history)
    return {name: values[-1] for name, values in given_quantiles.items()}


def test_seasonal_naive_repeats_the_last_known_week() -> None:
    """The yardstick itself must be exactly what its name says."""
    forecast = seasonal_naive(np.array([[3.0, 5.0, 7.0], [4.0, 6.0, np.nan]]))
    assert forecast.shape == (2, HORIZON_WEEKS)
    assert set(forecast[0]) == {7.0}
    assert set(forecast[1]) == {6.0}


def test_a_series_that_ended_has_no_forecast() -> None:
    """Repeating a site that closed two months ago would order for nobody."""
    ended = np.array([[5.0] + [np.nan] * 8])
    for values in quantiles_of(ended).values():
        assert np.isnan(values).all()


def test_drift_finds_steady_growth_and_lets_it_fade() -> None:
    """Undamped growth doubles demand in a quarter; no growth orders too late."""
    history = 100 * np.exp(0.05 * np.arange(10))[None, :]
    assert weekly_log_growth(history)[0] == pytest.approx(0.05)
    forecast = damped_drift(history)[0]
    assert forecast[0] == pytest.approx(history[0, -1] * np.exp(0.05 * GROWTH_DAMPING))
    assert np.all(np.diff(forecast) > 0)
    assert np.all(np.diff(np.diff(np.log(forecast))) < 0)


def test_one_growing_series_keeps_its_growth_among_flat_ones() -> None:
    """Shrinking a hotspot's growth to the network's median is how hotspots are missed."""
    randoms = np.random.default_rng(5)
    flat = 100 * randoms.normal(1, 0.02, (30, 9))
    growing = 100 * np.exp(0.05 * np.arange(9))[None, :] * randoms.normal(1, 0.02, (1, 9))
    growth = weekly_log_growth(np.vstack([flat, growing]))
    assert growth[-1] == pytest.approx(0.05, abs=0.01)
    assert np.abs(growth[:-1]).max() < 0.02


def test_one_wild_week_does_not_move_the_drift_forecast() -> None:
    """A hundredfold spike in the last week is a fault far more often than a new level."""
    history = np.full((1, 10), 50.0)
    history[0, -1] = 5000.0
    assert damped_drift(history)[0].max() < 100


def test_spread_is_the_mean_change_by_hand() -> None:
    """A band in the wrong unit would still look plausible on one site."""
    # Changes 2, 2, 2 around a mean of 10: one series alone is its own median, so 0.2 x 10.
    assert spread(np.array([[9.0, 11.0, 9.0, 11.0]]))[0] == pytest.approx(2.0)


def test_bands_widen_with_the_square_root_of_the_horizon() -> None:
    """A band that does not widen is far too sure of the thirteenth week."""
    values = quantiles_of(np.array([[100.0]]))["seasonal_naive"][0]
    width = values[:, QUANTILES.index(0.9)] - values[:, MEDIAN]
    np.testing.assert_allclose(width / width[0], np.sqrt(np.arange(1, HORIZON_WEEKS + 1)))


def test_few_errors_lean_on_the_normal_shape() -> None:
    """With two past errors an empirical 97.5% quantile is one of the two."""
    nothing = error_shapes([np.array([])] * HORIZON_WEEKS)
    few = error_shapes([np.array([0.0, 0.0])] + [np.array([])] * (HORIZON_WEEKS - 1))
    many = error_shapes([np.zeros(10_000)] * HORIZON_WEEKS)
    assert nothing[0, -1] > few[0, -1] > many[0, -1]
    assert many[0, -1] == pytest.approx(0, abs=0.01)


def test_weights_favour_the_model_that_served_a_series_best() -> None:
    """An average that ignores past loss throws the better model away."""
    history = 100 * np.exp(0.06 * np.arange(16))[None, :].repeat(4, axis=0)
    history[1:] = 100.0
    values = quantiles_of(history)
    gap = abs(values["weighted"][0, :, MEDIAN] - values["damped_drift"][0, :, MEDIAN])
    assert np.all(gap <= abs(values["weighted"][0, :, MEDIAN] - values["seasonal_naive"][0, :, MEDIAN]))


def test_quantile_loss_by_hand() -> None:
    """Every comparison of models rests on this one formula."""
    quantiles = np.full((1, len(QUANTILES)), 10.0)
    assert quantile_loss(np.array([12.0]), quantiles)[0] == pytest.approx(2 * np.mean(QUANTILES))
    assert quantile_loss(np.array([8.0]), quantiles)[0] == pytest.approx(2 * np.mean(1 - np.array(QUANTILES)))


def test_a_backtest_knows_nothing_of_the_future() -> None:
    """A score made with truth that had not arrived flatters the model, and the order is wrong."""
    randoms = np.random.default_rng(3)
    history = randoms.uniform(50, 100, (6, 14))
    changed = history.copy()
    changed[:, 10:] *= 7
    before, after = (
        [past_quantiles(past_forecasts(model, values), values) for model in MODELS.values()]
        for values in (history, changed)
    )
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first[:10], second[:10])
    np.testing.assert_array_equal(weighted_average(before, history)[:10], weighted_average(after, changed)[:10])


def test_truth_is_placed_at_the_right_horizon() -> None:
    """One week off, and the model is scored on what it was given."""
    truth = truth_of(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(truth[0, 0, :3], [2.0, 3.0, np.nan])
    assert np.isnan(truth[2]).all()


def test_accuracy_of_a_perfect_history_and_of_none() -> None:
    """Zero loss must not become a division by zero, nor a missing backtest a score."""
    cutoff = monday_of("2026-W47")

    def series(values: np.ndarray) -> WeeklySeries:
        weeks = tuple(weeks_after(cutoff, step - values.shape[1] + 1) for step in range(values.shape[1]))
        names = tuple(f"s{row}" for row in range(values.shape[0]))
        return WeeklySeries("site", names, weeks, values, values, values)

    def rows(values: np.ndarray) -> list[dict]:
        return accuracy_rows(
            series(values), {"seasonal_naive": past_quantiles(past_forecasts(seasonal_naive, values), values)})

    constant = {row["metric"]: row["value"] for row in rows(np.full((3, 9), 40.0)) if row["series_id"] == "all"}
    assert constant["wape"] == pytest.approx(0)
    assert constant["coverage_80_ratio"] == 1
    assert rows(np.full((3, 2), 40.0)) == []
    assert all(np.isfinite(row["value"]) for row in rows(np.zeros((3, 9))))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)),
        elements=st.one_of(st.just(0.0), st.just(float("nan")), st.floats(0, 1e9, allow_subnormal=False)),
    )
)
def test_no_series_gives_a_negative_a_nan_or_an_exploding_quantile(history: np.ndarray) -> None:
    """Zeros, one point, gaps, spikes: an order is computed from whatever comes out."""
    largest = np.where(np.isfinite(history), history, 0).max(axis=1)
    for values in quantiles_of(history).values():
        for row in range(history.shape[0]):
            if np.isnan(values[row]).any():
                assert np.isnan(values[row]).all()
                assert not np.isfinite(history[row, -4:]).any()
                continue
            assert values[row].min() >= 0
            assert values[row].max() <= LARGEST_MULTIPLE_OF_HISTORY * largest[row] * (1 + 1e-9)
            assert np.all(np.diff(values[row], axis=-1) >= -1e-9 * max(largest[row], 1))
