"""Scheduling waste planted in the simulated network at a stated rate, and found again by matching."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.matching_week import TOKENS_A_UNIT, Inputs, match_week, problem
from orchestration.sources.simulate.demand import Demand
from orchestration.sources.simulate.network import Network, read_seed, start_of_business_day

DAY = date(2026, 11, 18)
HOURS = range(0, 24, 4)
WASTE_RATE = 0.05
IDLE_POWER_RATIO = 0.25


def simulated_hours(seed: int) -> Inputs:
    """Some hours of one simulated day as the marts would hold them, with the seeds' prices of power and links."""
    network = Network(seed, DAY)
    demand = Demand(network)
    today = demand.on(DAY)
    instants = [(start_of_business_day(DAY) + timedelta(hours=hour)).replace(tzinfo=None) for hour in HOURS]
    total = defaultdict(lambda: np.zeros(3, np.int64))
    for instant, hour in zip(instants, HOURS, strict=True):
        per_request = np.rint([
            demand.input_length * (1 - demand.cached_share), demand.input_length * demand.cached_share, demand.output_length
        ] * today.requests[hour]).astype(np.int64).T
        for stream, tokens in enumerate(per_request):
            total[instant, network.site_ids[demand.origin[stream]], network.models[demand.model[stream]].model_id] += tokens
    pools = network.serving_pools(DAY)
    tariffs = {(row["site_id"], hour): float(row["tariff_cny_per_kwh"]) for row in read_seed("power_tariffs")
               for hour in range(int(row["hour_from"]), int(row["hour_to"]))}
    effectiveness = {row["site_id"]: float(row["pue_ratio"]) for row in read_seed("site_power")}
    supply = []
    for instant, hour in zip(instants, HOURS, strict=True):
        for pool in pools:
            power = network.power_watts[pool.accelerator_id] / 1000 * (1 - IDLE_POWER_RATIO)
            cost = power * effectiveness.get(pool.site_id, effectiveness["*"]) * tariffs.get((pool.site_id, hour), tariffs["*", hour])
            supply.append({"usage_hour": instant, "site_id": pool.site_id, "accelerator_id": pool.accelerator_id,
                           "available_accelerator_hours": float(pool.accelerator_count),
                           "usable_accelerator_hours": 0.8 * pool.accelerator_count, "energy_cny_per_accelerator_hour": cost})
    links = read_seed("links")
    return Inputs(
        placement=pl.DataFrame([
            {"usage_hour": instant, "origin_site_id": origin, "serving_site_id": origin, "model_id": model, "accelerator_id": "none",
             "share_ratio": 1.0, "input_tokens": int(tokens[0]), "cached_input_tokens": int(tokens[1]), "output_tokens": int(tokens[2]),
             "tokens": int(tokens.sum()), "unconstrained_tokens": int(tokens.sum())}
            for (instant, origin, model), tokens in total.items() if tokens.sum()
        ]),
        supply=pl.DataFrame(supply),
        rates=pl.DataFrame([
            {"model_id": model, "accelerator_id": accelerator, "input_tokens_per_second": rates[0], "output_tokens_per_second": rates[1]}
            for (model, accelerator), rates in network.throughput.items()
        ]),
        models=pl.DataFrame({"model_id": [model.model_id for model in network.models],
                             "latency_class_ms": [model.latency_class_ms for model in network.models]}),
        links=pl.DataFrame([{"link_id": row["link_id"], "a_site_id": row["a_site_id"], "b_site_id": row["b_site_id"],
                             "route_km": float(row["route_km"]), "capacity_gbps": float(row["capacity_gbps"])} for row in links]),
        link_hours=pl.DataFrame(schema={"usage_hour": pl.Datetime("us"), "link_id": pl.String, "direction": pl.String,
                                        "mean_throughput_gbps": pl.Float64, "capacity_gbps": pl.Float64}),
        token_values=pl.DataFrame([{"model_id": model.model_id, "token_type": kind, "value_cny_per_million": Decimal(2)}
                                   for model in network.models for kind in ("input", "cached_input", "output")]),
        link_costs=pl.DataFrame([{"link_id": row["link_id"], "annual_cost_cny_per_wavelength": Decimal(600_000),
                                  "transport_cny_per_gigabit": 600_000 / (400 * 365 * 86400), "gigabits_per_million_tokens": 16.0}
                                 for row in links]),
        accelerator_costs=pl.DataFrame(schema={"site_id": pl.String, "accelerator_id": pl.String, "annual_cost_cny": pl.Decimal(38, 9)}),
    )


