"""What the simulated operator has sold and bought: grants of packages, contract discounts, capital by pool.

All of it is assumption: neither quotas nor contracts nor capital are public. Grants are sized by what a
tenant is expected to use, so that in any window some are used up, some expire and some become paid ones.
Prices of packages and accelerators are those of the seeds.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from orchestration.sources.simulate.demand import Demand
from orchestration.sources.simulate.network import Network, Tenant, read_seed
from orchestration.sources.simulate.trials import (
    LARGEST_TRIAL_TOKENS,
    PROGRAMME_DAYS,
    Course,
    quota_tokens_a_day,
    trial_package,
)

LARGE_TENANT_COUNT = 10
# Share of list price taken off for the largest customers, from the largest on.
LARGE_DISCOUNTS = ("0.22", "0.2", "0.18", "0.18", "0.15", "0.15", "0.12", "0.12", "0.1", "0.1")
MILLION = 1_000_000
FEN = Decimal("0.01")

Rows = list[dict[str, object]]


def subscriptions(demand: Demand, first_day: date) -> Rows:
    """Grants of the trial and of paid packages, in the order of the tenants' ids."""
    packages = _packages()
    daily = {package_id: quota_tokens_a_day(demand, package_id) for package_id in packages}
    tenants = sorted(enumerate(demand.network.tenants), key=lambda numbered: numbered[1].tenant_id)
    rows: Rows = []
    for product in ("trial", "package"):
        holders = [(rank, tenant) for rank, tenant in tenants if tenant.product == product]
        for turn, (rank, tenant) in enumerate(holders):
            daily_tokens = {package_id: tokens[rank] for package_id, tokens in daily.items()}
            plan = _Plan(packages, daily_tokens, tenant, first_day, demand.network.end_date)
            rows += _trial_grants(plan, demand.trials[rank]) if product == "trial" else _paid_grants(plan, turn)
    return rows


class _Plan:
    """One tenant's grants over the simulated window."""

    def __init__(
        self, packages: dict[str, dict[str, str]], daily_tokens: dict[str, float], tenant: Tenant, first_day: date,
        last_day: date,
    ):  # fmt: skip
        self.packages = packages
        self.daily_tokens = daily_tokens
        self.tenant = tenant
        self.first_day = first_day
        self.window_days = (last_day - first_day).days + 1

    def day(self, share: float) -> date:
        """The business day at that share of the window."""
        return self.first_day + timedelta(days=int(share * self.window_days))

    def tokens(self, package_id: str, days: float) -> int:
        """Quota tokens that the tenant is expected to take of a package in so many days; whole millions."""
        tokens = max(round(self.daily_tokens[package_id] * days / MILLION), 1) * MILLION
        return min(tokens, LARGEST_TRIAL_TOKENS) if self.is_trial(package_id) else tokens

    def is_trial(self, package_id: str) -> bool:
        """Whether the package is a trial."""
        return self.packages[package_id]["package_kind"] == "trial"

    def grant(
        self, number: int, package_id: str, starts: date, expires: date, days_of_use: float, **more: object
    ) -> dict[str, object]:
        """One grant that holds so many days of use, at the package's price per token."""
        package = self.packages[package_id]
        tokens = self.tokens(package_id, days_of_use)
        price = (Decimal(package["price_cny"]) * tokens / int(package["quota_tokens"])).quantize(FEN, ROUND_HALF_UP)
        return {
            "subscription_id": f"grant-{self.tenant.tenant_id}-{number}", "package_id": package_id,
            "tenant_id": self.tenant.tenant_id, "granted_date": starts, "starts_date": starts,
            "expires_date": max(expires, starts + timedelta(days=1)), "granted_tokens": tokens, "price_cny": price,
            "currency": "CNY", "funding": "none" if self.is_trial(package_id) else "invoice", **more,
        }  # fmt: skip


