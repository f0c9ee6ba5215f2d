"""Tokens by week: those served, by product, those forecast, and those that packages already sold still hold."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import spoken
from dashboards.figures.demand_supply import TICK_FORMAT, add_bands, add_demand, add_median

PRODUCTS = (
    ("payg", theme.BLUE, ""), ("package", theme.ORANGE, "/"), ("trial", theme.GREEN, "."), ("internal", theme.GREY, "x"),
    ("unknown", theme.PURPLE, "-"),
)
"""Product, its colour, and its hatch; any other product is drawn as unknown."""
BILLION = 1e9


def product_tokens_figure(tokens: pl.DataFrame, language: str) -> go.Figure:
    """Billions of tokens a week, stacked by product. The traces and their order never depend on the data.

    ``tokens``: (iso_week, product, tokens), one row a week and product.
    """
    known = [product for product, _, _ in PRODUCTS]
    tokens = tokens.with_columns(
        pl.when(pl.col("product").is_in(known)).then(pl.col("product")).otherwise(pl.lit("unknown")).alias("product")
    ).group_by("iso_week", "product").agg(pl.sum("tokens")).sort("iso_week")
    figure = go.Figure()
    for product, colour, pattern in PRODUCTS:
        rows = tokens.filter(pl.col("product") == product)
        figure.add_bar(
            x=[week.partition("-")[2] for week in rows["iso_week"]], y=[round(value / BILLION, 3) for value in rows["tokens"]],
            name=spoken(f"product_{product}", language), meta=product, marker=theme.patterned(colour, pattern),
            hovertemplate="%{x} · %{y:,.1f}",
        )
    weeks = [week.partition("-")[2] for week in tokens["iso_week"].unique(maintain_order=True)]
    figure.update_layout(
        template=theme.TEMPLATE, barmode="stack", height=260, bargap=0.3, legend={"traceorder": "normal"},
        xaxis={"type": "category", "categoryorder": "array", "categoryarray": weeks},
        yaxis={"rangemode": "tozero", "title": {"text": spoken("axis_billion_tokens", language)}, "tickformat": ",~r"},
    )
    return figure


def package_demand_figure(weeks: pl.DataFrame, language: str) -> go.Figure:
    """Billions of tokens that sold packages are expected to use in each week to come.

    ``weeks``: (iso_week, expected_tokens), in order.
    """
    figure = go.Figure(go.Bar(
        x=[week.partition("-")[2] for week in weeks["iso_week"]],
        y=[round(value / BILLION, 3) for value in weeks["expected_tokens"]],
        name=spoken("series_package", language), meta="package", marker=theme.patterned(theme.ORANGE, "/"),
        hovertemplate="%{x} · %{y:,.1f}<extra></extra>",
    ))
    figure.update_layout(
        template=theme.TEMPLATE, height=300, bargap=0.3, showlegend=False,
        xaxis={"type": "category"},
        yaxis={"rangemode": "tozero", "title": {"text": spoken("axis_billion_tokens", language)}, "tickformat": ",~r"},
    )
    return figure


def token_forecast_figure(history: pl.DataFrame, forecast: pl.DataFrame, language: str) -> go.Figure:
    """Billions of tokens asked for by week, and the bands of the weeks to come.

    Args:
        history: (week_start_date, value in tokens), one row a week, in order.
        forecast: (target_date, quantile, value) in tokens, of one model.
    """
    figure = go.Figure()
    billions = forecast.with_columns(pl.col("value") / BILLION)
    add_bands(figure, billions, language)
    add_demand(figure, history["week_start_date"], history["value"] / BILLION, "series_tokens_asked", language)
    add_median(figure, billions, language)
    figure.update_layout(
        template=theme.TEMPLATE, height=300, hovermode="x unified",
        xaxis={"type": "date", "tickformat": TICK_FORMAT[language], "hoverformat": "%Y-%m-%d", "nticks": 9},
        yaxis={"rangemode": "tozero", "title": {"text": spoken("axis_billion_tokens", language)}, "tickformat": ",~r"},
    )
    return figure
