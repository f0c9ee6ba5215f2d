"""Demand of the simulated network: who asks where for how much, hour by hour, before any record of it.

A stream is one (tenant, model, origin, site it is routed to, site that serves it). Its requests follow the
shapes, calendar, growth and bursts of ``calibration``; each site is scaled so that what is routed to it makes
it as full as ``network_plan`` says. The two sites differ only for what a planted misroute moves, so that the
same is asked for with and without it. The trend without noise is known here, and so is the week in which a
site fills up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from orchestration.sources.simulate import calibration, network_plan, trials
from orchestration.sources.simulate.network import HOURS_A_DAY, Network, read_seed
from orchestration.sources.simulate.outages import hours_out, outages_during
from orchestration.sources.simulate.randomness import ONCE, generator

SECONDS_AN_HOUR = 3_600
LARGE_TENANT_RANKS = 10
WIDE_TENANT_RANKS = 25


def hourly_shares(model_class: str) -> np.ndarray:
    """Share of a day's requests in each hour (Shanghai) for models of the class; they add up to 1."""
    shape = np.array(calibration.DIURNAL_SHAPES[model_class])
    if model_class == "reasoning":
        shape = shape**calibration.REASONING_SHAPE_POWER
    return shape / shape.sum()


@dataclass(frozen=True)
class DayDemand:
    """One business day: (hour, stream) requests asked for, and what each (hour, site) made of them."""

    requests: np.ndarray
    throttled_ratio: np.ndarray
    asked_accelerators: np.ndarray
    up_accelerators: np.ndarray
    served_ratio: np.ndarray


