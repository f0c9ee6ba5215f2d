"""Accelerators short in the worst week: as forecast, and as each scenario supposes."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import figure_lines, spoken

LONGEST_LINE = {"zh": 10, "en": 22}


def what_if_figure(scenarios: pl.DataFrame, language: str) -> go.Figure:
    """One bar a scenario below that of the forecast as it is (hatched); the label gives the change.

    ``scenarios``: (name, base_value, scenario_value), all of one base, the first row on top.
    """
    figure = go.Figure()
    names = [figure_lines(name, LONGEST_LINE[language]) for name in scenarios["name"]]
    base = scenarios["base_value"].max() or 0
    as_is = spoken("as_forecast", language)
    figure.add_bar(
        y=[as_is], x=[base], orientation="h", meta="base", text=[f"{base:,.0f}"], textposition="outside", cliponaxis=False,
        marker=theme.patterned(theme.GREY, "/"), hovertemplate="%{y} · %{x:,.0f}<extra></extra>",
    )
    changes = [f"{value:,.0f} ({value - base:+,.0f})".replace("-", "−") for value in scenarios["scenario_value"]]
    figure.add_bar(
        y=names, x=scenarios["scenario_value"].to_list(), orientation="h", meta="scenario", text=changes,
        textposition="outside", cliponaxis=False, marker=theme.patterned(theme.BLUE, ""),
        hovertemplate="%{y} · %{text}<extra></extra>",
    )
    largest = max([base, *scenarios["scenario_value"]]) or 1
    figure.update_layout(
        template=theme.TEMPLATE, barmode="overlay", height=70 + 38 * (1 + scenarios.height), bargap=0.3, showlegend=False,
        xaxis={"range": [0, 1.6 * largest], "nticks": 5, "title": {"text": spoken("axis_accelerators", language)}},
        yaxis={"type": "category", "autorange": "reversed", "ticks": "", "categoryorder": "array", "categoryarray": [as_is, *names]},
    )
    return figure
