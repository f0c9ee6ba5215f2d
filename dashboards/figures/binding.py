"""What holds the best matching of demand and supply back: hours in which a pool or a link is full."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import figure_lines, spoken

LONGEST_LINE = {"zh": 18, "en": 28}
KINDS = (("accelerator", theme.BLUE, ""), ("wavelength", theme.ORANGE, "/"))


def binding_figure(binding: pl.DataFrame, language: str) -> go.Figure:
    """One bar a pool (plain) or link (hatched), in hours of the week; the first row on top.

    ``binding``: (name, resource_kind, binding_hours_count).
    """
    figure = go.Figure()
    longest = LONGEST_LINE[language]
    for kind, colour, pattern in KINDS:
        rows = binding.filter(pl.col("resource_kind") == kind)
        figure.add_bar(
            y=[figure_lines(name, longest) for name in rows["name"]], x=rows["binding_hours_count"].to_list(), orientation="h",
            name=spoken(f"resource_{kind}", language), meta=kind, marker=theme.patterned(colour, pattern),
            text=rows["binding_hours_count"].to_list(), textposition="outside", cliponaxis=False,
            hovertemplate="%{y} · %{x} h<extra></extra>",
        )
    figure.update_layout(
        template=theme.TEMPLATE, barmode="overlay", height=max(180, 96 + 34 * binding.height), bargap=0.3,
        xaxis={"range": [0, 185], "title": {"text": spoken("axis_binding_hours", language)}, "tickvals": [0, 48, 96, 144]},
        yaxis={"type": "category", "autorange": "reversed", "ticks": "", "categoryorder": "array",
               "categoryarray": [figure_lines(name, longest) for name in binding["name"]]},
    )
    return figure
