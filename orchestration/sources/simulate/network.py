"""The simulated network: sites and links from the seeds, pools from the plan, tenants drawn by seed.

Says what stands where and when. No demand and no files: those are ``demand`` and the feeds' modules.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from orchestration.home import DBT_PROJECT
from orchestration.sources.simulate import calibration, network_plan
from orchestration.sources.simulate.randomness import ONCE, generator

SEEDS = DBT_PROJECT / "seeds"
HOURS_A_DAY = 24
SHANGHAI_OFFSET = timedelta(hours=8)


def start_of_business_day(day: date) -> datetime:
    """The UTC instant at which the business day (Asia/Shanghai) begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - SHANGHAI_OFFSET


@dataclass(frozen=True)
class Pool:
    """A group of equal nodes at one site."""

    pool_id: str
    site: int
    site_id: str
    purpose: str
    accelerator_id: str
    node_count: int
    accelerators_per_node: int
    commissioned_date: date
    retired_date: date | None
    training_load: float
    submit_limit_ratio: float = math.inf

    @property
    def accelerator_count(self) -> int:
        """Accelerators of the pool while it is in service."""
        return self.node_count * self.accelerators_per_node

    def in_service(self, day: date) -> bool:
        """Whether the pool is in service on the business day."""
        return self.commissioned_date <= day and (
            self.retired_date is None or day < self.retired_date
        )

    def node_id(self, node: int) -> str:
        """Name of the node, counted from 0."""
        return f"{self.pool_id}-node-{node + 1:04d}"


@dataclass(frozen=True)
class Tenant:
    """A customer: which segment, which product, how large, and whether a coding agent."""

    tenant_id: str
    segment: str
    product: str
    home: int
    share: float
    is_agent: bool
    is_registered: bool = True


@dataclass(frozen=True)
class Model:
    """A model served, from the seed."""

    model_id: str
    model_class: str
    latency_class_ms: int


@dataclass(frozen=True)
class Link:
    """An optical link, from the seed."""

    link_id: str
    a: int
    b: int
    route_km: float
    capacity_gbps: float


