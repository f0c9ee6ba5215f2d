"""Amounts that follow one another to a total: the margin waterfall and the bridge between two periods.

Drawn as horizontal bars that start where the one before ended: Plotly's own waterfall trace is missing in
the bundle that offline pages carry, which drops it without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import plotly.graph_objects as go

from dashboards import theme

ROW_PIXELS = 31
LOOKS = {
    "total": (theme.BLUE, ""),
    "gain": (theme.GREEN, "."),
    "loss": (theme.VERMILLION, "/"),
}
"""Colour and pattern, which say the same twice; the sign of the label says it a third time."""


@dataclass(frozen=True)
class Step:
    """One bar: a total stands on nothing, any other step on where the steps before it ended; amounts in CNY."""

    label: str
    amount: Decimal
    written: str
    is_total: bool = False
    planned: Decimal | None = None
    """Of a total, what it should be."""

    @property
    def kind(self) -> str:
        """Whether it is a total, adds or takes away."""
        return "total" if self.is_total else "gain" if self.amount >= 0 else "loss"


def steps_figure(steps: Sequence[Step], names: dict[str, str], axis_title: str) -> go.Figure:
    """One bar a step, the first on top, with its amount written beside it; an empty frame around what a total should be.

    The legend takes the frames away and brings them back. ``names`` are the words for total, gain, loss and plan; labels must be figure labels already.
    """
    figure = go.Figure()
    running = Decimal(0)
    ends: list[float] = [0.0]
    places: list[tuple[Decimal, Step]] = []
    for step in steps:
        base = Decimal(0) if step.is_total else running
        running = base + step.amount
        places.append((base, step))
        ends += [float(base), float(running)]
    for kind, (colour, pattern) in LOOKS.items():
        chosen = [(base, step) for base, step in places if step.kind == kind]
        if not chosen:
            continue
        figure.add_bar(
            y=[step.label for _, step in chosen], x=[float(step.amount) for _, step in chosen],
            base=[float(base) for base, _ in chosen], orientation="h", name=names[kind], meta=kind,
            hovertext=[step.written for _, step in chosen], hovertemplate="%{y}: %{hovertext}<extra></extra>",
            marker={"color": colour, "line": {"color": theme.INK, "width": 0.6},
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": theme.INK, "size": 6,
                                "solidity": 0.25, "fgopacity": 0.65}},
        )
    planned = [step for step in steps if step.planned is not None]
    if planned:
        figure.add_bar(
            y=[step.label for step in planned], x=[float(step.planned) for step in planned], orientation="h", width=0.9,
            name=names["plan"], meta="plan", hovertemplate="%{y}: %{x:,.2f}<extra></extra>",
            # Seen on white paper and on dark: 3.5 and 4.6 to 1.
            marker={"color": "rgba(0,0,0,0)", "line": {"color": theme.STRONG_LINE, "width": 2}},
        )
    low, high = min(ends), max([*ends, *(float(step.planned) for step in planned)])
    reach = (high - low) or 1.0
    figure.add_scatter(
        y=[step.label for _, step in places],
        x=[max(float(base), float(base + step.amount)) for base, step in places],
        mode="text", text=[f" {step.written}" for _, step in places], textposition="middle right", cliponaxis=False,
        hoverinfo="skip", showlegend=False, meta="labels", textfont={"size": 12},
    )
    figure.update_layout(
        template=theme.TEMPLATE, barmode="overlay", bargap=0.28, height=92 + ROW_PIXELS * len(places),
        xaxis={"range": [low - 0.03 * reach, high + 0.34 * reach], "zeroline": True, "zerolinecolor": theme.STRONG_LINE,
               "tickformat": "~s", "nticks": 6, "title": {"text": axis_title}},
        yaxis={"type": "category", "autorange": "reversed", "ticks": "", "categoryorder": "array",
               "categoryarray": [step.label for step in steps]},
    )
    return figure
