"""The cost models' own SQL at national scale and on random pools: nothing lost, nothing negative, no overflow."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration import warehouse
from orchestration.home import DBT_PROJECT

DBT = Path(sys.executable).with_name("dbt")
DAY = date(2026, 11, 16)
LAST_DIGIT = Fraction(1, 10**9)
# The whole nation at one site: 100,000 accelerators, ten thousand million CNY a day.
MOST_HOURS = 100_000 * 24
MOST_MONEY = 10**10
COMPONENTS = ("depreciation", "energy", "operations")
MODELS = ("int_cost__allocated", "int_cost__holdings", "int_cost__held", "int_cost__depreciation")
INPUTS = """
    create schema warehouse.intermediate;
    create schema warehouse.staging;
    create table warehouse.intermediate.int_cost__pools (usage_date date, site_id varchar, accelerator_id varchar,
        installed_accelerator_hours decimal(38, 6), depreciation_cny decimal(38, 9), energy_cny decimal(38, 9),
        network_cny decimal(38, 9), operations_cny decimal(38, 9));
    create table warehouse.intermediate.int_cost__holdings (usage_date date, site_id varchar, accelerator_id varchar,
        tenant_id varchar, model_id varchar, product varchar, held_accelerator_hours decimal(38, 6));
    create table warehouse.intermediate.int_cost__held (usage_date date, site_id varchar, accelerator_id varchar,
        tenant_id varchar, model_id varchar, product varchar, held_accelerator_microseconds decimal(38, 0));
    create table warehouse.intermediate.int_token_usage__hourly (usage_hour timestamp, origin_site_id varchar,
        serving_site_id varchar, tenant_id varchar, model_id varchar, product varchar, input_tokens decimal(38, 0),
        cached_input_tokens decimal(38, 0), output_tokens decimal(38, 0));
    create table warehouse.intermediate.int_capacity__hourly (usage_hour timestamp, group_id varchar, site_id varchar,
        accelerator_id varchar, purpose varchar, installed_accelerator_microseconds decimal(38, 3),
        allocated_busy_accelerator_microseconds decimal(38, 3), allocated_idle_accelerator_microseconds decimal(38, 3));
    create table warehouse.intermediate.int_serving_demand__mix (usage_date date, site_id varchar, model_id varchar,
        accelerator_id varchar, share_ratio double, input_tokens_per_second double, output_tokens_per_second double);
    create table warehouse.intermediate.int_job_hours (usage_hour timestamp, cluster_id varchar, partition varchar,
        site_id varchar, accelerator_id varchar, tenant_id varchar, held_accelerator_microseconds decimal(38, 3));
    create table warehouse.intermediate.int_holders__groups (cluster_id varchar, partition varchar, site_id varchar,
        accelerator_id varchar, group_id varchar);
    create table warehouse.intermediate.int_inventory__pools (pool_id varchar, group_id varchar, site_id varchar,
        accelerator_id varchar, accelerator_count bigint, listed_in varchar, first_date date, last_date date);
    create table warehouse.intermediate.int_inventory__hourly (usage_hour timestamp, group_id varchar,
        installed_accelerator_microseconds decimal(38, 3));
    create table warehouse.intermediate.int_calendar__span (first_date date, last_date date);
    create table warehouse.staging.stg_reference__node_pools (pool_id varchar, commissioned_date date);
    create table warehouse.staging.stg_reference__capital_assets (tranche_id varchar, site_id varchar,
        accelerator_id varchar, capital_cny decimal(18, 2), life_years decimal(6, 3), commissioned_date date,
        valid_from date, valid_to date);
    create table warehouse.staging.stg_reference__accelerator_prices (accelerator_id varchar, price_cny decimal(18, 2),
        system_uplift_ratio decimal(9, 6), life_years decimal(6, 3), valid_from date, valid_to date);
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[str, str]:
    """The SQL of the models as dbt sends it to the warehouse."""
    folder = tmp_path_factory.mktemp("cost")
    environment = {
        **os.environ, "TIDEGAUGE_WAREHOUSE": str(folder / "warehouse.duckdb"), "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_TARGET_PATH": str(folder), "DBT_LOG_PATH": str(folder), "DBT_USE_COLORS": "false",
    }
    finished = subprocess.run(
        [str(DBT), "compile", "--select", *MODELS], cwd=DBT_PROJECT, env=environment,
        capture_output=True, text=True, check=False,
    )
    assert finished.returncode == 0, finished.stdout[-4000:]
    models = folder / "compiled" / "tidegauge" / "models" / "intermediate"
    return {name: (models / f"{name}.sql").read_text() for name in MODELS}


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    """Empty inputs of the models, by the names that dbt gives them."""
    connection = duckdb.connect()
    connection.execute("attach ':memory:' as warehouse")
    connection.execute(INPUTS)
    return connection


