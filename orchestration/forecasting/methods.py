"""The forecast of many series at once: one interface, a long frame in and a long frame of quantiles out.

Policy only: which members, joined how, calibrated on what, and what to say where there is too little to go by.
Fitting is in ``members``, the rest in ``combination``, ``conformal`` and ``paths``; ``backtest`` says how good it is. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import numpy as np
import polars as pl
from scipy.special import ndtri

from orchestration.forecasting.combination import quantile_loss
from orchestration.forecasting.members import LEVELS, MEMBERS, Member, Setting, quiet_mean
from orchestration.forecasting.panel import Panel, panel_of, step_of
from orchestration.forecasting.paths import Paths, quantile_frame, read_at, shuffle
from orchestration.forecasting.rolling import (
    COMBINED,
    COSTLY,
    YARDSTICK,
    Rolled,
    calibrate,
    combine,
    roll,
    sample_of,
    truth_at,
)

CALIBRATION_ORIGINS = 6
COSTLY_SAMPLE = 32
"""Series that the costly members are scored on at past origins: enough for their weight, at a tenth of the cost."""
SMALLEST_GAIN = 0.01
"""Share of the loss that a costly member must have saved on the sample to be run for all other series too."""
PATH_COUNT = 500
FEWEST_KNOWN = 4
"""With fewer known periods there is no past error: the spread is borrowed."""
FRESH_PERIODS = 4
"""A series without a known period for longer than this and two seasons has ended; repeating it would invent demand."""
DEFAULT_STEP_SIGMA = 0.3
"""Spread of one period's change, in logs, where no series has shown one. Assumption."""
COLD_START_SIGMA = 0.7
"""Least spread, in logs, of a series nobody has seen: its group says how large such series are, not this one."""
BOTTOM = "series"

REASONS = {
    "no_demand": "only zeros are known: zero is repeated",
    "ended": "no value for longer than two seasons: it has ended and has no forecast",
    "never_known": "no value is known and no series of its group is: it has no forecast",
    "cold_start": "no value is known: the forecast is what its group's series asked for",
    "young": "fewer than 4 periods are known: the last value, with a spread borrowed from all series",
}
"""Why a series has no forecast, or only a fallback, by code."""


@dataclass(frozen=True)
class Past:
    """What the members said at past origins; give it to the next forecast, which then need not make them again.

    ``origins`` are last known periods; members are (origin, series, horizon, level).
    """

    series_ids: tuple[str, ...]
    origins: tuple[date | datetime, ...]
    members: dict[str, np.ndarray]


@dataclass(frozen=True)
class Forecast:
    """Quantiles (series_id, target, model, quantile, value), reasons by series_id (a code of REASONS), and the past.

    A series without a forecast has no row and a reason. Marginals are the quantiles at LEVELS by model, as arrays
    (series, horizon, level). ``rolled`` is what the members said at the past origins and at the present one.
    """

    quantiles: pl.DataFrame
    reasons: dict[str, str]
    past: Past
    marginals: dict[str, np.ndarray] = field(repr=False)
    panel: Panel = field(repr=False)
    rolled: Rolled = field(repr=False)


