"""Coherent paths: sums that agree to the last bit, marginals kept, crossings read from them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri

from orchestration.forecasting.members import LEVELS
from orchestration.forecasting.paths import Paths, exact, joint_errors, read_at, shuffle

TARGETS = tuple(date(2026, 11, 23) + timedelta(weeks=week) for week in range(4))


def marginals(series_count: int, horizon: int = 4) -> np.ndarray:
    """Normal quantiles of very different sizes, (series, horizon, level)."""
    sizes = 10.0 ** np.arange(series_count)[:, None, None] / 7
    return np.repeat(sizes * (1 + 0.1 * ndtri(LEVELS)), horizon, axis=1)


def moving_together(series_count: int, length: int = 60) -> np.ndarray:
    """Histories that share their shocks."""
    shocks = np.random.default_rng(3).standard_normal(length).cumsum()
    return np.repeat(100 + shocks[None], series_count, axis=0)


def made(series_count: int = 6, values: np.ndarray | None = None) -> Paths:
    """200 paths of four weeks."""
    history = moving_together(series_count) if values is None else values
    samples = shuffle(marginals(series_count), history, 1, 200, 7)
    return Paths(samples, tuple(f"s{index}" for index in range(series_count)), TARGETS)


def test_sums_agree_to_the_last_bit_in_any_grouping() -> None:
    """A report whose sites do not add up to the nation is not believed again."""
    paths = made()
    straight = paths.aggregate(dict.fromkeys(paths.series_ids, "all")).samples[:, 0]
    sites = paths.aggregate({name: f"site_{index % 2}" for index, name in enumerate(paths.series_ids)})
    for sums in (sites.samples.sum(axis=1), paths.samples[:, ::-1].sum(axis=1),
                 paths.samples[:, ::2].sum(axis=1) + paths.samples[:, 1::2].sum(axis=1)):
        assert np.array_equal(sums, straight)
    assert sites.series_ids == ("site_0", "site_1")


def test_rounding_for_exact_sums_is_lost_in_any_figure() -> None:
    """Coherence must not be bought with a visible change."""
    samples = np.random.default_rng(5).lognormal(0, 3, (50, 30, 4))
    np.testing.assert_allclose(exact(samples), samples, atol=samples.sum(axis=1).max() * 1e-14)
    assert not exact(np.zeros((2, 2, 2))).any()


def test_every_series_keeps_its_own_quantiles() -> None:
    """Joining series must not move what each was calibrated to."""
    wanted = (0.1, 0.5, 0.9)
    np.testing.assert_allclose(made().quantile_array(wanted), read_at(marginals(6), wanted), rtol=0.01)


def test_series_that_erred_together_move_together() -> None:
    """Independent paths would make the nation's band far too narrow."""
    together = made().samples
    alone = np.random.default_rng(4).standard_normal((6, 60)).cumsum(axis=1) + 100
    apart = made(values=alone).samples
    def between(samples: np.ndarray) -> float:
        return float(np.corrcoef(samples[:, 0, 2], samples[:, 1, 2])[0, 1])
    assert between(together) > 0.8
    assert abs(between(apart)) < 0.5


def test_the_same_seed_gives_the_same_paths_and_another_others() -> None:
    """A crossing week that changes from run to run is no date to order by."""
    history = moving_together(2)
    first, again, other = (shuffle(marginals(2), history, 1, 50, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_first_period_by_which_a_share_of_paths_has_crossed() -> None:
    """Off by one, every order is a week late; a path that came back has crossed all the same."""
    samples = np.array([[[1.0, 9.0, 1.0, 9.0]], [[1.0, 1.0, 9.0, 9.0]], [[1.0, 1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0, 9.0]]])
    paths = Paths(samples, ("a",), TARGETS)
    assert paths.crossed({"a": [5.0] * 4})[0].tolist() == [0, 0.25, 0.5, 0.75]
    found = paths.crossing({"a": [5.0] * 4}, shares=(0.1, 0.5, 0.9))
    assert found["target"].to_list() == [TARGETS[1], TARGETS[2], None]
    assert found.schema["target"] == pl.Date
    delivered = paths.crossing({"a": [5.0, 10.0, 10.0, 10.0]}, shares=(0.1,))
    assert delivered["target"].to_list() == [None]


def test_a_history_shorter_than_the_horizon_still_gives_paths() -> None:
    """In its first weeks a network has few past errors, and needs its sums all the same."""
    for length in (1, 2, 5):
        paths = made(values=moving_together(6, length))
        assert np.isfinite(paths.samples).all()
        assert (paths.samples >= 0).all()


def test_joint_errors_by_hand() -> None:
    """An error put against the wrong week joins what never moved together."""
    errors = joint_errors(np.array([[1.0, 3.0, 6.0]]), 2, 1)
    assert errors[0, 0].tolist() == [2.0, 5.0]
    assert errors[1, 0, 0] == pytest.approx(3.0)
    assert np.isnan(errors[1, 0, 1])
