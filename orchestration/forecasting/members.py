"""The forecasts that the combination is made of: each turns histories into quantiles of what comes.

Libraries do the fitting (statsforecast's dynamic optimised theta, FLAIR); the rest is arithmetic over all series
at once. A member takes a matrix of histories (series, period; NaN is not known) and gives (series, horizon,
quantile) at LEVELS, or NaN where it has nothing to say. Members are not calibrated and may be negative:
``conformal`` calibrates, ``methods`` joins and bounds them. Arrays only; the libraries are imported where they
run, since that takes seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

LEVELS = np.array([
    0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.8451, 0.9, 0.95, 0.975,
])
"""Quantile levels that everything is computed at; others are read between them. 0.8451 is the order quantile."""

MEDIAN = int(np.searchsorted(LEVELS, 0.5))
_NORMAL = ndtri(LEVELS)
_TENTH = int(np.searchsorted(LEVELS, 0.1))

THETA_SEASONS = 28
"""Seasons that theta sees: on four weeks of hours it is as good as on a year, and 20 times as fast."""
FLAIR_SEASONS = 9
"""Seasons that FLAIR sees: with ten or more it searches a power transform, at five times the cost for no gain."""
LONGEST_WITHOUT_SEASON = 60
FEWEST_FOR_A_FIT = 5
FLAIR_SAMPLES = 200
FLAIR_FREQUENCY = {"h": "H", "d": "D", "w": "A", "m": "A"}
"""Of a week it would look for a period of a year, of a minute for one of an hour: none is meant here."""

LONGEST_MEMORY = 672
"""Periods that the empirical members look back: four weeks of hours."""
HALF_LIFE_SEASONS = 4
SHORTEST_SEASON_IN_MEMORY = 7
PHASE_WIDTH = 4.0
STATE_WIDTH = 0.12
"""Distance of states, in ranks from 0 to 1, at which a past state counts e times less."""
FEWEST_LATELY = 3
VALUE_SHARE = 0.5
"""How much the value itself counts beside the mean of a quarter of a season: where it has been tells more."""
FLOOR_WEIGHT = 1e-3

SPIKE_MULTIPLE = 10
SPIKE_REACH = 3

GROWTH_DAMPING = 0.95
GROWTH_SEASONS = 9
LEVEL_SEASONS = 3
LARGEST_GROWTH = 0.12
"""Largest growth carried forward, in logs per season: more is a start-up, not a trend."""


@dataclass(frozen=True)
class Setting:
    """What is the same for all series of a panel."""

    frequency: str
    season_length: int
    horizon: int
    seed: int
    members: Mapping[str, Member] = field(default_factory=lambda: MEMBERS, repr=False)
    """What the combination is made of, by name."""


Member = Callable[[np.ndarray, Setting], np.ndarray]


def quiet_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of known values, NaN where none is known (numpy would warn)."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def quiet_median(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The median of known values, NaN where none is known."""
    return np.ma.filled(np.ma.median(np.ma.masked_invalid(values), axis=axis), np.nan)


def without_spikes(histories: np.ndarray, season_length: int) -> np.ndarray:
    """Histories whose lone spikes are not known.

    One period of more than SPIKE_MULTIPLE times any other within a season and a few periods on both sides is a wrong
    reading, not demand. The last period may be the first of a new level, so it needs twice as much.
    """
    result = histories
    reach = season_length + SPIKE_REACH
    largest = np.nan_to_num(histories).max(axis=1, initial=0)
    typical = np.nan_to_num(quiet_mean(np.where(histories > 0, histories, np.nan), axis=1))
    for row in np.flatnonzero(largest > SPIKE_MULTIPLE / 2 * np.maximum(typical, 0)):
        column = int(np.nanargmax(histories[row]))
        around = np.nan_to_num(histories[row, max(column - reach, 0):column + reach + 1]).copy()
        around[min(column, reach)] = 0
        needed = SPIKE_MULTIPLE * (2 if column == histories.shape[1] - 1 else 1)
        if 0 < needed * around.max() < largest[row]:
            result = result.copy() if result is histories else result
            result[row, column] = np.nan
    return result


def opened(histories: np.ndarray, season_length: int) -> np.ndarray:
    """Histories from their first demand on, without gaps.

    What lies before the first positive value is NaN: a site that is not open yet asks for nothing, and that says
    nothing of what it will ask for. A lone spike counts as a gap. A gap takes the value one season before, else a straight line, at the end the
    last value. A series of zeros alone stays as it is from its first known value.
    """
    result = np.full(histories.shape, np.nan)
    length = histories.shape[1]
    for row, values in enumerate(without_spikes(histories, season_length)):
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            continue
        positive = np.flatnonzero(np.nan_to_num(values) > 0)
        first = positive[0] if len(positive) else known[0]
        straight = np.interp(np.arange(length), known, values[known])
        whole = values.copy()
        for index in np.flatnonzero(~np.isfinite(values[first:])) + first:
            earlier = index - season_length
            whole[index] = whole[earlier] if season_length > 1 and earlier >= first else straight[index]
        result[row, first:] = whole[first:]
    return result


