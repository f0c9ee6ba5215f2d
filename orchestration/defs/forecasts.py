"""Forecast: demand quantiles and capacity need, computed in Python from the marts."""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta

import dagster as dg
import duckdb
import polars as pl

from orchestration import forecast_history, warehouse
from orchestration.defs.resources import HomeFolder
from orchestration.finance.payback import CAPITAL_PAYBACK, growth_paths, payback
from orchestration.forecasting.forecast import forecast_all
from orchestration.forecasting.iso_weeks import monday_of
from orchestration.forecasting.moves import Moves, moves_of
from orchestration.forecasting.past_forecasts import losing_levels_in_use
from orchestration.forecasting.pretrained import members_from
from orchestration.forecasting.tables import ASKED_MEASURES, DEMAND_FORECAST, TABLES
from orchestration.forecasting.token_forecast import AskedDemand, as_accuracy_level
from orchestration.home import Home

INPUTS = (
    ["capacity", "fct_supply_demand_daily"], ["capacity", "fct_supply_demand_weekly"],
    ["staging", "stg_reference__planned_deliveries"], ["capacity", "dim_link"], ["capacity", "dim_site"],
    ["staging", "stg_reference__holidays"], ["intermediate", "int_inventory__pools"],
    ["capacity", "fct_demand_daily"], ["capacity", "dim_tenant"], ["capacity", "fct_usage_dropouts"],
    ["intermediate", "int_package__demand"], ["intermediate", "int_package__accelerators"],
    ["intermediate", "int_serving_demand__flows"], ["intermediate", "int_serving_demand__loads"],
    ["capacity", "dim_model"], ["capacity", "fct_link_utilization_hourly"],
)
YARDSTICK_CHECK = "not_worse_than_seasonal_naive"


def specs() -> list[dg.AssetSpec]:
    """One asset a table. A function, because a list of specs in a module would be loaded as assets too."""
    payback_spec = dg.AssetSpec(
        key=["finance", CAPITAL_PAYBACK.name], deps=[["finance", "fct_tranche_cash"]], group_name="forecast",
        kinds={"python", "duckdb"}, description=CAPITAL_PAYBACK.description,
    )
    return [payback_spec, *(
        dg.AssetSpec(
            key=["capacity", table.name], deps=list(INPUTS), group_name="forecast", kinds={"python", "duckdb"},
            description=table.description,
        )
        for table in TABLES
    )]


