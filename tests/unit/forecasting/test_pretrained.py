"""The optional pretrained member: asked for by name, refused with a next step, and a member like any other."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orchestration import warehouse
from orchestration.forecasting import methods, pretrained
from orchestration.forecasting.members import LEVELS, MEMBERS, Setting

ASKED = {pretrained.VARIABLE: pretrained.NAME}
needs_the_model = pytest.mark.skipif(
    find_spec("fracast") is None or find_spec("torch") is None,
    reason="2026-11-25: the pretrained model is not installed; `TIDEGAUGE_PRETRAINED=fracast make setup` installs it",
)


def histories() -> np.ndarray:
    """Ordinary series, and among them one that is young, one with a gap, one of zeros, one constant, one too short."""
    noise = np.random.default_rng(7).normal(0, 2, (6, 70)).cumsum(axis=1)
    values = 100 + noise + 10 * np.sin(np.arange(70) * 2 * np.pi / 7)
    values[1, :55] = np.nan
    values[2, 30:37] = np.nan
    values[3] = 0
    values[4] = 8
    values[5, :-7] = np.nan
    return values


def setting(horizon: int) -> Setting:
    """Days in weeks."""
    return Setting("1d", 7, horizon, 7)


def digest() -> str:
    """Of what the member says, to the last bit."""
    return hashlib.sha256(pretrained.fracast(histories(), setting(60)).tobytes()).hexdigest()


def test_nothing_is_added_unless_it_is_asked_for_by_name() -> None:
    """Figures that change because a package happens to be importable are nobody's decision."""
    assert pretrained.members_from({}) is MEMBERS
    assert pretrained.members_from({pretrained.VARIABLE: ""}) is MEMBERS
    with pytest.raises(pretrained.PretrainedUnavailable, match="'chronos'.*set it to fracast"):
        pretrained.members_from({pretrained.VARIABLE: "chronos"})


def test_a_model_that_is_not_installed_is_refused_with_the_next_step(monkeypatch) -> None:
    """Going on without it would publish other figures than were asked for; an ImportError tells nobody what to type."""
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(pretrained.PretrainedUnavailable, match="not installed.*make setup.*tidegauge\\[pretrained\\].*unset"):
        pretrained.members_from(ASKED)


def test_a_forecast_is_due_when_the_model_is_switched_on_or_off(monkeypatch) -> None:
    """A run that says "nothing new" would leave the figures of the other choice standing."""
    monkeypatch.delenv(pretrained.VARIABLE, raising=False)
    without = warehouse.forecast_hash()
    monkeypatch.setenv(pretrained.VARIABLE, pretrained.NAME)
    assert warehouse.forecast_hash() != without


def test_the_model_is_not_loaded_by_what_names_it() -> None:
    """PyTorch takes seconds to load, which no command may cost that does not use it."""
    code = "import sys, orchestration.forecasting.pretrained; assert not {'torch', 'fracast'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@needs_the_model
@pytest.mark.parametrize("horizon", [13, 60])
def test_good_series_have_rising_quantiles_and_others_none(horizon: int) -> None:
    """A NaN or a band upside down in one member spoils the mixture; a constant series needs no model."""
    made = pretrained.fracast(histories(), setting(horizon))
    assert made.shape == (6, horizon, len(LEVELS))
    assert np.isfinite(made[:3]).all()
    assert np.isnan(made[3:]).all()
    assert (np.diff(made[:3], axis=2) >= 0).all()
    assert np.isnan(pretrained.fracast(histories()[:, -5:], setting(horizon))).all()


@needs_the_model
def test_scale_and_company_do_not_matter() -> None:
    """Tokens are counted in 1e12, where 32-bit floats see no difference; a site's figure must not depend on its neighbours."""
    made = pretrained.fracast(histories(), setting(13))
    large = pretrained.fracast(1e12 + 1e3 * histories()[:3], setting(13))
    np.testing.assert_allclose((large - 1e12) / 1e3, made[:3], atol=1e-4)
    assert np.array_equal(pretrained.fracast(histories()[:1], setting(13)), made[:1])


@needs_the_model
def test_bands_beyond_the_models_own_horizon_are_wider() -> None:
    """The model repeats itself beyond 48 steps and would be as sure of them as of tomorrow."""
    made = pretrained.fracast(histories(), setting(96))[0]
    width = made[:, -1] - made[:, 0]
    assert width[48:].mean() > 1.2 * width[:48].mean()


@needs_the_model
def test_nothing_is_asked_of_the_network(monkeypatch) -> None:
    """A forecast that fetches weights fails behind a firewall, and changes when they do."""

    def refuse(*_arguments, **_more):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    pretrained._model.cache_clear()
    assert np.isfinite(pretrained.fracast(histories()[:1], setting(13))).all()


@needs_the_model
def test_the_same_bytes_in_other_processes_with_one_and_with_two_threads() -> None:
    """A report that differs by machine cannot be checked by anyone."""
    alone = {
        subprocess.run(
            [sys.executable, "-c", "from tests.unit.forecasting.test_pretrained import digest; print(digest())"],
            check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3],
            env=os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
        ).stdout.strip()
        for threads in (1, 2)
    }
    assert alone == {digest()}


@needs_the_model
def test_it_joins_the_combination_as_one_more_member() -> None:
    """A member that is not weighted, calibrated and kept like the others would be a second forecast beside the first."""
    values = histories()[:3]
    first = date(2026, 9, 1)
    history = pl.DataFrame({
        "series_id": np.repeat(["a", "b", "c"], values.shape[1]),
        "period": [first + timedelta(days=day) for day in range(values.shape[1])] * 3, "value": values.reshape(-1),
    })
    more = {"frequency": "1d", "season_length": 7, "horizon": 7, "quantiles": (0.1, 0.5, 0.9), "seed": 7}
    plain = methods.forecast(history, **more)
    joined = methods.forecast(history, **more, members=pretrained.members_from(ASKED))
    assert set(joined.quantiles["model"]) == set(plain.quantiles["model"]) | {pretrained.NAME}
    assert not joined.quantiles.filter(pl.col("model") == "weighted").equals(plain.quantiles.filter(pl.col("model") == "weighted"))
    assert joined.quantiles.filter(pl.col("model") == "theta").equals(plain.quantiles.filter(pl.col("model") == "theta"))
