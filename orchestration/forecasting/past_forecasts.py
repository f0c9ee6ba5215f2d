"""Scores of forecasts that were made and kept, against the weeks that have come since.

Frames in, frames out; where they are kept is ``forecast_record``'s.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.forecasting.backtest import ALL_SERIES, FEWEST_SCORES, Row, losing_levels, score
from orchestration.forecasting.members import LEVELS as QUANTILE_LEVELS
from orchestration.forecasting.paths import read_at
from orchestration.forecasting.rolling import COMBINED, YARDSTICK
from orchestration.forecasting.tables import FORECAST_ACCURACY, HORIZON_WEEKS, QUANTILES

RECORD_WEEKS = 13
"""Newest kept forecasts that speak for or against a model; what it was worth a year ago is history."""


def chosen_model(backtest_rows: list[Row], record: pl.DataFrame, bottom: str) -> str:
    """The combination, unless it loses to seasonal naive at any level, in the backtest or in what was published.

    One model for all levels, because they are sums of the same paths. With fewer than FEWEST_SCORES scored weeks at
    the bottom level the combination has no claim on an order, so it is seasonal naive then.
    """
    scored = sum(
        float(row["value"]) for row in backtest_rows
        if (row["level"], row["series_id"], row["model"], row["metric"]) == (bottom, ALL_SERIES, COMBINED, "scored_count")
    )
    loses = losing_levels(backtest_rows, COMBINED) or losing_record(record, COMBINED)
    return YARDSTICK if loses or scored < FEWEST_SCORES else COMBINED


def scored_past(kept: pl.DataFrame, truth: pl.DataFrame, cutoff_date: date) -> pl.DataFrame:
    """Rows of fct_forecast_accuracy, basis forecast: every kept forecast of an earlier cutoff, as far as truth has come.

    A sum is scored on what its pools came to in all, pools that opened later included: the forecast was published as
    that of the whole site or nation.

    Args:
        kept: forecasts of any cutoffs: cutoff_date, level, series_id, model, target_date, quantile, value.
        truth: level, series_id, week_start_date, value, as it is known at the newest cutoff.
    """
    truth_of = {
        (level, series_id, monday): value for level, series_id, monday, value
        in truth.select("level", "series_id", "week_start_date", "value").iter_rows()
    }
    rows: list[dict] = []
    earlier = kept.filter(pl.col("cutoff_date") < cutoff_date).sort(
        "cutoff_date", "level", "series_id", "model", "target_date", "quantile")
    for (made_on, level), forecast in earlier.group_by("cutoff_date", "level", maintain_order=True):
        targets = [made_on - timedelta(days=6) + timedelta(weeks=step) for step in range(1, HORIZON_WEEKS + 1)]
        series_ids = tuple(forecast["series_id"].unique().sort())
        came = np.array([[[truth_of.get((level, series_id, target), np.nan) for target in targets]
                          for series_id in series_ids]])
        if not np.isfinite(came).any():
            continue
        quantiles = {
            model: _quantiles(each, series_ids, len(targets))
            for (model,), each in forecast.group_by("model", maintain_order=True)
        }
        if YARDSTICK in quantiles:
            rows += [{"cutoff_date": made_on, "basis": "forecast", **row}
                     for row in score(level, series_ids, came, quantiles)]
    return FORECAST_ACCURACY.frame(rows)


def _quantiles(forecast: pl.DataFrame, series_ids: tuple[str, ...], horizon: int) -> np.ndarray:
    """(origin 1, series, horizon, QUANTILE_LEVELS) of one model's kept quantiles, read between them."""
    whole = forecast.filter(pl.len().over("series_id") == horizon * len(QUANTILES))
    held = np.full((1, len(series_ids), horizon, len(QUANTILES)), np.nan)
    held[0, np.searchsorted(series_ids, whole["series_id"].unique(maintain_order=True))] = (
        whole["value"].to_numpy().reshape(-1, horizon, len(QUANTILES)))
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


def losing_levels_in_use(in_use: pl.DataFrame, accuracy: pl.DataFrame) -> dict[str, float]:
    """Levels at which the model in use loses to seasonal naive, by these tables; none where that is in use itself.

    Args:
        in_use: level and model, as fct_forecast_accuracy names them.
        accuracy: rows of fct_forecast_accuracy.
    """
    backtested = accuracy.filter(pl.col("basis") == "backtest").to_dicts()
    losing: dict[str, float] = {}
    for (model,), levels in in_use.filter(pl.col("model") != YARDSTICK).sort("model").group_by("model", maintain_order=True):
        worse = losing_levels(backtested, model) | losing_record(accuracy, model)
        losing |= {level: loss for level, loss in worse.items() if level in set(levels["level"])}
    return losing
