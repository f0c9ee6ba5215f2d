"""Histories as a matrix over one regular clock, from the long frame that everyone passes.

Nothing is forecast here. A period is a date (days, weeks) or a UTC instant (hours, minutes).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

STEPS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class NotAHistory(ValueError):
    """The frame is no history: says what is wrong with it."""


def step_of(frequency: str) -> timedelta:
    """The time between two periods, from a frequency like 1h, 1d, 1w or 5m."""
    count, unit = frequency[:-1], frequency[-1:]
    if unit not in STEPS or not count.isdigit() or int(count) < 1:
        raise NotAHistory(f"a frequency is a count and one of m, h, d, w, like 1h; not {frequency!r}")
    return timedelta(**{STEPS[unit]: int(count)})


@dataclass(frozen=True)
class Panel:
    """Series over the same periods; NaN is not known (masked, or outside of the series)."""

    series_ids: tuple[str, ...]
    periods: tuple[date | datetime, ...]
    values: np.ndarray
    frequency: str

    def targets(self, horizon: int) -> list[date | datetime]:
        """The periods that follow the last one."""
        step = step_of(self.frequency)
        return [self.periods[-1] + step * ahead for ahead in range(1, horizon + 1)]


def panel_of(history: pl.DataFrame, frequency: str, series_ids: tuple[str, ...] = ()) -> Panel:
    """The matrix of a long frame (series_id, period, value); ``series_ids`` adds series that have no row at all.

    Null and NaN are not known, and a period without a row is not known; a negative value counts as zero.
    """
    step = step_of(frequency)
    known = history.select("series_id", "period", pl.col("value").cast(pl.Float64).fill_nan(None))
    if known.select("series_id", "period").is_duplicated().any():
        raise NotAHistory("two rows of one series and period")
    names = tuple(sorted({*known["series_id"].unique(), *series_ids}))
    if known.is_empty():
        raise NotAHistory("a history without a row has no last period to forecast from")
    first, last = known["period"].min(), known["period"].max()
    count = (last - first) // step + 1
    row_of = {name: row for row, name in enumerate(names)}
    columns = ((known["period"] - first) / step).to_numpy() if len(known) else np.array([])
    if not np.allclose(columns, np.round(columns)):
        raise NotAHistory(f"periods that do not lie on one clock of {frequency}")
    values = np.full((len(names), count), np.nan)
    rows = known["series_id"].replace_strict(row_of, return_dtype=pl.Int64).to_numpy()
    values[rows, np.round(columns).astype(int)] = known["value"].to_numpy()
    values[np.isinf(values)] = np.nan
    return Panel(names, tuple(first + step * index for index in range(count)), np.maximum(values, 0), frequency)