class Demand:
    """All streams of a network, and their requests on any business day."""

    def __init__(self, network: Network):
        self.network = network
        self._draw_streams()
        self._scale_to_sites()
        for misroute in network_plan.PLANTED_MISROUTES:
            self._misroute(misroute)
        self.moved = np.flatnonzero(self.serving != self.routed)
        self.trials = trials.courses(self)
        self._hourly = np.array([hourly_shares(model.model_class) for model in network.models]).T
        self._segment_names = list(calibration.DAY_OFF_SHARES)
        segments = [self._segment_names.index(tenant.segment) for tenant in network.tenants]
        self._segment = np.array(segments)
        holidays = read_seed("holidays")
        self._days_off = {
            date.fromisoformat(r["holiday_date"]) for r in holidays if r["day_type"] == "off"
        }
        self._make_up = {
            date.fromisoformat(r["holiday_date"])
            for r in holidays
            if r["day_type"] == "make_up_workday"
        }

    def _draw_streams(self) -> None:
        network, random = self.network, generator(self.network.seed, ONCE, "streams")
        people = network.population / network.population.sum()
        popularity = np.array(
            [calibration.MODEL_POPULARITY[model.model_id] for model in network.models], float
        )
        popularity /= popularity.sum()
        hubs = np.flatnonzero(network.is_hub)
        tenant, model, origin, routed, share = [], [], [], [], []
        for rank, customer in enumerate(network.tenants):
            wide = rank < WIDE_TENANT_RANKS
            model_count = (
                10 if rank < LARGE_TENANT_RANKS else 4 if wide else int(random.integers(1, 4))
            )
            chosen = random.choice(len(popularity), size=model_count, replace=False, p=popularity)
            model_shares = random.dirichlet(np.full(model_count, 3.0))
            origins = self._origins(random, customer.home, wide, people)
            origin_shares = people[origins] * (1 + 2.0 * (origins == customer.home))
            origin_shares = origin_shares / origin_shares.sum()
            for model_number, model_share in zip(chosen, model_shares, strict=True):
                for origin_number, origin_share in zip(origins, origin_shares, strict=True):
                    tenant.append(rank)
                    model.append(model_number)
                    origin.append(origin_number)
                    routed.append(
                        self._routed(random, network.models[model_number], origin_number, hubs)
                    )
                    share.append(customer.share * model_share * origin_share)
        # By site, so that a systematic sample takes each site's share of records every hour.
        order = np.lexsort((tenant, model, routed))
        self.tenant, self.model = np.array(tenant)[order], np.array(model)[order]
        self.origin, self.routed = np.array(origin)[order], np.array(routed)[order]
        self.serving = self.routed.copy()
        self.share = np.array(share)[order]
        self.is_agent = np.array([customer.is_agent for customer in network.tenants])[self.tenant]
        classes = [network.models[number].model_class for number in self.model]
        # A reasoning model's output is its use, so no tenant turns it into a reader of long prompts.
        self.is_agent &= np.array([name != "reasoning" for name in classes])
        agent_output = calibration.AGENT_INPUT_LENGTH * (1 / calibration.AGENT_INPUT_SHARE - 1)
        inputs = np.array(
            [calibration.INPUT_LENGTHS[name] * calibration.LENGTH_GROWTH for name in classes]
        )
        outputs = np.array(
            [calibration.OUTPUT_LENGTHS[name] * calibration.LENGTH_GROWTH for name in classes]
        )
        cached = np.array([calibration.CACHED_SHARES[name] for name in classes])
        self.input_length = np.where(self.is_agent, calibration.AGENT_INPUT_LENGTH, inputs)
        self.output_length = np.where(self.is_agent, agent_output, outputs)
        self.cached_share = np.where(self.is_agent, calibration.AGENT_CACHED_SHARE, cached)
        self.reasoning_share = np.array(
            [calibration.REASONING_SHARE if name == "reasoning" else 0.0 for name in classes]
        )

    def _origins(
        self, random: np.random.Generator, home: int, wide: bool, people: np.ndarray
    ) -> np.ndarray:
        if wide:
            return self.network.hotspots
        others = random.choice(len(people), size=2, replace=False, p=people)
        return np.unique(np.append(others[: int(random.integers(0, 3))], home))

    def _routed(self, random: np.random.Generator, model, origin: int, hubs: np.ndarray) -> int:
        """Site that should serve: the strict latency circles stay near, the loose one may go west."""
        nearest = int(self.network.nearest_hub[origin])
        draw = random.random()
        if model.latency_class_ms == 1:
            return int(origin)
        if model.latency_class_ms == 5:
            return int(origin) if draw < 0.6 else nearest
        if model.model_class == "mid":
            return (
                int(origin) if draw < 0.35 else nearest if draw < 0.8 else int(random.choice(hubs))
            )
        return int(origin) if draw < 0.15 else nearest if draw < 0.65 else int(random.choice(hubs))

    def accelerator_seconds(self, day: date, sites: np.ndarray) -> np.ndarray:
        """Accelerator-seconds that one request of each stream takes on the day at the site given for the stream."""
        into, out = self.network.seconds_per_token(day)
        uncached = self.input_length * (1 - self.cached_share)
        return uncached * into[self.model, sites] + self.output_length * out[self.model, sites]

    def _scale_to_sites(self) -> None:
        """Requests a day of each stream on a mean day at the end date, such that each site is as full as planned."""
        network = self.network
        cost = self.accelerator_seconds(network.end_date, self.routed)
        load = np.bincount(self.routed, self.share * cost, len(network.site_ids))
        wanted = np.array([self._use(site_id)[0] for site_id in network.site_ids])
        accelerators = network.serving_accelerators(network.end_date)
        per_site = wanted * accelerators * HOURS_A_DAY * SECONDS_AN_HOUR / np.maximum(load, 1e-30)
        self.daily_requests = self.share * per_site[self.routed]

    def _misroute(self, misroute: network_plan.Misroute) -> None:
        """Splits the streams of the rule in two: what goes on as it was and, right after it, what the rule moves."""
        network = self.network
        origin, dear = (network.site_index[site] for site in (misroute.origin_site_id, misroute.dear_site_id))
        is_reasoning = np.array([model.model_class == "reasoning" for model in network.models])[self.model]
        splits = is_reasoning & (self.origin == origin) & (self.serving == network.nearest_hub[origin])
        cost = self.accelerator_seconds(network.end_date, np.full(len(self.tenant), dear))
        movable = (self.daily_requests * cost)[splits].sum() / (HOURS_A_DAY * SECONDS_AN_HOUR)
        wanted = misroute.use_ratio * network.serving_accelerators(network.end_date)[dear]
        moved_share = min(wanted / max(movable, 1e-30), 1.0)
        copies = 1 + splits
        # By now every array is one of streams.
        for name, values in list(vars(self).items()):
            if isinstance(values, np.ndarray):
                setattr(self, name, np.repeat(values, copies))
        was_split = np.repeat(splits, copies)
        is_moved = was_split & (np.cumsum(was_split) % 2 == 0)
        self.serving[is_moved] = dear
        part = np.where(is_moved, moved_share, np.where(was_split, 1 - moved_share, 1.0))
        self.share, self.daily_requests = self.share * part, self.daily_requests * part

    @staticmethod
    def _use(site_id: str) -> tuple[float, float]:
        return network_plan.SITE_USE.get(site_id, network_plan.DEFAULT_USE)

    def growth(self, day: date) -> np.ndarray:
        """Demand by site over that of the end date, without noise or calendar."""
        weeks = (day - self.network.end_date).days / 7
        constant = calibration.GROWTH_TIME_CONSTANT_WEEKS
        slowed = constant * (1 - np.exp(-weeks / constant))
        rates = np.array([self._use(site_id)[1] for site_id in self.network.site_ids])
        return np.exp(rates * slowed)

    def trend_accelerators(self, day: date) -> np.ndarray:
        """Accelerators that mean serving demand keeps busy by site, without noise, calendar and throttling."""
        use = np.array([self._use(site_id)[0] for site_id in self.network.site_ids])
        trend = use * self.network.serving_accelerators(self.network.end_date) * self.growth(day)
        requests = self.mean_requests(day)
        for sites, sign in ((self.routed, -1), (self.serving, 1)):
            moved = (requests * self.accelerator_seconds(day, sites))[self.moved]
            trend += sign * np.bincount(sites[self.moved], moved, len(trend)) / (HOURS_A_DAY * SECONDS_AN_HOUR)
        return trend

    def mean_requests(self, day: date) -> np.ndarray:
        """Requests of each stream on the day without noise and calendar; none where nothing is installed yet.

        What trial customers have not begun to ask for, or ask for no more, the others routed to the site do: its load
        stays on its trend.
        """
        cost = self.accelerator_seconds(day, self.routed)
        able = (cost > 0) & (self.accelerator_seconds(day, self.serving) > 0)
        daily = np.where(able, self.daily_requests * self.growth(day)[self.routed], 0)
        activity = np.ones(len(self.network.tenants))
        for tenant, course in self.trials.items():
            activity[tenant] = course.activity_ratio(day)
        active = daily * activity[self.tenant]
        sites = len(self.network.site_ids)
        planned, left = (np.bincount(self.routed, requests * cost, sites) for requests in (daily, active))
        return active * np.divide(planned, left, out=np.ones(sites), where=left > 0)[self.routed]

    def calendar_factors(self, day: date) -> np.ndarray:
        """Requests of the day over those of a mean day, by segment; an ordinary week has mean 1."""
        off = day in self._days_off or (day.weekday() >= 5 and day not in self._make_up)
        event = calibration.EVENT_FACTORS.get(day, 1.0)
        shares = np.array(list(calibration.DAY_OFF_SHARES.values()))
        workday = 7 / (5 + 2 * shares)
        return workday * (shares if off else 1.0) * event

    def bursts(self, day: date) -> np.ndarray:
        """(hour, tenant) noise of mean 1: what a tenant asks for over what is usual for it."""
        random = generator(self.network.seed, day, "bursts")
        tenants = len(self.network.tenants)
        noise = random.standard_normal((HOURS_A_DAY, tenants))
        correlation = calibration.HOURLY_CORRELATION
        for hour in range(1, HOURS_A_DAY):
            noise[hour] = correlation * noise[hour - 1] + np.sqrt(1 - correlation**2) * noise[hour]
        sigma = np.full(tenants, calibration.SMALL_TENANT_SIGMA)
        sigma[:LARGE_TENANT_RANKS] = calibration.LARGE_TENANT_SIGMA
        daily = random.standard_normal(tenants) * calibration.DAILY_SIGMA
        spread = sigma**2 + calibration.DAILY_SIGMA**2
        return np.exp(noise * sigma + daily - spread / 2)

    def up_accelerators(self, day: date) -> np.ndarray:
        """(hour, site) serving accelerators that are installed and neither down nor in maintenance."""
        network = self.network
        up = np.repeat(network.serving_accelerators(day)[None, :], HOURS_A_DAY, axis=0)
        pools = {pool.pool_id: pool for pool in network.serving_pools(day)}
        out = {(outage.pool_id, outage.node, hour)
               for outage in outages_during(network, day) if outage.pool_id in pools
               for hour in range(*hours_out(outage, day).indices(HOURS_A_DAY))}  # fmt: skip
        for pool_id, _node, hour in sorted(out):
            up[hour, pools[pool_id].site] -= pools[pool_id].accelerators_per_node
        return up

    def on(self, day: date) -> DayDemand:
        """What is asked for on the business day, and how much of it is throttled."""
        factors = self.calendar_factors(day)[self._segment] * self.bursts(day)
        cost = self.accelerator_seconds(day, self.serving)
        daily = self.mean_requests(day)
        requests = self._hourly[:, self.model] * factors[:, self.tenant] * daily
        sites = len(self.network.site_ids)
        asked = (
            np.stack([np.bincount(self.serving, row, sites) for row in requests * cost])
            / SECONDS_AN_HOUR
        )
        up = self.up_accelerators(day)
        can = up * calibration.THROTTLING_RATIO
        throttled = np.where(asked > can, 1 - can / np.maximum(asked, 1e-30), 0)
        served = np.divide(asked * (1 - throttled), up, out=np.zeros_like(asked), where=up > 0)
        return DayDemand(requests, throttled, asked, up, served)

    def planned_accelerators(self, day: date) -> np.ndarray:
        """Serving accelerators by site with the committed deliveries that are due by the day."""
        counts = self.network.serving_accelerators(min(day, self.network.end_date))
        for order in network_plan.PLANNED:
            due = self.network.end_date + timedelta(days=order.days_after)
            if order.purpose == "serving" and order.commitment == "committed" and due <= day:
                counts[self.network.site_index[order.site_id]] += order.accelerator_count
        return counts
