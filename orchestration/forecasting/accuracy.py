"""What a forecast was worth once the truth is known: loss, error, coverage, and the regret of an order.

Arrays in, arrays out; NaN truths are not scored. Whoever has frames shapes them first.
"""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.combination import quantile_loss
from orchestration.forecasting.members import LEVELS, MEDIAN
from orchestration.forecasting.paths import read_at

ORDER_QUANTILE = 0.8451
"""c_u / (c_u + c_o) of FORECAST.md, O1: 2,478.62 USD margin and 384 USD cost per node-day."""
SMALLEST_RELATIVE_LOSS = 0.1
"""A series counts as at most ten times better than seasonal naive: one that fell silent would make any mean."""
PEAK_RULE, MEAN_RULE = "last_peak", "mean_x_1.3"
MEAN_MULTIPLE = 1.3


def relative_quantile_loss(truth: np.ndarray, quantiles: np.ndarray, yardstick: np.ndarray) -> np.ndarray:
    """Each series' quantile loss over that of the yardstick; NaN where the yardstick made none, or nothing is known.

    Args:
        truth: (origin, series, horizon); quantiles and yardstick: (origin, series, horizon, level).
    """
    ours, theirs = quantile_loss(truth, quantiles), quantile_loss(truth, yardstick)
    both = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = (np.where(both, loss, 0).sum(axis=(0, 2)) for loss in (ours, theirs))
    ratio = np.divide(ours, theirs, out=np.full_like(ours, np.nan), where=theirs > 0)
    return np.where(np.isfinite(ratio), np.maximum(ratio, SMALLEST_RELATIVE_LOSS), np.nan)


def wape(truth: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Each series' absolute error of the median over its truth; NaN where the truth is nothing."""
    known = np.isfinite(truth) & np.isfinite(quantiles[..., MEDIAN])
    miss = np.where(known, np.abs(truth - quantiles[..., MEDIAN]), 0).sum(axis=(0, 2))
    volume = np.where(known, truth, 0).sum(axis=(0, 2))
    return np.divide(miss, volume, out=np.full_like(miss, np.nan), where=volume > 0)


def held(truth: np.ndarray, quantiles: np.ndarray, low: float, high: float) -> np.ndarray:
    """Whether the band from ``low`` to ``high`` held the truth, 0 to 1; NaN where not known.

    Where several quantiles equal the truth (a client that asks for nothing, and was said to), the truth stands for
    all their levels, and the share of those inside the band is counted: the probability integral transform with
    ties shared. So a certain and true nothing counts .8 for the 80% band, not 1.
    """
    tied = quantiles == truth[..., None]
    first = np.where(tied, LEVELS, np.inf).min(axis=-1)
    last = np.where(tied, LEVELS, -np.inf).max(axis=-1)
    first = np.where(first <= LEVELS[0], 0, first)
    last = np.where(last >= LEVELS[-1], 1, last)
    inside = (truth >= read_at(quantiles, [low])[..., 0]) & (truth <= read_at(quantiles, [high])[..., 0])
    several = last > first
    share = np.clip(np.minimum(last, high) - np.maximum(first, low), 0, None) / np.where(several, last - first, 1)
    known = np.isfinite(truth) & np.isfinite(quantiles[..., MEDIAN])
    return np.where(known, np.where(several, share, inside), np.nan)


def order_from_quantiles(quantiles: np.ndarray) -> np.ndarray:
    """The constant capacity to order for a horizon: the order quantile of all its periods together; (..., series)."""
    mixed = np.sort(quantiles.reshape(*quantiles.shape[:-2], -1), axis=-1)
    weights = np.diff(np.concatenate([[0], (LEVELS[1:] + LEVELS[:-1]) / 2, [1]]))
    horizon = quantiles.shape[-2]
    order = np.argsort(quantiles.reshape(*quantiles.shape[:-2], -1), axis=-1)
    mass = np.take_along_axis(np.broadcast_to(np.tile(weights / horizon, horizon), mixed.shape), order, axis=-1)
    reached = np.cumsum(mass, axis=-1) >= ORDER_QUANTILE - 1e-12
    index = reached.argmax(axis=-1)
    return np.take_along_axis(mixed, index[..., None], axis=-1)[..., 0]


def order_cost(truth: np.ndarray, order: np.ndarray) -> np.ndarray:
    """tau x unserved + (1 - tau) x idle of a constant capacity, summed over the periods known; (origin, series)."""
    gap = truth - order[..., None]
    cost = np.maximum(ORDER_QUANTILE * gap, (ORDER_QUANTILE - 1) * gap)
    return np.where(np.isfinite(cost), cost, 0).sum(axis=-1)


def order_regret(truth: np.ndarray, order: np.ndarray) -> np.ndarray:
    """What the order cost beyond the best constant capacity, over the truth, per series; NaN where truth is nothing.

    The best capacity knew the horizon: the order quantile of its true periods.
    """
    best = np.full(truth.shape[:2], np.nan)
    for index in np.ndindex(*truth.shape[:2]):
        known = truth[index][np.isfinite(truth[index])]
        if len(known):
            best[index] = np.quantile(known, ORDER_QUANTILE, method="inverted_cdf")
    scored = np.isfinite(best) & np.isfinite(order)
    regret = np.where(scored, order_cost(truth, np.nan_to_num(order)) - order_cost(truth, np.nan_to_num(best)), 0)
    volume = np.where(scored[..., None] & np.isfinite(truth), truth, 0).sum(axis=(0, 2))
    return np.divide(regret.sum(axis=0), volume, out=np.full(volume.shape, np.nan), where=volume > 0)


def mean_by_volume(by_series: np.ndarray, truth: np.ndarray) -> float:
    """The mean of a measure that each series has of its own truth, weighted by that truth; NaN where there is none."""
    volume = np.where(np.isfinite(by_series), np.nan_to_num(truth).sum(axis=(0, 2)), 0)
    whole = volume.sum()
    return float((np.nan_to_num(by_series) * volume).sum() / whole) if whole else np.nan


def rule_orders(values: np.ndarray, origins: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
    """What simple rules order at each origin: the peak of the last horizon, and its mean times 1.3; (origin, series)."""
    rules = {PEAK_RULE: [], MEAN_RULE: []}
    for origin in origins:
        recent = np.nan_to_num(values[:, max(origin - horizon, 0):origin])
        rules[PEAK_RULE].append(recent.max(axis=1))
        rules[MEAN_RULE].append(recent.mean(axis=1) * MEAN_MULTIPLE)
    return {name: np.array(orders) for name, orders in rules.items()}
