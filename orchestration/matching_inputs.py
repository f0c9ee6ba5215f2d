"""What matching and what-if read from the warehouse, and their tables made from it.

SQL that selects, and calls of pure functions: the joins and prices are dbt's (``int_matching__*``), the optimum is
``forecasting``'s. No Dagster.
"""

from __future__ import annotations

from datetime import timedelta

import duckdb

from orchestration import warehouse
from orchestration.forecasting.iso_weeks import monday_of
from orchestration.forecasting.matching_tables import MATCHING_MONEY_TABLES, MATCHING_TABLES
from orchestration.forecasting.matching_week import Inputs, match_week
from orchestration.forecasting.what_if import Outlook, Scenario, standard_scenarios, what_if
from orchestration.home import Home

TABLES = {"capacity": MATCHING_TABLES, "finance": MATCHING_MONEY_TABLES}


def compute(home: Home, iso_week: str | None = None) -> tuple[dict[str, dict], str | None]:
    """schema -> table -> rows of the week given, or of the latest whole one; empty while no week is whole."""
    with warehouse.connect(home, read_only=True) as connection:
        iso_week = iso_week or warehouse.latest_whole_week(connection)
        if iso_week is None:
            return {schema: {table.name: table.frame([]) for table in tables} for schema, tables in TABLES.items()}, None
        known = outlook(connection, iso_week)
    tables = match_week(known.matching, iso_week)
    supposed = what_if(known, standard_scenarios(known.largest_hub))
    return {schema: {**tables[schema], **{t.name: supposed[t.name] for t in declared if t.name in supposed}}
            for schema, declared in TABLES.items()}, iso_week


def suppose(home: Home, scenarios: list[Scenario]) -> dict:
    """table -> rows of what-if for these scenarios, after the latest whole week; empty without one."""
    with warehouse.connect(home, read_only=True) as connection:
        iso_week = warehouse.latest_whole_week(connection)
        if iso_week is None:
            return {}
        known = outlook(connection, iso_week)
    return what_if(known, scenarios)


def outlook(connection: duckdb.DuckDBPyConnection, iso_week: str) -> Outlook:
    """What the marts and the forecast know after the week."""
    last = monday_of(iso_week) + timedelta(days=6)
    of_cutoff, of_week = {"cutoff": last}, {"iso_week": iso_week}
    read = {
        "demand_forecast": ("select * from capacity.fct_demand_forecast where cutoff_date = $cutoff", of_cutoff),
        "busy_hour_demand": ("select * from capacity.fct_busy_hour_demand_weekly where cutoff_date = $cutoff", of_cutoff),
        "supply_plan": ("select * from capacity.fct_supply_plan_weekly where cutoff_date = $cutoff", of_cutoff),
        "capacity_need": ("select * from capacity.fct_capacity_need where cutoff_week = $iso_week", of_week),
        "pool_demand": ("select * from capacity.fct_supply_demand_weekly where iso_week = $iso_week", of_week),
        "deliveries": (
            """
            select site_id, accelerator_id, accelerator_count, planned_date from staging.stg_reference__planned_deliveries
            where commitment = 'committed' and purpose <> 'training' and coalesce(valid_from, date '0001-01-01') <= $cutoff
                and $cutoff < coalesce(valid_to, date '9999-12-31')
            order by all
            """, of_cutoff,
        ),
    }
    return Outlook(cutoff_week=iso_week, matching=inputs(connection, iso_week),
                   **{name: connection.execute(query, values).pl() for name, (query, values) in read.items()})


def inputs(connection: duckdb.DuckDBPyConnection, iso_week: str) -> Inputs:
    """What the marts know of the week's hours."""
    week = {"first": monday_of(iso_week), "last": monday_of(iso_week) + timedelta(days=6)}
    name = {"iso_week": iso_week}
    read = {
        "placement": ("select * from intermediate.int_matching__placement where usage_date between $first and $last", week),
        "supply": ("select * from intermediate.int_matching__supply where usage_date between $first and $last", week),
        "rates": (
            """
            select model_id, accelerator_id, input_tokens_per_second, output_tokens_per_second
            from intermediate.int_serving_demand__rates
            where is_measured_for_class and usage_date between $first and $last
            qualify row_number() over (partition by model_id, accelerator_id order by usage_date desc) = 1
            """, week,
        ),
        "models": ("select model_id, latency_class_ms from capacity.dim_model", {}),
        "links": ("select link_id, a_site_id, b_site_id, route_km, capacity_gbps from capacity.dim_link where is_registered", {}),
        "link_hours": (
            """
            select usage_hour, link_id, direction, mean_throughput_gbps, capacity_gbps
            from capacity.fct_link_utilization_hourly where usage_date between $first and $last
            """, week,
        ),
        "token_values": ("select * from intermediate.int_matching__token_values where iso_week = $iso_week", name),
        "link_costs": ("select * from intermediate.int_matching__link_costs", {}),
        "accelerator_costs": ("select * from intermediate.int_matching__accelerator_costs where iso_week = $iso_week", name),
    }
    return Inputs(**{each: connection.execute(query, values).pl() for each, (query, values) in read.items()})
