"""How good the forecast would have been: rolling origins, calibrated only on earlier origins.

Scores models beside each other. No forecasting and no decision here.
"""

from __future__ import annotations

import numpy as np

from orchestration.forecasting.demand_series import WeeklySeries
from orchestration.forecasting.tables import HORIZON_WEEKS, QUANTILES
from orchestration.forecasting.weighted import quantile_loss, truth_of

YARDSTICK = "seasonal_naive"
ORIGIN_COUNT = 26
FIRST_ORIGIN = 3
"""Four known weeks: with fewer there is next to no past error to calibrate on."""
ALL_SERIES = "all"

_MEDIAN = QUANTILES.index(0.5)


def _held(truth: np.ndarray, quantiles: np.ndarray, low: float, high: float) -> np.ndarray:
    inside = (truth >= quantiles[..., QUANTILES.index(low)]) & (truth <= quantiles[..., QUANTILES.index(high)])
    return np.where(np.isfinite(truth), inside, np.nan)


def _scores(series: WeeklySeries, past_quantiles: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays (origin, series, horizon) of truth, absolute error of the median, loss and coverage."""
    first = max(FIRST_ORIGIN, len(series.weeks) - 1 - ORIGIN_COUNT)
    quantiles = past_quantiles[first:-1]
    truth = np.where(np.isfinite(quantiles[..., _MEDIAN]), truth_of(series.demand)[first:-1], np.nan)
    return {
        "truth": truth,
        "miss": np.abs(truth - quantiles[..., _MEDIAN]),
        "loss": quantile_loss(truth, quantiles),
        "coverage_80_ratio": _held(truth, quantiles, 0.1, 0.9),
        "coverage_95_ratio": _held(truth, quantiles, 0.025, 0.975),
    }


def _wape(miss: np.ndarray, truth: np.ndarray) -> float | None:
    """Weighted absolute percentage error; None when nothing is known or all truth is zero."""
    total = np.nansum(truth)
    return float(np.nansum(miss) / total) if total > 0 else None


def accuracy_rows(series: WeeklySeries, quantiles_by_model: dict[str, np.ndarray]) -> list[dict]:
    """Rows (level, series_id, model, metric, value) for every series and for all of them together.

    ``quantiles_by_model``: what each model gave at each origin, (origin, series, horizon, quantile).

    A metric that cannot be computed (one week of history, only zeros) has no row.
    """
    scores = {model: _scores(series, past) for model, past in quantiles_by_model.items()}
    loss_by_model = {model: np.nansum(score["loss"], axis=(0, 2)) for model, score in scores.items()}
    rows: list[dict] = []

    def add(series_id: str, model: str, metric: str, value: float | None) -> None:
        if value is not None and np.isfinite(value):
            rows.append({"level": series.level, "series_id": series_id, "model": model, "metric": metric,
                         "value": float(value)})

    for model, score in scores.items():
        known = np.isfinite(score["truth"])
        yardstick = loss_by_model[YARDSTICK]
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where((yardstick > 0) & (loss_by_model[model] > 0), loss_by_model[model] / yardstick, np.nan)
        for row, series_id in enumerate(series.series_ids):
            count = int(known[:, row].sum())
            if count == 0:
                continue
            add(series_id, model, "scored_count", count)
            add(series_id, model, "wape", _wape(score["miss"][:, row], score["truth"][:, row]))
            add(series_id, model, "relative_quantile_loss", relative[row])
            for metric in ("coverage_80_ratio", "coverage_95_ratio"):
                add(series_id, model, metric, np.nanmean(score[metric][:, row]))
        if not known.any():
            continue
        add(ALL_SERIES, model, "scored_count", known.sum())
        add(ALL_SERIES, model, "wape", _wape(score["miss"], score["truth"]))
        if np.isfinite(relative).any():
            add(ALL_SERIES, model, "relative_quantile_loss", np.exp(np.nanmean(np.log(relative))))
        for metric in ("coverage_80_ratio", "coverage_95_ratio"):
            add(ALL_SERIES, model, metric, np.nanmean(score[metric]))
        for step in range(HORIZON_WEEKS):
            add(ALL_SERIES, model, f"wape_week_{step + 1:02d}",
                _wape(score["miss"][:, :, step], score["truth"][:, :, step]))
    return rows
