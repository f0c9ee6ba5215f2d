"""What a forecast adds up into: units that are forecast, parts that they are made of, levels that parts belong to.

A part is the smallest that is counted (a pool; a cell of tokens), a unit what is forecast by itself: one part, or
several together, of which each has a share. Sums and shares only: no forecast is made here, and none is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SHARE_BITS = 12
"""Shares are multiples of 2 to the power of minus this, so that sums of what is shared are exact."""


def whole_shares(size: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """(series, ...) share of each in its group, by size, in whole 2^-SHARE_BITS that sum to 1; equal where all are 0.

    Args:
        size: (series, ...), not negative.
        group: (series) row of its group, of ``count``.
    """
    whole, members, given = (np.zeros((count, *size.shape[1:])) for _ in range(3))
    np.add.at(whole, group, size)
    np.add.at(members, group, 1)
    share = np.where(whole[group] > 0, size / np.where(whole > 0, whole, 1)[group], 1 / members[group])
    parts = np.floor(share * 2**SHARE_BITS)
    np.add.at(given, group, parts)
    # What rounding down has left goes to the first of the largest.
    largest = np.zeros_like(whole)
    np.maximum.at(largest, group, share)
    number = np.arange(len(size)).reshape(-1, *[1] * (size.ndim - 1))
    first = np.full(whole.shape, len(size))
    np.minimum.at(first, group, np.where(share == largest[group], number, len(size)))
    parts += np.where(number == first[group], 2**SHARE_BITS - given[group], 0)
    return parts / 2**SHARE_BITS


def shared_out(above: np.ndarray, below: np.ndarray, above_of: np.ndarray) -> np.ndarray:
    """(path, series, period) what each series gets of the one above it, in the proportions of ``below``; sums are exact.

    Args:
        above: (path, series above, period), multiples of a power of two with SHARE_BITS to spare.
        below: (path, series, period), as each series is forecast by itself.
        above_of: (series) row of the series above.
    """
    shares = whole_shares(np.moveaxis(below, 1, 0), above_of, above.shape[1])
    return np.moveaxis(shares, 0, 1) * above[:, above_of]


@dataclass(frozen=True)
class Hierarchy:
    """Parts, the unit of each, and the series of each level that a part adds up into (None: into none)."""

    parts: np.ndarray
    """(part, period) history; NaN is not known."""
    unit_of: np.ndarray
    """(part) row of its unit."""
    unit_count: int
    parents: Mapping[str, Sequence[str | None]]
    shares: Callable[[int], np.ndarray]
    """(part) its share of its unit, as it is known when so many periods are."""

    def names(self, level: str) -> tuple[str, ...]:
        """The series of a level, in order."""
        return tuple(sorted({name for name in self.parents[level] if name is not None}))

    def weights(self, level: str, origin: int) -> np.ndarray:
        """(series, unit) what part of each unit belongs to each series of the level, as known at the origin."""
        member, row = self._members(level)
        weights = np.zeros((len(self.names(level)), self.unit_count))
        np.add.at(weights, (row, self.unit_of[member]), self.shares(origin)[member])
        return weights

    def sums(self, level: str, parts: np.ndarray) -> np.ndarray:
        """(series, period) the sum of what is known of each series' parts, NaN where nothing is."""
        member, row = self._members(level)
        known = np.isfinite(parts[member])
        total = np.zeros((len(self.names(level)), parts.shape[1]))
        count = np.zeros(total.shape, dtype=int)
        np.add.at(total, row, np.where(known, parts[member], 0))
        np.add.at(count, row, known)
        return np.where(count > 0, total, np.nan)

    def _members(self, level: str) -> tuple[np.ndarray, np.ndarray]:
        """Parts that are in a series of the level, and the row of that series."""
        row_of = {name: row for row, name in enumerate(self.names(level))}
        member = np.array([part for part, name in enumerate(self.parents[level]) if name is not None], dtype=int)
        return member, np.array([row_of[self.parents[level][part]] for part in member], dtype=int)
