"""The forecast behind its one interface: odd series, fallbacks with reasons, bounds, and determinism."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting import methods
from orchestration.forecasting.panel import NotAHistory

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
FIRST_DAY = date(2026, 9, 1)
DAYS = 84
HORIZON = 14


def weekly_wave(level: float = 100.0, days: int = DAYS, seed: int = 0) -> np.ndarray:
    """Daily demand with a weekday pattern and a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.05, days)
    return level * (1 + 0.2 * np.sin(np.arange(days) * 2 * np.pi / 7)) * np.exp(noise)


def history(**series: np.ndarray | list) -> pl.DataFrame:
    """A long frame of daily series that end on the same day; NaN is a masked day, None no row."""
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    return pl.concat([
        pl.DataFrame({
            "series_id": [name] * len(values),
            "period": [last - timedelta(days=len(values) - 1 - index) for index in range(len(values))],
            "value": np.asarray(values, dtype=float),
        })
        for name, values in series.items()
    ])


def odd_series() -> pl.DataFrame:
    """A fleet of ordinary series with every odd one among them."""
    shift, spike, dropout, closed = (weekly_wave(seed=seed) for seed in range(4))
    shift[60:] *= 3
    spike[70] *= 100
    dropout[-20:-13] = np.nan
    masked_now = weekly_wave(seed=4)
    masked_now[-7:] = np.nan
    closed[-20:] = np.nan
    silent = weekly_wave(seed=5)
    silent[-20:] = 0
    ordinary = {f"ordinary_{index}": weekly_wave(50.0 + 10 * index, seed=10 + index) for index in range(4)}
    return history(
        **ordinary, shift=shift, spike=spike, dropout=dropout, masked_now=masked_now, closed=closed, silent=silent,
        zeros=np.zeros(DAYS), one_point=[42.0], opened_yesterday=[0.0] * 20 + [3.0, 5.0], all_masked=[np.nan] * 30,
        intermittent=np.where(np.arange(DAYS) % 9 == 0, 7.0, 0.0), constant=np.full(DAYS, 8.0),
    )


def made(frame: pl.DataFrame, **more) -> methods.Forecast:
    """The forecast of daily series, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return methods.forecast(
            frame, **({"frequency": "1d", "season_length": 7, "horizon": HORIZON, "quantiles": QUANTILES, "seed": 7}
                      | more))


@pytest.fixture(scope="module")
def odd() -> methods.Forecast:
    """The forecast of all odd series together."""
    return made(odd_series())


def of(forecast: methods.Forecast, series_id: str, model: str = "weighted") -> np.ndarray:
    """One series' quantiles, (horizon, quantile)."""
    rows = forecast.quantiles.filter((pl.col("series_id") == series_id) & (pl.col("model") == model))
    return rows["value"].to_numpy().reshape(-1, len(QUANTILES))


def test_every_series_has_a_forecast_or_a_stated_reason(odd) -> None:
    """A series that silently vanishes is a site nobody plans for."""
    forecast_ids = set(odd.quantiles.filter(pl.col("model") == "weighted")["series_id"])
    assert forecast_ids | set(odd.reasons) == set(odd_series()["series_id"])
    assert odd.reasons == {
        "closed": "ended", "zeros": "no_demand", "one_point": "young", "opened_yesterday": "young",
        "all_masked": "never_known",
    }
    assert set(odd.reasons.values()) <= set(methods.REASONS)
    assert not {"closed", "all_masked"} & forecast_ids


def test_no_quantile_is_negative_missing_out_of_order_or_beyond_reason(odd) -> None:
    """A NaN stops the report, a negative order sells servers, an exploding band buys the world."""
    values = odd.quantiles["value"]
    assert values.is_finite().all()
    assert (values >= 0).all()
    largest = odd_series().group_by("series_id").agg(pl.col("value").fill_nan(None).max().alias("largest"))
    beyond = odd.quantiles.join(largest, on="series_id").filter(pl.col("value") > 20 * pl.col("largest") + 1e-9)
    assert beyond.is_empty()
    by_level = odd.quantiles.sort("series_id", "model", "target", "quantile")["value"].to_numpy().reshape(-1, len(QUANTILES))
    assert (np.diff(by_level, axis=1) >= 0).all()


def test_every_member_the_yardstick_and_the_combination_are_there(odd) -> None:
    """Without seasonal naive beside it nobody can see what the combination is worth."""
    assert set(odd.quantiles["model"]) == {
        "weighted", "seasonal_naive", "last_value", "theta", "flair", "analogues", "climate", "damped_growth"
    }
    rows = odd.quantiles.filter(pl.col("series_id") == "ordinary_0").group_by("model").len()
    assert set(rows["len"]) == {HORIZON * len(QUANTILES)}
    assert odd.quantiles["target"].min() == FIRST_DAY + timedelta(days=DAYS)


def test_a_masked_week_is_not_taken_for_a_week_of_nothing(odd) -> None:
    """Telemetry that dropped out would halve the forecast of a site that is full."""
    for series_id in ("dropout", "masked_now"):
        assert of(odd, series_id)[:, 3].mean() == pytest.approx(100, rel=0.15)


