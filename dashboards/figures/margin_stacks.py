"""Amounts in parts, side by side: the cost of a million tokens, what expires when, what each stage of a funnel keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards import theme

LOOKS = (
    (theme.BLUE, ""), (theme.ORANGE, "/"), (theme.GREEN, "."), (theme.PURPLE, "x"), (theme.VERMILLION, "\\"), (theme.SKY, "-"),
)
"""Colour and pattern of the first part, the second, and so on."""


@dataclass(frozen=True)
class Part:
    """One part of every bar, in the order of the bars; ``written`` says each amount in full."""

    name: str
    values: Sequence[float | None]
    written: Sequence[str]


def _marker(index: int) -> dict:
    colour, pattern = LOOKS[index % len(LOOKS)]
    return {
        "color": colour, "line": {"color": theme.INK, "width": 0.5},
        "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": theme.INK, "size": 6, "solidity": 0.22, "fgopacity": 0.6},
    }


def stacked_rows(
    labels: Sequence[str], parts: Sequence[Part], axis_title: str, marks: Part | None = None, tick_format: str = "~g",
    line_at: float | None = None,
) -> go.Figure:
    """One bar a label, the first on top, its parts from left to right.

    ``marks`` is a diamond beside each bar, ``line_at`` a line that all bars are read against.
    """
    figure = go.Figure()
    for index, part in enumerate(parts):
        figure.add_bar(
            y=list(labels), x=list(part.values), orientation="h", name=part.name, meta=part.name, hovertext=list(part.written),
            hovertemplate="%{y} · " + part.name + ": %{hovertext}<extra></extra>", marker=_marker(index),
        )
    if marks is not None:
        figure.add_scatter(
            y=list(labels), x=list(marks.values), mode="markers", name=marks.name, meta="marks", hovertext=list(marks.written),
            hovertemplate="%{y} · " + marks.name + ": %{hovertext}<extra></extra>",
            marker={"symbol": "diamond", "size": 11, "color": theme.PAPER, "line": {"color": theme.INK, "width": 2}},
        )
    if line_at is not None:
        figure.add_vline(x=line_at, line={"color": theme.STRONG_LINE, "width": 2})
    figure.update_layout(
        template=theme.TEMPLATE, barmode="stack", bargap=0.3, legend_traceorder="normal", height=110 + 27 * max(len(labels), 2),
        xaxis={"rangemode": "tozero", "tickformat": tick_format, "nticks": 7, "title": {"text": axis_title}},
        yaxis={"type": "category", "autorange": "reversed", "ticks": "", "categoryorder": "array", "categoryarray": list(labels)},
    )
    return figure


def stacked_columns(labels: Sequence[str], parts: Sequence[Part], axis_title: str) -> go.Figure:
    """One column a label, in order from left to right."""
    figure = go.Figure()
    for index, part in enumerate(parts):
        figure.add_bar(
            x=list(labels), y=list(part.values), name=part.name, meta=part.name, hovertext=list(part.written),
            hovertemplate="%{x} · " + part.name + ": %{hovertext}<extra></extra>", marker=_marker(index),
        )
    figure.update_layout(
        template=theme.TEMPLATE, barmode="stack", bargap=0.25, height=330, legend_traceorder="normal",
        yaxis={"rangemode": "tozero", "exponentformat": "B", "title": {"text": axis_title}}, xaxis={"type": "category"},
    )
    return figure


def funnel_rows(labels: Sequence[str], counts: Sequence[int], written: Sequence[str]) -> go.Figure:
    """One bar a stage, the first on top, with its count and its share of the first."""
    figure = go.Figure(go.Bar(
        y=list(labels), x=list(counts), orientation="h", meta="stages", hoverinfo="skip", marker=_marker(0), text=list(written),
        textposition="outside", cliponaxis=False,
    ))
    figure.update_layout(
        template=theme.TEMPLATE, height=70 + 34 * len(labels), bargap=0.3,
        xaxis={"rangemode": "tozero", "range": [0, 1.35 * max([*counts, 1])], "tickformat": ",d", "nticks": 5},
        yaxis={"type": "category", "autorange": "reversed", "ticks": ""},
    )
    return figure


def share_lines(lines: Sequence[tuple[str, Sequence[int], Sequence[float]]], x_title: str, y_title: str) -> go.Figure:
    """A line for each (name, whole numbers, shares), told apart by colour, dash and marker."""
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
    symbols = ("circle", "square", "diamond", "triangle-up", "x", "cross")
    figure = go.Figure()
    for index, (name, numbers, shares) in enumerate(lines):
        figure.add_scatter(
            x=list(numbers), y=list(shares), mode="lines+markers", name=name, meta=name,
            line={"color": LOOKS[index % len(LOOKS)][0], "dash": dashes[index % len(dashes)], "width": 2.2},
            marker={"symbol": symbols[index % len(symbols)], "size": 8},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(
        template=theme.TEMPLATE, height=350, hovermode="x unified",
        xaxis={"title": {"text": x_title}, "dtick": 1 if max((max(line[1], default=0) for line in lines), default=0) < 14 else 4},
        yaxis={"rangemode": "tozero", "tickformat": ".0%", "title": {"text": y_title}},
    )
    return figure


def amount_line(labels: Sequence[str], values: Sequence[float], written: Sequence[str], name: str, axis_title: str) -> go.Figure:
    """One line over weeks."""
    figure = go.Figure(go.Scatter(
        x=list(labels), y=list(values), mode="lines+markers", name=name, meta="line", hovertext=list(written),
        hovertemplate="%{x}: %{hovertext}<extra></extra>", line={"color": theme.BLUE, "width": 2.4}, marker={"size": 8},
    ))
    figure.update_layout(
        template=theme.TEMPLATE, height=290, xaxis={"type": "category"},
        yaxis={"rangemode": "tozero", "tickformat": "~s", "title": {"text": axis_title}},
    )
    return figure
