"""When capital comes back: a band of days for each tranche, the end of its life, and the course of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import plotly.graph_objects as go

from dashboards import theme


@dataclass(frozen=True)
class Band:
    """One tranche: the days its capital is back along the demand paths (None: not within its life), and its life's end."""

    label: str
    early: date | None
    base: date | None
    late: date | None
    life_ends: date | None


def payback_figure(bands: Sequence[Band], today: date, names: dict[str, str]) -> go.Figure:
    """A line from the early to the late day with a diamond on the base path; a cross at the end of a life that is too short.

    ``names`` are the words for band, base, never and today; labels must be figure labels already.
    """
    labels = [band.label for band in bands]
    inside = [band for band in bands if band.base is not None]
    figure = go.Figure()
    xs: list[date | None] = []
    ys: list[str | None] = []
    for band in inside:
        days = [day for day in (band.early, band.base, band.late) if day is not None]
        xs += [min(days), max(days), None]
        ys += [band.label, band.label, None]
    figure.add_scatter(x=xs, y=ys, mode="lines", name=names["band"], meta="band", hoverinfo="skip", line={"color": theme.SKY, "width": 9})
    figure.add_scatter(
        x=[band.base for band in inside], y=[band.label for band in inside], mode="markers", name=names["base"], meta="base",
        marker={"symbol": "diamond", "size": 9, "color": theme.BLUE, "line": {"color": theme.INK, "width": 0.8}},
        hovertemplate="%{y}: %{x|%Y-%m-%d}<extra></extra>",
    )
    never = [band for band in bands if band.base is None and band.life_ends is not None]
    figure.add_scatter(
        x=[band.life_ends for band in never], y=[band.label for band in never], mode="markers", name=names["never"], meta="never",
        marker={"symbol": "x", "size": 9, "color": theme.VERMILLION, "line": {"color": theme.INK, "width": 0.8}},
        hovertemplate="%{y}: %{x|%Y-%m-%d}<extra></extra>",
    )
    figure.add_vline(x=today, line={"color": theme.STRONG_LINE, "dash": "dot", "width": 1.5})
    figure.update_layout(
        template=theme.TEMPLATE, height=90 + 22 * max(len(labels), 3),
        xaxis={"type": "date"},
        yaxis={"type": "category", "autorange": "reversed", "categoryorder": "array", "categoryarray": labels, "ticks": "", "tickfont": {"size": 11}},
    )
    return figure


PATHS = (("low", "dot"), ("base", "solid"), ("high", "dash"))
"""The forecast's demand paths, and the dash that tells their lines apart."""


def recovery_figure(days: Sequence[date], shares: dict[str, Sequence[float]], today: date, names: dict[str, str], axis_title: str) -> go.Figure:
    """Share of the capital that is back by each day, a line a demand path, with today's line."""
    figure = go.Figure()
    for path, dash in PATHS:
        figure.add_scatter(
            x=list(days), y=list(shares[path]), mode="lines", name=names[path], meta=path, hovertemplate="%{y:.0%}",
            line={"color": theme.BLUE, "dash": dash, "width": 3 if path == "base" else 1.8},
        )
    figure.add_vline(x=today, line={"color": theme.STRONG_LINE, "dash": "dot", "width": 1.5})
    figure.update_layout(
        template=theme.TEMPLATE, height=330, hovermode="x unified", xaxis={"type": "date"},
        yaxis={"range": [0, 1.02], "tickformat": ".0%", "title": {"text": axis_title}},
    )
    return figure
