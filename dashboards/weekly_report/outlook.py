"""Tokens to come: what the nation, its segments, its models and its largest tenants will ask for in thirteen weeks."""

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

TOKENS = ("input_tokens", "output_tokens")
WORK = "accelerator_hours"
LEVELS = ("nation", "segment", "model")
TENANTS_SHOWN = 10


def outlook(readings: Readings) -> dict:
    """Token forecast of the nation as charts, and of its parts as a table; a reason where there is none."""
    forecast = readings.token_forecast
    if forecast.is_empty():
        reason = say("outlook_past", week=same(readings.iso_week or "")) if readings.is_past else say("outlook_none")
        return {"title": reason, "charts": []}
    last = forecast["target_date"].max()
    ends = {
        (row["measure"], row["level"], row["series_id"], row["quantile"]): row["value"]
        for row in forecast.filter(pl.col("target_date") == last).iter_rows(named=True)
    }
    now = {
        (row["measure"], row["level"], row["series_id"]): row["value"] for row in
        readings.token_history.filter(pl.col("week_start_date") == readings.week_start_date).iter_rows(named=True)
    }
    growth = {measure: _growth(now.get((measure, "nation", "nation")), ends.get((measure, "nation", "nation", 0.5)))
              for measure in TOKENS}
    title = say(
        "title_outlook", weeks=whole(forecast["target_date"].n_unique()),
        input=compact(now.get(("input_tokens", "nation", "nation"))), output=compact(now.get(("output_tokens", "nation", "nation"))),
        input_growth=signed_percent(growth["input_tokens"]), output_growth=signed_percent(growth["output_tokens"]),
    )
    charts = [_chart(readings, measure, growth[measure]) for measure in TOKENS if (measure, "nation", "nation", 0.5) in ends]
    return {"title": title, "charts": charts, **_parts(readings, now, ends)}


def _growth(now: float | None, then: float | None) -> float | None:
    return then / now - 1 if now and then is not None else None


def _chart(readings: Readings, measure: str, growth: float | None) -> Chart:
    picked = (pl.col("measure") == measure) & (pl.col("level") == "nation")
    history = readings.token_history.filter(picked).sort("week_start_date")
    forecast = readings.token_forecast.filter(picked)
    rows = {monday: [tokens, None, None, None] for monday, tokens in history.select("week_start_date", "value").iter_rows()}
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


def _parts(readings: Readings, now: dict, ends: dict) -> dict[str, Table]:
    """Tables of the nation, each segment and each model, and of the largest tenants, those first that ask for most work."""
    found = readings.token_forecast.select("level", "series_id").unique()
    size = {key: now.get((WORK, *key)) or 0.0 for key in found.iter_rows()}
    ordered = sorted(size, key=lambda key: (-size[key], key[1]))
    levels = [key for level in LEVELS for key in ordered if key[0] == level]
    tenants = [key for key in ordered if key[0] == "tenant" and key[1] in readings.tenants][:TENANTS_SHOWN]
    heads = [
        *(_head(measure, column) for measure in TOKENS for column in ("column_this_week_tokens", "column_growth_end")),
        *(_head(WORK, column) for column in ("column_this_week_tokens", "column_median_end", "column_band_80_end", "column_growth_end")),
    ]

    def row(level: str, series_id: str) -> list[Bilingual]:
        cells = [_name(readings, level, series_id)]
        for measure in TOKENS:
            before = now.get((measure, level, series_id))
            cells += [compact(before), signed_percent(_growth(before, ends.get((measure, level, series_id, 0.5))))]
        before = now.get((WORK, level, series_id))
        low, median, high = (ends.get((WORK, level, series_id, quantile)) for quantile in (0.1, 0.5, 0.9))
        return [*cells, compact(before), compact(median), say("range", low=compact(low), high=compact(high)),
                signed_percent(_growth(before, median))]

    return {
        "table": Table(
            say("outlook_parts"), [(say("column_level"), False), (say("column_series"), False), *heads],
            [[say(f"level_{level}"), *row(level, series_id)] for level, series_id in levels]),
        "tenants": Table(
            say("outlook_tenants", count=whole(len(tenants))), [(say("column_tenant"), False), *heads], [row(*key) for key in tenants]),
    }


def _head(measure: str, column: str) -> tuple[Bilingual, bool]:
    return say("column_of_measure", column=say(column), measure=say(f"measure_{measure}")), True


def _name(readings: Readings, level: str, series_id: str) -> Bilingual:
    if level == "model":
        return named(readings.models.get(series_id, series_id), series_id)
    if level == "tenant":
        return named(readings.tenants[series_id], series_id)
    key = f"segment_{series_id}" if level == "segment" else f"level_{series_id}"
    return say(key) if key in STRINGS else named(series_id, series_id)
