"""Scheduling waste planted in landing files, and found again by matching: files, raw, models, optimum."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from orchestration import dbt_runs, matching_inputs, warehouse
from orchestration.forecasting.matching_week import Inputs, match_week
from orchestration.home import Home
from orchestration.sources.simulate import simulate
from tests.integration.deliveries import deliver_reference, deliver_usage, load

MONDAY = date(2026, 11, 16)
WEEK = "2026-W47"
# What matching reads; with all that comes before it is two thirds of the models, without the forecast and the tests.
MODELS = ("int_matching__placement", "int_matching__supply", "int_matching__token_values", "int_matching__link_costs",
          "int_matching__accelerator_costs", "int_serving_demand__rates", "dim_model", "dim_link", "fct_link_utilization_hourly")
HOURS = ("02", "06", "10")
RECORDS_AN_HOUR = 10
EVENTS_A_DAY = 10_000
"""Of the simulated week: matching prices a token by its origin's mean request, known to a percent from this many."""
MILLION = 1_000_000
REFERENCE = {
    "node_pools": "pool_id,cluster_id,site_id,accelerator_id,purpose,node_count,accelerators_per_node,commissioned_date\n"
                  "home,c1,cn-bj,nvidia-h20,serving,2,8,2026-01-01\nwest,c2,jjj-zjk,nvidia-h20,serving,4,8,2026-01-01\n",
    # A million in and half a million out: 1,000 seconds each.
    "throughput": "model_id,model_class,accelerator_id,input_length,output_length,objective,input_tokens_per_second,"
                  "output_tokens_per_second\nkimi-k3,reasoning,nvidia-h20,10000,5000,TPOT <= 50 ms,1000,500\n",
    "power_tariffs": "site_id,time_band,hour_from,hour_to,tariff_cny_per_kwh,currency\n"
                     "cn-bj,all,0,24,1.00,CNY\njjj-zjk,all,0,24,0.25,CNY\n*,all,0,24,1.00,CNY\n",
    "site_power": "site_id,pue_ratio\n*,1.0\n",
    "link_costs": "link_id,link_class,annual_cost_cny_per_wavelength,currency\n*,*,600000,CNY\n",
}
# Of the built-in reference: 400 W, of which a quarter when idle; 120.7 km of one link, 2.2 ms there and back within 20.
KILOWATTS_OF_WORK = 0.4 * 0.75