@dg.multi_asset(
    name="forecast", specs=specs(), pool="warehouse_writer",
    check_specs=[dg.AssetCheckSpec(
        YARDSTICK_CHECK, asset=["capacity", DEMAND_FORECAST.name], blocking=True,
        description="At no level does the model in use lose to seasonal naive, in the backtest or in what was forecast before.",
    )],
)
def forecast(home_folder: HomeFolder) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Forecasts demand after the latest whole week and writes every table of the forecast at once."""
    home = home_folder.home
    frames, cutoff_week = compute(home)
    row_counts = warehouse.write_tables(home, "capacity", frames)
    row_counts |= warehouse.write_tables(home, "finance", payback_of(home, frames))
    yield dg.MaterializeResult(
        asset_key=["finance", CAPITAL_PAYBACK.name], metadata={"dagster/row_count": row_counts[CAPITAL_PAYBACK.name]}
    )
    for table in TABLES:
        yield dg.MaterializeResult(
            asset_key=["capacity", table.name],
            metadata={"dagster/row_count": row_counts[table.name], "cutoff_week": cutoff_week or "none"}
            | ({"members": ", ".join(members_from(os.environ))} if table is DEMAND_FORECAST else {}),
        )
    yield yardstick_check(frames)


def yardstick_check(frames: Mapping[str, pl.DataFrame]) -> dg.AssetCheckResult:
    """Whether a model in use loses to seasonal naive at a level; failing, it blocks what comes after the forecast."""
    in_use = pl.concat([
        frames[DEMAND_FORECAST.name].filter("is_in_use").select("level", "model"),
        *(as_accuracy_level(measure, frames[table.name].filter("is_in_use")).select("level", "model")
          for measure, (table, _) in ASKED_MEASURES.items()),
    ]).unique().sort("level")
    losing = losing_levels_in_use(in_use, frames["fct_forecast_accuracy"])
    return dg.AssetCheckResult(
        asset_key=["capacity", DEMAND_FORECAST.name], check_name=YARDSTICK_CHECK, passed=not losing,
        description="; ".join(f"{level}: {loss:.3f} of seasonal naive's loss" for level, loss in losing.items()) or None,
        metadata={"model_in_use": ", ".join(f"{level}: {model}" for level, model in in_use.iter_rows()) or "none"},
    )


def compute(home: Home, cutoff_week: str | None = None) -> tuple[dict, str | None]:
    """The forecast's tables from the marts as they are, after the week given or the latest whole one.

    Empty tables while no week is whole. The marts' later weeks are not looked at, so a past week is
    forecast again with what happened until then, restated figures included; but without grants, since what was
    unspent then is not kept, and without tokens, which no report of a past week shows.
    """
    members = members_from(os.environ)
    with warehouse.connect(home, read_only=True) as connection:
        latest = warehouse.latest_whole_week(connection)
        cutoff_week = cutoff_week or latest
        if cutoff_week is None:
            return {table.name: table.frame([]) for table in TABLES}, None
        planned_deliveries = connection.execute(
            """
            select * from staging.stg_reference__planned_deliveries
            where coalesce(valid_from, date '0001-01-01') <= $known and $known < coalesce(valid_to, date '9999-12-31')
            """,
            {"known": monday_of(cutoff_week) + timedelta(days=6)},
        ).pl()
        is_latest = cutoff_week == latest
        frames = forecast_all(
            supply_demand_daily=connection.execute("select * from capacity.fct_supply_demand_daily").pl(),
            supply_demand_weekly=connection.execute("select * from capacity.fct_supply_demand_weekly").pl(),
            planned_deliveries=planned_deliveries,
            links=connection.execute("select * from capacity.dim_link").pl(),
            sites=connection.execute("select * from capacity.dim_site").pl(),
            cutoff_week=cutoff_week,
            holidays=connection.execute("select holiday_date, day_type from staging.stg_reference__holidays").pl(),
            node_sizes=connection.execute(
                "select site_id, accelerator_id, max(accelerators_per_node) as largest_node from intermediate.int_inventory__pools"
                " where accelerators_per_node > 0 group by all order by all"
            ).pl(),
            kept=forecast_history.every_told(home, DEMAND_FORECAST),
            moves=_moves(connection, cutoff_week),
            demand=_asked_demand(connection, home) if is_latest else None,
            granted=connection.execute(
                "select iso_week, site_id, accelerator_id, sum(additional_accelerator_hours) as additional_accelerator_hours"
                " from intermediate.int_package__accelerators group by all order by all"
            ).pl() if is_latest else None,
            served=connection.execute(
                "select * from intermediate.int_serving_demand__loads where usage_date between $first and $last order by all",
                {"first": monday_of(cutoff_week), "last": monday_of(cutoff_week) + timedelta(days=6)},
            ).pl(),
            members=members,
        ).by_table_name()
    return frames, cutoff_week


def _asked_demand(connection: duckdb.DuckDBPyConnection, home: Home) -> AskedDemand:
    """What was asked for by whom, what grants will ask for, and what was forecast of it before."""
    return AskedDemand(
        daily=connection.execute(
            """
            select
                usage_date, origin_site_id, coalesce(segment, 'unknown') as segment, model_id, tenant_id,
                cast(sum(unconstrained_input_tokens) as double) as input_tokens,
                cast(sum(unconstrained_output_tokens) as double) as output_tokens,
                cast(sum(serving_demand_accelerator_hours) as double) as accelerator_hours
            from capacity.fct_demand_daily left join capacity.dim_tenant using (tenant_id)
            group by all order by all
            """
        ).pl(),
        silent_hours=connection.execute(
            "select usage_date, site_id, count(*) as silent_hour_count from capacity.fct_usage_dropouts"
            " where site_role = 'origin' group by all order by all"
        ).pl(),
        kept={table.name: forecast_history.every_told(home, table) for table, _ in ASKED_MEASURES.values()},
        granted=connection.execute(
            """
            with work as (
                select iso_week, tenant_id, origin_site_id, model_id, sum(additional_accelerator_hours) as accelerator_hours
                from intermediate.int_package__accelerators group by all
            )
            select
                iso_week, origin_site_id, coalesce(segment, 'unknown') as segment, model_id, tenant_id,
                cast(sum(additional_input_tokens) as double) as input_tokens,
                cast(sum(additional_output_tokens) as double) as output_tokens,
                cast(sum(coalesce(accelerator_hours, 0)) as double) as accelerator_hours
            from intermediate.int_package__demand
            left join work using (iso_week, tenant_id, origin_site_id, model_id)
            left join capacity.dim_tenant using (tenant_id)
            where additional_tokens > 0
            group by all order by all
            """
        ).pl(),
    )


def _moves(connection: duckdb.DuckDBPyConnection, cutoff_week: str) -> Moves:
    """What the cutoff week showed of moves over links."""
    week = {"first": monday_of(cutoff_week), "last": monday_of(cutoff_week) + timedelta(days=6)}

    def read(query: str, values: dict | None = None) -> pl.DataFrame:
        return connection.execute(query, values or {}).pl()

    return moves_of(
        load=read(
            """
            select origin_site_id, serving_site_id, model_id, accelerator_id,
                cast(sum(served_accelerator_hours) as double) as served_accelerator_hours, cast(sum(gigabits) as double) as gigabits
            from intermediate.int_serving_demand__flows where usage_date between $first and $last
            group by all order by all
            """, week),
        pool_hours=read(
            """
            select site_id, accelerator_id, cast(
                sum(serving_demand_accelerator_hours + training_demand_accelerator_hours) as double) as demand_accelerator_hours
            from capacity.fct_supply_demand_daily where usage_date between $first and $last
            group by all order by all
            """, week),
        models=read("select model_id, latency_class_ms from capacity.dim_model"),
        links=read("select link_id, a_site_id, b_site_id, route_km from capacity.dim_link where is_registered"),
        link_hours=read(
            "select link_id, direction, mean_throughput_gbps, capacity_gbps from capacity.fct_link_utilization_hourly"
            " where usage_date between $first and $last", week),
    )


def payback_of(home: Home, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """When each tranche's capital comes back, if demand follows the forecast of these frames."""
    with warehouse.connect(home, read_only=True) as connection:
        cash = connection.execute("select * from finance.fct_tranche_cash").pl()
        last_date = connection.execute("select last_date from intermediate.int_calendar__span").fetchone()[0]
    paths = growth_paths(
        frames["fct_demand_forecast"], frames["fct_busy_hour_demand_weekly"], frames["fct_supply_plan_weekly"],
        frames["fct_capacity_need"],
    )
    return {CAPITAL_PAYBACK.name: payback(cash, last_date, paths)}
