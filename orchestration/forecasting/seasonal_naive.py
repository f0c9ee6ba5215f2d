"""Two plain models of weekly demand, and their quantiles from past errors.

``seasonal_naive`` repeats the last known week: for a weekly target, every hour of last week repeated
has last week's busy hour. It is the yardstick. ``damped_drift`` carries the recent level forward by a
robust weekly growth that fades. Both get their spread the same way: past errors of the same model,
normalised by each series' own weekly change and pooled over series, widened with the square root of
the horizon. Arrays in, arrays out; ``weighted`` joins the two and ``backtest`` scores all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from orchestration.forecasting.tables import HORIZON_WEEKS, QUANTILES

FRESH_WEEKS = 4
"""A series without a known week for longer has ended; repeating it would invent demand."""
LEVEL_WEEKS = 3
GROWTH_WEEKS = 9
GROWTH_DAMPING = 0.95
LARGEST_WEEKLY_LOG_GROWTH = 0.12
SCATTER_SHRINKAGE_WEEKS = 4
CHANGE_WEEKS = 8
CHANGE_SHRINKAGE_WEEKS = 4
DEFAULT_WEEKLY_CHANGE = 0.15
"""Mean weekly change over level where no series has two weeks yet. Assumption."""
SMALLEST_WEEKLY_CHANGE = 0.01
POOL_SHRINKAGE_ERRORS = 20
LARGEST_MULTIPLE_OF_HISTORY = 20
"""No quantile beyond this multiple of the most ever seen: an exploding band orders anything."""

_STEPS = np.arange(1, HORIZON_WEEKS + 1)
_STANDARD_DEVIATIONS_PER_MEAN_CHANGE = np.sqrt(np.pi / 2)
_NORMAL_SHAPE = (
    np.array([NormalDist().inv_cdf(quantile) for quantile in QUANTILES]) * _STANDARD_DEVIATIONS_PER_MEAN_CHANGE
)

PointModel = Callable[[np.ndarray], np.ndarray]


def _quiet_median(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The median of known values, NaN where none is known (numpy would warn)."""
    masked = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(masked, axis=axis), np.nan)


def _quiet_mean(values: np.ndarray, axis: int) -> np.ndarray:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def last_known(history: np.ndarray) -> np.ndarray:
    """The newest known value of each series within FRESH_WEEKS; NaN for a series that has ended."""
    value = np.full(history.shape[0], np.nan)
    for week in history[:, -FRESH_WEEKS:].T:
        value = np.where(np.isfinite(week), week, value)
    return value


def seasonal_naive(history: np.ndarray) -> np.ndarray:
    """Last week again, for each of the HORIZON_WEEKS weeks; (series, weeks) to (series, horizon)."""
    return np.repeat(last_known(history)[:, None], HORIZON_WEEKS, axis=1)


def weekly_log_growth(history: np.ndarray) -> np.ndarray:
    """Robust growth per week, in logs: the median slope over pairs of weeks (Theil-Sen), shrunk.

    A slope moves to the median slope of all series unless it stands out from it by more than its own error:
    weight d^2 / (d^2 + e^2), with d the difference and e the slope's standard error. So a noisy or young series
    grows as the others do, and a clear hotspot keeps its own growth. Zero weeks have no logarithm and are left out.
    """
    recent = history[:, -GROWTH_WEEKS:]
    logs = np.log(np.where(recent > 0, recent, np.nan))
    earlier, later = np.triu_indices(recent.shape[1], k=1)
    if len(earlier) == 0:
        return np.zeros(history.shape[0])
    own = _quiet_median((logs[:, later] - logs[:, earlier]) / (later - earlier), axis=1)
    known = np.isfinite(own)
    if not known.any():
        return np.zeros(history.shape[0])
    together = float(_quiet_median(own))
    difference = np.where(known, own, together) - together
    error = _slope_error(logs, own)
    weight = np.divide(difference**2, difference**2 + error**2, out=np.zeros_like(error), where=difference != 0)
    growth = together + weight * difference
    return np.clip(growth, -LARGEST_WEEKLY_LOG_GROWTH, LARGEST_WEEKLY_LOG_GROWTH)