def records(day: date, wasted: int) -> list[dict]:
    """A day asked for in Beijing and served in the west, where power is cheap, but for so many records an hour."""
    return [
        {"event_id": f"{day}-{hour}-{number}", "occurred_at": f"{day}T{hour}:{number:02d}:00Z", "origin_site_id": "cn-bj",
         "serving_site_id": "cn-bj" if number < wasted else "jjj-zjk", "tenant_id": "t", "model_id": "kimi-k3", "status": "ok",
         "request_count": 100, "input_tokens": MILLION, "output_tokens": MILLION // 2}
        for hour in HOURS for number in range(RECORDS_AN_HOUR)
    ]


def planted_cny(wasted: int) -> float:
    """2,000 seconds of work a record at three quarters of a yuan dearer power, less the transport that the west would have cost."""
    count = 7 * len(HOURS) * wasted
    power = count * 2000 / 3600 * KILOWATTS_OF_WORK * (1.00 - 0.25)
    transport = count * 1.5 * 16 * 600_000 / (400 * 365 * 86400)
    return power - transport


def build_for_matching(home: Home) -> None:
    """Loads what waits in landing and builds the models that matching reads."""
    load(home)
    with warehouse.writer_lock(home):
        warehouse.prepare(home)
        built = subprocess.run(
            [str(dbt_runs.EXECUTABLE), "build", "--exclude-resource-types", "test", "unit_test", "--select",
             *(f"+{model}" for model in MODELS)], cwd=dbt_runs.DBT_PROJECT, env=dbt_runs.environment(home, dbt_runs.target_folder(home)),
            capture_output=True, text=True, check=False)
    assert built.returncode == 0, dbt_runs.messages_of(built.stdout)


def test_waste_in_landing_files_is_recovered_to_within_one_percent(home: Home) -> None:
    """Matching that is right on arrays and wrong on what the models make of files saves nobody anything.

    It was: a feed that records no cached input had no tokens at all in int_matching__placement.
    """
    for table, text in REFERENCE.items():
        deliver_reference(home, MONDAY, f"{table}.csv", text, table)
    for step in range(7):
        day = MONDAY + timedelta(days=step)
        deliver_usage(home, day, f"usage-{day}.jsonl", records(day, wasted=2))
    build_for_matching(home)
    with warehouse.connect(home, read_only=True) as connection:
        found = match_week(matching_inputs.inputs(connection, WEEK), WEEK)["finance"]["fct_scheduling_saving"]
    assert float(found["saving_cny"].sum()) == pytest.approx(planted_cny(2), rel=0.01)
    assert found["best_tokens"].sum() == found["actual_tokens"].sum() == 7 * len(HOURS) * RECORDS_AN_HOUR * MILLION * 3 // 2


def routed_right(inputs: Inputs, misroutes: list[dict], mix: pl.DataFrame) -> Inputs:
    """The week as it would have been without the misroutes: their flows at the site that should have served them."""
    flow = ["usage_hour", "usage_date", "origin_site_id", "serving_site_id", "model_id"]
    served = inputs.placement.unique(flow)
    for misroute in misroutes:
        is_moved = (pl.col("origin_site_id") == misroute["origin_site_id"]) & (pl.col("serving_site_id") == misroute["serving_site_id"])
        served = served.with_columns(
            pl.when(is_moved).then(pl.lit(misroute["routed_site_id"])).otherwise("serving_site_id").alias("serving_site_id"))
    tokens = [name for name in served.columns if name.endswith("tokens")]
    right = served.group_by(flow).agg(pl.col(tokens).sum()).join(
        mix, left_on=["usage_date", "serving_site_id", "model_id"], right_on=["usage_date", "site_id", "model_id"])
    return replace(inputs, placement=right.sort(*flow, "accelerator_id"))


def test_matching_recovers_the_waste_that_the_simulator_planted(home: Home) -> None:
    """A saving that is not there moves load for nothing, one that is missed stays waste: what matching says of a simulated
    week falls by what its misrouting gateways cost, to one percent, once their flows are put right.
    """
    waste = simulate(home, days=7, events_per_day=EVENTS_A_DAY).content["scheduling_waste"]
    assert waste["iso_week"] == WEEK
    build_for_matching(home)
    with warehouse.connect(home, read_only=True) as connection:
        inputs = matching_inputs.inputs(connection, WEEK)
        mix = connection.execute(
            "select usage_date, site_id, model_id, accelerator_id, share_ratio from intermediate.int_serving_demand__mix").pl()
    as_it_was, put_right = (match_week(each, WEEK) for each in (inputs, routed_right(inputs, waste["misroutes"], mix)))

    def saving(tables: dict) -> float:
        return float(tables["finance"]["fct_scheduling_saving"]["saving_cny"].sum())

    asked = [tables["finance"]["fct_scheduling_saving"]["asked_tokens"].sum() for tables in (as_it_was, put_right)]
    assert asked[0] == asked[1]  # to put flows right loses none of them
    planted = sum(float(misroute["wasted_cny"]) for misroute in waste["misroutes"])
    print(f"planted {planted:.2f}, recovered {saving(as_it_was) - saving(put_right):.2f} CNY")
    assert planted > 100
    assert saving(as_it_was) - saving(put_right) == pytest.approx(planted, rel=0.01)
    plan = as_it_was["capacity"]["fct_matching_plan"]
    for misroute in waste["misroutes"]:
        moved = plan.filter(
            (pl.col("origin_site_id") == misroute["origin_site_id"]) & (pl.col("serving_site_id") == misroute["serving_site_id"]))
        assert moved["actual_tokens"].sum() == sum(
            misroute[name] for name in ("input_tokens", "cached_input_tokens", "output_tokens"))
        assert 100 * moved["tokens"].sum() <= moved["actual_tokens"].sum()
