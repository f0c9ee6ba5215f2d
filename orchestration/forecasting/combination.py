"""One forecast from several: mixtures of the members' distributions, weighted per series by past loss.

A series leans on the members that have served it best, and as far as it has few scores of its own on those that
have served all series best. Probabilities are averaged, not quantiles: a client that is on or off keeps both of
its levels, where averaged quantiles would have it half on. Only truth that had arrived by an origin is used there.
Arrays only.
"""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.members import LEVELS, quiet_mean

SCORED_LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
SCORED = np.searchsorted(LEVELS, SCORED_LEVELS)

WEIGHT_POWER = 6.0
SHRINKAGE_SEASONS = 3.0
"""Past forecasts of a series at which its own scores count as much as those of all series."""
PRIOR_SEASONS = 2.0
"""Past forecasts of all series together at which their scores count half: with one or two all members are equal."""
SMALLEST_RELATIVE_LOSS = 0.02
ROWS_AT_ONCE = 4096
_MASS = np.diff(np.concatenate([[0], (LEVELS[1:] + LEVELS[:-1]) / 2, [1]]))


def quantile_loss(truth: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Pinball loss of quantiles at LEVELS, the mean over SCORED_LEVELS; NaN where truth or forecast is not known."""
    miss = truth[..., None] - quantiles[..., SCORED]
    levels = LEVELS[SCORED]
    return np.maximum(levels * miss, (levels - 1) * miss).mean(axis=-1)


def arrived(origins: np.ndarray, at: int, horizon: int) -> np.ndarray:
    """Which (origin, horizon) pairs had their truth by the period ``at``; an origin counts the periods known then."""
    return np.asarray(origins)[:, None] + np.arange(1, horizon + 1) <= at


def member_weights(losses: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Weights (member, series) from losses (member, origin, series, horizon), of what is ``seen`` (origin, horizon).

    A member's loss on a series is taken relative to the mean of the members there, in logs, and shrunk to its mean
    over all series. The weight is that to the power of -WEIGHT_POWER. Where nothing is seen yet all weigh the same.
    """
    counted = seen[None, :, None, :] & np.isfinite(losses)
    count = counted.sum(axis=(1, 3))
    mean = np.where(count > 0, np.where(counted, losses, 0).sum(axis=(1, 3)) / np.maximum(count, 1), np.nan)
    typical = quiet_mean(mean, axis=0)
    relative = np.divide(mean, typical, out=np.full_like(mean, np.nan), where=typical > 0)
    own = np.log(np.maximum(relative, SMALLEST_RELATIVE_LOSS))
    evidence = np.where(np.isfinite(own), count / losses.shape[3], 0)
    own = np.where(evidence > 0, own, 0)
    together = (evidence * own).sum(axis=1) / (evidence.sum(axis=1) + PRIOR_SEASONS)
    shrunk = (evidence * own + SHRINKAGE_SEASONS * together[:, None]) / (evidence + SHRINKAGE_SEASONS)
    weights = np.exp(-WEIGHT_POWER * (shrunk - shrunk.min(axis=0)))
    return weights / weights.sum(axis=0)


def mixture(quantiles: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Quantiles (series, horizon, level) of the mixture of members' distributions, from theirs (member, ...).

    A member without a forecast for a series leaves its weight to the others; NaN where none has one.
    """
    member_count, series_count, horizon, level_count = quantiles.shape
    has = np.isfinite(quantiles).all(axis=(2, 3))
    used = np.where(has, weights, 0)
    total = used.sum(axis=0)
    used = used / np.where(total > 0, total, 1)
    result = np.full((series_count, horizon, level_count), np.nan)
    known = np.flatnonzero(total > 0)
    at_once = max(ROWS_AT_ONCE // horizon, 1)
    for first in range(0, len(known), at_once):
        rows = known[first:first + at_once]
        points = np.where(has[:, rows, None, None], quantiles[:, rows], 0)
        points = points.transpose(1, 2, 0, 3).reshape(len(rows) * horizon, member_count * level_count)
        masses = (used[:, rows].T[:, None, :, None] * _MASS).reshape(len(rows), 1, member_count * level_count)
        masses = np.broadcast_to(masses, (len(rows), horizon, masses.shape[2])).reshape(points.shape)
        result[rows] = weighted_quantiles(points, masses).reshape(len(rows), horizon, level_count)
    return result


def weighted_quantiles(points: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Quantiles at LEVELS of points with masses that sum to 1, by row; straight lines between middles of masses."""
    order = np.argsort(points, axis=1, kind="stable")
    ascending = np.take_along_axis(points, order, axis=1)
    middle = np.cumsum(np.take_along_axis(masses, order, axis=1), axis=1)
    middle -= np.take_along_axis(masses, order, axis=1) / 2
    rows = np.arange(len(points))
    result = np.empty((len(points), len(LEVELS)))
    for index, level in enumerate(LEVELS):
        right = (middle < level).sum(axis=1).clip(1, points.shape[1] - 1)
        low, high = middle[rows, right - 1], middle[rows, right]
        share = np.clip((level - low) / np.maximum(high - low, 1e-12), 0, 1)
        result[:, index] = ascending[rows, right - 1] * (1 - share) + ascending[rows, right] * share
    return result
