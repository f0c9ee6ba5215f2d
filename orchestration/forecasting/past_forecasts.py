"""Scores of forecasts that were made and kept, against the weeks that have come since.

Frames in, frames out; where they are kept is ``forecast_record``'s.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.forecasting.backtest import ALL_SERIES, FEWEST_SCORES, losing_levels, score
from orchestration.forecasting.members import LEVELS as QUANTILE_LEVELS
from orchestration.forecasting.paths import read_at
from orchestration.forecasting.rolling import YARDSTICK
from orchestration.forecasting.tables import FORECAST_ACCURACY, HORIZON_WEEKS, QUANTILES

RECORD_WEEKS = 13
"""Newest kept forecasts that speak for or against a model; what it was worth a year ago is history."""


def scored_past(kept: pl.DataFrame, busy_hours: pl.DataFrame, cutoff_date: date) -> pl.DataFrame:
    """Rows of fct_forecast_accuracy, basis forecast: every kept forecast of an earlier cutoff, as far as truth has come.

    A sum is scored on what its pools came to in all, pools that opened later included: the forecast was published as
    that of the whole site or nation.

    Args:
        kept: rows of fct_demand_forecast of any cutoffs.
        busy_hours: fct_busy_hour_demand_weekly of the newest cutoff.
    """
    truth_of = {
        (level, series_id, monday): demand for level, series_id, monday, demand in busy_hours.filter(
            pl.col("cutoff_date") == cutoff_date
        ).select("level", "series_id", "week_start_date", "demand_accelerator_count").iter_rows()
    }
    rows: list[dict] = []
    earlier = kept.filter(pl.col("cutoff_date") < cutoff_date).sort(
        "cutoff_date", "level", "series_id", "model", "target_date", "quantile")
    for (made_on, level), forecast in earlier.group_by("cutoff_date", "level", maintain_order=True):
        targets = [made_on - timedelta(days=6) + timedelta(weeks=step) for step in range(1, HORIZON_WEEKS + 1)]
        series_ids = tuple(forecast["series_id"].unique().sort())
        truth = np.array([[[truth_of.get((level, series_id, target), np.nan) for target in targets]
                           for series_id in series_ids]])
        if not np.isfinite(truth).any():
            continue
        quantiles = {
            model: _quantiles(each, series_ids, len(targets))
            for (model,), each in forecast.group_by("model", maintain_order=True)
        }
        if YARDSTICK in quantiles:
            rows += [{"cutoff_date": made_on, "basis": "forecast", **row}
                     for row in score(level, series_ids, truth, quantiles)]
    return FORECAST_ACCURACY.frame(rows)


def _quantiles(forecast: pl.DataFrame, series_ids: tuple[str, ...], horizon: int) -> np.ndarray:
    """(origin 1, series, horizon, QUANTILE_LEVELS) of one model's kept quantiles, read between them."""
    row_of = {series_id: row for row, series_id in enumerate(series_ids)}
    held = np.full((1, len(series_ids), horizon, len(QUANTILES)), np.nan)
    for (series_id,), values in forecast.group_by("series_id", maintain_order=True):
        if len(values) == horizon * len(QUANTILES):
            held[0, row_of[series_id]] = values["value"].to_numpy().reshape(horizon, len(QUANTILES))
    return read_at(held, QUANTILE_LEVELS, QUANTILES)


def losing_record(record: pl.DataFrame, model: str) -> dict[str, float]:
    """Levels at which the model's published forecasts of the last RECORD_WEEKS cutoffs lost to seasonal naive.

    With the relative loss: the geometric mean over cutoffs, weighted by the weeks scored of each.
    """
    if record.is_empty():
        return {}
    newest = record.filter(
        (pl.col("basis") == "forecast") & (pl.col("series_id") == ALL_SERIES) & (pl.col("model") == model)
        & (pl.col("cutoff_date") > record["cutoff_date"].max() - timedelta(weeks=RECORD_WEEKS))
    )
    wide = {
        metric: newest.filter(pl.col("metric") == metric).select("cutoff_date", "level", pl.col("value").alias(metric))
        for metric in ("relative_quantile_loss", "scored_count")
    }
    pooled = (
        wide["relative_quantile_loss"].join(wide["scored_count"], on=["cutoff_date", "level"])
        .group_by("level").agg(
            pl.col("scored_count").sum().alias("scored"),
            ((pl.col("relative_quantile_loss").log() * pl.col("scored_count")).sum() / pl.col("scored_count").sum())
            .exp().alias("loss"),
        )
        .filter((pl.col("scored") >= FEWEST_SCORES) & (pl.col("loss") >= 1)).sort("level")
    )
    return dict(pooled.select("level", "loss").iter_rows())


def losing_levels_in_use(demand_forecast: pl.DataFrame, accuracy: pl.DataFrame) -> dict[str, float]:
    """Levels at which the model in use loses to seasonal naive, by these tables; empty when that is in use itself."""
    losing: dict[str, float] = {}
    for model in demand_forecast.filter("is_in_use")["model"].unique().sort():
        if model != YARDSTICK:
            backtested = accuracy.filter(pl.col("basis") == "backtest").to_dicts()
            losing |= losing_levels(backtested, model) | losing_record(accuracy, model)
    return losing
