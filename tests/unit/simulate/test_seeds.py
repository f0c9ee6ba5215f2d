"""The reference seeds, and the ways to break a line: what others take for granted of them."""

from __future__ import annotations

import csv
from datetime import date

import pytest

from orchestration.contracts import REFERENCE_TABLES, TABLES
from orchestration.sources.simulate.network import SEEDS, read_seed
from orchestration.sources.simulate.usage import BROKEN_KINDS, broken

CONFIDENCES = {"high", "medium", "low", "assumption"}
each_reference_table = pytest.mark.parametrize(
    "table", REFERENCE_TABLES, ids=lambda table: table.name
)


@each_reference_table
def test_a_seed_has_exactly_the_columns_of_its_contract(table):
    """A delivery replaces the seed, so both must have the same columns in the same order."""
    with (SEEDS / f"{table.name}.csv").open(encoding="utf-8", newline="") as stream:
        assert next(csv.reader(stream)) == [column.name for column in table.columns]


@each_reference_table
def test_a_seed_holds_only_values_its_contract_allows(table):
    """A seed is not parsed like a delivery, so nothing else would catch a value out of range."""
    rows = read_seed(table.name)
    keys = [tuple(row[name] for name in table.grain) for row in rows]
    assert len(set(keys)) == len(keys)
    for row in rows:
        assert row["source"]
        assert row["confidence"] in CONFIDENCES
        for column in table.columns:
            text = row[column.name]
            assert text or not column.required, column.name
            if text and column.allowed:
                assert text in column.allowed
            if text and column.minimum is not None:
                assert float(text) >= column.minimum
            if text and column.name.endswith("_date"):
                date.fromisoformat(text)


def test_links_sites_and_throughput_name_things_that_exist():
    """A link to nowhere, or throughput of an unknown accelerator, is dropped silently by a join."""
    sites = {row["site_id"] for row in read_seed("sites")}
    accelerators = {row["accelerator_id"] for row in read_seed("accelerators")}
    assert {row["nearest_hub_site_id"] for row in read_seed("sites")} - {""} <= sites
    assert all({row["a_site_id"], row["b_site_id"]} <= sites for row in read_seed("links"))
    assert {row["accelerator_id"] for row in read_seed("throughput")} <= accelerators
    assert {row["model_class"] for row in read_seed("models")} <= set(
        TABLES["models"].column("model_class").allowed
    )


def test_the_seeds_are_as_broad_as_promised():
    """Ten clusters, 31 hotspots, 132 links, many accelerators and models, two years of holidays."""
    kinds = [row["site_kind"] for row in read_seed("sites")]
    assert (kinds.count("hub"), kinds.count("hotspot"), len(read_seed("links"))) == (10, 31, 132)
    assert len(read_seed("accelerators")) >= 10
    assert len(read_seed("models")) >= 14
    assert {row["holiday_date"][:4] for row in read_seed("holidays")} == {"2025", "2026"}


def test_population_is_the_census():
    """Traces are placed by population: the 31 values add up to the published total."""
    assert sum(int(row["population"] or 0) for row in read_seed("sites")) == 1_409_778_724


@pytest.mark.parametrize("kind", BROKEN_KINDS)
def test_a_broken_line_stays_one_line_and_differs(kind):
    """A line break inside a broken line would make two lines of it, and the counts wrong."""
    line = '{"event_id":"e","occurred_at":"2026-11-20T01:00:00.000000Z","tenant_id":"t","status":"ok","input_tokens":1}'
    spoiled = broken(line, kind)
    assert spoiled != line
    assert "\n" not in spoiled
