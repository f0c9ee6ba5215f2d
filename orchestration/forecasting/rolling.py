"""Forecasts made at rolling origins: members, their combination, calibrated only on what had arrived by then.

An origin is the number of periods known when a forecast is made. Arrays (origin, series, horizon, level); no frames
and no scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestration.forecasting.combination import (
    arrived,
    member_weights,
    mixture,
    quantile_loss,
)
from orchestration.forecasting.conformal import offsets, ratios, shrunk, widened, widenings
from orchestration.forecasting.members import LEVELS, Setting, opened

COMBINED = "weighted"
YARDSTICK = "seasonal_naive"
CLIMATE = "climate"
COSTLY = ("theta", "flair", "fracast")
"""Members that take milliseconds a series, where the others take microseconds."""
LARGEST_MULTIPLE_OF_HISTORY = 20
"""No quantile beyond this multiple of the most ever seen: an exploding band orders anything."""


@dataclass(frozen=True)
class Rolled:
    """What every member said at each origin, and what came: truth is (origin, series, horizon), NaN if not known."""

    origins: np.ndarray
    members: dict[str, np.ndarray]
    truth: np.ndarray
    largest: np.ndarray

    @property
    def horizon(self) -> int:
        """Periods ahead."""
        return self.truth.shape[2]


def truth_at(values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    """What each origin's periods ahead turned out to be; (origin, series, horizon), NaN where not known."""
    truth = np.full((len(origins), len(values), horizon), np.nan)
    for index, origin in enumerate(origins):
        ahead = values[:, origin:origin + horizon]
        truth[index, :, : ahead.shape[1]] = ahead
    return truth


def sample_of(series_count: int, wanted: int) -> np.ndarray:
    """Rows of at most ``wanted`` series, evenly spread."""
    return np.unique(np.linspace(0, series_count - 1, min(series_count, wanted)).round().astype(int))


def roll(
    values: np.ndarray, origins: list[int], setting: Setting,
    only_rows: Mapping[int, Mapping[str, np.ndarray]] | None = None,
) -> Rolled:
    """Every member's forecast at each origin.

    Args:
        only_rows: by origin and member, the only series that the member is run for.
    """
    made = {
        name: np.full((len(origins), len(values), setting.horizon, len(LEVELS)), np.nan) for name in setting.members
    }
    largest = np.zeros((len(origins), len(values)))
    for index, origin in enumerate(origins):
        seen = opened(values[:, :origin], setting.season_length)
        largest[index] = np.nan_to_num(values[:, :origin]).max(axis=1, initial=0)
        for name, member in setting.members.items():
            rows = (only_rows or {}).get(origin, {}).get(name)
            if rows is None:
                made[name][index] = member(seen, setting)
            else:
                made[name][index, rows] = member(seen[rows], setting)
    bounded = {name: np.sort(bound(member, largest), axis=-1) for name, member in made.items()}
    return Rolled(np.array(origins), bounded, truth_at(values, np.array(origins), setting.horizon), largest)


def bound(quantiles: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Quantiles that are never negative and at most LARGEST_MULTIPLE_OF_HISTORY times the most seen by then."""
    return np.clip(quantiles, 0, LARGEST_MULTIPLE_OF_HISTORY * largest[:, :, None, None])


def combine(rolled: Rolled) -> np.ndarray:
    """The mixture of the members at each origin, weighted by the losses that had arrived by then."""
    stacked = np.stack(list(rolled.members.values()))
    losses = np.stack([quantile_loss(rolled.truth, member) for member in rolled.members.values()])
    joined = np.full_like(stacked[0], np.nan)
    for index, origin in enumerate(rolled.origins):
        weights = member_weights(losses, arrived(rolled.origins, origin, rolled.horizon))
        joined[index] = mixture(stacked[:, index], weights)
    return joined


def calibrate(quantiles: np.ndarray, rolled: Rolled, groups: np.ndarray, only: list[int] | None = None) -> np.ndarray:
    """Quantiles widened, at each origin, by the errors that had arrived by then; pooled in groups of series.

    Args:
        groups: a label per series, like its level of the hierarchy.
        only: positions of origins to calibrate; others come back as they are.
    """
    offset = offsets(quantiles, rolled.members[CLIMATE])
    past = ratios(rolled.truth, quantiles, offset)
    result = quantiles.copy()
    for index in range(len(rolled.origins)) if only is None else only:
        seen = arrived(rolled.origins, rolled.origins[index], rolled.horizon)[:, None, :]
        together, _ = widenings(past[np.broadcast_to(seen, past.shape[:3])])
        for group in np.unique(groups):
            rows = groups == group
            own, errors = widenings(past[:, rows][np.broadcast_to(seen, past[:, rows].shape[:3])])
            factor = shrunk(own, errors, together)
            result[index, rows] = widened(quantiles[index, rows], offset[index, rows], factor)
    return bound(result, rolled.largest)