def _slope_error(logs: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Standard error of each slope; a series of few weeks borrows the scatter of all series."""
    weeks = np.arange(logs.shape[1])
    seen = np.isfinite(logs)
    count = seen.sum(axis=1)
    centred = np.where(seen, weeks - _quiet_mean(np.where(seen, weeks, np.nan), axis=1)[:, None], 0)
    line = _quiet_mean(logs, axis=1)[:, None] + slope[:, None] * centred
    squares = np.where(seen & np.isfinite(line), logs - line, 0) ** 2
    spare = np.maximum(count - 2, 0)
    typical = float(_quiet_median(np.where(spare > 0, squares.sum(axis=1) / np.maximum(spare, 1), np.nan)))
    typical = typical if np.isfinite(typical) else DEFAULT_WEEKLY_CHANGE**2
    variance = (squares.sum(axis=1) + SCATTER_SHRINKAGE_WEEKS * typical) / (spare + SCATTER_SHRINKAGE_WEEKS)
    return np.sqrt(variance / np.maximum((centred**2).sum(axis=1), 0.5))


def damped_drift(history: np.ndarray) -> np.ndarray:
    """The recent level carried forward by a growth that fades by 5% a week; (series, weeks) to (series, horizon).

    The level is the median of the last LEVEL_WEEKS weeks, each brought forward to the last one, so that one
    odd week does not move it.
    """
    growth = weekly_log_growth(history)
    recent = history[:, -LEVEL_WEEKS:]
    age = np.arange(recent.shape[1])[::-1]
    level = _quiet_median(recent * np.exp(growth[:, None] * age), axis=1)
    level = np.where(np.isfinite(level), level, last_known(history))
    gained = np.cumsum(GROWTH_DAMPING**_STEPS)
    return level[:, None] * np.exp(growth[:, None] * gained)


MODELS: dict[str, PointModel] = {"seasonal_naive": seasonal_naive, "damped_drift": damped_drift}


def spread(history: np.ndarray) -> np.ndarray:
    """Typical change of each series in one week, in its own unit.

    The mean absolute weekly change over the last CHANGE_WEEKS changes relative to the recent mean, shrunk
    to the median of all series, times the recent mean.
    """
    level = _quiet_mean(history[:, -FRESH_WEEKS:], axis=1)
    changes = np.abs(np.diff(history, axis=1))[:, -CHANGE_WEEKS:]
    known = np.isfinite(changes).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where((known > 0) & (level > 0), _quiet_mean(changes, axis=1) / level, np.nan)
    together = float(_quiet_median(own)) if np.isfinite(own).any() else DEFAULT_WEEKLY_CHANGE
    weight = np.where(np.isfinite(own), known, 0)
    relative = (weight * np.nan_to_num(own) + CHANGE_SHRINKAGE_WEEKS * together) / (weight + CHANGE_SHRINKAGE_WEEKS)
    return np.clip(relative, SMALLEST_WEEKLY_CHANGE, 1.0) * level


@dataclass(frozen=True)
class PastForecasts:
    """What a model said at each past week, and how wrong it was.

    ``points`` and ``errors``: (origin, series, horizon); ``spreads``: (origin, series). Errors are in units of
    spread times the square root of the horizon, NaN where the truth is not known.
    """

    points: np.ndarray
    spreads: np.ndarray
    errors: np.ndarray

    def known_at(self, origin: int) -> list[np.ndarray]:
        """Per horizon, the errors whose truth had arrived by the week ``origin``."""
        return [
            self.errors[: max(origin - step + 1, 0), :, step - 1][
                np.isfinite(self.errors[: max(origin - step + 1, 0), :, step - 1])
            ]
            for step in _STEPS
        ]


def past_forecasts(model: PointModel, history: np.ndarray) -> PastForecasts:
    """Every forecast the model would have made at each week of the history, the last one included."""
    series_count, week_count = history.shape
    points = np.full((week_count, series_count, HORIZON_WEEKS), np.nan)
    spreads = np.full((week_count, series_count), np.nan)
    errors = np.full_like(points, np.nan)
    for origin in range(week_count):
        seen = history[:, : origin + 1]
        points[origin] = model(seen)
        spreads[origin] = spread(seen)
        truth = history[:, origin + 1 : origin + 1 + HORIZON_WEEKS]
        reach = truth.shape[1]
        width = spreads[origin][:, None] * np.sqrt(_STEPS[:reach])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            normalised = (truth - points[origin, :, :reach]) / width
        errors[origin, :, :reach] = np.where((width > 0) & np.isfinite(normalised), normalised, np.nan)
    return PastForecasts(points, spreads, errors)


def _shape(errors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Quantiles of errors at QUANTILES; few errors lean on another shape."""
    if errors.size == 0:
        return otherwise
    weight = errors.size / (errors.size + POOL_SHRINKAGE_ERRORS)
    return weight * np.quantile(errors, QUANTILES) + (1 - weight) * otherwise


def error_shapes(errors_by_horizon: list[np.ndarray]) -> np.ndarray:
    """Quantiles of normalised errors by horizon, (horizon, quantile).

    Each horizon uses the errors of itself and its neighbours, leaning on all horizons together, and those on
    the normal shape. Beyond the longest horizon with errors, the longest ones stand.
    """
    together = _shape(np.concatenate(errors_by_horizon), _NORMAL_SHAPE)
    longest = max((step for step, errors in enumerate(errors_by_horizon) if errors.size), default=0)
    shapes = []
    for step in range(HORIZON_WEEKS):
        middle = min(step, longest)
        near = np.concatenate(errors_by_horizon[max(middle - 1, 0) : middle + 2])
        shapes.append(_shape(near, together))
    return np.array(shapes)


def past_quantiles(past: PastForecasts, history: np.ndarray) -> np.ndarray:
    """Quantiles that the model gave at each week of the history, from errors known by then.

    (origin, series, horizon, quantile); NaN for a series with no forecast. Never negative, rising in the
    quantile, and at most LARGEST_MULTIPLE_OF_HISTORY times the largest value seen.
    """
    shapes = np.array([error_shapes(past.known_at(origin)) for origin in range(history.shape[1])])
    width = past.spreads[:, :, None] * np.sqrt(_STEPS)
    values = past.points[..., None] + width[..., None] * shapes[:, None]
    seen = np.maximum.accumulate(np.where(np.isfinite(history), history, 0), axis=1).T
    return np.clip(values, 0, LARGEST_MULTIPLE_OF_HISTORY * seen[:, :, None, None])
