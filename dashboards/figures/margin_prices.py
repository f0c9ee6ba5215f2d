"""Our list price over each competitor's, by model: left of one is cheaper, right of one is dearer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards import theme

LOOKS = {"input": (theme.BLUE, "circle"), "cached_input": (theme.GREEN, "square"), "output": (theme.VERMILLION, "diamond")}


@dataclass(frozen=True)
class Compared:
    """One comparison: our price over theirs, for a type of token of a model; ``said`` is who and as of when."""

    label: str
    token_type: str
    ratio: float
    is_stale: bool
    said: str


def price_figure(compared: Sequence[Compared], names: dict[str, str], axis_title: str) -> go.Figure:
    """A mark for each comparison, grey and hollow where theirs is stale; ``names`` are the words for types and for stale."""
    labels = list(dict.fromkeys(each.label for each in compared))
    figure = go.Figure()
    for stale in (False, True):
        for token_type, (colour, symbol) in LOOKS.items():
            chosen = [each for each in compared if each.token_type == token_type and each.is_stale == stale]
            if not chosen:
                continue
            figure.add_scatter(
                x=[each.ratio for each in chosen], y=[each.label for each in chosen], mode="markers",
                name=names[token_type] + (f" · {names['stale']}" if stale else ""), meta=f"{token_type} {'stale' if stale else 'fresh'}",
                text=[each.said for each in chosen], hovertemplate="%{y} · %{text}<br>%{x:.2f}<extra></extra>",
                marker={"symbol": f"{symbol}-open" if stale else symbol, "size": 9, "color": theme.GREY if stale else colour,
                        "line": {"width": 1.6 if stale else 0.6, "color": theme.GREY if stale else theme.INK}},
            )
    figure.add_vline(x=1, line={"color": theme.STRONG_LINE, "width": 1.5})
    figure.update_layout(
        template=theme.TEMPLATE, height=120 + 27 * max(len(labels), 3),
        xaxis={"type": "log", "title": {"text": axis_title}, "tickvals": [0.1, 0.2, 0.5, 1, 2, 5, 10], "ticktext": ["0.1", "0.2", "0.5", "1", "2", "5", "10"]},
        yaxis={"type": "category", "autorange": "reversed", "categoryorder": "array", "categoryarray": labels, "ticks": ""},
    )
    return figure