def misplaced(inputs: Inputs, rate: float) -> tuple[Inputs, float]:
    """The best placement, but this share of what could be served dearer elsewhere is; and what that wastes, in CNY.

    Each flow goes to the dearest place in its class that still has room there, so nothing else has to move.
    """
    week = problem(inputs)
    best = week.best()
    room = week.usable - week.used(best.flow)
    flow, profit, waste = best.flow.copy(), week.profit, 0.0
    columns = defaultdict(list)
    for column, commodity in enumerate(week.programme.commodity.tolist()):
        columns[commodity].append(column)
    for hour in range(len(week.hours)):
        for own in columns.values():
            used = max(own, key=lambda column: flow[hour, column])
            amount = rate * best.flow[hour, used]
            for dear in sorted(own, key=lambda column: profit[hour, column]):
                work = amount * week.programme.work[dear]
                if amount > 0 and profit[hour, dear] < profit[hour, used] and work <= room[hour, week.programme.pool[dear]]:
                    flow[hour, used] -= amount
                    flow[hour, dear] += amount
                    room[hour, week.programme.pool[dear]] -= work
                    waste += amount * (profit[hour, used] - profit[hour, dear])
                    break
    mix = {(row[0], row[1]): np.array(row[2:]) / sum(row[2:]) for row in inputs.placement.group_by("origin_site_id", "model_id").agg(
        pl.col("input_tokens", "cached_input_tokens", "output_tokens").sum()).iter_rows()}
    rows = []
    for hour, commodity in np.ndindex(len(week.hours), len(week.commodities)):
        at_sites = defaultdict(dict)
        for column in columns[commodity]:
            if flow[hour, column] > 1e-6:
                site, accelerator = week.pools[week.programme.pool[column]]
                at_sites[site][accelerator] = flow[hour, column]
        origin, model = week.commodities[commodity]
        for site, parts in at_sites.items():
            tokens = np.rint(mix[origin, model] * sum(parts.values()) * TOKENS_A_UNIT).astype(int).tolist()
            rows += [
                {"usage_hour": week.hours[hour], "origin_site_id": origin, "serving_site_id": site, "model_id": model,
                 "accelerator_id": accelerator, "share_ratio": part / sum(parts.values()), "input_tokens": tokens[0],
                 "cached_input_tokens": tokens[1], "output_tokens": tokens[2], "tokens": sum(tokens), "unconstrained_tokens": sum(tokens)}
                for accelerator, part in parts.items()
            ]
    return replace(inputs, placement=pl.DataFrame(rows)), waste


@pytest.mark.parametrize("seed", [7, 11])
def test_planted_waste_is_recovered_to_within_one_percent(seed):
    """A saving that is not there sends a planner moving load for nothing; one that is missed stays waste."""
    placed_well, none = misplaced(simulated_hours(seed), 0.0)
    placed_badly, planted = misplaced(simulated_hours(seed), WASTE_RATE)

    def saving(inputs: Inputs) -> float:
        return float(match_week(inputs, "2026-W47")["finance"]["fct_scheduling_saving"]["saving_cny"].sum())

    assert none == 0 and planted > 10
    assert abs(saving(placed_well)) < 0.01 * planted
    assert saving(placed_badly) == pytest.approx(planted, rel=0.01)
