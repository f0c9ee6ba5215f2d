"""Load by hour of the week, as a heat map."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import spoken

SCALE = [[0, "#f3f8fb"], [0.25, "#c3dcec"], [0.5, "#7fb3d5"], [0.75, "#2f7fb5"], [1, "#08446e"]]


def diurnal_figure(hours: pl.DataFrame, language: str) -> go.Figure:
    """Seven days by 24 hours, each cell the share of the week's peak hour in percent.

    ``hours``: (weekday 1 to 7, hour 0 to 23, share_of_peak_ratio); an hour without a row stays blank.
    """
    cells: list[list[int | None]] = [[None] * 24 for _ in range(7)]
    for weekday, hour, share in hours.select("weekday", "hour", "share_of_peak_ratio").iter_rows():
        cells[weekday - 1][hour] = round(share * 100)
    figure = go.Figure(
        go.Heatmap(
            z=cells, x=list(range(24)), y=[spoken(f"weekday_{weekday}", language) for weekday in range(1, 8)],
            zmin=0, zmax=100, colorscale=SCALE, xgap=1, ygap=1, meta="hours",
            hovertemplate="%{y} %{x}:00 · %{z}% " + spoken("share_of_peak", language) + "<extra></extra>",
            colorbar={"ticksuffix": "%", "thickness": 10, "outlinewidth": 0, "len": 0.95},
        )
    )
    figure.update_layout(
        template=theme.TEMPLATE, height=280, margin={"t": 8, "r": 8},
        xaxis={"title": {"text": spoken("axis_hour", language)}, "dtick": 3, "showgrid": False},
        yaxis={"autorange": "reversed", "showgrid": False},
    )
    return figure