def forecast(
    history: pl.DataFrame,
    *,
    frequency: str,
    season_length: int,
    horizon: int,
    quantiles: Sequence[float],
    seed: int,
    past: Past | None = None,
    cold_start_groups: Mapping[str, str] | None = None,
    known_future: pl.DataFrame | None = None,
    groups: Mapping[str, str] | None = None,
    origin_step: int | None = None,
    members: Mapping[str, Member] = MEMBERS,
) -> Forecast:
    """Calibrated quantiles of every series for the periods after the last one of the history.

    Args:
        history: series_id, period (date or UTC instant), value; null or no row is not known. One demand, never
            negative, on a clock of ``frequency``.
        frequency: 1h, 1d, 1w, 5m.
        season_length: periods of a season: 24, 168, 7, or 1 for none.
        past: of an earlier forecast; else past forecasts are made here, costly members for a sample of series only.
            If it holds the present origin too, no member is run at all.
        cold_start_groups: group or segment per series_id; a series named here without a row starts from its group.
        known_future: series_id, target, value: demand that is known to come on top of the history's course, like
            the burning of grants; it is added to every quantile.
        groups: label per series_id (its level); the calibration is pooled within a label first.
        origin_step: periods between past forecasts; a season by default, or a twelfth of the horizon.
        members: what the combination is made of, by name; a past must be of the same.

    Raises:
        NotAHistory: the frame has no row, a period twice, or periods off the clock.
    """
    panel = panel_of(history, frequency, tuple(cold_start_groups or ()))
    setting = Setting(frequency, season_length, horizon, seed, members)
    step = origin_step or _origin_step(season_length, horizon)
    length = panel.values.shape[1]
    wanted = [length - step * back for back in range(CALIBRATION_ORIGINS, -1, -1)]
    origins = [origin for origin in wanted if origin >= min(FEWEST_KNOWN, length)]
    rolled, kept = _rolled(panel, origins, setting, past)
    labels = np.array([(groups or {}).get(series_id, BOTTOM) for series_id in panel.series_ids])
    last = [len(origins) - 1]
    models = {name: calibrate(member, rolled, labels, last)[-1] for name, member in rolled.members.items()}
    models[COMBINED] = calibrate(combine(rolled), rolled, labels, last)[-1]
    reasons = _fall_back(panel, models, setting, cold_start_groups or {})
    added = _known_future(panel, horizon, known_future)
    for name, values in models.items():
        models[name] = values + added[..., None]
    return Forecast(_frame(models, panel, horizon, quantiles), reasons, kept, models, panel, rolled)


def paths(
    history: pl.DataFrame,
    *,
    frequency: str,
    season_length: int,
    horizon: int,
    seed: int,
    count: int = PATH_COUNT,
    past: Past | None = None,
    cold_start_groups: Mapping[str, str] | None = None,
    known_future: pl.DataFrame | None = None,
    groups: Mapping[str, str] | None = None,
) -> Paths:
    """Coherent sample paths of every series that has a forecast; arguments as of ``forecast``."""
    made = forecast(
        history, frequency=frequency, season_length=season_length, horizon=horizon, quantiles=(0.5,), seed=seed,
        past=past, cold_start_groups=cold_start_groups, known_future=known_future, groups=groups,
    )
    return paths_of(made, season_length=season_length, seed=seed, count=count)


def paths_of(
    made: Forecast, *, season_length: int, seed: int, count: int = PATH_COUNT, model: str = COMBINED,
) -> Paths:
    """Coherent sample paths of one model of a forecast that is made already."""
    marginals = made.marginals[model]
    rows = np.flatnonzero(np.isfinite(marginals).all(axis=(1, 2)))
    samples = shuffle(marginals[rows], made.panel.values[rows], season_length, count, seed)
    targets = made.panel.targets(marginals.shape[1])
    return Paths(samples, tuple(made.panel.series_ids[row] for row in rows), tuple(targets))


