"""The simulated operator's budget: what its own plan of demand, prices, contracts and capital comes to each week.

All of it is assumption, as the plan is. It knows the trend of demand, not its noise, calendar or throttling; counts
no revenue of trial customers; spreads packages evenly over their days; takes accelerators at their design power and
leaves the network out. Utilization, payback and the burn of packages (add-ons follow
from use, which a plan does not know) have no target here.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from orchestration.sources.simulate.demand import Demand
from orchestration.sources.simulate.network import HOURS_A_DAY, Network, Pool, read_seed

HOURS_A_WEEK = 7 * HOURS_A_DAY
MILLION = 1_000_000
FOUR_DIGITS = Decimal("0.0001")

Rows = list[dict[str, object]]


def performance_targets(demand: Demand, sold: Rows, discounts: Rows, assets: Rows, first_day: date) -> Rows:
    """Targets of the whole network for each week (Monday) from that of the first day to that of the last."""
    network = demand.network
    after_tax = 1 + max(float(row["rate_ratio"]) for row in read_seed("tax_rates"))
    lengths = np.stack(
        [demand.input_length * (1 - demand.cached_share), demand.input_length * demand.cached_share, demand.output_length], axis=1,
    )
    tokens_a_request = lengths.sum(axis=1)
    paid_a_request = (lengths * _list_prices(network)[demand.model]).sum(axis=1) / MILLION
    charged = np.array([tenant.product == "payg" for tenant in network.tenants])[demand.tenant]
    taken_off = _discounts(demand, discounts)
    capital = {str(row["tranche_id"]): float(row["capital_cny"]) / float(row["life_years"]) / 365.25 * 7 for row in assets}
    rows: Rows = []
    monday = first_day - timedelta(days=first_day.weekday())
    while monday <= network.end_date:
        middle = monday + timedelta(days=3)
        requests = 7 * demand.mean_requests(middle)
        pools = [pool for pool in network.pools if pool.in_service(middle)]
        served = (paid_a_request * requests * charged).sum()
        packages = sum(_a_week(row, middle) * float(row["price_cny"]) for row in sold)
        listed = served + _rent(pools)
        discount = (paid_a_request * requests * charged * taken_off).sum()
        net = (listed - discount + packages) / after_tax
        costs = {purpose: sum(_cost(pool, network) + capital[f"tranche-{pool.pool_id}"] for pool in pools if pool.purpose == purpose)
                 for purpose in ("serving", "training")}
        margin = net - sum(costs.values())
        margin_of_models = (served - discount + packages) / after_tax - costs["serving"]
        values = {
            "list_revenue_cny": listed, "net_revenue_cny": net, "gross_margin_cny": margin, "gross_margin_ratio": margin / net,
            "gross_margin_cny_per_million_tokens": margin_of_models / (tokens_a_request * requests).sum() * MILLION,
        }  # fmt: skip
        rows += [
            {"measure": measure, "site_id": "all", "target_value": Decimal(repr(float(value))).quantize(FOUR_DIGITS),
             "valid_from": monday, "valid_to": monday + timedelta(days=7)}
            for measure, value in values.items()
        ]  # fmt: skip
        monday += timedelta(days=7)
    return rows


def _list_prices(network: Network) -> np.ndarray:
    """(model, token type) list price per million, of the first context tier, the mean over its hours."""
    prices = np.zeros((len(network.models), 3))
    rows = [row for row in read_seed("price_book") if int(row["above_input_tokens"]) == 0]
    for index, model in enumerate(network.models):
        for column, token_type in enumerate(("input", "cached_input", "output")):
            prices[index, column] = sum(
                float(row["price_cny_per_million"]) * (int(row["hour_to"]) - int(row["hour_from"])) / HOURS_A_DAY
                for row in rows
                if (row["model_id"], row["token_type"]) == (model.model_id, token_type) and not row["valid_to"]
            )
    return prices


def _discounts(demand: Demand, rows: Rows) -> np.ndarray:
    """Share of list price taken off by stream: the tenant's contract for every model, else its segment's."""
    by_key = {(row["tenant_id"], row["segment"]): float(row["discount_ratio"]) for row in rows if row["model_id"] == "*"}
    by_tenant = [
        by_key.get((tenant.tenant_id, "*"), by_key.get(("*", tenant.segment), 0.0)) for tenant in demand.network.tenants
    ]
    return np.array(by_tenant)[demand.tenant]


def _a_week(grant: dict[str, object], day: date) -> float:
    """Share of a grant that a week takes when it is spread evenly over its days; 0 while it does not hold."""
    ends = min(grant["expires_date"], grant.get("voided_date") or grant["expires_date"])
    return 7 / (grant["expires_date"] - grant["starts_date"]).days if grant["starts_date"] <= day < ends else 0.0


def _rent(pools: list[Pool]) -> float:
    """List revenue a week of what jobs hold, as far as people hold their jobs back."""
    prices = {row["accelerator_id"]: float(row["price_cny_per_accelerator_hour"]) for row in read_seed("rental_prices")}
    return sum(
        min(pool.training_load, pool.submit_limit_ratio, 1.0) * pool.accelerator_count * HOURS_A_WEEK * prices[pool.accelerator_id]
        for pool in pools if pool.purpose == "training"
    )


def _cost(pool: Pool, network: Network) -> float:
    """Operations and energy of a pool a week."""
    operations = {row["accelerator_id"]: float(row["cost_cny_per_accelerator_hour"]) for row in read_seed("operations_costs")}
    kilowatts = network.power_watts[pool.accelerator_id] / 1000 * _of_site("site_power", pool.site_id, lambda row: float(row["pue_ratio"]))
    tariff = _of_site("power_tariffs", pool.site_id, lambda row: (
        float(row["tariff_cny_per_kwh"]) * (int(row["hour_to"]) - int(row["hour_from"])) / HOURS_A_DAY
    ))
    hourly = operations.get(pool.accelerator_id, operations["*"]) + kilowatts * tariff
    return hourly * pool.accelerator_count * HOURS_A_WEEK


def _of_site(seed: str, site_id: str, value) -> float:
    """Sum over the seed's rows of the site; those of any where it has none."""
    rows = read_seed(seed)
    return sum(value(row) for row in [row for row in rows if row["site_id"] == site_id] or [row for row in rows if row["site_id"] == "*"])
