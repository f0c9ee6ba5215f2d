"""What every dbt model owes its readers: a grain, descriptions, units and, for marts, a contract.

Reads the parsed manifest, not the warehouse: whether the numbers are right is dbt's own tests' affair.
"""

from __future__ import annotations

import json
import re

import pytest

from orchestration import dbt_runs
from orchestration.contracts import REFERENCE_TABLES, SYSTEM_COLUMNS, TABLES, duckdb_type
from orchestration.home import Home
from orchestration.warehouse import MART_KEYS

NUMERIC = re.compile(r"^(bigint|integer|double|decimal|hugeint|ubigint)", re.IGNORECASE)
# Ratios and physical measures may be DOUBLE; what is added up may not.
EXACT_NAME = re.compile(r"(_tokens|_count|_accelerator_hours|accelerator_hours|_seconds)$")
# No unit: they number or name things.
UNITLESS = {"iso_day_of_week", "restart_count"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The manifest of the project as it is."""
    return json.loads(dbt_runs.prepared_manifest(Home(tmp_path_factory.mktemp("home"))).read_text("utf-8"))


def models(manifest: dict, folder: str = "") -> dict[str, dict]:
    """Models of the project by name, below a folder of models/."""
    return {
        node["name"]: node for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["path"].startswith(folder)
    }


def grain_of(manifest: dict, name: str) -> set[str] | None:
    """Columns of the model's unique_combination test; None when it has none."""
    for node in manifest["nodes"].values():
        attached = (node.get("attached_node") or "").endswith(f".{name}")
        if node["resource_type"] == "test" and attached and node["test_metadata"]["name"] == "unique_combination":
            return set(node["test_metadata"]["kwargs"]["columns"])
    return None


def test_every_model_and_column_is_described_and_the_grain_comes_first(manifest):
    """Prevents a table that a reader has to guess the rows of."""
    undescribed = [
        name for name, node in models(manifest).items()
        if not node["description"].startswith("Grain: ") or not node["columns"]
        or any(not column["description"] for column in node["columns"].values())
    ]
    assert undescribed == []


def test_the_grain_that_is_described_is_the_grain_that_is_tested(manifest):
    """Prevents a description that promises another key than the data keeps."""
    wrong = {}
    for name, node in models(manifest).items():
        described = re.match(r"Grain: ([\w ,]+)\.", node["description"]).group(1)
        tested = grain_of(manifest, name)
        if described.startswith("one row") or (tested is None and name.startswith("stg_")):
            continue
        if tested != set(described.split(", ")):
            wrong[name] = (described, tested)
    assert wrong == {}


def test_every_mart_has_an_enforced_contract_and_every_number_a_unit(manifest):
    """Prevents a column from changing its type, or a number from being read in the wrong unit."""
    faults = []
    for name, node in models(manifest, "marts/").items():
        if not node["config"]["contract"]["enforced"]:
            faults.append(f"{name}: no contract")
        for column in node["columns"].values():
            numeric = NUMERIC.match(column["data_type"] or "")
            if numeric and not column["meta"].get("unit") and column["name"] not in UNITLESS:
                faults.append(f"{name}.{column['name']}: no unit")
            if EXACT_NAME.search(column["name"]) and (column["data_type"] or "").lower() == "double":
                faults.append(f"{name}.{column['name']}: a sum in DOUBLE")
    assert faults == []


def test_the_keys_that_publishing_audits_are_the_grain_of_the_marts(manifest):
    """Prevents the audit and the models from disagreeing about what one row is."""
    marts = models(manifest, "marts/")
    disagree = {
        table: (key, grain_of(manifest, table.split(".")[1]))
        for table, key in MART_KEYS.items()
        if table.split(".")[1] in marts and grain_of(manifest, table.split(".")[1]) != set(key)
    }
    assert disagree == {}


def test_sources_and_seeds_name_the_columns_of_the_raw_contracts(manifest):
    """Prevents drift between contracts.py, which makes raw, and the YAML that dbt reads it by."""
    sources = {node["name"]: set(node["columns"]) for node in manifest["sources"].values()}
    system = {column.name for column in SYSTEM_COLUMNS} | {"event_day"}
    for name, table in TABLES.items():
        assert sources[name] == {column.name for column in table.columns} | system, name
    seeds = {
        node["name"]: node["config"]["column_types"] for node in manifest["nodes"].values()
        if node["resource_type"] == "seed"
    }
    assert seeds == {
        table.name: {column.name: duckdb_type(column.dtype).lower() for column in table.columns}
        for table in REFERENCE_TABLES
    }


def test_every_formula_has_a_unit_test(manifest):
    """Prevents a formula from changing its result without a number that a person checked turning red."""
    tested = {node["model"] for node in manifest["unit_tests"].values()}
    formulas = {
        "int_capacity__hourly", "fct_accelerator_hours_daily", "int_job_hours", "int_jobs__attempts",
        "int_link__hourly", "int_token_usage__hourly", "fct_token_usage_hourly", "int_serving_demand__hourly",
        "int_serving_demand__rates", "int_serving_demand__loads", "fct_supply_demand_daily", "int_allocation__hourly",
        "int_fragmentation__hourly", "int_placement__hotspots", "int_telemetry__hourly",
        "stg_ledger__surplus_records", "int_package__weights", "int_package__revenue_daily",
        "fct_package_burndown_daily", "fct_trial_conversion", "int_package__demand", "int_package__accelerators",
        "int_cost__allocated", "int_cost__depreciation", "int_cost__held", "int_cost__holdings", "int_cost__network",
        "int_cost__pools", "int_energy__cost_daily", "int_energy__counters", "int_energy__hourly",
    }
    assert formulas - tested == set()