def test_a_level_shift_is_followed_and_a_spike_is_not(odd) -> None:
    """A tripled site forecast at its old level runs out; one bad reading must not triple another."""
    assert of(odd, "shift")[:, 3].mean() == pytest.approx(300, rel=0.2)
    assert of(odd, "spike")[:, 3].mean() == pytest.approx(100, rel=0.3)


def test_zeros_stay_zero_and_a_silent_series_stays_quiet(odd) -> None:
    """Demand made up for a site that has none is capacity nobody asked for."""
    assert of(odd, "zeros").max() == 0
    assert of(odd, "silent")[:, 3].max() < 20


def test_a_site_opened_yesterday_is_carried_on_with_a_wide_band(odd) -> None:
    """Certainty about a series of two days would be an invention."""
    band = of(odd, "opened_yesterday")
    assert band[0, 3] == pytest.approx(5.0)
    assert band[0, 0] < 4.9 and band[0, -1] > 5.1
    assert (np.diff(band[:, -1]) >= 0).all()


def test_a_new_series_starts_from_its_group() -> None:
    """A new tenant forecast at nothing is the shortage of next week."""
    peers = {f"peer_{index}": weekly_wave(40.0 * (index + 1), seed=index) for index in range(3)}
    groups = dict.fromkeys([*peers, "new"], "enterprise") | {"other": "trial", "alone": "nobody"}
    forecast = made(history(**peers, other=weekly_wave(9000.0, seed=9)), cold_start_groups=groups)
    assert forecast.reasons == {"new": "cold_start", "alone": "never_known"}
    middle = of(forecast, "new")[:, 3]
    assert ((middle > 40) & (middle < 120)).all()


def test_known_demand_to_come_is_added_to_every_quantile() -> None:
    """A trial programme that is granted already is no surprise, and must not be forecast as one."""
    frame = history(a=weekly_wave(), b=weekly_wave(seed=1))
    burn = pl.DataFrame({"series_id": ["a"], "target": [FIRST_DAY + timedelta(days=DAYS + 2)], "value": [1000.0]})
    plain, known = made(frame), made(frame, known_future=burn)
    added = of(known, "a") - of(plain, "a")
    assert added[2] == pytest.approx(np.full(len(QUANTILES), 1000.0))
    assert np.abs(np.delete(added, 2, axis=0)).max() == pytest.approx(0)
    assert of(known, "b") == pytest.approx(of(plain, "b"))


def test_a_kept_past_gives_the_same_forecast_as_one_made_again() -> None:
    """The weekly run keeps what its members said; a figure must not depend on who computed it first."""
    frame = history(**{f"s{index}": weekly_wave(20.0 * index + 20, seed=index) for index in range(5)})
    earlier = made(frame.filter(pl.col("period") <= FIRST_DAY + timedelta(days=DAYS - 8)))
    now = made(frame, past=earlier.past)
    assert now.quantiles.equals(made(frame).quantiles)


def test_hourly_instants_and_weeks_work_alike() -> None:
    """The interface is the same for every clock; hours are UTC instants."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    hours = pl.DataFrame({
        "series_id": "a", "period": [start + timedelta(hours=hour) for hour in range(240)],
        "value": 10 + 5 * np.sin(np.arange(240) * 2 * np.pi / 24),
    })
    hourly = made(hours, frequency="1h", season_length=24, horizon=24)
    assert hourly.quantiles["target"].min() == start + timedelta(hours=240)
    assert of(hourly, "a")[:, 3] == pytest.approx(10 + 5 * np.sin(np.arange(24) * 2 * np.pi / 24), abs=1.5)
    weeks = pl.DataFrame({
        "series_id": "a", "period": [FIRST_DAY + timedelta(weeks=week) for week in range(9)],
        "value": 100 * 1.05 ** np.arange(9),
    })
    weekly = made(weeks, frequency="1w", season_length=1, horizon=13)
    assert weekly.quantiles["target"].n_unique() == 13
    assert of(weekly, "a")[-1, 3] > 140


def test_a_frame_that_is_no_history_is_refused() -> None:
    """A doubled row counted twice, or a day between two days, would shift everything after it."""
    frame = history(a=weekly_wave())
    with pytest.raises(NotAHistory, match="two rows"):
        made(pl.concat([frame, frame[-1:]]))
    with pytest.raises(NotAHistory, match="no last period"):
        made(frame.clear())
    with pytest.raises(NotAHistory, match="like 1h"):
        made(frame, frequency="daily")
    with pytest.raises(NotAHistory, match="clock"):
        made(frame, frequency="1w")


def digest(forecast: methods.Forecast) -> str:
    """Of every quantile and of the paths, to the last bit."""
    paths = methods.paths_of(forecast, season_length=7, seed=7, count=100)
    return hashlib.sha256(forecast.quantiles.write_csv().encode() + paths.samples.tobytes()).hexdigest()


ALONE = """
from tests.unit.forecasting import test_methods as here
print(here.digest(here.made(here.odd_series())))
"""


def test_the_same_inputs_and_seed_give_the_same_bytes_on_one_and_on_two_workers(odd) -> None:
    """A report that differs by machine cannot be checked by anyone."""
    for workers in {1, 2} - {pl.thread_pool_size()} or {1}:
        alone = subprocess.run(
            [sys.executable, "-c", ALONE], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3],
            env=os.environ | dict.fromkeys(
                ("OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), str(workers)),
        )
        assert alone.stdout.strip() == digest(odd)
