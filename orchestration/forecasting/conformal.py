"""Calibration of quantiles on past errors, pooled over series.

Pooled normalised conformal: each side's own offset from the median is widened by the pooled quantile of
|past residual| / offset. Calibrating each series alone under-covers with few origins; pooling does not. Arrays only.
"""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.members import LEVELS, MEDIAN

LARGEST_WIDENING = 6.0
SHRINKAGE_ERRORS = 60.0
"""Past errors at which a group's own widening counts as much as that of all series."""
SMALLEST_OFFSET = 1e-9
"""Relative to the size of the median: a thinner band is a certainty, and says nothing of the others' width."""


def ratios(truth: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """How far past truths lay from the median, in offsets of each level; positive is to that level's side.

    (..., level); NaN where truth or forecast is not known, or the band has no width. The median has no ratio.
    """
    middle = quantiles[..., MEDIAN:MEDIAN + 1]
    side = np.sign(np.arange(len(LEVELS)) - MEDIAN)
    offset = (quantiles - middle) * side
    wide = offset > SMALLEST_OFFSET * np.maximum(np.abs(middle), 1)
    residual = (truth[..., None] - middle) * side
    return np.where(wide & np.isfinite(residual), residual / np.where(wide, offset, 1), np.nan)


def widenings(past_ratios: np.ndarray) -> tuple[np.ndarray, int]:
    """The factor per level that would have made past bands hold, and the number of errors it rests on.

    Args:
        past_ratios: (error, level), as from ``ratios``.
    """
    factor = np.ones(len(LEVELS))
    for index, level in enumerate(LEVELS):
        here = past_ratios[:, index]
        here = here[np.isfinite(here)]
        if index == MEDIAN or not len(here):
            continue
        wanted = max(level, 1 - level)
        # The finite-sample quantile of split conformal: a little beyond the empirical one.
        factor[index] = np.quantile(here, min(wanted * (1 + 1 / len(here)), 1))
    return np.clip(factor, 0, LARGEST_WIDENING), int(np.isfinite(past_ratios).any(axis=1).sum())


def shrunk(own: np.ndarray, errors: int, together: np.ndarray) -> np.ndarray:
    """A group's widening, leaning on that of all series as far as it has few errors of its own."""
    weight = errors / (errors + SHRINKAGE_ERRORS)
    return weight * own + (1 - weight) * together


def widened(quantiles: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Quantiles with each level's offset from the median times its factor; still rising in the level."""
    middle = quantiles[..., MEDIAN:MEDIAN + 1]
    moved = middle + (quantiles - middle) * factor
    upper = np.maximum.accumulate(moved[..., MEDIAN:], axis=-1)
    lower = np.minimum.accumulate(moved[..., MEDIAN::-1], axis=-1)[..., ::-1]
    return np.concatenate([lower[..., :-1], upper], axis=-1)
