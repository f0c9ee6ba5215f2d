"""Sample paths that agree at every level: calibrated marginals, joined as past errors were (Schaake shuffle).

Each series and period keeps its own quantiles; which of its values meets which of the others' is taken from past
joint errors (Clark and others 2004, the Schaake shuffle). Sums of paths are then forecasts of sums, and every level
adds up exactly, because all values are multiples of one power of two, small enough that no sum is ever rounded.
Arrays and frames in, arrays and frames out; the marginals come from ``methods``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
from scipy.special import ndtri

from orchestration.forecasting.members import LEVELS

EXACT_BITS = 51
"""Bits below the largest possible sum that values keep; a float holds 53, so that no sum is rounded."""
TEMPLATES_FOR_NO_NOISE = 60
LARGEST_NOISE = 0.6
SMALLEST_NOISE = 0.1
NOISE_MEMORY = 0.9
LARGEST_TAIL = 3.0


@dataclass(frozen=True)
class Paths:
    """Equally likely courses of all series together: samples are (path, series, horizon)."""

    samples: np.ndarray
    series_ids: tuple[str, ...]
    targets: tuple[date | datetime, ...]

    def aggregate(self, parents: Mapping[str, str]) -> Paths:
        """Sums of the series that share a parent; a series that is not named is left out.

        Exact: adding up in any grouping and order gives the same number to the last bit.
        """
        names = tuple(sorted(set(parents.values())))
        row_of = {name: row for row, name in enumerate(names)}
        summed = np.zeros((self.samples.shape[0], len(names), self.samples.shape[2]))
        for index, series_id in enumerate(self.series_ids):
            if series_id in parents:
                summed[:, row_of[parents[series_id]]] += self.samples[:, index]
        return Paths(summed, names, self.targets)

    def quantile_array(self, quantiles: Sequence[float]) -> np.ndarray:
        """Quantiles over paths, (series, horizon, quantile)."""
        return np.moveaxis(np.quantile(self.samples, quantiles, axis=0), 0, -1)

    def quantiles(self, quantiles: Sequence[float]) -> pl.DataFrame:
        """Quantiles over paths: series_id, target, quantile, value."""
        return quantile_frame(self.quantile_array(quantiles), self.series_ids, self.targets, quantiles)

    def crossed(self, supply: Mapping[str, Sequence[float]]) -> np.ndarray:
        """Share of paths that have exceeded supply by each period, (series, horizon); never falling.

        Args:
            supply: usable supply per series_id, one value per period ahead; a series without supply has none.
        """
        line = np.array([
            np.broadcast_to(np.asarray(supply.get(series_id, 0.0), dtype=float), len(self.targets))
            for series_id in self.series_ids
        ])
        return np.maximum.accumulate(self.samples > line[None], axis=2).mean(axis=0)

    def crossing(
        self, supply: Mapping[str, Sequence[float]], shares: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> pl.DataFrame:
        """The first period by which that share of paths has exceeded supply: series_id, share, target (null: none)."""
        crossed = self.crossed(supply)
        return pl.DataFrame(
            [
                {"series_id": series_id, "share": share,
                 "target": next((target for target, held in zip(self.targets, crossed[row], strict=True)
                                 if held >= share - 1e-12), None)}
                for row, series_id in enumerate(self.series_ids) for share in shares
            ],
            schema={"series_id": pl.String, "share": pl.Float64, "target": period_dtype(self.targets)},
        )


def period_dtype(periods: Sequence[date | datetime]) -> pl.DataType:
    """Date for days and weeks, a UTC instant for hours and minutes."""
    if periods and isinstance(periods[0], datetime):
        return pl.Datetime("us", "UTC" if periods[0].tzinfo else None)
    return pl.Date()


def quantile_frame(
    values: np.ndarray, series_ids: Sequence[str], targets: Sequence[date | datetime], quantiles: Sequence[float],
) -> pl.DataFrame:
    """Long frame series_id, target, quantile, value of an array (series, horizon, quantile)."""
    series_count, horizon, count = values.shape
    return pl.DataFrame({
        "series_id": pl.Series(list(series_ids), dtype=pl.String).gather(
            np.repeat(np.arange(series_count), horizon * count)),
        "target": pl.Series(list(targets), dtype=period_dtype(targets)).gather(
            np.tile(np.repeat(np.arange(horizon), count), series_count)),
        "quantile": np.tile(np.asarray(quantiles, dtype=float), series_count * horizon),
        "value": values.reshape(-1).astype(float),
    })


def read_at(
    quantiles: np.ndarray, wanted: Sequence[float] | np.ndarray, given: Sequence[float] | np.ndarray = LEVELS,
) -> np.ndarray:
    """Quantiles at other levels, from those given: straight lines over normal scores, also a little beyond."""
    scores, have = ndtri(np.asarray(wanted, dtype=float)), ndtri(np.asarray(given, dtype=float))
    scores = np.clip(scores, -LARGEST_TAIL, LARGEST_TAIL)
    right = np.clip(np.searchsorted(have, scores), 1, len(have) - 1)
    share = (scores - have[right - 1]) / (have[right] - have[right - 1])
    # Exactly at a level, exactly its value.
    share = np.where(np.isclose(share, 1, atol=1e-9), 1, np.where(np.isclose(share, 0, atol=1e-9), 0, share))
    return quantiles[..., right - 1] * (1 - share) + quantiles[..., right] * share


def joint_errors(values: np.ndarray, horizon: int, season_length: int) -> np.ndarray:
    """Past joint errors of repeating the last season: (origin, series, horizon), NaN where not known.

    Every period of the history is an origin, so that there are many; the horizon is cut where history ends.
    """
    length = values.shape[1]
    origins = range(season_length, length)
    steps = np.arange(horizon)
    errors = np.full((len(origins), len(values), horizon), np.nan)
    for index, origin in enumerate(origins):
        reach = min(horizon, length - origin)
        repeated = values[:, origin - season_length:origin][:, steps[:reach] % season_length]
        errors[index, :, :reach] = values[:, origin:origin + reach] - repeated
    return errors


def _normal_scores(errors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal scores of errors over origins; ties in random order, what is not known carries its last score on."""
    shuffled = np.where(np.isfinite(errors), errors, np.inf)
    order = np.lexsort((rng.random(errors.shape), shuffled), axis=0)
    ranks = np.argsort(order, axis=0)
    count = np.isfinite(errors).sum(axis=0)
    scores = ndtri(np.clip((ranks + 0.5) / np.maximum(count, 1), 1e-6, 1 - 1e-6))
    scores = np.where(np.isfinite(errors), scores, np.nan)
    for step in range(1, scores.shape[2]):
        scores[..., step] = np.where(np.isfinite(scores[..., step]), scores[..., step], scores[..., step - 1])
    lonely = ~np.isfinite(scores)
    return np.where(lonely, rng.standard_normal(scores.shape[:2])[..., None], scores)


