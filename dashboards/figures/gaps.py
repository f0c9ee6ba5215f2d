"""What was not heard, by site and day, as a heat map."""

from __future__ import annotations

from datetime import date

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import figure_label, spoken
from dashboards.figures.diurnal import SCALE

ROW_HEIGHT, FRAME_HEIGHT = 22, 90


def gaps_figure(gaps: pl.DataFrame, days: list[date], unit: str, language: str) -> go.Figure:
    """A row a site in the order of the frame, a column a day, each cell what is missing of the day.

    Args:
        gaps: (name, usage_date, gap); a day without a row stays blank.
        days: the columns, so that a day on which nothing is missing is seen as one.
        unit: what a gap is counted in: ``h`` (of 24) or ``%`` (of 100).
    """
    whole = 24 if unit == "h" else 100
    names = list(dict.fromkeys(gaps["name"]))
    cells = {(name, day): gap for name, day, gap in gaps.select("name", "usage_date", "gap").iter_rows()}
    figure = go.Figure(
        go.Heatmap(
            z=[[cells.get((name, day)) for day in days] for name in names], x=[day.isoformat() for day in days],
            y=[figure_label(name) for name in names], zmin=0, zmax=whole, colorscale=SCALE,
            xgap=1, ygap=1, meta="gaps", hovertemplate="%{y} · %{x} · %{z:.0f} " + unit + "<extra></extra>",
            colorbar={"ticksuffix": f" {unit}", "thickness": 10, "outlinewidth": 0, "len": 0.95, "tickvals": [0, whole]},
        )
    )
    figure.update_layout(
        template=theme.TEMPLATE, height=FRAME_HEIGHT + ROW_HEIGHT * len(names), margin={"t": 8, "r": 8},
        xaxis={"title": {"text": spoken("axis_day", language)}, "showgrid": False, "tickformat": "%m-%d"},
        yaxis={"autorange": "reversed", "showgrid": False, "type": "category", "automargin": True},
    )
    return figure
