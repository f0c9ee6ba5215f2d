"""The reference deliveries of the first day as CSV: inventory, tenants, and what was sold and bought.

What the seeds hold already (sites, links, models, prices, tariffs, ...) is not delivered again.
"""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta

from orchestration.contracts import (
    CAPITAL_ASSETS,
    DISCOUNTS,
    NODE_POOLS,
    PERFORMANCE_TARGETS,
    PLANNED_DELIVERIES,
    SUBSCRIPTIONS,
    TENANTS,
    Table,
)
from orchestration.sources.simulate import budget, contracts_of_sale, network_plan
from orchestration.sources.simulate.delivery import Feed, Landing
from orchestration.sources.simulate.demand import Demand

SOURCE = "simulated"
CONFIDENCE = "assumption"
SOURCES = {SUBSCRIPTIONS.name: "simulated-billing", DISCOUNTS.name: "simulated-billing", CAPITAL_ASSETS.name: "simulated-ledger",
           PERFORMANCE_TARGETS.name: "simulated-budget"}


def _csv(table: Table, rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in table.columns], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "source": SOURCE, "confidence": CONFIDENCE})
    return text.getvalue().encode()


def write(demand: Demand, landing: Landing, delivered: date) -> tuple[dict[str, int], dict[str, object]]:
    """Writes a file for each table; returns rows by table, and the totals of what was sold and bought."""
    network = demand.network
    pools = [
        {
            "pool_id": pool.pool_id, "cluster_id": pool.site_id, "site_id": pool.site_id,
            "accelerator_id": pool.accelerator_id, "purpose": pool.purpose, "node_count": pool.node_count,
            "accelerators_per_node": pool.accelerators_per_node, "commissioned_date": pool.commissioned_date,
            "retired_date": pool.retired_date,
        }
        for pool in network.pools
    ]  # fmt: skip
    planned = [
        {
            "planned_delivery_id": f"order-{number:03d}", "site_id": order.site_id, "accelerator_id": order.accelerator_id,
            "purpose": order.purpose, "accelerator_count": order.accelerator_count,
            "planned_date": network.end_date + timedelta(days=order.days_after), "commitment": order.commitment,
        }
        for number, order in enumerate(network_plan.PLANNED, start=1)
    ]  # fmt: skip
    tenants = [
        {
            "tenant_id": tenant.tenant_id, "tenant_name": tenant.tenant_id.replace("tenant-", "Customer "),
            "segment": tenant.segment, "home_site_id": network.site_ids[tenant.home],
        }
        for tenant in sorted(network.tenants, key=lambda tenant: tenant.tenant_id)
        if tenant.is_registered
    ]  # fmt: skip
    sold = contracts_of_sale.subscriptions(demand, delivered)
    assets = contracts_of_sale.capital_assets(network)
    discounts = contracts_of_sale.discounts(network, delivered)
    by_table: dict[Table, list[dict[str, object]]] = {
        NODE_POOLS: pools, PLANNED_DELIVERIES: planned, TENANTS: tenants, SUBSCRIPTIONS: sold,
        DISCOUNTS: discounts, CAPITAL_ASSETS: assets,
        PERFORMANCE_TARGETS: budget.performance_targets(demand, sold, discounts, assets, delivered),
    }  # fmt: skip
    for table, rows in by_table.items():
        feed = Feed("reference", "reference_csv", table.name, SOURCES.get(table.name, "simulated-inventory"))
        landing.deliver(feed, delivered, f"{table.name}.csv", _csv(table, rows), len(rows) + 1)
    return {table.name: len(rows) for table, rows in by_table.items()}, contracts_of_sale.totals(sold, assets)
