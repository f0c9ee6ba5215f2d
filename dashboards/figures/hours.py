"""What installed accelerator-hours were spent on, as stacked bars."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import figure_label, spoken

PARTS = (
    ("allocated_busy", theme.BLUE, ""),
    ("allocated_idle", theme.ORANGE, "/"),
    ("fragmented", theme.PURPLE, "x"),
    ("free", theme.SKY, "."),
    ("planned_down", theme.GREY, "-"),
    ("down", theme.VERMILLION, "\\"),
)
"""Part of the capacity identity, its colour, and the pattern that says the same without colour."""


def _shares(rows: pl.DataFrame, part: str) -> list[float]:
    """The part's share of installed hours per row, in percent; 0 where nothing is installed."""
    return [
        round(100 * float(hours) / float(installed), 2) if installed else 0.0
        for hours, installed in rows.select(f"{part}_accelerator_hours", "installed_accelerator_hours").iter_rows()
    ]


def hours_by_week_figure(weeks: pl.DataFrame, language: str) -> go.Figure:
    """One bar a week, all parts adding to 100% of installed hours.

    ``weeks``: (iso_week, installed_accelerator_hours and one column per part), in order, at most a year.
    """
    figure = go.Figure()
    for part, colour, pattern in PARTS:
        figure.add_bar(
            x=[week.partition("-")[2] for week in weeks["iso_week"]], y=_shares(weeks, part),
            name=spoken(f"part_{part}", language), meta=part,
            marker=theme.patterned(colour, pattern), hovertemplate="%{x} · %{y:.1f}%",
        )
    figure.update_layout(
        template=theme.TEMPLATE, barmode="stack", height=360, bargap=0.25,
        xaxis={"type": "category"},
        yaxis={"range": [0, 100], "ticksuffix": "%", "title": {"text": spoken("axis_share_installed", language)}},
        legend={"traceorder": "normal"},
    )
    return figure


def hours_by_site_figure(sites: pl.DataFrame, language: str) -> go.Figure:
    """One bar a site, the first row on top.

    ``sites``: (name, installed_accelerator_hours and one column per part).
    """
    names = [figure_label(name) for name in sites["name"]]
    figure = go.Figure()
    for part, colour, pattern in PARTS:
        figure.add_bar(
            y=names, x=_shares(sites, part), orientation="h", name=spoken(f"part_{part}", language), meta=part,
            marker=theme.patterned(colour, pattern), hovertemplate="%{y} · %{x:.1f}%",
        )
    figure.update_layout(
        template=theme.TEMPLATE, barmode="stack", height=max(180, 96 + 24 * sites.height), bargap=0.28,
        margin={"r": 26},
        xaxis={"range": [0, 100], "ticksuffix": "%", "title": {"text": spoken("axis_share_installed", language)}},
        yaxis={"type": "category", "autorange": "reversed", "ticks": ""},
        legend={"traceorder": "normal"},
    )
    return figure
