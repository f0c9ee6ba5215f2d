"""Writes the weekly report: one HTML file that opens offline and asks for nothing.

Assembles content, template, style, script and the chart library. Nothing is computed here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import jinja2
import polars as pl
from markupsafe import Markup

from dashboards import theme
from dashboards.bilingual import HTML_LANGUAGE, LANGUAGES, say
from dashboards.figures.hours import PARTS
from dashboards.figures.network_map import BAND_MARKS
from dashboards.offline import content_policy, inline_json, plain_figure, script_text
from dashboards.strings import STRINGS
from dashboards.weekly_report.content import Chart, Family, build
from dashboards.weekly_report.published import read

FOLDER = Path(__file__).resolve().parent
CHART_LIBRARY = FOLDER / "assets" / "plotly-cartesian.min.js"
"""plotly.js 4.1.1, cartesian bundle (MIT): a third of what the plotly wheel ships, and all we draw."""

HATCHES = {
    "": "", "/": "M0 12L6 0M8 12L14 0M16 12L22 0", "\\": "M0 0L6 12M8 0L14 12M16 0L22 12", "-": "M0 4h26M0 8h26",
    "x": "M0 12L6 0M8 12L14 0M16 12L22 0M0 0L6 12M8 0L14 12M16 0L22 12", ".": "M4 6h1M10 6h1M16 6h1M22 6h1",
}
"""Plotly's patterns as strokes on 26 by 12, for the key of charts that have no legend of their own."""


def write_weekly_report(
    published: Path, iso_week: str | None, out: Path, language: str = "zh", *,
    other_cutoffs: Mapping[str, pl.DataFrame] | None = None, forecast_sources: Mapping[str, str] | None = None,
    told_at: Mapping[str, datetime] | None = None,
) -> Path:
    """Writes the report of one week and returns its path.

    Args:
        published: the published capacity.duckdb; opened read-only.
        iso_week: like 2026-W47; None is the latest whole week. WeekNotPublished when the file lacks it.
        out: the HTML file; written aside and moved into place.
        language: zh or en, what the page shows first; both are in the file.
        other_cutoffs: rows of forecast tables, by name, that the published file lacks: after the week of
            the report when that is past, and after the week before it.
        forecast_sources: by week, ``published`` when those rows are what readers were given then,
            ``again`` when they were made again now.
        told_at: by week, the instant (UTC) at which readers were given its forecast; what was restated since is a
            step of the gap's bridge.
    """
    if language not in LANGUAGES:
        raise ValueError(f"there is no report in {language!r}; languages are {', '.join(LANGUAGES)}")
    readings = read(published, iso_week, other_cutoffs, forecast_sources, told_at)
    page = render(build(readings), language)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    aside.write_text(page, encoding="utf-8", newline="\n")
    os.replace(aside, out)
    return out


def render(content: dict, language: str) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    library, script = (script_text(path) for path in (CHART_LIBRARY, FOLDER / "report.js"))
    return environment.get_template("report.html.j2").render(
        **content,
        say=say,
        parts=PARTS,
        hatches=HATCHES,
        language=language,
        html_language=HTML_LANGUAGE[language],
        style=Markup(_style()),
        library=Markup(library),
        script=Markup(script),
        data=Markup(inline_json(_script_data(content, language))),
        policy=content_policy(library, script),
        document_title=_document_titles(content)[language],
    )


def _style() -> str:
    """The stylesheet, with the theme's colours and fonts as variables."""
    colours = {
        "ink": theme.INK, "muted": theme.MUTED_INK, "faint-line": theme.FAINT_LINE, "strong-line": theme.STRONG_LINE,
        "paper": theme.PAPER, "shade": theme.SHADE, "blue": theme.BLUE, "sky": theme.SKY, "orange": theme.ORANGE,
        "vermillion": theme.VERMILLION, "dark-vermillion": theme.DARK_VERMILLION, "dark-green": theme.DARK_GREEN,
        "dark-orange": theme.DARK_ORANGE,
    }
    variables = "".join(f"--{name}:{value};" for name, value in colours.items())
    return f":root{{{variables}--fonts:{theme.FONT_FAMILY};}}\n" + (FOLDER / "report.css").read_text(encoding="utf-8")


def _document_titles(content: dict) -> dict[str, str]:
    return {language: STRINGS["document_title"][language].format(week=content["head"]["iso_week"])
            for language in LANGUAGES}


def _charts(value: object) -> list[Chart]:
    """Every chart anywhere in the content."""
    if isinstance(value, Chart):
        return [value]
    if isinstance(value, dict):
        return [chart for part in value.values() for chart in _charts(part)]
    if isinstance(value, list):
        return [chart for part in value for chart in _charts(part)]
    return []


def _family(family: Family | None) -> dict | None:
    if family is None:
        return None
    return {
        "skeletons": {language: plain_figure(figure) for language, figure in family.skeletons.items()},
        "members": family.members,
    }


def _script_data(content: dict, language: str) -> dict:
    sites, regions, tokens = content["sites"], content["regions"], content["changes"]["tokens"]
    exports = dict(content["filters"]["exports"])
    if tokens:
        exports["tokens"] = {
            "columns": ["iso_week", "hub_region", "product", "tokens"], "region": 1, "product": 2, "rows": tokens["rows"],
        }
    return {
        "language": language,
        "week": content["head"]["iso_week"],
        "titles": _document_titles(content),
        "template": theme.TEMPLATE.to_plotly_json(),
        "config": theme.CONFIG,
        "words": {key: STRINGS[key] for key in (
            "all_pools", "all_regions", "all_products", "all_owners", "hover_site", "column_week", "filtered_decisions")},
        "charts": {
            chart.key: {name: plain_figure(figure) for name, figure in chart.figures.items()}
            for chart in _charts(content)
        },
        "regions": content["filters"]["regions"],
        "owners": content["filters"]["owners"],
        "regionFamilies": {name: _family(family) for name, family in (regions["families"] or {}).items()},
        "tokens": None if tokens is None else {
            "family": _family(tokens["family"]), "summaries": tokens["summaries"], "products": tokens["products"],
        },
        "exports": exports,
        "mapWeeks": content["network"]["weeks"],
        "bandMarks": BAND_MARKS,
        "sites": None if sites["fan"] is None else {
            "options": sites["options"], "first": sites["first"], "fan": _family(sites["fan"]),
            "summaries": sites["summaries"], "diurnal": _family(sites["diurnal"]),
            "diurnalSummaries": sites["diurnal_summaries"],
        },
    }