def read_seed(name: str, folder: Path = SEEDS) -> list[dict[str, str]]:
    """Rows of a reference seed as text."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class Network:
    """Everything that stands still, for one seed and last day."""

    def __init__(self, seed: int, end_date: date):
        self.seed = seed
        self.end_date = end_date
        sites = read_seed("sites")
        self.site_ids = [row["site_id"] for row in sites]
        self.site_index = {site_id: index for index, site_id in enumerate(self.site_ids)}
        self.is_hub = np.array([row["site_kind"] == "hub" for row in sites])
        self.hotspots = np.flatnonzero(~self.is_hub)
        self.population = np.array([float(row["population"] or 0) for row in sites])
        self.nearest_hub = np.array(
            [self.site_index[row["nearest_hub_site_id"] or row["site_id"]] for row in sites]
        )
        self.links = [
            Link(row["link_id"], self.site_index[row["a_site_id"]], self.site_index[row["b_site_id"]],
                 float(row["route_km"]), float(row["capacity_gbps"]))
            for row in read_seed("links")
        ]  # fmt: skip
        self.models = [
            Model(row["model_id"], row["model_class"], int(row["latency_class_ms"]))
            for row in read_seed("models")
        ]
        self.power_watts = {
            row["accelerator_id"]: float(row["power_watts"] or 0)
            for row in read_seed("accelerators")
        }
        self.memory_gb = {
            row["accelerator_id"]: float(row["memory_gb"] or 0) for row in read_seed("accelerators")
        }
        self.pools = [self._pool(plan) for plan in network_plan.POOLS]
        self.tenants = self._tenants()

    def day_before_end(self, days: int) -> date:
        """The business day that many days before the last one (after it, when negative)."""
        return self.end_date - timedelta(days=days)

    def _pool(self, plan: network_plan.PoolPlan) -> Pool:
        retired = plan.retired_days_before
        return Pool(
            pool_id=f"{plan.site_id}-{plan.purpose}-{plan.accelerator_id}",
            site=self.site_index[plan.site_id],
            site_id=plan.site_id,
            purpose=plan.purpose,
            accelerator_id=plan.accelerator_id,
            node_count=plan.node_count,
            accelerators_per_node=plan.accelerators_per_node,
            commissioned_date=self.day_before_end(plan.commissioned_days_before),
            retired_date=None if retired is None else self.day_before_end(retired),
            training_load=plan.training_load,
            submit_limit_ratio=plan.submit_limit_ratio,
        )

    def _tenants(self) -> list[Tenant]:
        random = generator(self.seed, ONCE, "tenants")
        count = calibration.TENANT_COUNT
        shares = np.arange(1, count + 1, dtype=float) ** -calibration.TENANT_EXPONENT
        shares /= shares.sum()
        segments = list(calibration.SEGMENT_SHARES)
        odds = np.array(list(calibration.SEGMENT_SHARES.values()))
        people = self.population[self.hotspots] / self.population.sum()
        numbers = random.permutation(count) + 1
        tenants = []
        for rank in range(count):
            segment = (
                calibration.LARGEST_SEGMENTS[rank]
                if rank < len(calibration.LARGEST_SEGMENTS)
                else segments[random.choice(len(segments), p=odds)]
            )
            products, product_odds = zip(*calibration.PRODUCT_SHARES[segment], strict=True)
            # The largest customers pay; a trial is for those who have not bought yet.
            product = (
                products[random.choice(len(products), p=product_odds)]
                if rank >= 10
                else products[0]
            )
            tenants.append(
                Tenant(
                    tenant_id=f"tenant-{numbers[rank]:04d}",
                    segment=segment,
                    product=product,
                    home=int(self.hotspots[random.choice(len(self.hotspots), p=people)]),
                    share=float(shares[rank]),
                    is_agent=(
                        rank in calibration.LARGEST_AGENTS
                        if rank < len(calibration.LARGEST_SEGMENTS)
                        else bool(random.random() < calibration.AGENT_TENANT_SHARES[segment])
                    ),
                )
            )
        tenants.append(
            Tenant(calibration.UNREGISTERED_TENANT, "developer", "payg", int(self.hotspots[0]),
                   calibration.UNREGISTERED_TENANT_SHARE, False, is_registered=False)
        )  # fmt: skip
        return tenants

    @cached_property
    def throughput(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(model_id, accelerator_id) -> uncached input and output tokens per second and accelerator.

        A row of the model wins over the row of its class.
        """
        by_class, by_model = {}, {}
        for row in read_seed("throughput"):
            rates = (float(row["input_tokens_per_second"]), float(row["output_tokens_per_second"]))
            if row["model_id"] == "*":
                by_class[row["model_class"], row["accelerator_id"]] = rates
            else:
                by_model[row["model_id"], row["accelerator_id"]] = rates
        accelerators = {accelerator_id for _, accelerator_id in by_class}
        return {
            (model.model_id, accelerator_id): by_model.get(
                (model.model_id, accelerator_id), by_class.get((model.model_class, accelerator_id))
            )
            for model in self.models
            for accelerator_id in sorted(accelerators)
            if (model.model_class, accelerator_id) in by_class
        }

    def serving_pools(self, day: date) -> list[Pool]:
        """Serving pools in service on the business day."""
        return [pool for pool in self.pools if pool.purpose == "serving" and pool.in_service(day)]

    def serving_accelerators(self, day: date) -> np.ndarray:
        """Serving accelerators in service by site."""
        counts = np.zeros(len(self.site_ids))
        for pool in self.serving_pools(day):
            counts[pool.site] += pool.accelerator_count
        return counts

    def seconds_per_token(self, day: date) -> tuple[np.ndarray, np.ndarray]:
        """(model, site) accelerator-seconds of an uncached input token and of an output token; 0 where nothing serves.

        A site with several types spreads a model's load by what each can put out, so that all are equally full.
        """
        shape = (len(self.models), len(self.site_ids))
        strength, into, accelerators = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for pool in self.serving_pools(day):
            for index, model in enumerate(self.models):
                rate_in, rate_out = self.throughput[model.model_id, pool.accelerator_id]
                strength[index, pool.site] += rate_out * pool.accelerator_count
                into[index, pool.site] += rate_out * pool.accelerator_count / rate_in
                accelerators[index, pool.site] += pool.accelerator_count
        serves = np.where(strength > 0, strength, 1)
        return into / serves, accelerators / serves
