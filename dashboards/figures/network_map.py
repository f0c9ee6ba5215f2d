"""The network as a schematic: sites at projected positions, links by utilization, no boundary.

A boundary would be a statement that we cannot check, so none is drawn and no map data is loaded.
"""

from __future__ import annotations

import math

import plotly.graph_objects as go
import polars as pl

from dashboards import theme
from dashboards.bilingual import LANGUAGES, figure_label, spoken

_FIRST_PARALLEL, _SECOND_PARALLEL, _MIDDLE_LATITUDE, _MIDDLE_LONGITUDE = 25.0, 47.0, 36.0, 105.0
LABEL_FROM_RATIO = 0.8
BAND_MARKS = [*((band.symbol, band.colour) for band in theme.LOAD_BANDS), ("circle-open", theme.MUTED_INK)]
"""Symbol and colour by load band; the last one is of a site where nothing was up."""
MOST_LABELS = 14
"""Of more hot sites than these only the hottest carry their load: names would lie on each other."""
SMALLEST_MARK, LARGEST_MARK = 9, 34
HEIGHT = 640
LONGEST_LABEL = {"zh": 9, "en": 22}

# Where a label may stand beside its mark: Plotly's name, and the direction (right, up) it moves in.
_PLACES = (
    ("top center", 0, 1), ("bottom center", 0, -1), ("middle right", 1, 0), ("middle left", -1, 0),
    ("top right", 1, 1), ("top left", -1, 1), ("bottom right", 1, -1), ("bottom left", -1, -1),
)
_PIXELS_ACROSS = 340
_ROOM_RATIO = 0.16
_LINE_PIXELS, _LATIN_PIXELS, _HAN_PIXELS = 15, 7.2, 12.5
_BOLD_RATIO = 1.13
_NEAR_PIXELS = 8
"""Closer to another mark than this, a label reads as that one's."""
_OVER_THE_EDGE = 10_000
"""A pixel beyond the edge is worse than any overlap: what is cut can't be read at all."""


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
    rows = sites.filter(
        pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null()
    ).sort("usable_accelerator_count", descending=True).to_dicts()
    place = {row["site_id"]: project(row["latitude"], row["longitude"]) for row in rows}
    figure = go.Figure()
    _add_links(figure, links, place, language)
    _add_sites(figure, rows, place, language)
    hidden = {"visible": False, "fixedrange": True}
    xs = [x for x, _ in place.values()] or [0.0]
    room = _ROOM_RATIO * (max(xs) - min(xs))
    figure.update_layout(
        template=theme.TEMPLATE, height=HEIGHT, hovermode="closest", margin={"l": 4, "r": 4, "t": 8, "b": 4},
        xaxis={**hidden, "range": [min(xs) - room, max(xs) + room]}, yaxis={**hidden, "scaleanchor": "x", "scaleratio": 1},
        legend={"itemsizing": "constant", "itemclick": False, "itemdoubleclick": False},
    )
    return figure


def _add_links(figure: go.Figure, links: pl.DataFrame, place: dict, language: str) -> None:
    rows = [row for row in links.iter_rows(named=True) if {row["a_site_id"], row["b_site_id"]} <= place.keys()]
    unknown = theme.LoadBand("unknown", 0, theme.GREY, "circle", "dot", 0.8)
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
            name = (
                spoken("legend_links_unknown", language) if band is unknown
                else spoken("legend_links", language, band=spoken(band.key, language))
            )
            figure.add_scatter(
                x=xs, y=ys, mode="lines", name=name, meta="links", hoverinfo="skip", legendrank=2000,
                line={"color": band.colour, "dash": band.dash, "width": band.width},
                opacity=1 if band.least >= LABEL_FROM_RATIO else 0.5,
            )


def _add_sites(figure: go.Figure, rows: list[dict], place: dict, language: str) -> None:
    """All sites as one trace, the largest first so that none hides another, and a legend entry per band."""
    marks = _marks(rows, place, max((row["usable_accelerator_count"] for row in rows), default=0), language)
    hovers = [
        spoken("hover_site", language, name=figure_label(row["name"]), load=_percent(row["load_ratio"]),
               usable=f"{row['usable_accelerator_count']:,.0f}") for row in rows
    ]
    figure.add_scatter(
        x=[round(place[row["site_id"]][0], 4) for row in rows],
        y=[round(place[row["site_id"]][1], 4) for row in rows],
        mode="markers+text", meta="sites", showlegend=False, customdata=[row["site_id"] for row in rows],
        text=marks["text"], cliponaxis=False, textposition=marks["textposition"], hovertext=hovers,
        textfont={"size": 12, "color": theme.INK}, hovertemplate="%{hovertext}<extra></extra>",
        marker={
            **marks["marker"], "opacity": 0.92,
            "line": {"color": theme.INK, "width": [2 if row["site_kind"] == "hub" else 0.8 for row in rows]},
        },
    )
    for band in (*theme.LOAD_BANDS, None):
        name = (
            spoken("legend_sites", language, band=spoken(band.key, language)) if band
            else spoken("legend_sites_none", language)
        )
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=name, meta="legend", hoverinfo="skip",
            marker={"symbol": band.symbol if band else "circle-open", "size": 11,
                    "color": band.colour if band else theme.MUTED_INK, "line": {"color": theme.INK, "width": 0.8}},
        )


