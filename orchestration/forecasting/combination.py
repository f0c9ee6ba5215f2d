"""One forecast from several: averages of quantiles, weighted per series by past loss.

A series leans on the members that have served it best, and as far as it has few scores of its own on those that
have served all series best. Only truth that had arrived by an origin is used there. Arrays only.
"""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.members import LEVELS, quiet_mean

SCORED_LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
SCORED = np.searchsorted(LEVELS, SCORED_LEVELS)

WEIGHT_POWER = 6.0
SHRINKAGE_SEASONS = 2.0
"""Past forecasts of a series at which its own scores count as much as those of all series."""
SMALLEST_RELATIVE_LOSS = 0.02


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
    together = (evidence * np.nan_to_num(own)).sum(axis=1) / np.maximum(evidence.sum(axis=1), 1e-12)
    shrunk = (evidence * np.nan_to_num(own) + SHRINKAGE_SEASONS * together[:, None]) / (evidence + SHRINKAGE_SEASONS)
    weights = np.exp(-WEIGHT_POWER * (shrunk - shrunk.min(axis=0)))
    return weights / weights.sum(axis=0)


def weighted_average(quantiles: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Quantiles (series, horizon, level) of the joined forecast, from those of members (member, ...).

    A member without a forecast for a series leaves its weight to the others; NaN where none has one.
    """
    has = np.isfinite(quantiles).all(axis=(2, 3))
    used = np.where(has, weights, 0)
    total = used.sum(axis=0)
    joined = np.einsum("ms,mshq->shq", used, np.where(has[:, :, None, None], quantiles, 0))
    return np.where(total[:, None, None] > 0, joined / np.where(total > 0, total, 1)[:, None, None], np.nan)
