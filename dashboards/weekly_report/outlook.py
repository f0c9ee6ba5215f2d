"""Tokens to come: what the nation, its segments and its models will ask for in thirteen weeks."""

from __future__ import annotations

import polars as pl

from dashboards.bilingual import (
    LANGUAGES,
    Bilingual,
    compact,
    named,
    same,
    say,
    signed_percent,
    whole,
)
from dashboards.figures.tokens import token_forecast_figure
from dashboards.strings import STRINGS
from dashboards.weekly_report.parts import Chart, Table
from dashboards.weekly_report.published import Readings

MEASURES = ("input_tokens", "output_tokens")
LEVELS = ("nation", "segment", "model")


def outlook(readings: Readings) -> dict:
    """Token forecast of the nation as charts, and of its parts as a table; a reason where there is none."""
    forecast = readings.token_forecast
    if forecast.is_empty():
        reason = say("outlook_past", week=same(readings.iso_week or "")) if readings.is_past else say("outlook_none")
        return {"title": reason, "charts": [], "table": None}
    last = forecast["target_date"].max()
    ends = {
        (row["measure"], row["level"], row["series_id"], row["quantile"]): row["value"]
        for row in forecast.filter(pl.col("target_date") == last).iter_rows(named=True)
    }
    now = {
        (row["measure"], row["level"], row["series_id"]): row["tokens"] for row in
        readings.token_history.filter(pl.col("week_start_date") == readings.week_start_date).iter_rows(named=True)
    }
    growth = {measure: _growth(now.get((measure, "nation", "nation")), ends.get((measure, "nation", "nation", 0.5)))
              for measure in MEASURES}
    title = say(
        "title_outlook", weeks=whole(forecast["target_date"].n_unique()),
        input=compact(now.get(("input_tokens", "nation", "nation"))), output=compact(now.get(("output_tokens", "nation", "nation"))),
        input_growth=signed_percent(growth["input_tokens"]), output_growth=signed_percent(growth["output_tokens"]),
    )
    charts = [_chart(readings, measure, growth[measure]) for measure in MEASURES if (measure, "nation", "nation", 0.5) in ends]
    return {"title": title, "charts": charts, "table": _parts(readings, now, ends)}


def _growth(now: float | None, then: float | None) -> float | None:
    return then / now - 1 if now and then is not None else None


def _chart(readings: Readings, measure: str, growth: float | None) -> Chart:
    picked = (pl.col("measure") == measure) & (pl.col("level") == "nation")
    history = readings.token_history.filter(picked).sort("week_start_date")
    forecast = readings.token_forecast.filter(picked)
    rows = {monday: [tokens, None, None, None] for monday, tokens in history.select("week_start_date", "tokens").iter_rows()}
    for target, quantile, value in forecast.select("target_date", "quantile", "value").iter_rows():
        if quantile in (0.1, 0.5, 0.9):
            rows.setdefault(target, [None] * 4)[1 + (0.1, 0.5, 0.9).index(quantile)] = value
    table = Table(
        say("data_table_rows", count=whole(len(rows))),
        [(say("column_monday"), False), *((say(f"column_{key}"), True) for key in ("actual", "p10", "p50", "p90"))],
        [[same(monday.isoformat()), *map(compact, values)] for monday, values in sorted(rows.items())],
    )
    low, high = (forecast.filter(pl.col("quantile") == quantile).sort("target_date")["value"][-1] for quantile in (0.1, 0.9))
    return Chart(
        f"outlook_{measure}", say(f"outlook_{measure}"),
        say("outlook_summary", growth=signed_percent(growth), low=compact(low), high=compact(high)),
        {language: token_forecast_figure(history, forecast, language) for language in LANGUAGES}, table,
    )


def _parts(readings: Readings, now: dict, ends: dict) -> Table:
    """A row for the nation, each segment and each model, the largest first within its level."""
    found = readings.token_forecast.select("level", "series_id").unique()
    size = {key: now.get(("input_tokens", *key)) or 0.0 for key in found.iter_rows()}
    rows = []
    for level, series_id in sorted(size, key=lambda key: (LEVELS.index(key[0]), -size[key], key[1])):
        row = [say(f"level_{level}"), _name(readings, level, series_id)]
        for measure in MEASURES:
            before = now.get((measure, level, series_id))
            low, median, high = (ends.get((measure, level, series_id, quantile)) for quantile in (0.1, 0.5, 0.9))
            row += [compact(before), compact(median), say("range", low=compact(low), high=compact(high)),
                    signed_percent(_growth(before, median))]
        rows.append(row)
    heads = [
        (say("column_of_measure", column=say(column), measure=say(f"measure_{measure}")), True)
        for measure in MEASURES for column in ("column_this_week_tokens", "column_median_end", "column_band_80_end", "column_growth_end")
    ]
    return Table(say("outlook_parts"), [(say("column_level"), False), (say("column_series"), False), *heads], rows)


def _name(readings: Readings, level: str, series_id: str) -> Bilingual:
    if level == "model":
        return named(readings.models.get(series_id, series_id), series_id)
    key = f"segment_{series_id}" if level == "segment" else f"level_{series_id}"
    return say(key) if key in STRINGS else named(series_id, series_id)