def fill(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict]) -> None:
    """Replaces the rows of an input; what a row doesn't name is null."""
    connection.execute(f"delete from warehouse.{table}")
    for row in rows:
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        connection.execute(f"insert into warehouse.{table} ({names}) values ({marks})", list(row.values()))


def found(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict]:
    """Rows of a model as dictionaries."""
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


money = st.integers(0, MOST_MONEY * 10**9).map(lambda units: Decimal(units).scaleb(-9))


@st.composite
def pools_with_holders(draw) -> tuple[dict, list[int], list[int]]:
    """A pool of a day, millionths of an hour that its holders hold, and tokens that others sent it."""
    parts = draw(st.lists(st.integers(1, MOST_HOURS * 10**6 // 6), min_size=0, max_size=5))
    idle = draw(st.one_of(st.just(0), st.integers(1, MOST_HOURS * 10**6 // 6)))
    pool = {
        "installed_accelerator_hours": Decimal(sum(parts) + idle).scaleb(-6),
        **{f"{component}_cny": draw(money) for component in COMPONENTS},
    }
    return pool, parts, draw(st.lists(st.integers(1, 10**15), min_size=0, max_size=5))


@settings(max_examples=30, deadline=None)
@given(case=pools_with_holders(), network_cny=money, is_backwards=st.booleans())
def test_holders_bear_the_whole_pool_each_its_share(compiled, connection, case, network_cny, is_backwards) -> None:
    """A share rounded alone loses the last digits of every pool, and a sum that overflows fails the night."""
    pool, parts, tokens = case
    key = {"usage_date": DAY, "site_id": "s", "accelerator_id": "a"}
    fill(connection, "intermediate.int_cost__pools", [
        {**key, **pool, "network_cny": 0},
        {**key, "accelerator_id": "network", "installed_accelerator_hours": 0, "network_cny": network_cny,
         **{f"{component}_cny": 0 for component in COMPONENTS}},
    ])
    step = -1 if is_backwards else 1
    fill(connection, "intermediate.int_cost__holdings", [
        {**key, "tenant_id": f"t{number}", "model_id": "m", "product": "p",
         "held_accelerator_hours": Decimal(part).scaleb(-6)}
        for number, part in list(enumerate(parts))[::step]
    ])
    fill(connection, "intermediate.int_token_usage__hourly", [
        {"usage_hour": "2026-11-16 03:00:00", "origin_site_id": "o", "serving_site_id": "s", "tenant_id": f"t{number}",
         "model_id": "m", "product": "p", "input_tokens": count}
        for number, count in list(enumerate(tokens))[::step]
    ])
    rows = found(connection, compiled["int_cost__allocated"])
    accelerators = [row for row in rows if row["accelerator_id"] == "a"]
    network = [row for row in rows if row["accelerator_id"] == "network"]
    for component in COMPONENTS:
        column, idle_column = f"{component}_cny", f"idle_{component}_cny"
        assert sum(row[column] + row[idle_column] for row in accelerators) == pool[column]
        assert min(min(row[column], row[idle_column]) for row in accelerators) >= 0
    assert sum(row["network_cny"] for row in network) == sum(row["cost_cny"] for row in network) == network_cny
    for row in accelerators:
        if row["tenant_id"] == "unallocated":
            assert parts == []
            continue
        held = Fraction(row["held_accelerator_hours"])
        for component in COMPONENTS:
            exact = Fraction(pool[f"{component}_cny"]) * held / Fraction(pool["installed_accelerator_hours"])
            assert abs(Fraction(row[f"{component}_cny"]) - exact) <= LAST_DIGIT
    for row in network:
        if tokens:
            exact = Fraction(network_cny) * tokens[int(row["tenant_id"][1:])] / sum(tokens)
            assert abs(Fraction(row["network_cny"]) - exact) <= LAST_DIGIT


@settings(max_examples=25, deadline=None)
@given(
    capital=st.integers(0, MOST_MONEY * 100).map(lambda fen: Decimal(fen).scaleb(-2)),
    life_years=st.integers(1, 8_000).map(lambda thousandths: Decimal(thousandths).scaleb(-3)),
)
def test_the_days_of_a_life_are_the_capital(compiled, connection, capital, life_years) -> None:
    """A rounded daily rate leaves a rest of every tranche that is never depreciated."""
    for table in ("intermediate.int_inventory__pools", "intermediate.int_inventory__hourly"):
        fill(connection, table, [])
    fill(connection, "intermediate.int_calendar__span", [{"first_date": DAY, "last_date": DAY + timedelta(days=4000)}])
    fill(connection, "staging.stg_reference__capital_assets", [{
        "tranche_id": "t", "site_id": "s", "accelerator_id": "a", "capital_cny": capital, "life_years": life_years,
        "commissioned_date": DAY,
    }])
    amounts = [row["depreciation_cny"] for row in found(connection, compiled["int_cost__depreciation"])]
    assert sum(amounts) == capital
    assert len(amounts) == max(1, int(life_years * 365 + Decimal("0.5")))
    assert max(amounts) - min(amounts) <= Decimal(1).scaleb(-9)


def test_a_nation_is_held_to_the_microsecond(compiled, connection) -> None:
    """Microseconds of 100,000 accelerators times a weight of the same size pass 64 bits by far."""
    hour_of_all = MOST_HOURS // 24 * 3_600_000_000
    hours = [f"2026-11-16 {hour:02d}:00:00" for hour in range(16)]
    key = {"site_id": "s", "accelerator_id": "a"}
    fill(connection, "intermediate.int_capacity__hourly", [
        {"usage_hour": hour, "group_id": purpose, **key, "purpose": purpose,
         "installed_accelerator_microseconds": hour_of_all, "allocated_busy_accelerator_microseconds": hour_of_all - 7,
         "allocated_idle_accelerator_microseconds": 7}
        for hour in hours for purpose in ("serving", "training")
    ])
    fill(connection, "intermediate.int_token_usage__hourly", [
        {"usage_hour": hour, "origin_site_id": "s", "serving_site_id": "s", "tenant_id": tenant, "model_id": "m",
         "product": "p", "input_tokens": 10**13, "output_tokens": 10**13 // 3}
        for hour in hours for tenant in ("x", "y", "z")
    ])
    fill(connection, "intermediate.int_serving_demand__mix", [
        {"usage_date": DAY, **key, "model_id": "m", "share_ratio": 1, "input_tokens_per_second": 9000.5,
         "output_tokens_per_second": 1943},
    ])
    fill(connection, "intermediate.int_job_hours", [
        {"usage_hour": hour, "cluster_id": "c", "partition": "q", **key, "tenant_id": tenant,
         "held_accelerator_microseconds": hour_of_all - 1}
        for hour in hours for tenant in ("x", "y", "z")
    ])
    fill(connection, "intermediate.int_holders__groups", [
        {"cluster_id": "c", "partition": "q", **key, "group_id": "training"},
    ])
    held = found(connection, compiled["int_cost__held"])
    assert len(held) == 6
    assert sum(row["held_accelerator_microseconds"] for row in held) == 2 * hour_of_all * len(hours)
    fill(connection, "intermediate.int_cost__held", held)
    holdings = found(connection, compiled["int_cost__holdings"])
    assert sum(row["held_accelerator_hours"] for row in holdings) == 2 * MOST_HOURS // 24 * len(hours)


def test_costs_of_the_simulated_network_are_measured_and_borne(simulated_home) -> None:
    """A network whose energy is all estimated, or whose holders hold nothing, has lost a join."""
    with warehouse.connect(simulated_home, read_only=True) as connection:
        kwh, estimated, unpriced = connection.execute("""
            select sum(energy_kwh), sum(estimated_energy_kwh), sum(unpriced_energy_kwh) from intermediate.int_cost__pools
        """).fetchone()
        held, allocated = connection.execute("""
            select
                (select sum(held_accelerator_hours) from intermediate.int_cost__holdings),
                (select sum(allocated_busy_accelerator_hours + allocated_idle_accelerator_hours)
                 from capacity.fct_accelerator_hours_daily)
        """).fetchone()
    assert estimated < kwh / 10
    assert unpriced == 0
    assert allocated * Decimal("0.9") < held <= allocated + Decimal("0.01")
