"""The pipeline as Dagster sees it, to the letter: a file that stops being loaded shows up here."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from orchestration import dbt_runs, definitions, warehouse
from orchestration.contracts import FEEDS
from orchestration.defs.schedules import REPORT_KEY, weekly_report
from orchestration.home import Home
from orchestration.partitions import ISO_WEEKS, partition_of_week, week_of_partition

EXPECTED = {
    "landing": ({"file"}, "landing", "token_usage job_logs telemetry reference"),
    "raw": ({"python", "parquet"}, "raw", "token_usage job_logs telemetry reference"),
    "ledger": ({"duckdb"}, "raw", "receipts"),
    "seeds": (
        {"dbt", "duckdb"}, "seeds",
        ("accelerators holidays links models node_pools planned_deliveries sites tenants throughput "
        "price_book rental_prices discounts tax_rates packages package_weights subscriptions "
        "power_tariffs site_power operations_costs link_costs capital_assets accelerator_prices competitor_prices exchange_rates performance_targets"),
    ),
    "staging": (
        {"dbt", "duckdb"}, "staging",
        ("stg_job_logs__sightings stg_ledger__quarantine stg_ledger__receipts stg_ledger__surplus_records "
        "stg_reference__accelerators stg_reference__holidays stg_reference__links stg_reference__models "
        "stg_reference__node_pools stg_reference__planned_deliveries stg_reference__sites "
        "stg_reference__tenants stg_reference__throughput stg_telemetry__link_samples "
        "stg_telemetry__pool_samples stg_telemetry__samples stg_token_usage__events "
        "stg_token_usage__token_lengths "
        "stg_reference__price_book stg_reference__rental_prices stg_reference__discounts "
        "stg_reference__tax_rates stg_reference__packages stg_reference__package_weights "
        "stg_reference__subscriptions stg_reference__power_tariffs stg_reference__site_power "
        "stg_reference__operations_costs stg_reference__link_costs stg_reference__capital_assets "
        "stg_reference__accelerator_prices stg_reference__competitor_prices stg_reference__exchange_rates stg_reference__performance_targets"),
    ),
    "intermediate": (
        {"dbt", "duckdb"}, "intermediate",
        ("int_allocation__hourly int_calendar__span int_capacity__hourly int_deliveries__surplus "
        "int_demand__throttled int_serving_demand__requests int_serving_demand__seconds "
        "int_usage__dropouts int_serving_demand__flows int_serving_demand__loads "
        "int_fragmentation__hourly int_holders__groups int_inventory__hourly int_inventory__pools "
        "int_job_hours int_job_node_hours int_jobs__attempts int_link__hourly int_placement__hotspots "
        "int_pool_telemetry__hourly int_raw__daily int_raw__reference int_serving_demand__hourly "
        "int_serving_demand__mix int_serving_demand__rates int_supply_demand__hourly "
        "int_telemetry__hourly int_token_usage__hourly int_token_usage__near_duplicates "
        "int_discount__effective int_usage__settled int_rental__priced int_price__effective int_package__accelerators int_package__burn int_package__demand int_package__entries int_package__grants "
        "int_package__holdings int_package__revenue_daily int_package__usage int_package__weights "
        "int_usage__metered "
        "int_cost__allocated int_cost__depreciation int_cost__held int_cost__holdings int_cost__network "
        "int_cost__pools int_energy__cost_daily int_energy__counters int_energy__hourly "
        "int_matching__accelerator_costs int_matching__link_costs int_matching__placement int_matching__supply "
        "int_matching__token_values"),
    ),
    "capacity marts": (
        {"dbt", "duckdb"}, "capacity",
        ("dim_accelerator dim_date dim_link dim_model dim_site dim_tenant fct_accelerator_hours_daily "
        "fct_demand_daily fct_demand_hourly fct_jobs fct_link_utilization_hourly fct_package_demand fct_supply_demand_daily "
        "fct_supply_demand_weekly fct_token_usage_hourly fct_training_demand_daily fct_usage_dropouts"),
    ),
    "finance marts": (
        {"dbt", "duckdb"}, "finance",
        ("dim_margin_target fct_margin_daily fct_money_reconciliation fct_package_burndown_daily fct_price_position fct_tranche_cash "
        "fct_trial_conversion fct_unit_economics_weekly focus_cost_and_usage"),
    ),
    "quality marts": (
        {"dbt", "duckdb"}, "quality",
        ("fct_deliveries fct_freshness fct_near_duplicates fct_quarantine_summary fct_reconciliation "
        "fct_unknown_members"),
    ),
    "forecast": (
        {"python", "duckdb"}, "capacity",
        ("fct_binding_constraint_weekly fct_busy_hour_demand_weekly fct_capacity_need fct_demand_forecast "
        "fct_forecast_accuracy fct_matching_plan fct_serving_demand_forecast fct_serving_demand_weekly fct_serving_staffing fct_supply_plan_weekly fct_token_demand_weekly fct_token_forecast fct_unserved_demand_weekly fct_what_if"),
    ),
    "payback": ({"python", "duckdb"}, "finance", "fct_capital_payback fct_scheduling_saving fct_shadow_price fct_what_if_margin"),
    "publish": ({"duckdb"}, "published", "capacity finance"),
    "reports": ({"plotly", "html"}, "reports", "weekly_capacity"),
    "margin page": ({"plotly", "html"}, "reports", "margin_dashboard"),
}
GROUPS = {"ledger": "raw", "payback": "forecast", "margin page": "publish", "capacity marts": "marts", "finance marts": "marts", "quality marts": "marts"}


def expected_assets() -> dict[str, tuple[str, set[str]]]:
    """Group and kinds of every asset, by key."""
    return {
        f"{prefix}/{name}": (GROUPS.get(row, row), kinds)
        for row, (kinds, prefix, names) in EXPECTED.items() for name in names.split()
    }


@pytest.fixture(scope="module")
def graph() -> dg.AssetGraph:
    """The asset graph of the code location."""
    return definitions.loaded().resolve_asset_graph()


def test_the_assets_are_exactly_these_in_these_groups_and_of_these_kinds(graph) -> None:
    """A definitions function in a file under defs/ makes Dagster drop its other assets in silence."""
    found = {
        key.to_user_string(): (graph.get(key).group_name, set(graph.get(key).kinds))
        for key in graph.get_all_asset_keys()
    }
    assert found == expected_assets()


def test_every_asset_says_what_it_is(graph) -> None:
    """An asset without a description is a name that only its author understands."""
    silent = [
        key.to_user_string() for key in graph.get_all_asset_keys()
        if not (graph.get(key).description or "").strip()
        or "Raw SQL" in (graph.get(key).description or "").split("\n")[0]
    ]
    assert silent == []


def test_every_asset_has_an_owner_and_every_table_its_columns_with_units(graph) -> None:
    """Whoever sees an asset fail must see whose it is; a figure without a unit is read as another."""
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if node.is_materializable and node.group_name != "reports":
            assert node.owners or node.group_name == "forecast", key
    schema = graph.get(dg.AssetKey(["capacity", "fct_supply_demand_daily"])).metadata["dagster/column_schema"]
    described = {column.name: column.description for column in schema.columns}
    assert "Unit: accelerator hours." in described["usable_accelerator_hours"]
    assert "| input\\_tokens |" in graph.get(dg.AssetKey(["raw", "token_usage"])).metadata["columns"].value


def test_raw_is_partitioned_by_delivery_day_and_backfilled_in_one_run(graph) -> None:
    """A backfill of a year in a run a day would start the pipeline 365 times."""
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if key == REPORT_KEY:
            assert node.partitions_def == ISO_WEEKS
            continue
        assert node.is_partitioned == (key.path[0] == "raw" and key.path[1] in FEEDS), key
        if node.is_partitioned:
            assert node.backfill_policy == dg.BackfillPolicy.single_run()
            assert node.pools == {"warehouse_writer"}


def test_feeds_that_deliver_daily_are_called_late_when_silent(graph) -> None:
    """A feed that stops is seen by nobody unless its asset has a freshness policy."""
    late = {feed for feed in FEEDS if graph.get(dg.AssetKey(["raw", feed])).freshness_policy is not None}
    assert late == set(FEEDS) - {"reference"}
    for edition in ("capacity", "finance"):
        assert graph.get(dg.AssetKey(["published", edition])).freshness_policy is not None


def test_checks_at_raw_and_at_publish_block_and_profiles_do_not(graph) -> None:
    """A broken delivery or a failed audit that does not block reaches readers."""
    blocking = {
        key.to_user_string(): graph.get_check_spec(key).blocking for key in graph.asset_check_keys
        if key.asset_key.path[0] in ("raw", "published")
    }
    assert blocking == {
        **{f"raw/{feed}:contract_expectations": True for feed in FEEDS},
        **{f"raw/{feed}:delivery_profile": False for feed in FEEDS},
        "published/capacity:audit": True, "published/finance:audit": True,
    }


def test_every_dbt_test_is_a_check_of_a_model(graph) -> None:
    """A dbt test that is no check fails a run without saying which asset it is about."""
    manifest = dbt_runs.read_manifest(dbt_runs.prepared_manifest(Home.from_environment()))
    tests = {node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "test"}
    assert tests <= {key.name for key in graph.asset_check_keys}
    assert len(tests) > 50


def test_the_pipeline_runs_nightly_and_its_report_on_mondays() -> None:
    """Two cadences of one pipeline on two clocks would race for the warehouse; the report only reads."""
    loaded = definitions.loaded()
    assert sorted(job.name for job in loaded.jobs) == ["tidegauge_pipeline", "weekly_capacity_report"]
    schedules = {schedule.name: (schedule.cron_schedule, schedule.execution_timezone) for schedule in loaded.schedules}
    assert schedules == {
        "nightly": ("30 2 * * *", "Asia/Shanghai"), "weekly_report": ("0 6 * * 1", "Asia/Shanghai"),
    }


def test_the_jobs_run_everything_that_can_be_written(graph) -> None:
    """An asset outside every job is never refreshed by a schedule."""
    written = {
        key for name in ("tidegauge_pipeline", "weekly_capacity_report")
        for key in definitions.loaded().resolve_job_def(name).asset_layer.selected_asset_keys
    }
    assert written >= graph.materializable_asset_keys


def test_a_partition_of_the_report_is_the_week_it_is_named_for() -> None:
    """A report filed under the week before or after would be believed."""
    window = ISO_WEEKS.time_window_for_partition_key(partition_of_week("2020-W53"))
    assert (window.start.date(), window.end.date()) == (date(2020, 12, 28), date(2021, 1, 4))
    assert str(window.start.tzinfo) == "Asia/Shanghai"
    assert week_of_partition("2020-W53-1") == "2020-W53"


def test_the_monday_schedule_asks_for_the_week_that_just_ended() -> None:
    """At six in Shanghai it is still Sunday in UTC: a week counted there is the wrong one."""
    with dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 22, 22, 0, tzinfo=UTC)) as context:
        assert weekly_report(context).partition_key == "2026-W47-1"


def test_reference_that_moves_events_makes_their_days_dirty() -> None:
    """An incremental model that reads a reference table keeps old placements when only that changes."""
    manifest = json.loads(dbt_runs.prepared_manifest(Home.from_environment()).read_text("utf-8"))
    nodes = {**manifest["nodes"], **manifest["sources"]}

    def upstream(unique_id: str) -> set[str]:
        parents = set(nodes[unique_id].get("depends_on", {}).get("nodes", []))
        return parents.union(*(upstream(parent) for parent in parents)) if parents else set()

    for unique_id, node in nodes.items():
        if node["resource_type"] != "model" or node["config"]["materialized"] != "incremental":
            continue
        references = {
            nodes[parent]["name"].removeprefix("stg_reference__") for parent in upstream(unique_id)
            if nodes[parent]["name"].startswith("stg_reference__")
        }
        for reference in references:
            dirty = set(node["config"]["meta"]["dirty_tables"])
            assert dirty & set(warehouse.MOVED_BY_REFERENCE.get(reference, ())), (node["name"], reference)
