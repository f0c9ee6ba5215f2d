"""Octet counters of every optical link, both directions, each half hour.

Traffic is what the tokens of the hour move along the shortest route, over a background of other
services. Plants counters near the 64-bit wrap, resets and gaps.
"""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.delivery import Feed, Landing
from orchestration.sources.simulate.demand import DayDemand, Demand
from orchestration.sources.simulate.network import HOURS_A_DAY, Network, start_of_business_day
from orchestration.sources.simulate.randomness import ONCE, generator

FEED = Feed("telemetry", "canonical", "link_counters", "simulated-routers")
STEP_SECONDS = calibration.LINK_INTERVAL_SECONDS
STEPS_A_DAY = 86_400 // STEP_SECONDS
UTC_MIDNIGHT_STEP = 8 * 3600 // STEP_SECONDS
OCTETS_PER_GBPS = 125_000_000
LOWEST_UTILIZATION, HIGHEST_UTILIZATION = 0.08, 0.85
# Background by hour (Shanghai) over its mean: assumption, people's evening.
BACKGROUND_SHAPE = np.array(
    [0.82, 0.7, 0.6, 0.55, 0.53, 0.55, 0.62, 0.74, 0.9, 1.02, 1.08, 1.1, 1.08, 1.06, 1.08, 1.1, 1.12, 1.12, 1.14,
     1.25, 1.36, 1.4, 1.3, 1.08]
)  # fmt: skip
# Planted, as (link number, days before the end, step of the day): the router restarts in that step.
RESETS = ((5, 30, 20), (40, 17, 7), (77, 9, 33), (110, 2, 14))
# Planted, as (link number, days before the end, first and last step): no sample.
GAPS = ((12, 27, 10, 21), (60, 13, 0, 47), (95, 4, 30, 33))
# Planted: these begin this many mean steps short of the wrap.
WRAPS = ((3, 400), (71, 900))
WRAP = 2**64


def routes(network: Network) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """(origin, serving site) -> links on the shortest route, as (link, 0 when a to b else 1)."""
    neighbours: dict[int, list[tuple[float, int, int, int]]] = {}
    for number, link in enumerate(network.links):
        neighbours.setdefault(link.a, []).append((link.route_km, link.b, number, 0))
        neighbours.setdefault(link.b, []).append((link.route_km, link.a, number, 1))
    found = {}
    for origin in range(len(network.site_ids)):
        best: dict[int, tuple[float, list[tuple[int, int]]]] = {}
        heap: list[tuple[float, int, list[tuple[int, int]]]] = [(0.0, origin, [])]
        while heap:
            distance, site, path = heapq.heappop(heap)
            if site in best:
                continue
            best[site] = (distance, path)
            for length, other, number, direction in neighbours.get(site, []):
                if other not in best:
                    heapq.heappush(heap, (distance + length, other, [*path, (number, direction)]))
        found.update({(origin, site): path for site, (_, path) in best.items()})
    return found


