"""When capital comes back: a band of days for each tranche, the end of its life, and the course of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import plotly.graph_objects as go
from plotly.subplots import make_subplots

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


@dataclass(frozen=True)
class Course:
    """One tranche: along each demand path the days whose share of the book is known, and its day of payback (None: none)."""

    label: str
    points: dict[str, Sequence[tuple[date, float]]]
    payback: date | None


COURSES_ACROSS = 2


def courses_figure(courses: Sequence[Course], today: date, names: dict[str, str]) -> go.Figure:
    """A small panel a tranche on common axes: a line a demand path, a diamond on the median's day of payback.

    ``names`` are the words for the paths and for the day of payback; labels must be figure labels already.
    """
    down = -(-len(courses) // COURSES_ACROSS)
    figure = make_subplots(
        rows=down, cols=COURSES_ACROSS, shared_xaxes="all", shared_yaxes="all", subplot_titles=[course.label for course in courses],
        vertical_spacing=0.36 / down, horizontal_spacing=0.05,
    )
    for index, course in enumerate(courses):
        place = {"row": index // COURSES_ACROSS + 1, "col": index % COURSES_ACROSS + 1}
        for path, dash in PATHS:
            figure.add_scatter(
                x=[day for day, _ in course.points[path]], y=[share for _, share in course.points[path]], mode="lines", name=names[path],
                meta=path, legendgroup=path, showlegend=index == 0, hovertemplate="%{x|%Y-%m-%d}: %{y:.0%}",
                line={"color": theme.BLUE, "dash": dash, "width": 2.4 if path == "base" else 1.5}, **place,
            )
        figure.add_scatter(
            x=[course.payback], y=[1.0 if course.payback else None], mode="markers+text", name=names["back"], meta="payback", legendgroup="back",
            showlegend=index == 0, text=[f"{course.payback:%Y-%m}" if course.payback else ""], textposition="bottom right", textfont={"size": 11},
            marker={"symbol": "diamond", "size": 8, "color": theme.BLUE, "line": {"color": theme.INK, "width": 0.8}},
            hovertemplate="%{x|%Y-%m-%d}", cliponaxis=False, **place,
        )
    figure.add_vline(x=today, line={"color": theme.STRONG_LINE, "dash": "dot", "width": 1.2})
    figure.update_xaxes(type="date", nticks=4, tickangle=0, tickformat="%Y")
    figure.update_yaxes(range=[0, 1.12], tickformat=".0%", nticks=4)
    figure.update_annotations(font={"size": 11}, yshift=-2)
    # The legend stands above the first panels' titles, which stand above the panels.
    figure.update_layout(template=theme.TEMPLATE, height=170 + 140 * down, margin={"t": 120}, legend={"y": 1 + 0.32 / down})
    return figure
