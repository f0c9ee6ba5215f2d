"""Why the gap to come is not what it was last week, as floating bars.

Stacked bars on an invisible base: the small chart library that reports carry draws no waterfall trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import plotly.graph_objects as go

from dashboards import theme
from dashboards.bilingual import spoken

LONGEST_LINE = 10
LEVEL, RISE, FALL = (
    ("bridge_level", theme.INK, ""), ("bridge_worse", theme.VERMILLION, "/"), ("bridge_better", theme.BLUE, "")
)
"""What a bar is, its colour, and its hatch: a gap, what widened it, what narrowed it."""


def need_bridge_figure(steps: Sequence[tuple[str, float]], language: str) -> go.Figure:
    """The gap then, each change in turn, the gap now; bars start where the one before ended.

    ``steps``: (string key, value): first the level, then changes. The last bar, the level they lead to, is
    their sum, so the figure can't disagree with itself.
    """
    (first_key, level), *changes = steps
    keys = (first_key, *(key for key, _ in changes), "bridge_now")
    labels = ["<br>".join(wrap(spoken(key, language), LONGEST_LINE)) for key in keys]
    bases, heights, kinds = [0.0], [level], ["bridge_level"]
    for _, change in changes:
        bases.append(min(level, level + change))
        heights.append(abs(change))
        kinds.append("bridge_worse" if change >= 0 else "bridge_better")
        level += change
    bases.append(0.0)
    heights.append(level)
    kinds.append("bridge_level")
    texts = [f"{heights[0]:,.0f}", *(f"{change:+,.0f}".replace("-", "−") for _, change in changes), f"{level:,.0f}"]
    figure = go.Figure()
    for kind, colour, pattern in (LEVEL, RISE, FALL):
        rows = [index for index, one in enumerate(kinds) if one == kind]
        figure.add_bar(
            x=[labels[index] for index in rows], y=[round(heights[index], 2) for index in rows],
            base=[round(bases[index], 2) for index in rows], name=spoken(kind, language), meta=kind,
            text=[texts[index] for index in rows], textposition="outside", cliponaxis=False,
            hovertemplate="%{x} · %{text}<extra></extra>", marker=theme.patterned(colour, pattern),
        )
    top = max(base + height for base, height in zip(bases, heights, strict=True))
    figure.update_layout(
        template=theme.TEMPLATE, barmode="overlay", height=280, bargap=0.35,
        xaxis={"type": "category", "categoryorder": "array", "categoryarray": labels, "ticks": "", "tickangle": 0},
        yaxis={"range": [0, 1.15 * (top or 1)], "title": {"text": spoken("axis_accelerators", language)}, "tickformat": ",~r"},
    )
    return figure
