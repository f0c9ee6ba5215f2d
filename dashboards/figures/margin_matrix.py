"""Margin by site and product, as a heat map that says its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboards import theme

ROW_PIXELS = 27
COLOURS = ((0.0, "#f0a06c"), (0.5, "#f7f7f7"), (1.0, "#7fbfe6"))
"""Loss to profit, nothing earned in the middle: vermillion and blue, light enough for dark text on every cell."""


def matrix_figure(
    rows: Sequence[str], columns: Sequence[str], ratios: Mapping[tuple[int, int], float], texts: Mapping[tuple[int, int], str],
    numbers: Mapping[tuple[int, int], int],
) -> go.Figure:
    """A cell for each (row, column) that something was sold or spent in, coloured by its margin ratio.

    ``numbers`` is the row of the data table that a cell stands for, which is what a click on it opens. Row and column names must be figure labels already; cells beyond -100% have the colour of -100%.
    """
    places = range(len(columns))
    figure = go.Figure(go.Heatmap(
        z=[[ratios.get((row, column)) for column in places] for row in range(len(rows))],
        text=[[texts.get((row, column), "") for column in places] for row in range(len(rows))],
        x=list(places), y=list(range(len(rows))), texttemplate="%{text}", xgap=2, ygap=2, zmin=-1, zmax=1, colorscale=COLOURS,
        hovertemplate="%{customdata[0]}: %{text}<extra></extra>",
        customdata=[
            [[f"{name} · {column}", numbers.get((row, place))] for place, column in enumerate(columns)] for row, name in enumerate(rows)
        ],
        colorbar={"thickness": 10, "len": min(1.0, 260 / max(ROW_PIXELS * len(rows), 1)), "yanchor": "top", "y": 1,
                  "tickformat": ".0%", "outlinewidth": 0, "tickfont": {"size": 11}},
        textfont={"size": 12, "color": theme.INK},
    ))
    figure.update_layout(
        template=theme.TEMPLATE, height=70 + ROW_PIXELS * max(len(rows), 3), margin={"t": 46, "b": 12, "r": 8},
        xaxis={"side": "top", "tickmode": "array", "tickvals": list(places), "ticktext": list(columns), "showgrid": False,
               "ticks": "", "showline": False},
        yaxis={"autorange": "reversed", "tickmode": "array", "tickvals": list(range(len(rows))), "ticktext": list(rows),
               "showgrid": False, "ticks": "", "showline": False},
    )
    return figure
