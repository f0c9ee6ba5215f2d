"""What the planted misroutes waste in the last whole week, worked out from the seeds and the records as written.

A token wastes what it costs more where it is served than where it should be: energy above idle, shared over the
accelerator types of a site by what they can put out, and transport at the wavelength's transfer price along the route.
Written apart from matching, which has to find the same.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from orchestration.sources.simulate import calibration, network_plan
from orchestration.sources.simulate.demand import Demand
from orchestration.sources.simulate.link_counters import routes
from orchestration.sources.simulate.network import HOURS_A_DAY, Network, read_seed

TOKEN_TYPES = ("input_tokens", "cached_input_tokens", "output_tokens")
DAYS_A_WEEK = 7
GIGABITS_PER_TOKEN = calibration.BYTES_PER_TOKEN * 8 / 1e9
GIGABITS_A_WAVELENGTH_YEAR = 400 * 365 * 86_400
JOULES_PER_KWH = 3_600_000


class WasteTruth:
    """Counts the tokens that misroutes move, and prices them at both sites."""

    def __init__(self, demand: Demand):
        self.demand = demand
        end = demand.network.end_date
        self.monday = end - timedelta(days=(end.weekday() + 1) % DAYS_A_WEEK + DAYS_A_WEEK - 1)
        self._tokens = np.zeros((DAYS_A_WEEK, HOURS_A_DAY, len(demand.moved), len(TOKEN_TYPES)), np.int64)

    def add(self, day: date, hour: np.ndarray, stream: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Counts ok records of the business day; those outside the last whole week are left out."""
        number = (day - self.monday).days
        if 0 <= number < DAYS_A_WEEK:
            moved = np.isin(stream, self.demand.moved)
            at = hour[moved], np.searchsorted(self.demand.moved, stream[moved])
            for token_type, name in enumerate(TOKEN_TYPES):
                np.add.at(self._tokens[number, ..., token_type], at, values[name][moved])

    def as_dict(self, first_day: date) -> dict:
        """By misroute: tokens by type, and CNY wasted; no week and no misroute when no simulated week is whole."""
        if first_day > self.monday:
            return {"iso_week": None, "misroutes": []}
        demand, network = self.demand, self.demand.network
        paths, rows = routes(network), []
        for misroute in network_plan.PLANTED_MISROUTES:
            origin, dear = (network.site_index[site] for site in (misroute.origin_site_id, misroute.dear_site_id))
            routed, tokens, wasted = int(network.nearest_hub[origin]), np.zeros(len(TOKEN_TYPES), np.int64), 0.0
            farther = _transport_cny(paths[origin, dear]) - _transport_cny(paths[origin, routed])
            for number in np.flatnonzero((demand.origin[demand.moved] == origin) & (demand.serving[demand.moved] == dear)):
                model_id = network.models[demand.model[demand.moved[number]]].model_id
                dearer = self._energy_cny(model_id, dear) - self._energy_cny(model_id, routed) + farther
                tokens += self._tokens[:, :, number].sum(axis=(0, 1))
                wasted += float((self._tokens[:, :, number] * dearer).sum())
            rows.append({
                "origin_site_id": misroute.origin_site_id, "serving_site_id": misroute.dear_site_id,
                "routed_site_id": network.site_ids[routed], **dict(zip(TOKEN_TYPES, tokens.tolist(), strict=True)),
                "wasted_cny": str(round(Decimal(wasted), 2)),
            })  # fmt: skip
        year, week, _ = self.monday.isocalendar()
        return {"iso_week": f"{year}-W{week:02d}", "misroutes": rows}

    def _energy_cny(self, model_id: str, site: int) -> np.ndarray:
        """(day, hour, token type) energy above idle of one token of the model at the site."""
        network = self.demand.network
        days = [self.monday + timedelta(days=number) for number in range(DAYS_A_WEEK)]
        joules = np.array([_joules(network, model_id, site, day) for day in days])
        site_id = network.site_ids[site]
        effectiveness = {row["site_id"]: float(row["pue_ratio"]) for row in read_seed("site_power")}
        tariffs = {(row["site_id"], hour): float(row["tariff_cny_per_kwh"]) for row in read_seed("power_tariffs")
                   for hour in range(int(row["hour_from"]), int(row["hour_to"]))}  # fmt: skip
        of_hour = np.array([tariffs.get((site_id, hour), tariffs["*", hour]) for hour in range(HOURS_A_DAY)])
        return joules[:, None] / JOULES_PER_KWH * effectiveness.get(site_id, effectiveness["*"]) * of_hour[:, None]


def _joules(network: Network, model_id: str, site: int, day: date) -> np.ndarray:
    """(token type) what one token draws above idle, before cooling; cached input draws nothing."""
    idle = {row["accelerator_id"]: float(row["idle_power_ratio"]) for row in read_seed("accelerator_prices")}
    pools = [pool for pool in network.serving_pools(day) if pool.site == site]
    into, out = np.array([network.throughput[model_id, pool.accelerator_id] for pool in pools]).T
    watts = np.array([network.power_watts[pool.accelerator_id] * (1 - idle[pool.accelerator_id]) for pool in pools])
    share = out * [pool.accelerator_count for pool in pools]
    return (share / share.sum() * watts) @ np.stack([1 / into, np.zeros(len(pools)), 1 / out], axis=1)


def _transport_cny(path: list[tuple[int, int]]) -> float:
    """Of one token over the links of the path, each at the price of its class, or that of any."""
    links = read_seed("links")
    prices = {row["link_class"]: float(row["annual_cost_cny_per_wavelength"]) for row in read_seed("link_costs")}
    classes = [links[number]["link_class"] for number, _ in path]
    return GIGABITS_PER_TOKEN * sum(prices.get(each, prices["*"]) for each in classes) / GIGABITS_A_WAVELENGTH_YEAR
