"""How good the forecast would have been at every level: rolling origins, calibrated only on earlier origins.

At each past origin the forecast is made as it is published: calibrated marginals of the series at the bottom,
joined into coherent paths, summed. Seasonal naive is made in the same way and stands beside it, and so do the
simple rules of ordering. No forecast of the future and no decision here; the measures are in ``accuracy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestration.forecasting import accuracy
from orchestration.forecasting.hierarchy import Hierarchy, shared_out
from orchestration.forecasting.members import LEVELS, MEDIAN, Setting, quiet_mean
from orchestration.forecasting.panel import Panel
from orchestration.forecasting.paths import shuffle
from orchestration.forecasting.rolling import (
    COMBINED,
    YARDSTICK,
    Rolled,
    calibrate,
    combine,
    roll,
    truth_at,
)

SCORED_ORIGINS = 13
CALIBRATION_ORIGINS = 6
FIRST_ORIGIN = 2
"""Periods known at the first past forecast: one change has been seen."""
FIRST_SCORED_ORIGIN = 4
"""With fewer known periods there is next to no past error to calibrate on."""
PATH_COUNT = 300
ALL_SERIES = "all"
RAW_YARDSTICK = "seasonal_naive_own_intervals"
FEWEST_SCORES = 20
"""Periods scored at a level before its loss says anything about the model. The nation is one series, whose first four
forecasts overlap: their ten scored weeks are two or three of news."""

Row = dict[str, str | float]


@dataclass(frozen=True)
class Backtest:
    """Rows (level, series_id, model, metric, value), and what the members said at each origin."""

    rows: list[Row]
    rolled: Rolled


def backtest(
    panel: Panel, bottom: str, levels: Mapping[str, Mapping[str, str]], setting: Setting, *,
    origins: Sequence[int] | None = None, scored: int = SCORED_ORIGINS, every_member: bool = False,
) -> Backtest:
    """Scores at the bottom level and at every level above, of each series and of all together.

    Args:
        bottom: name of the level of the panel's series.
        levels: parent per series_id, by level; a series that is not named is in none.
        origins: numbers of periods known at the past forecasts, rising; every period by default.
        scored: how many of them, the last ones, are scored; those before only calibrate.
        every_member: score the members too, calibrated, and seasonal naive with its own intervals (RAW_YARDSTICK).
    """
    length = len(panel.periods)
    if origins is None:
        origins = range(max(FIRST_ORIGIN, length - scored - CALIBRATION_ORIGINS), length)
    rolled = roll(panel.values, list(origins), setting)
    positions = [index for index, origin in enumerate(rolled.origins) if origin >= FIRST_SCORED_ORIGIN][-scored:]
    if not positions:
        return Backtest([], rolled)
    labels = np.full(len(panel.series_ids), bottom)
    made = {COMBINED: calibrate(combine(rolled), rolled, labels, positions)} | {
        name: calibrate(member, rolled, labels, positions) for name, member in rolled.members.items()
        if every_member or name == YARDSTICK
    }
    if every_member:
        made[RAW_YARDSTICK] = rolled.members[YARDSTICK]
    rows = score(bottom, panel.series_ids, rolled.truth[positions], {model: each[positions] for model, each in made.items()})
    rows += _rule_scores(bottom, panel.series_ids, panel.values, rolled, positions)
    hierarchy = Hierarchy(
        panel.values, np.arange(len(panel.series_ids)), len(panel.series_ids),
        {level: [parents.get(series_id) for series_id in panel.series_ids] for level, parents in levels.items()},
        lambda origin: np.ones(len(panel.series_ids)),
    )
    summed = sums_at(
        hierarchy, panel.values, {model: made[model] for model in (COMBINED, YARDSTICK, RAW_YARDSTICK) if model in made},
        rolled, positions, setting, PATH_COUNT)
    for level, (truth, quantiles) in summed.items():
        names = hierarchy.names(level)
        rows += score(level, names, truth, quantiles)
        rows += _rule_scores(level, names, hierarchy.sums(level, panel.values), rolled, positions, truth)
    return Backtest(rows, rolled)


def losing_levels(rows: list[Row], model: str) -> dict[str, float]:
    """Levels at which the model's loss is not below seasonal naive's, with the relative loss.

    Read over all series of the level; with fewer than FEWEST_SCORES scored periods nothing is said.
    """
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["series_id"] == ALL_SERIES and row["model"] == model:
            scores.setdefault(str(row["level"]), {})[str(row["metric"])] = float(row["value"])
    return {
        level: metrics["relative_quantile_loss"] for level, metrics in sorted(scores.items())
        if metrics.get("scored_count", 0) >= FEWEST_SCORES and metrics.get("relative_quantile_loss", 0) >= 1
    }


def score(
    level: str, series_ids: tuple[str, ...], truth: np.ndarray, quantiles: Mapping[str, np.ndarray]
) -> list[Row]:
    """Rows of what each model was worth: wape, relative_quantile_loss, coverage, order_regret, scored_count.

    A metric that can't be computed (nothing known, only zeros) has no row. ``all``: pooled over the series, but
    relative_quantile_loss, which is their geometric mean, and order_regret, weighted by their truth. wape_week_NN is
    that of the NN-th week ahead.

    Args:
        truth: (origin, series, horizon), NaN where not known.
        quantiles: at LEVELS, (origin, series, horizon, level), by model; the yardstick among them.
    """
    rows: list[Row] = []

    def put(series_id: str, model: str, metric: str, value: float) -> None:
        if np.isfinite(value):
            rows.append({"level": level, "series_id": series_id, "model": model, "metric": metric, "value": float(value)})

    yardstick = quantiles[YARDSTICK]
    for model, made in quantiles.items():
        known = np.isfinite(truth) & np.isfinite(made[..., MEDIAN]) & np.isfinite(yardstick[..., MEDIAN])
        seen = np.where(known, truth, np.nan)
        measures = {
            "wape": accuracy.wape(seen, made),
            "relative_quantile_loss": accuracy.relative_quantile_loss(seen, made, yardstick),
            "order_regret": accuracy.order_regret(seen, accuracy.order_from_quantiles(made)),
        }
        inside = {name: accuracy.held(seen, made, low, high)
                  for name, low, high in (("coverage_80_ratio", 0.1, 0.9), ("coverage_95_ratio", 0.025, 0.975))}
        for row, series_id in enumerate(series_ids):
            if not known[:, row].any():
                continue
            put(series_id, model, "scored_count", float(known[:, row].sum()))
            for metric, by_series in measures.items():
                put(series_id, model, metric, by_series[row])
            for metric, values in inside.items():
                put(series_id, model, metric, float(quiet_mean(values[:, row].reshape(-1), axis=0)))
        if not known.any():
            continue
        put(ALL_SERIES, model, "scored_count", float(known.sum()))
        put(ALL_SERIES, model, "wape", _pooled_wape(seen, made))
        put(ALL_SERIES, model, "relative_quantile_loss",
            float(np.exp(quiet_mean(np.log(measures["relative_quantile_loss"]), axis=0))))
        put(ALL_SERIES, model, "order_regret", accuracy.mean_by_volume(measures["order_regret"], seen))
        for metric, values in inside.items():
            put(ALL_SERIES, model, metric, float(quiet_mean(values.reshape(-1), axis=0)))
        for step in range(truth.shape[2]):
            put(ALL_SERIES, model, f"wape_week_{step + 1:02d}",
                _pooled_wape(seen[:, :, step:step + 1], made[:, :, step:step + 1]))
    return rows


def _rule_scores(
    level: str, series_ids: tuple[str, ...], values: np.ndarray, rolled: Rolled, positions: list[int],
    truth: np.ndarray | None = None,
) -> list[Row]:
    """What simple rules (the last peak, the mean x 1.3) would have cost as orders."""
    truth = rolled.truth[positions] if truth is None else truth
    rows: list[Row] = []
    for rule, orders in accuracy.rule_orders(values, rolled.origins[positions], rolled.horizon).items():
        regret = accuracy.order_regret(truth, orders)
        rows += [
            {"level": level, "series_id": series_id, "model": rule, "metric": "order_regret", "value": float(value)}
            for series_id, value in (*zip(series_ids, regret, strict=True), (ALL_SERIES, accuracy.mean_by_volume(regret, truth)))
            if np.isfinite(value)
        ]
    return rows


def _pooled_wape(truth: np.ndarray, made: np.ndarray) -> float:
    known = np.isfinite(truth)
    total = truth[known].sum()
    return float(np.abs(truth - made[..., MEDIAN])[known].sum() / total) if total > 0 else np.nan


@dataclass(frozen=True)
class SharedLevel:
    """A level whose series are forecast by themselves, and then share out what the level above them came to."""

    name: str
    series_ids: tuple[str, ...]
    above: str
    above_of: np.ndarray
    """(series) row of the series above."""
    values: np.ndarray
    """(series, period) history, NaN is not known."""
    made: Mapping[str, np.ndarray]
    """Marginals by model, (origin, series, horizon, level)."""


def sums_at(
    hierarchy: Hierarchy, values: np.ndarray, made: Mapping[str, np.ndarray], rolled: Rolled, positions: Sequence[int],
    setting: Setting, path_count: int, shared: Sequence[SharedLevel] = (),
) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """What each series of each level came to (origin, series, horizon), and quantiles of its paths by model, by level.

    A unit counts in a period, on both sides, if it had a forecast at the origin and its truth is known: one that
    opens later is not the forecast's to know, and one drop-out does not leave the nation without a score.

    Args:
        values: (unit, period), the history that paths are joined by.
        made: marginals by model, (origin, unit, horizon, level).
        shared: levels of which each series counts where its own truth is known.
    """
    levels = (*hierarchy.parents, *(level.name for level in shared))
    found: dict[str, tuple[list, dict[str, list]]] = {level: ([], {model: [] for model in made}) for level in levels}
    for position in positions:
        origin = int(rolled.origins[position])
        rows = _forecast_rows(made, position)
        truth = rolled.truth[position, rows]
        counted = np.isfinite(truth) | ~np.isfinite(truth).any(axis=0)
        samples = {
            model: shuffle(each[position][rows], values[rows, :origin], setting.season_length, path_count, setting.seed)
            for model, each in made.items()
        }
        parts = np.where(np.isin(hierarchy.unit_of, rows)[:, None], hierarchy.parts, np.nan)
        for level in hierarchy.parents:
            truths, quantiles = found[level]
            weights = hierarchy.weights(level, origin)[:, rows]
            truths.append(truth_at(hierarchy.sums(level, parts), [origin], setting.horizon)[0])
            for model, each in samples.items():
                paths = np.where(weights.any(axis=1)[:, None], np.matmul(weights, np.where(counted, each, 0)), np.nan)
                quantiles[model].append(_quantiles_of(paths))
        for level in shared:
            truths, quantiles = found[level.name]
            weights = hierarchy.weights(level.above, origin)[:, rows]
            truths.append(truth_at(level.values, [origin], setting.horizon)[0])
            own = _forecast_rows(level.made, position)
            for model, each in samples.items():
                below = shuffle(
                    level.made[model][position][own], level.values[own, :origin], setting.season_length, path_count, setting.seed)
                made_here = np.full((len(level.values), setting.horizon, len(LEVELS)), np.nan)
                made_here[own] = _quantiles_of(shared_out(np.matmul(weights, each), below, level.above_of[own]))
                quantiles[model].append(made_here)
    return {
        level: (np.array(truths), {model: np.array(each) for model, each in quantiles.items()})
        for level, (truths, quantiles) in found.items()
    }


def _forecast_rows(made: Mapping[str, np.ndarray], position: int) -> np.ndarray:
    """Rows of the units that every model has a forecast of."""
    return np.flatnonzero(np.logical_and.reduce([np.isfinite(each[position]).all(axis=(1, 2)) for each in made.values()]))


def _quantiles_of(paths: np.ndarray) -> np.ndarray:
    """(series, horizon, level) of paths (path, series, horizon)."""
    return np.moveaxis(np.quantile(paths, LEVELS, axis=0), 0, -1)