def _origin_step(season_length: int, horizon: int) -> int:
    return season_length if season_length > 1 else max(horizon // 12, 1)


def _rolled(panel: Panel, origins: list[int], setting: Setting, past: Past | None) -> tuple[Rolled, Past]:
    """Members at the origins: those of the past as they are, the others made now."""
    stored = {}
    if past is not None:
        row_of = {series_id: row for row, series_id in enumerate(past.series_ids)}
        rows = np.array([row_of.get(series_id, -1) for series_id in panel.series_ids])
        period_of = {period: index for index, period in enumerate(past.origins)}
        stored = {
            origin: {
                name: np.where(rows[:, None, None] >= 0, member[period_of[panel.periods[origin - 1]]][rows], np.nan)
                for name, member in past.members.items()
            }
            for origin in origins if panel.periods[origin - 1] in period_of
        }
    sample = sample_of(len(panel.series_ids), COSTLY_SAMPLE)
    missing = [origin for origin in origins[:-1] if origin not in stored]
    made = roll(panel.values, missing, setting, {origin: dict.fromkeys(COSTLY, sample) for origin in missing})
    for position, origin in enumerate(missing):
        stored[origin] = {name: member[position] for name, member in made.members.items()}
    if origins[-1] not in stored:
        earlier = _gathered(panel, origins[:-1], stored, setting)
        idle = {name: sample for name in COSTLY if name in setting.members and not _is_worth_it(earlier, name, sample)}
        now = roll(panel.values, origins[-1:], setting, {origins[-1]: idle})
        stored[origins[-1]] = {name: member[0] for name, member in now.members.items()}
    rolled = _gathered(panel, origins, stored, setting)
    return rolled, Past(panel.series_ids, tuple(panel.periods[origin - 1] for origin in origins), rolled.members)


def _gathered(panel: Panel, origins: list[int], stored: dict[int, dict[str, np.ndarray]], setting: Setting) -> Rolled:
    """What is stored by origin, as one."""
    shape = (len(panel.series_ids), setting.horizon, len(LEVELS))
    members = {
        name: np.array([stored[origin][name] for origin in origins]).reshape(len(origins), *shape)
        for name in setting.members
    }
    largest = np.array([np.nan_to_num(panel.values[:, :origin]).max(axis=1, initial=0) for origin in origins])
    truth = truth_at(panel.values, np.array(origins, dtype=int), setting.horizon)
    return Rolled(np.array(origins, dtype=int), members, truth, largest.reshape(len(origins), shape[0]))


def _is_worth_it(earlier: Rolled, name: str, sample: np.ndarray) -> bool:
    """Whether the combination of the sample's series was better with the member than without, at past origins."""
    few = Rolled(
        earlier.origins, {key: member[:, sample] for key, member in earlier.members.items()},
        earlier.truth[:, sample], earlier.largest[:, sample],
    )
    without = replace(few, members={key: member for key, member in few.members.items() if key != name})
    loss, loss_without = (quantile_loss(few.truth, combine(each)) for each in (few, without))
    both = np.isfinite(loss) & np.isfinite(loss_without)
    by_series = [np.where(both, each, 0).sum(axis=(0, 2)) for each in (loss, loss_without)]
    scored = (by_series[0] > 0) & (by_series[1] > 0)
    if not scored.any():
        return True
    return float(np.log(by_series[0][scored] / by_series[1][scored]).mean()) < np.log1p(-SMALLEST_GAIN)


def _fall_back(
    panel: Panel, models: dict[str, np.ndarray], setting: Setting, cold_start_groups: Mapping[str, str],
) -> dict[str, str]:
    """Puts fallbacks into the models' quantiles, in place, where a series has too little history; says why."""
    values = panel.values
    known = np.isfinite(values)
    count = known.sum(axis=1)
    length = values.shape[1]
    newest = np.where(count > 0, length - 1 - known[:, ::-1].argmax(axis=1), -1)
    positive = (np.nan_to_num(values) > 0)
    since = np.where(positive.any(axis=1), length - positive.argmax(axis=1), 0)
    sigma = _step_sigma(values)
    reasons: dict[str, str] = {}
    for row, series_id in enumerate(panel.series_ids):
        fallback = None
        if not count[row]:
            fallback = _cold_start(panel, series_id, cold_start_groups, setting)
            reasons[series_id] = "never_known" if fallback is None else "cold_start"
        elif length - 1 - newest[row] > max(FRESH_PERIODS, 2 * setting.season_length):
            reasons[series_id] = "ended"
        elif not positive[row].any():
            reasons[series_id] = "no_demand"
            fallback = np.zeros((setting.horizon, len(LEVELS)))
        elif min(count[row], since[row]) < FEWEST_KNOWN:
            reasons[series_id] = "young"
            last = values[row, newest[row]]
            spread = sigma * np.sqrt(np.arange(1, setting.horizon + 1))
            fallback = last * np.exp(np.minimum(spread, 1.0)[:, None] * ndtri(LEVELS))
        else:
            continue
        for name, quantiles in models.items():
            # Members that could say something keep it; the yardstick and the combination always have the fallback.
            quantiles[row] = np.nan if fallback is None else fallback
            if fallback is not None and name not in (COMBINED, YARDSTICK):
                quantiles[row] = np.nan
    return reasons


def _step_sigma(values: np.ndarray) -> float:
    """The typical spread of one period's change, in logs, over all series."""
    logs = np.log(np.where(values > 0, values, np.nan))
    changes = np.diff(logs, axis=1)
    seen = np.isfinite(changes).sum(axis=1) >= FEWEST_KNOWN
    if not seen.any():
        return DEFAULT_STEP_SIGMA
    return float(np.clip(np.median(np.sqrt(quiet_mean(changes[seen] ** 2, axis=1))), 0.05, 1.0))


def _cold_start(
    panel: Panel, series_id: str, cold_start_groups: Mapping[str, str], setting: Setting,
) -> np.ndarray | None:
    """What the series of the same group ask for now, or asked for in their first periods where that was seen."""
    group = cold_start_groups.get(series_id)
    peers = [
        row for row, name in enumerate(panel.series_ids)
        if group is not None and cold_start_groups.get(name) == group and np.isfinite(panel.values[row]).any()
    ]
    if not peers:
        return None
    starts = []
    for row in peers:
        values = panel.values[row]
        positive = np.flatnonzero(np.nan_to_num(values) > 0)
        if len(positive) and positive[0] > 0:
            first = values[positive[0]:positive[0] + setting.horizon]
            starts.append(first[np.isfinite(first)].mean())
    recent = quiet_mean(panel.values[peers][:, -max(setting.season_length, FRESH_PERIODS):], axis=1)
    sizes = np.array(starts) if len(starts) >= 3 else recent[np.isfinite(recent)]
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return np.zeros((setting.horizon, len(LEVELS)))
    sigma = max(float(np.std(np.log(sizes))), COLD_START_SIGMA)
    line = np.exp(np.mean(np.log(sizes)) + sigma * ndtri(LEVELS))
    return np.repeat(line[None, :], setting.horizon, axis=0)


def _known_future(panel: Panel, horizon: int, known_future: pl.DataFrame | None) -> np.ndarray:
    added = np.zeros((len(panel.series_ids), horizon))
    if known_future is None:
        return added
    row_of = {series_id: row for row, series_id in enumerate(panel.series_ids)}
    step, last = step_of(panel.frequency), panel.periods[-1]
    for series_id, target, value in known_future.select("series_id", "target", "value").iter_rows():
        ahead = (target - last) // step - 1
        if series_id in row_of and 0 <= ahead < horizon:
            added[row_of[series_id], ahead] += value
    return added


def _frame(models: dict[str, np.ndarray], panel: Panel, horizon: int, quantiles: Sequence[float]) -> pl.DataFrame:
    """The long frame; a series that a model has nothing for has no row of it."""
    targets = panel.targets(horizon)
    frames = []
    for name in sorted(models):
        rows = np.flatnonzero(np.isfinite(models[name]).all(axis=(1, 2)))
        values = np.maximum(read_at(models[name][rows], quantiles), 0)
        frames.append(
            quantile_frame(values, [panel.series_ids[row] for row in rows], targets, quantiles)
            .with_columns(pl.lit(name).alias("model"))
        )
    return pl.concat(frames).select(
        "series_id", "target", "model", "quantile", "value"
    ).sort("series_id", "target", "model", "quantile")