def _normal_around(point: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return point[..., None] + deviation[..., None] * _NORMAL


def seasonal_naive(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """The last season again; normal, with the spread of past seasonal changes and the root of seasons ahead.

    This is statsforecast's SeasonalNaive with its own intervals, over all series at once.
    """
    season = setting.season_length
    steps = np.arange(setting.horizon)
    last = histories[:, -season:]
    if last.shape[1] < season:
        last = np.concatenate([np.full((len(last), season - last.shape[1]), np.nan), last], axis=1)
    # A series younger than a season repeats its last value where the season has none.
    last = np.where(np.isfinite(last), last, last[:, -1:])
    changes = histories[:, season:] - histories[:, :-season]
    deviation = np.sqrt(np.nan_to_num(quiet_mean(changes**2, axis=1)))
    return _normal_around(last[:, steps % season], deviation[:, None] * np.sqrt(steps // season + 1))


def _age_weight(length: int, season_length: int) -> np.ndarray:
    half_life = HALF_LIFE_SEASONS * max(season_length, SHORTEST_SEASON_IN_MEMORY)
    return 0.5 ** (np.arange(length)[::-1] / half_life)


def _weighted_quantiles(ascending: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Quantiles at LEVELS of ascending values (series, value) with weights; straight lines between middle masses.

    A value without weight counts as not known; those come last in each row, since NaN sorts last.
    """
    counted = (weights > 0).sum(axis=1)
    rows = np.flatnonzero(counted)
    result = np.full((len(ascending), len(LEVELS)), np.nan)
    values, masses, last = ascending[rows], weights[rows], counted[rows] - 1
    middle = (np.cumsum(masses, axis=1) - masses / 2) / masses.sum(axis=1, keepdims=True)
    each = np.arange(len(rows))
    for index, level in enumerate(LEVELS):
        right = np.minimum((middle < level).sum(axis=1), last)
        left = np.maximum(right - 1, 0)
        low, high = middle[each, left], middle[each, right]
        share = np.clip((level - low) / np.where(high > low, high - low, 1), 0, 1)
        share = np.where(right == 0, 0, share)
        result[rows, index] = values[each, left] * (1 - share) + values[each, right] * share
    return result


def last_value(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """The last value for ever, with the changes seen over as many periods around it; recent ones count more."""
    recent = histories[:, -LONGEST_MEMORY:]
    length = recent.shape[1]
    result = np.repeat(recent[:, -1:, None], setting.horizon, axis=1).repeat(len(LEVELS), axis=2)
    # Over more than half of what is known there are too few changes; they widen with the root instead.
    known = np.isfinite(recent).sum(axis=1)
    longest = np.maximum(known // 2, 1)
    for lag in range(1, min(setting.horizon, max(int(longest.max(initial=1)), 1)) + 1):
        if lag >= length:
            break
        changes = recent[:, lag:] - recent[:, :-lag]
        weights = np.where(np.isfinite(changes), _age_weight(length - lag, setting.season_length), 0)
        order = np.argsort(changes, axis=1)
        quantiles = _weighted_quantiles(
            np.take_along_axis(changes, order, axis=1), np.take_along_axis(weights, order, axis=1)
        )
        around = np.nan_to_num(quantiles - quantiles[:, MEDIAN:MEDIAN + 1])
        here = longest >= lag
        result[here, lag - 1] += around[here]
        ends = longest == lag
        beyond = np.sqrt(np.arange(lag + 1, setting.horizon + 1) / lag)
        result[ends, lag:] += around[ends][:, None, :] * beyond[:, None]
    return result


def _phase_weight(distance: np.ndarray, season_length: int) -> np.ndarray:
    around = distance % season_length
    return np.exp(-0.5 * (np.minimum(around, season_length - around) / PHASE_WIDTH) ** 2) + FLOOR_WEIGHT


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each row's known values from 0 to 1, ties at their mean; NaN stays."""
    result = np.full(values.shape, np.nan)
    for row, line in enumerate(values):
        known = np.isfinite(line)
        distinct, position, count = np.unique(line[known], return_inverse=True, return_counts=True)
        if len(distinct):
            result[row, known] = ((np.cumsum(count) - (count + 1) / 2) / known.sum())[position]
    return result


def _likeness(recent: np.ndarray, lately: int) -> np.ndarray:
    """How like the present one each past state was, above 0 to 1; a state is the value and the mean lately."""
    known = np.pad(np.isfinite(recent), ((0, 0), (lately, 0)))
    values = np.pad(np.nan_to_num(recent), ((0, 0), (lately, 0)))
    sums, counts = np.cumsum(values, axis=1), np.cumsum(known, axis=1)
    mean = (sums[:, lately:] - sums[:, :-lately]) / np.maximum(counts[:, lately:] - counts[:, :-lately], 1)
    value_rank, mean_rank = _ranks(recent), _ranks(np.where(np.isfinite(recent), mean, np.nan))
    distance = VALUE_SHARE * np.abs(value_rank - value_rank[:, -1:]) + np.abs(mean_rank - mean_rank[:, -1:])
    return np.nan_to_num(np.exp(-distance / STATE_WIDTH)) + FLOOR_WEIGHT


def _empirical(histories: np.ndarray, setting: Setting, alike: bool) -> np.ndarray:
    recent = histories[:, -LONGEST_MEMORY:]
    series_count, length = recent.shape
    order = np.argsort(recent, axis=1)
    ascending = np.take_along_axis(recent, order, axis=1)
    age = np.where(np.isfinite(recent), _age_weight(length, setting.season_length), 0)
    state = np.ones((series_count, length))
    if alike:
        state = _likeness(recent, max(setting.season_length // 4, FEWEST_LATELY))
    result = np.full((series_count, setting.horizon, len(LEVELS)), np.nan)
    for lag in range(1, setting.horizon + 1):
        weights = age.copy()
        if lag < length:
            weights[:, lag:] *= state[:, :-lag]
            began = np.isfinite(recent[:, :-lag])
            weights[:, lag:] *= np.where(began, 1, FLOOR_WEIGHT)
            weights[:, :lag] *= FLOOR_WEIGHT
        if setting.season_length > 1:
            weights *= _phase_weight(np.arange(length) - (length - 1 + lag), setting.season_length)
        result[:, lag - 1] = _weighted_quantiles(ascending, np.take_along_axis(weights, order, axis=1))
    return result


def climate(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """What was seen at that phase of the season; recent seasons count more."""
    return _empirical(histories, setting, alike=False)


def analogues(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """What followed past courses like the present one, at that phase of the season; recent ones count more.

    Nothing is assumed of the shape: a client that is on or off, or an accelerator that checkpoints every hour, keeps
    both of its levels. Lorenz (1969), atmospheric predictability as revealed by naturally occurring analogues.
    """
    return _empirical(histories, setting, alike=True)


def seasonal_growth(histories: np.ndarray, season_length: int) -> np.ndarray:
    """Robust growth per season of each series, in logs: the median slope over pairs of seasons (Theil-Sen), shrunk.

    A slope moves to the median slope of all series unless it stands out from it by more than its own error:
    weight d^2 / (d^2 + e^2), with d the difference and e the slope's standard error. So a noisy or young series
    grows as the others do, and a clear hotspot keeps its own growth. Seasons of nothing have no logarithm and are
    left out.
    """
    seasons = _season_means(histories, season_length)[:, -GROWTH_SEASONS:]
    logs = np.log(np.where(seasons > 0, seasons, np.nan))
    earlier, later = np.triu_indices(seasons.shape[1], k=1)
    if not len(earlier):
        return np.zeros(len(histories))
    own = quiet_median((logs[:, later] - logs[:, earlier]) / (later - earlier), axis=1)
    known = np.isfinite(own)
    if not known.any():
        return np.zeros(len(histories))
    together = float(quiet_median(own))
    difference = np.where(known, own, together) - together
    error = _slope_error(logs, np.where(known, own, together))
    weight = np.divide(difference**2, difference**2 + error**2, out=np.zeros_like(error), where=difference != 0)
    return np.clip(together + weight * difference, -LARGEST_GROWTH, LARGEST_GROWTH)


def _slope_error(logs: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Standard error of each slope; a series of few seasons borrows the scatter of all series."""
    seen = np.isfinite(logs)
    count = seen.sum(axis=1)
    steps = np.where(seen, np.arange(logs.shape[1]), np.nan)
    centred = np.where(seen, steps - quiet_mean(steps, axis=1)[:, None], 0)
    line = quiet_mean(logs, axis=1)[:, None] + slope[:, None] * centred
    squares = (np.where(seen, logs - line, 0) ** 2).sum(axis=1)
    spare = np.maximum(count - 2, 0)
    typical = float(quiet_median(np.where(spare > 0, squares / np.maximum(spare, 1), np.nan)))
    typical = typical if np.isfinite(typical) else 0.15**2
    borrowed = LEVEL_SEASONS + 1
    variance = (squares + borrowed * typical) / (spare + borrowed)
    return np.sqrt(variance / np.maximum((centred**2).sum(axis=1), 0.5))


def _season_means(histories: np.ndarray, season_length: int) -> np.ndarray:
    """Means of whole seasons, counted back from the end; (series, season)."""
    count = histories.shape[1] // season_length
    if not count:
        return histories[:, -1:]
    recent = histories[:, -count * season_length:]
    folded = recent.reshape(len(recent), count, season_length)
    whole = np.isfinite(folded).mean(axis=2) >= 0.5
    return np.where(whole, quiet_mean(folded, axis=2), np.nan)


def damped_growth(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """The recent level carried forward by a growth that fades by 5% a season, on the recent seasonal shape.

    The level is the median of the last seasons, each brought forward to the last one, so that one odd season does
    not move it. The spread is that of past seasonal changes around the growth.
    """
    season = setting.season_length
    growth = seasonal_growth(histories, season)
    steps = np.arange(setting.horizon)
    ahead = steps // season + 1
    gained = np.cumsum(GROWTH_DAMPING ** np.arange(1, ahead[-1] + 1))[ahead - 1]
    count = min(LEVEL_SEASONS, max(histories.shape[1] // season, 1))
    recent = histories[:, -count * season:]
    if recent.shape[1] < count * season:
        recent = np.concatenate([np.full((len(recent), season - recent.shape[1]), np.nan), recent], axis=1)
    age = np.arange(count)[::-1]
    brought = recent.reshape(len(recent), count, season) * np.exp(growth[:, None] * age)[..., None]
    level = quiet_median(brought, axis=1)
    level = np.where(np.isfinite(level), level, quiet_mean(level, axis=1)[:, None])
    point = level[:, steps % season] * np.exp(growth[:, None] * gained)
    changes = histories[:, season:] - histories[:, :-season] * np.exp(growth)[:, None]
    deviation = np.sqrt(np.nan_to_num(quiet_mean(changes[:, -GROWTH_SEASONS * season:] ** 2, axis=1)))
    return _normal_around(point, deviation[:, None] * np.sqrt(ahead))


def _without_gaps(values: np.ndarray, season_length: int, seasons: int) -> np.ndarray:
    longest = seasons * season_length if season_length > 1 else LONGEST_WITHOUT_SEASON
    return values[np.isfinite(values)][-longest:]


def _fitted(fit: Callable[[np.ndarray], np.ndarray], histories: np.ndarray, setting: Setting, seasons: int) -> np.ndarray:
    """One library fit per series; NaN for a series too short or constant, which needs none."""
    result = np.full((len(histories), setting.horizon, len(LEVELS)), np.nan)
    for row, values in enumerate(histories):
        recent = _without_gaps(values, setting.season_length, seasons)
        if len(recent) < FEWEST_FOR_A_FIT or np.ptp(recent) == 0:
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            made = fit(recent)
        if np.isfinite(made).all():
            result[row] = made
    return result


def theta(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """Dynamic optimised theta of statsforecast; normal, with the width of its simulated 80% interval."""
    from statsforecast.models import DynamicOptimizedTheta

    width = 100 * (1 - 2 * LEVELS[_TENTH])

    def fit(recent: np.ndarray) -> np.ndarray:
        season = setting.season_length if len(recent) > 2 * setting.season_length else 1
        made = DynamicOptimizedTheta(season_length=season).forecast(recent, h=setting.horizon, level=[width])
        deviation = (made[f"hi-{width}"] - made[f"lo-{width}"]) / (-2 * _NORMAL[_TENTH])
        return _normal_around(made["mean"], deviation)

    return _fitted(fit, histories, setting, THETA_SEASONS)


def flair(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """FLAIR of flaircast: level times seasonal shape by ridge regression; quantiles of its sample paths."""
    from flaircast import forecast

    frequency = FLAIR_FREQUENCY[setting.frequency.lstrip("0123456789")]

    def fit(recent: np.ndarray) -> np.ndarray:
        samples = forecast(recent, setting.horizon, frequency, n_samples=FLAIR_SAMPLES, seed=setting.seed)
        return np.quantile(samples, LEVELS, axis=0).T

    return _fitted(fit, histories, setting, FLAIR_SEASONS)


MEMBERS: dict[str, Member] = {
    "seasonal_naive": seasonal_naive,
    "last_value": last_value,
    "theta": theta,
    "flair": flair,
    "analogues": analogues,
    "climate": climate,
    "damped_growth": damped_growth,
}