def _trial_grants(plan: _Plan, course: Course) -> Rows:
    """The grant of a trial, and the paid one of a customer that converts."""
    package_id = trial_package(plan.tenant)
    grant = plan.grant(1, package_id, course.starts, course.expires, course.granted_days)
    if not course.converts:
        return [grant]
    bought = course.starts + timedelta(days=PROGRAMME_DAYS // 2)
    return [grant, plan.grant(2, "developer-150m", bought, course.expires, 0.8 * PROGRAMME_DAYS)]


def _paid_grants(plan: _Plan, turn: int) -> Rows:
    """Lasting beyond the window; renewed; expired in it; used up with an add-on; the first one is voided."""
    days, late = plan.window_days, plan.day(1) + timedelta(days=90)
    if turn == 0:
        voided = plan.grant(1, "enterprise-10b", plan.first_day, late, 2 * days)
        return [{**voided, "voided_date": plan.day(0.7), "refund_cny": (voided["price_cny"] / 2).quantize(FEN, ROUND_HALF_UP)}]
    if turn % 4 == 0:
        return [plan.grant(1, "enterprise-10b", plan.first_day, late, 2 * days)]
    if turn % 4 == 1:
        ends = max(plan.day(0.5), plan.first_day + timedelta(days=1))
        first = plan.grant(1, "enterprise-100b", plan.first_day, ends, 0.6 * days)
        return [
            first,
            plan.grant(2, "enterprise-100b", ends, late, days, renews_subscription_id=first["subscription_id"]),
        ]
    if turn % 4 == 2:
        return [plan.grant(1, "developer-150m", plan.first_day, plan.day(0.6), 1.2 * days)]
    return [plan.grant(1, "developer-15m", plan.first_day, late, 0.4 * days)]


def _packages() -> dict[str, dict[str, str]]:
    return {row["package_id"]: row for row in read_seed("packages")}


def discounts(network: Network, first_day: date) -> Rows:
    """The seed's rows, which a delivery stands instead of, and a contract of each of the largest customers.

    The largest one's is renegotiated in the middle of the window; the second's takes more off one model.
    """
    middle = first_day + (network.end_date - first_day) / 2
    rows: Rows = [
        {name: value for name, value in row.items() if name not in ("source", "confidence")}
        for row in read_seed("discounts")
    ]
    largest = [tenant for tenant in network.tenants[:LARGE_TENANT_COUNT] if tenant.segment != "internal"]
    for number, tenant in enumerate(largest):
        row = {
            "contract_id": f"contract-{tenant.tenant_id}", "tenant_id": tenant.tenant_id, "segment": "*", "model_id": "*",
            "discount_ratio": LARGE_DISCOUNTS[number], "valid_from": None, "valid_to": None,
        }  # fmt: skip
        if number == 0 and middle > first_day:
            rows += [{**row, "valid_to": middle}, {**row, "discount_ratio": "0.26", "valid_from": middle}]
            continue
        rows.append(row)
        if number == 1:
            rows.append({**row, "model_id": "deepseek-v4-flash", "discount_ratio": "0.3"})
    return rows


def capital_assets(network: Network) -> Rows:
    """A tranche for each node pool, at the seed's price of its accelerators and systems."""
    prices = {row["accelerator_id"]: row for row in read_seed("accelerator_prices")}
    rows: Rows = []
    for pool in network.pools:
        price = prices[pool.accelerator_id]
        capital = Decimal(price["price_cny"]) * Decimal(price["system_uplift_ratio"]) * pool.accelerator_count
        rows.append({
            "tranche_id": f"tranche-{pool.pool_id}", "site_id": pool.site_id, "accelerator_id": pool.accelerator_id,
            "accelerator_count": pool.accelerator_count, "capital_cny": capital.quantize(FEN), "currency": "CNY",
            "life_years": price["life_years"], "commissioned_date": pool.commissioned_date,
        })  # fmt: skip
    return rows


def totals(sold: Rows, assets: Rows) -> dict[str, object]:
    """What was planted, for the truth: grants by kind of package, and capital. Money as decimal text."""
    kinds = {package_id: row["package_kind"] for package_id, row in _packages().items()}
    by_kind = {
        kind: {
            "subscription_count": len(rows), "granted_tokens": sum(row["granted_tokens"] for row in rows),
            "price_cny": str(sum((row["price_cny"] for row in rows), Decimal("0.00"))),
        }
        for kind in ("trial", "paid")
        for rows in [[row for row in sold if kinds[row["package_id"]] == kind]]
    }  # fmt: skip
    return {
        "subscriptions": by_kind,
        "voided_count": sum(1 for row in sold if row.get("voided_date")),
        "renewal_count": sum(1 for row in sold if row.get("renews_subscription_id")),
        "refund_cny": str(sum((row.get("refund_cny", Decimal(0)) for row in sold), Decimal("0.00"))),
        "capital_cny": str(sum((row["capital_cny"] for row in assets), Decimal("0.00"))),
        "capital_accelerator_count": sum(row["accelerator_count"] for row in assets),
    }