class LinkWriter:
    """Writes the link-counter file of one business day after another and keeps the counters."""

    def __init__(self, demand: Demand, landing: Landing):
        self.demand = demand
        self.network = network = demand.network
        self.landing = landing
        random = generator(network.seed, ONCE, "links")
        count = len(network.links)
        self.capacity_gbps = np.array([link.capacity_gbps for link in network.links])
        self.background = random.uniform(0.18, 0.5, (count, 2))
        self.growth = random.uniform(0, 0.004, count)
        mean_step = self.capacity_gbps[:, None] * 0.35 * OCTETS_PER_GBPS * STEP_SECONDS
        self.counters = random.integers(0, 2**62, (count, 2), dtype=np.uint64)
        for link, steps in WRAPS:
            self.counters[link] = WRAP - int(mean_step[link, 0]) * steps
        self._incidence = self._stream_links()
        self.previous: np.ndarray | None = None
        self.was_sampled = np.zeros(count, bool)
        self.was_reset = np.zeros((count, 2), bool)
        self.sent = np.zeros((count, 2), np.uint64)
        self.observed = np.zeros((count, 2), np.uint64)
        self.sent_by_utc_day: Counter[str] = Counter()
        self.observed_by_utc_day: Counter[str] = Counter()
        self.samples = 0
        self.wraps: list[dict] = []
        self.resets: list[dict] = []

    def _stream_links(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """By (link, direction) of the way out: the streams that cross it, and which cross it coming back."""
        paths = routes(self.network)
        crossing: list[list[list[int]]] = [[[], []] for _ in self.network.links]
        for stream, pair in enumerate(
            zip(self.demand.origin.tolist(), self.demand.serving.tolist(), strict=True)
        ):
            for link, direction in paths[pair]:
                crossing[link][direction].append(stream)
        return [(np.array(a, dtype=np.int64), np.array(b, dtype=np.int64)) for a, b in crossing]

    def write(self, day: date, today: DayDemand) -> None:
        """Writes the business day's file and counts it."""
        network = self.network
        random = generator(network.seed, day, "links")
        octets = self._octets(random, day, today)
        gaps = {(link, step) for link, before, first, last in GAPS
                if network.day_before_end(before) == day for step in range(first, last + 1)}  # fmt: skip
        resets = {
            (link, step) for link, before, step in RESETS if network.day_before_end(before) == day
        }
        shown = np.empty((STEPS_A_DAY, len(network.links), 2), np.uint64)
        sampled = np.ones((STEPS_A_DAY, len(network.links)), bool)
        for link, step in gaps:
            sampled[step, link] = False
        for step in range(STEPS_A_DAY):
            self._observe(day, step, sampled[step])
            shown[step] = self.counters
            self._send(day, step, octets[step], {link for link, at in resets if at == step}, random)
        frame = self._frame(day, shown, sampled)
        self.samples += frame.height
        content = frame.write_csv().encode()
        self.landing.deliver(
            FEED, day, f"link-counters-{day.isoformat()}.csv.gz", content, frame.height + 1
        )

    def _octets(self, random: np.random.Generator, day: date, today: DayDemand) -> np.ndarray:
        """(step, link, direction) bytes sent in each half hour."""
        demand, count = self.demand, len(self.network.links)
        served = today.requests * (1 - today.throttled_ratio[:, demand.serving])
        out_bytes = served * demand.input_length * calibration.BYTES_PER_TOKEN
        back_bytes = served * demand.output_length * calibration.BYTES_PER_TOKEN
        hourly = np.zeros((HOURS_A_DAY, count, 2))
        for link, directions in enumerate(self._incidence):
            for direction, streams in enumerate(directions):
                if len(streams):
                    hourly[:, link, direction] += out_bytes[:, streams].sum(axis=1)
                    hourly[:, link, 1 - direction] += back_bytes[:, streams].sum(axis=1)
        token_utilization = hourly / 3600 / OCTETS_PER_GBPS / self.capacity_gbps[None, :, None]
        weeks = (day - self.network.end_date).days / 7
        level = self.background * np.exp(self.growth * weeks)[:, None]
        background = BACKGROUND_SHAPE[:, None, None] / BACKGROUND_SHAPE.mean() * level
        steps = np.repeat(background + token_utilization, STEPS_A_DAY // HOURS_A_DAY, axis=0)
        steps = steps * random.normal(1, 0.05, steps.shape)
        steps = np.clip(steps, LOWEST_UTILIZATION, HIGHEST_UTILIZATION)
        return np.rint(
            steps * self.capacity_gbps[None, :, None] * OCTETS_PER_GBPS * STEP_SECONDS
        ).astype(np.uint64)

    def _utc_day(self, day: date, step: int) -> str:
        """UTC day of the instant just before the step begins."""
        return (day if step > UTC_MIDNIGHT_STEP else day - timedelta(days=1)).isoformat()

    def _observe(self, day: date, step: int, sampled: np.ndarray) -> None:
        """What a reader of two samples one step apart can tell: the increase, or after a reset the new reading."""
        if self.previous is not None:
            seen = sampled & self.was_sampled
            increase = np.where(self.was_reset, self.counters, self.counters - self.previous)
            wrapped = seen[:, None] & ~self.was_reset & (self.counters < self.previous)
            for link, direction in np.argwhere(wrapped).tolist():
                self.wraps.append(self._event(day, step, link, direction))
            increase = np.where(seen[:, None], increase, 0).astype(np.uint64)
            self.observed += increase
            self.observed_by_utc_day[self._utc_day(day, step)] += int(increase.sum())
        self.previous = self.counters.copy()
        self.was_sampled = sampled.copy()
        self.was_reset = np.zeros_like(self.was_reset)

    def _send(
        self,
        day: date,
        step: int,
        octets: np.ndarray,
        resets: set[int],
        random: np.random.Generator,
    ) -> None:
        self.sent += octets
        self.sent_by_utc_day[self._utc_day(day, step + 1)] += int(octets.sum())
        self.counters = self.counters + octets
        for link in sorted(resets):
            kept = (octets[link] * random.uniform(0.2, 0.8)).astype(np.uint64)
            lost = (octets[link] - kept).tolist()
            self.counters[link] = kept
            self.was_reset[link] = True
            self.resets.append(
                {
                    **self._event(day, step, link, None),
                    "octets_lost_a_to_b": lost[0],
                    "octets_lost_b_to_a": lost[1],
                }
            )

    def _event(self, day: date, step: int, link: int, direction: int | None) -> dict:
        at = start_of_business_day(day) + timedelta(seconds=step * STEP_SECONDS)
        event = {
            "link_id": self.network.links[link].link_id,
            "step_started_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return (
            event if direction is None else {**event, "direction": ("a_to_b", "b_to_a")[direction]}
        )

    def _frame(self, day: date, shown: np.ndarray, sampled: np.ndarray) -> pl.DataFrame:
        began = start_of_business_day(day)
        step, link = np.nonzero(sampled)
        instants = pl.Series([
            (began + timedelta(seconds=number * STEP_SECONDS)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
            for number in range(STEPS_A_DAY)
        ])  # fmt: skip
        return pl.DataFrame({
            "sampled_at": instants.gather(step),
            "link_id": pl.Series([each.link_id for each in self.network.links]).gather(link),
            "octets_a_to_b": shown[step, link, 0],
            "octets_b_to_a": shown[step, link, 1],
            "capacity_gbps": self.capacity_gbps[link],
        })  # fmt: skip

    def as_dict(self) -> dict:
        """Everything counted, in plain types."""
        end = self.network.day_before_end
        links = self.network.links
        return {
            "sample_interval_seconds": STEP_SECONDS,
            "samples": self.samples,
            "octets_sent_by_utc_day": dict(sorted(self.sent_by_utc_day.items())),
            "octets_observed_by_utc_day": dict(sorted(self.observed_by_utc_day.items())),
            "by_link": {
                link.link_id: {
                    "octets_sent_a_to_b": int(self.sent[number, 0]), "octets_sent_b_to_a": int(self.sent[number, 1]),
                    "octets_observed_a_to_b": int(self.observed[number, 0]),
                    "octets_observed_b_to_a": int(self.observed[number, 1]),
                }
                for number, link in enumerate(links)
            },
            "resets": self.resets,
            "wraps": self.wraps,
            "gaps": [
                {"link_id": links[link].link_id, "usage_date": end(before).isoformat(), "first_step": first, "last_step": last}
                for link, before, first, last in GAPS
            ],
        }  # fmt: skip
