"""What moved since last week, as bars to the left and right of nothing."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import compact_text, figure_label, spoken


def movers_figure(movers: pl.DataFrame, language: str) -> go.Figure:
    """One bar a site, rises to the right and plain, falls to the left and hatched; the first row on top.

    ``movers``: (name, change_accelerator_hours).
    """
    figure = go.Figure()
    for key, colour, pattern, kept in (
        ("increase", theme.BLUE, "", pl.col("change_accelerator_hours") >= 0),
        ("decrease", theme.ORANGE, "/", pl.col("change_accelerator_hours") < 0),
    ):
        rows = movers.filter(kept)
        changes = [float(change) for change in rows["change_accelerator_hours"]]
        figure.add_bar(
            y=[figure_label(name) for name in rows["name"]], x=[round(change, 1) for change in changes],
            orientation="h", name=spoken(key, language), meta=key, cliponaxis=False,
            text=[("+" if change >= 0 else "−") + compact_text(abs(change), language) for change in changes],
            textposition="outside", hovertemplate="%{y} · %{text}<extra></extra>",
            marker=theme.patterned(colour, pattern),
        )
    reach = 1.35 * max((abs(float(change)) for change in movers["change_accelerator_hours"]), default=1)
    low = min((float(change) for change in movers["change_accelerator_hours"]), default=0)
    figure.update_layout(
        template=theme.TEMPLATE, barmode="overlay", height=max(180, 90 + 26 * movers.height), bargap=0.3,
        xaxis={"zeroline": True, "zerolinecolor": theme.INK, "range": [min(-0.05 * reach, low - 0.45 * reach), reach],
               "tickformat": ",d", "nticks": 5},
        yaxis={"type": "category", "autorange": "reversed", "ticks": "",
               "categoryorder": "array", "categoryarray": [figure_label(name) for name in movers["name"]]},
    )
    return figure
