"""One forecast from several: per-series averages of quantiles, weighted by past loss.

A series leans on the model that has served it best. Only truth that had arrived at an origin is used there.
Arrays in, arrays out.
"""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.tables import HORIZON_WEEKS, QUANTILES

WEIGHT_POWER = 2
WEIGHT_SHRINKAGE_SCORES = 6

_LEVELS = np.array(QUANTILES)


def truth_of(history: np.ndarray) -> np.ndarray:
    """What each origin's weeks ahead turned out to be: (origin, series, horizon), NaN where not known."""
    series_count, week_count = history.shape
    truth = np.full((week_count, series_count, HORIZON_WEEKS), np.nan)
    for origin in range(week_count):
        ahead = history[:, origin + 1 : origin + 1 + HORIZON_WEEKS]
        truth[origin, :, : ahead.shape[1]] = ahead
    return truth


def quantile_loss(truth: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Pinball loss, the mean over QUANTILES; NaN where the truth is not known."""
    miss = truth[..., None] - quantiles
    return np.maximum(_LEVELS * miss, (_LEVELS - 1) * miss).mean(axis=-1)


def arrived_by(origin: int, week_count: int) -> np.ndarray:
    """Which (origin, horizon) pairs had their truth by the week ``origin``."""
    return np.arange(week_count)[:, None] + np.arange(1, HORIZON_WEEKS + 1)[None, :] <= origin


def _weights(losses: list[np.ndarray], arrived: np.ndarray) -> np.ndarray:
    """(model, series) weights that sum to 1, from the losses known so far.

    A series' own mean loss, relative to the mean of the models, shrunk to that of all series.
    """
    seen = [np.where(arrived[:, None, :] & np.isfinite(loss), loss, 0).sum(axis=(0, 2)) for loss in losses]
    count = (arrived[:, None, :] & np.isfinite(losses[0])).sum(axis=(0, 2))
    own = np.array(seen) / np.maximum(count, 1)
    typical = own.mean(axis=0)
    relative = np.divide(own, typical, out=np.ones_like(own), where=typical > 0)
    together = np.average(relative, axis=1, weights=count)[:, None] if count.any() else np.ones((len(losses), 1))
    shrunk = (count * relative + WEIGHT_SHRINKAGE_SCORES * together) / (count + WEIGHT_SHRINKAGE_SCORES)
    weight = np.maximum(shrunk, 1e-3) ** -WEIGHT_POWER
    return weight / weight.sum(axis=0)


def weighted_average(members: list[np.ndarray], history: np.ndarray) -> np.ndarray:
    """Quantiles of the joined forecast at every origin; members and result are (origin, series, horizon, quantile)."""
    week_count = history.shape[1]
    truth = truth_of(history)
    losses = [quantile_loss(truth, member) for member in members]
    result = np.full_like(members[0], np.nan)
    for origin in range(week_count):
        weights = _weights(losses, arrived_by(origin, week_count))
        result[origin] = sum(
            weight[:, None, None] * member[origin] for weight, member in zip(weights, members, strict=True)
        )
    return result
