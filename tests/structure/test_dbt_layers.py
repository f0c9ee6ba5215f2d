"""Which dbt model may read which, and how incremental models are declared.

Reads the parsed manifest and the SQL files; nothing runs.
"""

from __future__ import annotations

import json
import re

import pytest

from orchestration import dbt_runs
from orchestration.contracts import FINANCE_REFERENCE_TABLES
from orchestration.home import DBT_PROJECT, Home

LAYERS = ("staging", "intermediate", "marts")
SCHEMAS = {
    "staging": "staging", "intermediate": "intermediate", "capacity": "capacity", "finance": "finance", "quality": "quality",
}
# Counts raw by itself, so that what staging and after lose shows.
READS_RAW = {"int_raw__daily", "int_raw__reference"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The manifest of the project as it is."""
    return json.loads(dbt_runs.prepared_manifest(Home(tmp_path_factory.mktemp("home"))).read_text("utf-8"))


@pytest.fixture(scope="module")
def models(manifest) -> list[dict]:
    """Every model of the project."""
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def test_data_flows_from_staging_to_intermediate_to_marts_and_never_back(manifest, models):
    """Prevents a layer from reading one to its right, after which nothing can be rebuilt in order."""
    backwards = []
    for node in models:
        for parent_id in node["depends_on"]["nodes"]:
            parent = manifest["nodes"].get(parent_id)
            is_model = parent is not None and parent["resource_type"] == "model"
            if is_model and LAYERS.index(parent["fqn"][1]) > LAYERS.index(node["fqn"][1]):
                backwards.append((node["name"], parent["name"]))
    assert backwards == []


def test_only_staging_reads_raw_and_seeds(models):
    """Prevents a mart from seeing rows that staging has renamed or found to be repeats."""
    readers = set()
    for node in models:
        parents = [
            parent for parent in node["depends_on"]["nodes"]
            if parent.startswith("seed.") or (parent.startswith("source.") and not parent.endswith(".dirty_days"))
        ]
        if parents and node["fqn"][1] != "staging":
            readers.add(node["name"])
    assert readers == READS_RAW


def test_names_say_layer_and_source(models):
    """Prevents a table whose place in the flow can't be told from its name."""
    patterns = {"staging": r"stg_[a-z_]+__[a-z_]+", "intermediate": r"int_[a-z_]+", "marts": r"(dim|fct|focus)_[a-z_]+"}
    assert [node["name"] for node in models if not re.fullmatch(patterns[node["fqn"][1]], node["name"])] == []


def test_schemas_are_named_exactly_as_readers_know_them(models):
    """Prevents dbt's default prefix, under which no reader would find a mart."""
    for node in models:
        folder = node["fqn"][2] if node["fqn"][1] == "marts" else node["fqn"][1]
        assert node["schema"] == SCHEMAS[folder], node["name"]


def test_every_incremental_model_replaces_the_dirty_days_that_it_reads(models):
    """Prevents a model that appends a day again, or that deletes other days than it inserts."""
    incremental = [node for node in models if node["config"]["materialized"] == "incremental"]
    assert len(incremental) >= 8
    for node in incremental:
        assert node["config"]["incremental_strategy"] == "dirty_days", node["name"]
        assert "in_dirty_days(" in node["raw_code"] or "surplus_records(" in node["raw_code"], node["name"]
        assert "event_day" in node["columns"], node["name"]


def test_an_incremental_model_rebuilds_at_least_the_days_of_the_one_that_it_copies(manifest, models):
    """Prevents a day that changed upstream from staying old downstream."""
    reach = {
        node["unique_id"]: node["config"]["meta"]["dirty_tables"]
        for node in models if node["config"]["materialized"] == "incremental"
    }
    for unique_id, own in reach.items():
        for parent_id in manifest["nodes"][unique_id]["depends_on"]["nodes"]:
            if parent_id in reach and not parent_id.endswith("surplus_records"):
                assert own == reach[parent_id], (unique_id, parent_id)


def test_no_model_ends_in_select_star():
    """Prevents columns that nobody declared from reaching a reader."""
    star = [
        path.name for path in (DBT_PROJECT / "models").rglob("*.sql")
        if re.search(r"^select\s+\*", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert star == []


def test_a_refused_line_of_any_table_of_money_fails_the_build():
    """Prevents a new reference table whose bad lines just fall out."""
    text = (DBT_PROJECT / "tests" / "every_line_of_money_reference_is_accepted.sql").read_text("utf-8")
    listed = re.search(r"money_tables = \[(.*?)\]", text, re.DOTALL).group(1)
    assert re.findall(r"'(\w+)'", listed) == [table.name for table in FINANCE_REFERENCE_TABLES]
