"""Busy-hour demand, its forecast bands, and the stepped line of usable supply."""

from __future__ import annotations

from datetime import timedelta

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import spoken

BANDS = (("series_band_95", 0.025, 0.975, 0.10), ("series_band_80", 0.1, 0.9, 0.17), ("series_band_50", 0.25, 0.75, 0.27))
TICK_FORMAT = {"zh": "%-m月%-d日", "en": "%-d %b"}


def demand_supply_figure(
    history: pl.DataFrame, forecast: pl.DataFrame, supply: pl.DataFrame, language: str
) -> go.Figure:
    """Demand against usable supply of one series. The traces and their order never depend on the data.

    Args:
        history: (week_start_date, demand_accelerator_count, usable_accelerator_count), one row a week.
        forecast: (target_date, quantile, value) of one model; may be empty.
        supply: (target_date, usable_accelerator_count, committed_accelerator_count) of the weeks ahead.
    """
    history = history.sort("week_start_date")
    supply = supply.sort("target_date")
    figure = go.Figure()
    add_bands(figure, forecast, language)
    _add_supply(figure, history, supply, language)
    add_demand(figure, history["week_start_date"], history["demand_accelerator_count"], "series_demand", language)
    median = add_median(figure, forecast, language)
    crossing = _crossing(median, supply)
    figure.add_scatter(
        x=_dates(crossing["target_date"]), y=_numbers(crossing["value"]), meta="crossing", mode="markers",
        name=spoken("series_crossing", language), hovertemplate="%{y:,.0f}",
        marker={"symbol": "x", "size": 13, "color": theme.VERMILLION, "line": {"color": theme.PAPER, "width": 1.5}},
    )
    figure.update_layout(
        template=theme.TEMPLATE, height=400, hovermode="x unified",
        xaxis={"type": "date", "tickformat": TICK_FORMAT[language], "hoverformat": "%Y-%m-%d", "nticks": 9},
        yaxis={"rangemode": "tozero", "title": {"text": spoken("axis_accelerators", language)}, "tickformat": ",~r"},
    )
    return figure


def add_bands(figure: go.Figure, forecast: pl.DataFrame, language: str) -> None:
    """The bands of a forecast (target_date, quantile, value), the widest first."""
    for key, low, high, opacity in BANDS:
        for quantile, fill in ((low, None), (high, "tonexty")):
            rows = forecast.filter(pl.col("quantile") == quantile).sort("target_date")
            figure.add_scatter(
                x=_dates(rows["target_date"]), y=_numbers(rows["value"]), mode="lines", meta=f"q{quantile}",
                name=spoken(key, language), legendgroup=key, showlegend=fill is not None, fill=fill,
                fillcolor=f"rgba(0,114,178,{opacity})", hoverinfo="skip",
                line={"width": 0.8 if low == 0.1 else 0, "color": theme.BLUE, "dash": "dot"},
            )


def add_demand(figure: go.Figure, mondays: pl.Series, values: pl.Series, name_key: str, language: str) -> None:
    """What was asked for, a point a week."""
    figure.add_scatter(
        x=_dates(mondays), y=_numbers(values), meta="demand", mode="lines+markers", name=spoken(name_key, language),
        line={"color": theme.BLUE, "width": 2.5}, marker={"symbol": "circle", "size": 7, "color": theme.BLUE},
        hovertemplate="%{y:,.0f}",
    )


def add_median(figure: go.Figure, forecast: pl.DataFrame, language: str) -> pl.DataFrame:
    """The median of a forecast, a point a week; gives its rows."""
    median = forecast.filter(pl.col("quantile") == 0.5).sort("target_date")
    figure.add_scatter(
        x=_dates(median["target_date"]), y=_numbers(median["value"]), meta="median", mode="lines+markers",
        name=spoken("series_median", language), line={"color": theme.BLUE, "width": 2, "dash": "dash"},
        marker={"symbol": "diamond-open", "size": 7, "color": theme.BLUE}, hovertemplate="%{y:,.0f}",
    )
    return median


def _add_supply(figure: go.Figure, history: pl.DataFrame, supply: pl.DataFrame, language: str) -> None:
    """The stepped line (each week's level holds to the next Monday) and a mark per committed delivery."""
    mondays = [*history["week_start_date"], *supply["target_date"]]
    levels = [*history["usable_accelerator_count"], *supply["usable_accelerator_count"]]
    if mondays:
        mondays.append(mondays[-1] + timedelta(weeks=1))
        levels.append(levels[-1])
    figure.add_scatter(
        x=[monday.isoformat() for monday in mondays], y=_numbers(levels), meta="supply", mode="lines",
        name=spoken("series_supply", language), line={"color": theme.INK, "width": 2.5, "shape": "hv"},
        hovertemplate="%{y:,.0f}",
    )
    _add_committed(figure, supply, language)
    arriving = supply.filter(pl.col("committed_accelerator_count") > 0)
    figure.add_scatter(
        x=_dates(arriving["target_date"]), y=_numbers(arriving["usable_accelerator_count"]), meta="committed",
        mode="markers+text", name=spoken("series_committed", language),
        text=[f"+{count:,}" for count in arriving["committed_accelerator_count"]], textposition="top center",
        marker={"symbol": "triangle-up", "size": 12, "color": theme.GREEN,
                "line": {"color": theme.INK, "width": 1}},
        hovertemplate="%{text}",
    )


def _add_committed(figure: go.Figure, supply: pl.DataFrame, language: str) -> None:
    """Hatched: the part of usable supply to come that rests on committed deliveries, above what there is now.

    What there is now is the first week's level less what arrives in it; both outlines are stepped, so the
    hatch begins on the Monday that a delivery first counts.
    """
    mondays = [*supply["target_date"]]
    levels = [float(level) for level in supply["usable_accelerator_count"]]
    arrives = any(count > 0 for count in supply["committed_accelerator_count"])
    now = min(levels, default=0.0)
    if arrives and mondays:
        mondays.append(mondays[-1] + timedelta(weeks=1))
        levels.append(levels[-1])
    else:
        mondays, levels = [], []
    outline = {"mode": "lines", "hoverinfo": "skip", "legendgroup": "committed_part", "x": [m.isoformat() for m in mondays],
               "line": {"width": 0, "shape": "hv", "color": theme.GREEN}}
    figure.add_scatter(y=_numbers([now] * len(mondays)), meta="committed_floor", showlegend=False, **outline)
    figure.add_scatter(
        y=_numbers(levels), meta="committed_part", name=spoken("series_committed_part", language), fill="tonexty",
        fillpattern={"shape": "/", "fgcolor": theme.GREEN, "bgcolor": "rgba(0,0,0,0)", "size": 7, "solidity": 0.25},
        **outline,
    )


def _crossing(median: pl.DataFrame, supply: pl.DataFrame) -> pl.DataFrame:
    """The first week whose median exceeds usable supply; no row when there is none."""
    return (
        median.join(supply, on="target_date").filter(pl.col("value") > pl.col("usable_accelerator_count"))
        .sort("target_date").head(1)
    )


def _dates(values: pl.Series) -> list[str]:
    return [value.isoformat() for value in values]


def _numbers(values) -> list[float]:
    return [round(float(value), 1) for value in values]
