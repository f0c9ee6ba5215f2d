"""Scheduling waste planted in landing files, and found again by matching: files, raw, models, optimum."""

from __future__ import annotations

import subprocess
from datetime import date, timedelta

import pytest

from orchestration import dbt_runs, matching_inputs, warehouse
from orchestration.forecasting.matching_week import match_week
from orchestration.home import Home
from tests.integration.deliveries import deliver_reference, deliver_usage, load

MONDAY = date(2026, 11, 16)
WEEK = "2026-W47"
# What matching reads; with all that comes before it is two thirds of the models, without the forecast and the tests.
MODELS = ("int_matching__placement", "int_matching__supply", "int_matching__token_values", "int_matching__link_costs",
          "int_matching__accelerator_costs", "int_serving_demand__rates", "dim_model", "dim_link", "fct_link_utilization_hourly")
HOURS = ("02", "06", "10")
RECORDS_AN_HOUR = 10
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


def test_waste_in_landing_files_is_recovered_to_within_one_percent(home: Home) -> None:
    """Matching that is right on arrays and wrong on what the models make of files saves nobody anything.

    It was: a feed that records no cached input had no tokens at all in int_matching__placement.
    """
    for table, text in REFERENCE.items():
        deliver_reference(home, MONDAY, f"{table}.csv", text, table)
    for step in range(7):
        day = MONDAY + timedelta(days=step)
        deliver_usage(home, day, f"usage-{day}.jsonl", records(day, wasted=2))
    load(home)
    with warehouse.writer_lock(home):
        warehouse.prepare(home)
        built = subprocess.run(
            [str(dbt_runs.EXECUTABLE), "build", "--exclude-resource-types", "test", "unit_test", "--select",
             *(f"+{model}" for model in MODELS)], cwd=dbt_runs.DBT_PROJECT, env=dbt_runs.environment(home, dbt_runs.target_folder(home)),
            capture_output=True, text=True, check=False)
    assert built.returncode == 0, dbt_runs.messages_of(built.stdout)
    with warehouse.connect(home, read_only=True) as connection:
        found = match_week(matching_inputs.inputs(connection, WEEK), WEEK)["finance"]["fct_scheduling_saving"]
    assert float(found["saving_cny"].sum()) == pytest.approx(planted_cny(2), rel=0.01)
    assert found["best_tokens"].sum() == found["actual_tokens"].sum() == 7 * len(HOURS) * RECORDS_AN_HOUR * MILLION * 3 // 2