def week_marks(drawn: pl.DataFrame, of_week: pl.DataFrame) -> dict:
    """How the map's sites look in another week, in the map's order, with sizes by the map's own scale.

    Bands are positions in ``BAND_MARKS``; labels, per language, are (position of the site, text, place).

    Args:
        drawn: the sites as network_map_figure drew them, with a column ``name_`` a language.
        of_week: (site_id, usable_accelerator_count, load_ratio) of that week; a site without a row had nothing up.
    """
    drawn = drawn.sort("usable_accelerator_count", descending=True)
    rows = drawn.drop("usable_accelerator_count", "load_ratio").join(
        of_week.select("site_id", "usable_accelerator_count", "load_ratio"), on="site_id", how="left", maintain_order="left",
    ).with_columns(pl.col("usable_accelerator_count").fill_null(0.0)).to_dicts()
    place = {row["site_id"]: project(row["latitude"], row["longitude"]) for row in rows}
    marks = {
        language: _marks([{**row, "name": row[f"name_{language}"]} for row in rows], place, drawn["usable_accelerator_count"][0], language)
        for language in LANGUAGES
    }
    some = marks[LANGUAGES[0]]["marker"]
    return {
        "bands": [BAND_MARKS.index(pair) for pair in zip(some["symbol"], some["color"], strict=True)], "sizes": some["size"],
        "labels": {
            language: [
                (index, text, spot) for index, (text, spot) in enumerate(zip(of["text"], of["textposition"], strict=True)) if text
            ] for language, of in marks.items()
        },
    }


def _marks(rows: list[dict], place: dict, largest: float, language: str) -> dict:
    """What of the sites' trace depends on the week: labels, where they stand, and how each mark looks."""
    bands = [None if row["load_ratio"] is None else theme.load_band(row["load_ratio"]) for row in rows]
    sizes = [_size(row["usable_accelerator_count"], largest or 1) for row in rows]
    hot = sorted((row["load_ratio"] for row in rows if _is_hot(row) and row["load_ratio"] is not None), reverse=True)
    least = hot[MOST_LABELS - 1] if len(hot) > MOST_LABELS else LABEL_FROM_RATIO
    labels = [_label(row, least, language) for row in rows]
    return {
        "text": labels, "textposition": _label_places(rows, labels, sizes, place),
        "marker": {
            "symbol": [band.symbol if band else "circle-open" for band in bands],
            "color": [band.colour if band else theme.MUTED_INK for band in bands], "size": sizes,
        },
    }


def _is_hot(row: dict) -> bool:
    return row["load_ratio"] is None or row["load_ratio"] >= LABEL_FROM_RATIO


def _label(row: dict, least: float, language: str) -> str:
    """Hubs by name, the hottest sites by name and load; the others speak on hover and in the table."""
    is_named = _is_hot(row) and (row["load_ratio"] is None or row["load_ratio"] >= least)
    if not is_named and row["site_kind"] != "hub":
        return ""
    name = figure_label(row["name"], LONGEST_LABEL[language])
    return f"<b>{name} {_percent(row['load_ratio'])}</b>" if is_named else name


def _label_places(rows: list[dict], labels: list[str], sizes: list[float], place: dict) -> list[str]:
    """For each label the first place beside its mark where it covers no other mark, no earlier label, no edge."""
    if not rows:
        return []
    xs = [place[row["site_id"]][0] for row in rows]
    scale = _PIXELS_ACROSS / ((max(xs) - min(xs)) or 1)
    centres = [(place[row["site_id"]][0] * scale, place[row["site_id"]][1] * scale) for row in rows]
    marks = [(x - size / 2, x + size / 2, y - size / 2, y + size / 2)
             for (x, y), size in zip(centres, sizes, strict=True)]
    near = [(left - _NEAR_PIXELS, right + _NEAR_PIXELS, low - _NEAR_PIXELS, high + _NEAR_PIXELS) for left, right, low, high in marks]
    room = _ROOM_RATIO * _PIXELS_ACROSS
    left, right_end = min(x for x, _ in centres) - room, max(x for x, _ in centres) + room
    taken: list[tuple[float, float, float, float]] = []
    chosen = [_PLACES[0][0]] * len(rows)
    # Hot sites choose first, theirs are the names that a reader looks for; long names before those that fit anywhere.
    for index in sorted(range(len(rows)), key=lambda row: (not labels[row].startswith("<b>"), -len(labels[row]))):
        label = labels[index]
        if not label:
            continue
        boxes = [_label_box(label, centres[index], sizes[index], right, up) for _, right, up in _PLACES]
        others = near[:index] + near[index + 1 :] + taken
        covered = [
            sum(_overlap(box, other) for other in others)
            + _OVER_THE_EDGE * (max(left - box[0], 0) + max(box[1] - right_end, 0)) for box in boxes
        ]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        chosen[index] = _PLACES[best][0]
    return chosen


def _label_box(
    label: str, centre: tuple[float, float], size: float, right: int, up: int
) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a label beside a mark, in pixels."""
    text = label.replace("<b>", "").replace("</b>", "")
    width = sum(_HAN_PIXELS if ord(letter) > 0x2E80 else _LATIN_PIXELS for letter in text)
    width *= _BOLD_RATIO if label != text else 1
    x = centre[0] + right * (size / 2 + 3 + width / 2)
    y = centre[1] + up * (size / 2 + 1 + _LINE_PIXELS / 2)
    return x - width / 2, x + width / 2, y - _LINE_PIXELS / 2, y + _LINE_PIXELS / 2


def _overlap(first: tuple[float, float, float, float], second: tuple[float, float, float, float]) -> float:
    across = min(first[1], second[1]) - max(first[0], second[0])
    upward = min(first[3], second[3]) - max(first[2], second[2])
    return max(across, 0) * max(upward, 0)


def _size(usable: float, largest: float) -> float:
    return round(SMALLEST_MARK + (LARGEST_MARK - SMALLEST_MARK) * math.sqrt(min(max(usable, 0) / largest, 1)), 1)


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.0%}"
