"""How far off the forecast was, by weeks ahead."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import spoken

LOOKS = {
    "seasonal_naive": (theme.MUTED_INK, "dash", "circle-open"),
    "weighted": (theme.BLUE, "solid", "diamond"),
}


def accuracy_figure(errors: pl.DataFrame, in_use: str, language: str) -> go.Figure:
    """Error of the median by weeks ahead, a line a model, the one in use thickest.

    ``errors``: (model, weeks_ahead, wape_ratio).
    """
    figure = go.Figure()
    for model, (colour, dash, symbol) in LOOKS.items():
        rows = errors.filter(pl.col("model") == model).sort("weeks_ahead")
        if rows.is_empty():
            continue
        figure.add_scatter(
            x=rows["weeks_ahead"].to_list(), y=[round(100 * value, 2) for value in rows["wape_ratio"]],
            mode="lines+markers", name=spoken(f"model_{model}", language), meta=model,
            line={"color": colour, "dash": dash, "width": 3 if model == in_use else 1.8},
            marker={"symbol": symbol, "size": 8, "color": colour}, hovertemplate="%{y:.1f}%",
        )
    figure.update_layout(
        template=theme.TEMPLATE, height=320, hovermode="x unified",
        xaxis={"title": {"text": spoken("axis_weeks_ahead", language)}, "dtick": 1},
        yaxis={"rangemode": "tozero", "ticksuffix": "%", "title": {"text": spoken("axis_wape", language)}},
    )
    return figure
