"""Calibration of quantiles on past errors, pooled over series.

Pooled normalised conformal: each side's own offset from the median is widened by the pooled quantile of
|past residual| / offset. Calibrating each series alone under-covers with few origins; pooling does not. Arrays only.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from orchestration.forecasting.members import LEVELS, MEDIAN

SMALLEST_WIDENING = 0.9
SMALLEST_TAIL_WIDENING = 1.3
"""A band that past errors call too wide is narrowed by a tenth at most, and its tails are always widened a little:
errors of a few origins share one week's luck, demand is not stationary, so past calm says less than past surprise,
and what members take from the past ends where the past did."""
LARGEST_WIDENING = 2.0
TAIL = 0.05
SHRINKAGE_ERRORS = 200.0
"""Past errors at which a group's own widening counts as much as that of all series."""
FEWEST_ERRORS = 20
BORROWED_OFFSET = 0.03
"""Share of the spread of the climate that is added to each offset: a band of no width cannot be widened."""

_SIDE = np.sign(np.arange(len(LEVELS)) - MEDIAN)
_FLOOR = np.where(np.minimum(LEVELS, 1 - LEVELS) <= TAIL + 1e-9, SMALLEST_TAIL_WIDENING, SMALLEST_WIDENING)
_LOW, _HIGH = np.searchsorted(LEVELS, (0.1, 0.9))


def offsets(quantiles: np.ndarray, climate: np.ndarray) -> np.ndarray:
    """Distance of each level from the median, plus some of the spread of the climate; never negative."""
    spread = (climate[..., _HIGH:_HIGH + 1] - climate[..., _LOW:_LOW + 1]) / 2
    borrowed = BORROWED_OFFSET * np.nan_to_num(spread) * np.abs(ndtri(LEVELS)) / ndtri(LEVELS[_HIGH])
    return (quantiles - quantiles[..., MEDIAN:MEDIAN + 1]) * _SIDE + borrowed


def ratios(truth: np.ndarray, quantiles: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """How far past truths lay from the median to each level's side, in its offsets; (..., level).

    NaN where truth or forecast is not known, or the offset is nothing: a certainty says nothing of others' widths.
    """
    residual = (truth[..., None] - quantiles[..., MEDIAN:MEDIAN + 1]) * _SIDE
    wide = offset > 0
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
        if index != MEDIAN and len(here) >= FEWEST_ERRORS:
            factor[index] = np.clip(np.quantile(here, max(level, 1 - level)), _FLOOR[index], LARGEST_WIDENING)
    return factor, int(np.isfinite(past_ratios).any(axis=1).sum())


def shrunk(own: np.ndarray, errors: int, together: np.ndarray) -> np.ndarray:
    """A group's widening, leaning on that of all series as far as it has few errors of its own."""
    weight = errors / (errors + SHRINKAGE_ERRORS)
    return np.exp(weight * np.log(own) + (1 - weight) * np.log(together))


def widened(quantiles: np.ndarray, offset: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Quantiles at their offset times the factor from the median; rising in the level."""
    return np.sort(quantiles[..., MEDIAN:MEDIAN + 1] + _SIDE * offset * factor, axis=-1)
