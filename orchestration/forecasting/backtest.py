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
from orchestration.forecasting.members import LEVELS, MEDIAN, Setting, quiet_mean
from orchestration.forecasting.panel import Panel
from orchestration.forecasting.paths import Paths, shuffle
from orchestration.forecasting.rolling import (
    COMBINED,
    YARDSTICK,
    Rolled,
    calibrate,
    combine,
    roll,
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
    summed = {
        model: _coherent(panel, rolled, made[model], positions, levels, setting)
        for model in (COMBINED, YARDSTICK, RAW_YARDSTICK) if model in made
    }
    for level, parents in levels.items():
        names = _names(parents)
        values = _summed(panel.values, [_members(panel, parents, name) for name in names])
        truths = np.stack([each[level][1] for each in summed.values()])
        truth = np.where(np.isfinite(truths).all(axis=0), truths[0], np.nan)
        rows += score(level, names, truth, {model: each[level][0] for model, each in summed.items()})
        rows += _rule_scores(level, names, values, rolled, positions, truth)
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


def _names(parents: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(set(parents.values())))


def _members(panel: Panel, parents: Mapping[str, str], name: str) -> np.ndarray:
    return np.array([parents.get(series_id) == name for series_id in panel.series_ids])


def _summed(values: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """The sum of what is known of each group of rows, NaN where nothing is."""
    known = np.isfinite(values)
    return np.stack([
        np.where(known[rows].any(axis=0), np.where(known, values, 0)[rows].sum(axis=0), np.nan) for rows in groups
    ])


def _coherent(
    panel: Panel, rolled: Rolled, marginals: np.ndarray, positions: list[int],
    levels: Mapping[str, Mapping[str, str]], setting: Setting,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Quantiles of sums of paths (origin, parent, horizon, level) and what the same series came to, by level.

    A series counts in a period, on both sides, if it had a forecast at the origin and its truth is known: one that
    opens later is not the forecast's to know, and one drop-out does not leave the nation without a score.
    """
    result = {
        level: (np.full((len(positions), len(_names(parents)), setting.horizon, len(LEVELS)), np.nan),
                np.full((len(positions), len(_names(parents)), setting.horizon), np.nan))
        for level, parents in levels.items()
    }
    for index, position in enumerate(positions):
        rows = np.flatnonzero(np.isfinite(marginals[position]).all(axis=(1, 2)))
        samples = shuffle(
            marginals[position][rows], panel.values[rows, :rolled.origins[position]], setting.season_length, PATH_COUNT,
            setting.seed,
        )
        truth = rolled.truth[position, rows]
        below = Paths(
            np.where(np.isfinite(truth) | ~np.isfinite(truth).any(axis=0), samples, 0), tuple(panel.series_ids[row] for row in rows),
            panel.periods[:setting.horizon],
        )
        for level, parents in levels.items():
            names = _names(parents)
            total = below.aggregate({one: parents[one] for one in below.series_ids if one in parents})
            places = [names.index(name) for name in total.series_ids]
            result[level][0][index, places] = total.quantile_array(LEVELS)
            for place, name in zip(places, total.series_ids, strict=True):
                members = truth[[parents.get(series_id) == name for series_id in below.series_ids]]
                known = np.isfinite(members)
                result[level][1][index, place] = np.where(known.any(axis=0), np.where(known, members, 0).sum(axis=0), np.nan)
    return result