def shuffle(
    marginals: np.ndarray, values: np.ndarray, season_length: int, count: int, seed: int,
) -> np.ndarray:
    """Sample paths (path, series, horizon) with these marginals, joined as past errors were.

    Each path follows one past origin's joint errors, with some noise of its own, more where there are few origins;
    then each series and period is sorted into the ranks that gives.

    Args:
        marginals: quantiles at LEVELS, (series, horizon, level), rising.
        values: the history, (series, period).
    """
    series_count, horizon, _ = marginals.shape
    rng = np.random.default_rng(seed)
    errors = joint_errors(values, horizon, season_length)
    scores = np.zeros((count, series_count, horizon))
    noise = 1.0
    if len(errors):
        templates = _normal_scores(errors, rng)
        # Whole rounds of all origins before any is used again.
        rounds = [rng.permutation(len(templates)) for _ in range(-(-count // len(templates)))]
        scores = templates[np.concatenate(rounds)[:count]]
        noise = np.clip(1 - len(templates) / TEMPLATES_FOR_NO_NOISE, SMALLEST_NOISE, LARGEST_NOISE)
    own = rng.standard_normal((count, series_count, horizon))
    for step in range(1, horizon):
        own[..., step] = NOISE_MEMORY * own[..., step - 1] + np.sqrt(1 - NOISE_MEMORY**2) * own[..., step]
    scores = np.sqrt(1 - noise**2) * scores + noise * own
    rising = np.moveaxis(read_at(marginals, (np.arange(count) + 0.5) / count), -1, 0)
    samples = np.empty_like(scores)
    np.put_along_axis(samples, np.argsort(scores, axis=0, kind="stable"), rising, axis=0)
    return exact(np.maximum(samples, 0))


def exact(samples: np.ndarray, spare_bits: int = 0) -> np.ndarray:
    """Samples rounded to multiples of one power of two, so small that it is lost in any figure and so large that
    sums of all series are never rounded, nor those of their multiples of 2 to the power of minus ``spare_bits``."""
    largest = samples.max(axis=(0, 2)).sum() if samples.size else 0.0
    if largest <= 0:
        return samples
    quantum = 2.0 ** (np.ceil(np.log2(largest)) - EXACT_BITS + spare_bits)
    return np.round(samples / quantum) * quantum
