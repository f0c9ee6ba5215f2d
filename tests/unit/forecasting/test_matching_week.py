"""A week of matching on a network small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from orchestration.audit import MONEY_NAME_PARTS
from orchestration.forecasting.matching_tables import MATCHING_MONEY_TABLES, MATCHING_TABLES
from orchestration.forecasting.matching_week import Inputs, match_week, problem, whole_parts

MONDAY = datetime(2026, 11, 15, 16)
HOURS = 4
WEEK = "2026-W47"
# An accelerator of either type makes 3,600 million uncached input tokens an hour.
SPEED = 1e6
PLACED = {"usage_hour": pl.Datetime("us"), "origin_site_id": pl.String, "serving_site_id": pl.String, "model_id": pl.String,
          "accelerator_id": pl.String, "share_ratio": pl.Float64, "input_tokens": pl.Int64, "cached_input_tokens": pl.Int64,
          "output_tokens": pl.Int64, "tokens": pl.Int64, "unconstrained_tokens": pl.Int64}


def placed(origin: str, serving: str, model: str, tokens: int, asked: int | None = None, accelerator: str = "fast") -> list[dict]:
    """The same tokens in every hour."""
    return [
        {"usage_hour": MONDAY + timedelta(hours=hour), "origin_site_id": origin, "serving_site_id": serving, "model_id": model,
         "accelerator_id": accelerator, "share_ratio": 1.0, "input_tokens": tokens, "cached_input_tokens": 0, "output_tokens": 0,
         "tokens": tokens, "unconstrained_tokens": tokens if asked is None else asked}
        for hour in range(HOURS)
    ]


def inputs(rows: list[dict], installed: dict[tuple[str, str], float], tariffs: dict[str, float] | None = None) -> Inputs:
    """Site a, 100 km from hub h and 3,000 km from hub far; each pool as many accelerators as given."""
    return Inputs(
        placement=pl.DataFrame(rows, schema=PLACED),
        supply=pl.DataFrame([
            {"usage_hour": MONDAY + timedelta(hours=hour), "site_id": site, "accelerator_id": accelerator,
             "available_accelerator_hours": count, "usable_accelerator_hours": 0.8 * count,
             "energy_cny_per_accelerator_hour": Decimal(str((tariffs or {}).get(site, 1.0)))}
            for hour in range(HOURS) for (site, accelerator), count in installed.items()
        ], schema={"usage_hour": pl.Datetime("us"), "site_id": pl.String, "accelerator_id": pl.String,
                   "available_accelerator_hours": pl.Float64, "usable_accelerator_hours": pl.Float64,
                   "energy_cny_per_accelerator_hour": pl.Decimal(38, 9)}),
        rates=pl.DataFrame([
            {"model_id": model, "accelerator_id": "fast", "input_tokens_per_second": SPEED, "output_tokens_per_second": SPEED}
            for model in ("near", "wide")
        ]),
        models=pl.DataFrame({"model_id": ["near", "wide", "nowhere"], "latency_class_ms": [5, 20, 20]}),
        links=pl.DataFrame({"link_id": ["a--h", "h--far"], "a_site_id": ["a", "h"], "b_site_id": ["h", "far"],
                            "route_km": [100.0, 2900.0], "capacity_gbps": [400.0, 400.0]}),
        link_hours=pl.DataFrame(schema={"usage_hour": pl.Datetime("us"), "link_id": pl.String, "direction": pl.String,
                                        "mean_throughput_gbps": pl.Float64, "capacity_gbps": pl.Float64}),
        token_values=pl.DataFrame({"model_id": ["near", "wide"], "token_type": ["input", "input"],
                                   "value_cny_per_million": [Decimal(2), Decimal(1)]}),
        link_costs=pl.DataFrame({"link_id": ["a--h", "h--far"], "annual_cost_cny_per_wavelength": [Decimal(600_000)] * 2,
                                 "transport_cny_per_gigabit": [0.0001] * 2, "gigabits_per_million_tokens": [16.0] * 2}),
        accelerator_costs=pl.DataFrame({"site_id": ["a", "h"], "accelerator_id": ["fast", "fast"],
                                        "annual_cost_cny": [Decimal(40_000), Decimal(40_000)]}),
    )


def tokens_by(frame: pl.DataFrame, *columns: str) -> dict:
    """Tokens by the columns."""
    return {row[:-1]: int(row[-1]) for row in frame.group_by(*columns).agg(pl.col("tokens").sum()).iter_rows()}


def test_load_moves_from_the_dear_site_to_the_cheap_one_and_the_saving_is_the_difference():
    """The saving is what a planner is shown; it must be tokens times the difference in price, no more."""
    # 2,880 million tokens fill an accelerator to 0.8; h has room for all, its energy costs a tenth.
    tables = match_week(inputs(placed("a", "a", "wide", 1_440_000_000), {("a", "fast"): 1, ("h", "fast"): 1}, {"a": 10, "h": 1}), WEEK)
    plan, saving = tables["capacity"]["fct_matching_plan"], tables["finance"]["fct_scheduling_saving"]

    moved = plan.filter(pl.col("serving_site_id") == "h").row(0, named=True)
    assert (int(moved["tokens"]), int(moved["actual_tokens"]), moved["route"], moved["share_ratio"]) == (4 * 1_440_000_000, 0, "a--h", 1)
    work_hours = 4 * 1440 / 3600
    transport = 4 * 1440 * 16 * 0.0001
    assert float(saving["saving_cny"].sum()) == pytest.approx(work_hours * 9 - transport, abs=1e-5)
    assert saving["best_earned_cny"].sum() == saving["actual_earned_cny"].sum()


def test_what_is_asked_is_planned_or_named_as_unserved_to_the_token():
    """Tokens that are in neither table are demand that nobody will plan for."""
    rows = placed("a", "a", "near", 2_000_000_001, asked=9_000_000_007) + placed("a", "a", "nowhere", 5, accelerator="fast")
    tables = match_week(inputs(rows, {("a", "fast"): 1, ("h", "fast"): 1, ("far", "fast"): 10}), WEEK)["capacity"]
    unserved = tables["fct_unserved_demand_weekly"]

    assert int(tables["fct_matching_plan"]["tokens"].sum() + unserved["tokens"].sum()) == 4 * (9_000_000_007 + 5)
    # The class of 5 ms holds hub far out, so two pools are full and the rest waits for either.
    full = {("near", "capacity", "a/fast"), ("near", "capacity", "h/fast"), ("nowhere", "compatibility", "none")}
    assert set(tokens_by(unserved, "model_id", "constraint_kind", "resource_id")) <= full
    assert tokens_by(tables["fct_matching_plan"], "serving_site_id") == {("a",): 4 * 2_880_000_000, ("h",): 4 * 2_880_000_000}


def test_demand_beyond_its_latency_class_is_named_latency_and_without_links_link():
    """Ordering accelerators at a hub too far away does not help; the reason must say so."""
    asked = placed("a", "far", "near", 0, asked=1_000_000)
    only_far = inputs(asked, {("far", "fast"): 10})
    kinds = {
        name: set(match_week(each, WEEK)["capacity"]["fct_unserved_demand_weekly"]["constraint_kind"])
        for name, each in {
            "latency": only_far,
            "link": replace(only_far, links=only_far.links.clear()),
            "compatibility": replace(only_far, rates=only_far.rates.clear()),
            "worth": replace(inputs(placed("a", "h", "near", 0, asked=1_000_000), {("h", "fast"): 10}), token_values=only_far.token_values.clear()),
        }.items()
    }
    assert kinds == {name: {name} for name in kinds}


def test_the_optimum_is_never_below_what_was_done():
    """A saving below zero would say that the plan is worse than no plan: overfull pools and far flows count as they were."""
    rows = placed("a", "far", "near", 3_500_000_000) + placed("a", "a", "wide", 3_400_000_000)
    tables = match_week(inputs(rows, {("a", "fast"): 1, ("far", "fast"): 1}), WEEK)

    assert tables["finance"]["fct_scheduling_saving"]["saving_cny"].sum() >= 0
    far = tables["capacity"]["fct_matching_plan"].filter((pl.col("model_id") == "near") & (pl.col("serving_site_id") == "far"))
    assert far["is_within_latency_class"].to_list() == [False] and int(far["tokens"].sum()) <= int(far["actual_tokens"].sum())


def test_a_full_pool_is_built_a_costly_one_moved_and_an_idle_one_left():
    """The verdict is what is acted on: build only where a year's worth is above a year's cost."""
    full = placed("a", "a", "near", 2_000_000_000, asked=9_000_000_000)
    base = inputs(full, {("a", "fast"): 1, ("h", "fast"): 1, ("far", "fast"): 1})
    dear = replace(base, accelerator_costs=base.accelerator_costs.with_columns(pl.lit(Decimal(10**12)).alias("annual_cost_cny")))

    def verdicts(each: Inputs) -> dict[str, str]:
        prices = match_week(each, WEEK)["finance"]["fct_shadow_price"]
        return dict(prices.select("resource_id", "verdict").iter_rows())

    assert verdicts(base) == {"a/fast": "build", "h/fast": "build", "far/fast": "wait", "a--h": "wait", "h--far": "wait"}
    assert verdicts(dear)["a/fast"] == "move"
    prices = match_week(base, WEEK)
    here = prices["finance"]["fct_shadow_price"].filter(pl.col("resource_id") == "a/fast").row(0, named=True)
    # One more at 0.8 makes 2,880 million tokens an hour at 2 CNY less 1 CNY an hour of energy, 8,760 hours a year.
    assert float(here["value_cny_per_year"]) == pytest.approx(8760 * (2880 * 2 - 0.8), rel=1e-9)
    assert here["binding_hours_count"] == HOURS
    ranks = prices["capacity"]["fct_binding_constraint_weekly"]
    assert ranks.filter(pl.col("value_rank") == 1)["resource_id"].to_list() == ["a/fast"]


def test_a_link_that_others_fill_holds_the_flow_back_and_has_a_price():
    """Free accelerators behind a full link are of no use, and the wavelength is what to build."""
    base = inputs(placed("a", "h", "near", 100_000_000, asked=9_000_000_000), {("h", "fast"): 5})
    # 320 of 400 Gbit/s may be used; others send 319.5 and the tokens placed, so at 16 Gbit a million
    # 1,800 + 1,600 Gbit an hour are left of the way out, 212.5 million tokens.
    busy = replace(base, link_hours=pl.DataFrame([
        {"usage_hour": MONDAY + timedelta(hours=hour), "link_id": "a--h", "direction": direction, "mean_throughput_gbps": 319.5,
         "capacity_gbps": 400.0} for hour in range(HOURS) for direction in ("a_to_b", "b_to_a")
    ], schema=base.link_hours.schema))
    tables = match_week(busy, WEEK)

    assert tokens_by(tables["capacity"]["fct_matching_plan"], "serving_site_id")[("h",)] == pytest.approx(4 * 212_500_000, abs=4)
    assert ("link", "a--h") in tokens_by(tables["capacity"]["fct_unserved_demand_weekly"], "constraint_kind", "resource_id")
    link = tables["finance"]["fct_shadow_price"].filter(pl.col("resource_id") == "a--h").row(0, named=True)
    assert link["verdict"] == "build" and link["binding_hours_count"] == HOURS


def test_a_week_without_usage_and_a_network_without_supply_are_answers():
    """A fresh warehouse must not stop the pipeline."""
    empty = match_week(inputs([], {("a", "fast"): 1}), WEEK)
    assert all(frame.is_empty() for tables in empty.values() for frame in tables.values())
    nothing_up = match_week(inputs(placed("a", "a", "near", 0, asked=7), {}), WEEK)["capacity"]
    assert int(nothing_up["fct_unserved_demand_weekly"]["tokens"].sum()) == 28


def test_rows_in_another_order_give_the_same_tables():
    """DuckDB hands rows over in any order; published hashes must not depend on it."""
    rows = placed("a", "a", "near", 1_000_000_000, 4_000_000_000) + placed("a", "h", "wide", 700_000_000)
    base = inputs(rows, {("a", "fast"): 1, ("h", "fast"): 1})
    turned = replace(base, **{name: getattr(base, name).reverse() for name in
                              ("placement", "supply", "rates", "models", "links", "token_values", "link_costs")})
    first, second = match_week(base, WEEK), match_week(turned, WEEK)
    for schema, tables in first.items():
        for name, frame in tables.items():
            assert frame.equals(second[schema][name]), name


def test_capacity_tables_hold_no_money_and_money_is_decimal():
    """The capacity edition goes to readers who may not see any price."""
    names = {column.name for table in MATCHING_TABLES for column in table.columns}
    assert not {name for name in names if set(name.split("_")) & set(MONEY_NAME_PARTS)}
    amounts = {column.dtype for table in MATCHING_MONEY_TABLES for column in table.columns if "cny" in column.name}
    assert amounts == {pl.Decimal(38, 9)}


def test_whole_parts_add_up_and_never_exceed_the_whole():
    """Rounding each part by itself would lose or make tokens."""
    third = problem(inputs(placed("a", "a", "near", 1), {("a", "fast"): 1})).demand[0] / 3
    assert sum(whole_parts(third.repeat(3), 1)) == 1
    assert whole_parts(np.array([0.0000005, 0.0000005, 0.0000005]), 1) == [0, 1, 0]
