"""What the report's sections are made of: tables, charts, and names as a reader knows them.

Shapes and names only; what a section says is in ``content`` and beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import plotly.graph_objects as go
import polars as pl

from dashboards.bilingual import Bilingual, named, say, whole
from dashboards.strings import STRINGS
from dashboards.weekly_report.published import Readings

NO_WEEK_TEXT = "–"
ACTION_OWNERS = {"add": "capacity_planning", "move_load": "transport", "move_accelerators": "hub_operations"}
"""Who acts, by the kind of action: no feed names a person, and the kind says whose tools it takes."""


@dataclass
class Table:
    """A table of the page: its caption, columns (header, whether a number, or "id") and rows of cells.

    ``regions``: the hub region of each row, where the table follows the filter by region.
    """

    caption: Bilingual
    columns: list[tuple[Bilingual, bool | str]]
    rows: list[list[Bilingual]]
    regions: list[str] | None = None


@dataclass
class Chart:
    """A chart of the page: what it says in one sentence, one figure per language, and its data table."""

    key: str
    title: Bilingual
    summary: Bilingual
    figures: dict[str, go.Figure]
    table: Table


@dataclass
class Family:
    """Figures of one shape, of which the page shows one: what differs per key is kept apart.

    ``skeletons``: the figure without data, per language. ``members``: per key the arrays of each trace.
    """

    skeletons: dict[str, go.Figure]
    members: dict[str, list[dict]] = field(default_factory=dict)


DATA_ARRAYS = ("x", "y", "z", "text")


def split_figure(figure: go.Figure, kept: tuple[str, ...] = DATA_ARRAYS) -> list[dict]:
    """Each trace's data arrays."""
    return [
        {name: trace[name] for name in kept if trace.get(name) is not None}
        for trace in figure.to_plotly_json()["data"]
    ]


class Names:
    """Sites and accelerators by id, as a reader knows them; two places of one name are told apart."""

    def __init__(self, readings: Readings):
        sites = list(readings.sites.iter_rows(named=True))
        repeated = {
            name for name, count in Counter(site["site_name"] for site in sites).items() if count > 1
        } | {name for name, count in Counter(site["site_name_cn"] for site in sites).items() if count > 1}
        self._sites: dict[str, Bilingual] = {}
        for site in sites:
            name = named(site["site_name"] or site["site_id"], site["site_name_cn"])
            if {site["site_name"], site["site_name_cn"]} & repeated and site["site_kind"] in ("hub", "hotspot"):
                name = say("name_with_kind", name=name, kind=say(site["site_kind"]))
            self._sites[site["site_id"]] = name
        self._accelerators = readings.accelerators
        self._regions = dict(readings.sites.select("site_id", "hub_region").iter_rows())

    def site(self, site_id: str) -> Bilingual:
        """The site's name, or its id where no name is known."""
        return self._sites.get(site_id) or named(site_id, site_id)

    def site_text(self, site_id: str, language: str) -> str:
        """The site's name as plain text, for figures (which escape it)."""
        return self.site(site_id).in_language(language).striptags()

    def accelerator(self, accelerator_id: str) -> Bilingual:
        """The accelerator type's name, or its id."""
        name = self._accelerators.get(accelerator_id, accelerator_id)
        return named(name, name)

    def pool(self, site_id: str, accelerator_id: str) -> Bilingual:
        """Site and accelerator type together."""
        return say("pool_of_site", site=self.site(site_id), pool=self.accelerator(accelerator_id))

    def region_of(self, site_id: str) -> str:
        """The hub region that a site belongs to, as the key that filters use; empty when it has none."""
        return self._regions.get(site_id) or ""


def region_name(region: str) -> Bilingual:
    """A hub region in both languages; one that is not of the eight national ones as it is written."""
    key = f"region_{region}"
    return say(key) if key in STRINGS else named(region, region)


def action_words(row: dict, names: Names) -> Bilingual:
    """What to do, in words: how many to add, or what to move where."""
    if row["action"] == "add":
        return say("action_add", count=whole(row["add_accelerator_count"]))
    if row["action"] == "move_load":
        why = json.loads(row["why"])
        return say("action_move", count=whole(why["move_accelerators"]), site=names.site(why["to_site_id"]))
    if row["action"] == "move_accelerators":
        why = json.loads(row["why"])
        return say("action_move_accelerators", count=whole(why["move_accelerators"]), site=names.site(why["from_site_id"]))
    return say("action_none")


def with_names(frame: pl.DataFrame, names: Names, language: str) -> pl.DataFrame:
    """The frame with a column ``name``: each site's, in one language."""
    return frame.with_columns(
        pl.Series("name", [names.site_text(site_id, language) for site_id in frame["site_id"]], dtype=pl.String))
