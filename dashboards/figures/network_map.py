"""The network as a schematic: sites at projected positions, links by utilization, no boundary.

A boundary would be a statement that we cannot check, so none is drawn and no map data is loaded.
"""

from __future__ import annotations

import math

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import figure_label, spoken

_FIRST_PARALLEL, _SECOND_PARALLEL, _MIDDLE_LATITUDE, _MIDDLE_LONGITUDE = 25.0, 47.0, 36.0, 105.0
LABEL_FROM_RATIO = 0.8
SMALLEST_MARK, LARGEST_MARK = 9, 40


def project(latitude: float, longitude: float) -> tuple[float, float]:
    """Plane position by Albers' equal-area conic projection, in earth radii."""
    first, second = math.radians(_FIRST_PARALLEL), math.radians(_SECOND_PARALLEL)
    cone = (math.sin(first) + math.sin(second)) / 2
    constant = math.cos(first) ** 2 + 2 * cone * math.sin(first)

    def radius(degrees: float) -> float:
        return math.sqrt(constant - 2 * cone * math.sin(math.radians(degrees))) / cone

    angle = cone * math.radians(longitude - _MIDDLE_LONGITUDE)
    return (
        radius(latitude) * math.sin(angle),
        radius(_MIDDLE_LATITUDE) - radius(latitude) * math.cos(angle),
    )


def network_map_figure(sites: pl.DataFrame, links: pl.DataFrame, language: str) -> go.Figure:
    """Sites sized by usable accelerators and marked by load; links dashed and coloured by utilization.

    Args:
        sites: (site_id, name, site_kind, latitude, longitude, usable_accelerator_count, load_ratio); the
            load is null where nothing was up. Rows without coordinates are left out.
        links: (link_id, a_site_id, b_site_id, load_ratio); null without telemetry. Links whose ends are not
            both drawn are left out.
    """
    drawn = sites.filter(pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null())
    place = {
        row["site_id"]: project(row["latitude"], row["longitude"]) for row in drawn.iter_rows(named=True)
    }
    figure = go.Figure()
    _add_links(figure, links, place, language)
    _add_sites(figure, drawn, place, language)
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(
        template=theme.TEMPLATE, height=640, hovermode="closest", margin={"l": 4, "r": 4, "t": 8, "b": 4},
        xaxis=hidden, yaxis={**hidden, "scaleanchor": "x", "scaleratio": 1},
        legend={"itemsizing": "constant"},
    )
    return figure


def _add_links(figure: go.Figure, links: pl.DataFrame, place: dict, language: str) -> None:
    rows = [row for row in links.iter_rows(named=True) if {row["a_site_id"], row["b_site_id"]} <= place.keys()]
    unknown = theme.LoadBand("unknown", 0, "#c3ccd3", "circle", "dot", 0.8)
    names = {band.key: spoken("legend_links", language, band=spoken(band.key, language)) for band in theme.LOAD_BANDS}
    names["unknown"] = spoken("legend_links_unknown", language)
    for band in (unknown, *theme.LOAD_BANDS):
        xs: list[float | None] = []
        ys: list[float | None] = []
        for row in rows:
            if band != (unknown if row["load_ratio"] is None else theme.load_band(row["load_ratio"])):
                continue
            (first_x, first_y), (second_x, second_y) = place[row["a_site_id"]], place[row["b_site_id"]]
            xs += [round(first_x, 4), round(second_x, 4), None]
            ys += [round(first_y, 4), round(second_y, 4), None]
        if xs:
            figure.add_scatter(
                x=xs, y=ys, mode="lines", name=names[band.key], meta="links", hoverinfo="skip", legendrank=1000,
                line={"color": band.colour, "dash": band.dash, "width": band.width},
                opacity=1 if band.least >= LABEL_FROM_RATIO else 0.45,
            )


def _add_sites(figure: go.Figure, sites: pl.DataFrame, place: dict, language: str) -> None:
    largest = max(sites["usable_accelerator_count"].max() or 0, 1)
    for band in (None, *theme.LOAD_BANDS):
        rows = [
            row for row in sites.sort("usable_accelerator_count", descending=True).iter_rows(named=True)
            if band == (None if row["load_ratio"] is None else theme.load_band(row["load_ratio"]))
        ]
        if not rows:
            continue
        name = (
            spoken("legend_sites_none", language) if band is None
            else spoken("legend_sites", language, band=spoken(band.key, language))
        )
        figure.add_scatter(
            x=[round(place[row["site_id"]][0], 4) for row in rows],
            y=[round(place[row["site_id"]][1], 4) for row in rows],
            mode="markers+text", name=name, meta="sites", customdata=[row["site_id"] for row in rows],
            text=[_label(row) for row in rows], textposition="top center",
            textfont={"size": 12, "color": theme.INK},
            hovertext=[
                spoken("hover_site", language, name=figure_label(row["name"]), load=_percent(row["load_ratio"]),
                       usable=f"{row['usable_accelerator_count']:,.0f}") for row in rows
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            marker={
                "symbol": "circle-open" if band is None else band.symbol,
                "color": theme.MUTED_INK if band is None else band.colour,
                "size": [_size(row["usable_accelerator_count"], largest) for row in rows],
                "line": {"color": theme.INK,
                         "width": [2.2 if row["site_kind"] == "hub" else 0.8 for row in rows]},
                "opacity": 0.95,
            },
        )


def _label(row: dict) -> str:
    """Hubs by name, hot sites by name and load; the others speak on hover and in the table."""
    hot = row["load_ratio"] is None or row["load_ratio"] >= LABEL_FROM_RATIO
    if not hot and row["site_kind"] != "hub":
        return ""
    name = figure_label(row["name"])
    return f"<b>{name} {_percent(row['load_ratio'])}</b>" if hot else name


def _size(usable: float, largest: float) -> float:
    return round(SMALLEST_MARK + (LARGEST_MARK - SMALLEST_MARK) * math.sqrt(max(usable, 0) / largest), 1)


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.0%}"

