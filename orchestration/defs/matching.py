"""Matching: where the last whole week's demand would best have been served, what holds it back, and what if."""

from collections.abc import Iterator

import dagster as dg

from orchestration import matching_inputs, warehouse
from orchestration.defs.resources import OWNERS, HomeFolder

VIEWS = ("placement", "supply", "token_values", "link_costs", "accelerator_costs")
INPUTS = (
    *(["intermediate", f"int_matching__{view}"] for view in VIEWS), ["intermediate", "int_serving_demand__rates"],
    ["capacity", "dim_model"], ["capacity", "dim_link"], ["capacity", "fct_link_utilization_hourly"],
    # Of the forecast, so the step of both has succeeded when this has.
    ["capacity", "fct_capacity_need"], ["capacity", "fct_demand_forecast"], ["capacity", "fct_busy_hour_demand_weekly"],
    ["capacity", "fct_supply_plan_weekly"], ["capacity", "fct_supply_demand_weekly"],
    ["staging", "stg_reference__planned_deliveries"],
)


def specs() -> list[dg.AssetSpec]:
    """One asset a table. A function, because a list of specs in a module would be loaded as assets too."""
    return [
        dg.AssetSpec(
            key=[schema, table.name], deps=list(INPUTS), group_name="forecast", kinds={"python", "duckdb"},
            description=table.description, owners=OWNERS["forecast" if schema == "capacity" else schema],
        )
        for schema, tables in matching_inputs.TABLES.items() for table in tables
    ]


@dg.multi_asset(name="matching", specs=specs(), pool="warehouse_writer")
def matching(home_folder: HomeFolder) -> Iterator[dg.MaterializeResult]:
    """Matches supply and demand of the latest whole week and writes the plan and what it is worth."""
    home = home_folder.home
    frames, iso_week = matching_inputs.compute(home)
    row_counts = {schema: warehouse.write_tables(home, schema, tables) for schema, tables in frames.items()}
    warehouse.mark_forecast(home)
    for schema, counts in row_counts.items():
        for name, count in counts.items():
            yield dg.MaterializeResult(
                asset_key=[schema, name], metadata={"dagster/row_count": count, "iso_week": iso_week or "none"}
            )
