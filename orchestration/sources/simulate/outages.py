"""When nodes are down or in maintenance: drawn by day, planted incidents included.

Pure dates and node numbers; what an outage does to jobs, devices and capacity is told elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from orchestration.sources.simulate import calibration, network_plan
from orchestration.sources.simulate.network import HOURS_A_DAY, Network, start_of_business_day
from orchestration.sources.simulate.randomness import generator

# Longest outage that is drawn: how far back a day looks for outages that still last.
LONGEST_OUTAGE = timedelta(days=7)
MAINTENANCE_HOURS = 6
MAINTENANCE_START_HOUR = 2


@dataclass(frozen=True)
class Outage:
    """One node out of service over [start, end); device_state is down or maintenance."""

    pool_id: str
    node: int
    start: datetime
    end: datetime
    device_state: str
    slot: int
    planted: bool = False


def outages_beginning(network: Network, day: date) -> list[Outage]:
    """Outages that begin on the business day, in time order; whole hours, so that hourly samples tell all."""
    random = generator(network.seed, day, "outages")
    began = start_of_business_day(day)
    outages = []
    for number, pool in enumerate(network.pools):
        failures = int(random.poisson(pool.node_count * calibration.NODE_OUTAGES_PER_YEAR / 365))
        for _ in range(failures):
            node = int(random.integers(pool.node_count))
            start = began + timedelta(hours=int(random.integers(HOURS_A_DAY)))
            hours = calibration.OUTAGE_MEDIAN_HOURS * np.exp(
                calibration.OUTAGE_SIGMA * random.standard_normal()
            )
            end = start + min(timedelta(hours=max(1, round(hours))), LONGEST_OUTAGE)
            slot = int(random.integers(pool.accelerators_per_node))
            if pool.in_service(day):
                outages.append(Outage(pool.pool_id, node, start, end, "down", slot))
        # Each serving pool of a hub has an eighth of its nodes serviced on its own weekday and week of the month.
        turn = (day.toordinal() // 7 + number) % 4 == 0 and day.weekday() == 1 + number % 3
        if (
            pool.purpose == "serving"
            and network.is_hub[pool.site]
            and turn
            and pool.in_service(day)
        ):
            start = began + timedelta(hours=MAINTENANCE_START_HOUR)
            for node in range(0, pool.node_count, 8):
                outages.append(
                    Outage(
                        pool.pool_id,
                        node,
                        start,
                        start + timedelta(hours=MAINTENANCE_HOURS),
                        "maintenance",
                        0,
                    )
                )
    for incident in network_plan.INCIDENTS:
        if network.day_before_end(incident.days_before) == day:
            for pool in network.serving_pools(day):
                if pool.site_id == incident.site_id:
                    start = began + timedelta(hours=incident.start_hour)
                    end = start + timedelta(hours=incident.hours)
                    for node in range(round(pool.node_count * incident.node_share)):
                        outages.append(
                            Outage(pool.pool_id, node, start, end, "down", 0, planted=True)
                        )
    return sorted(
        outages, key=lambda outage: (outage.start, outage.pool_id, outage.node, outage.end)
    )


def outages_during(network: Network, day: date) -> list[Outage]:
    """Outages that last during some part of the business day."""
    began = start_of_business_day(day)
    look_back = LONGEST_OUTAGE.days + 1
    return [
        outage
        for back in range(look_back, -1, -1)
        for outage in outages_beginning(network, day - timedelta(days=back))
        if outage.end > began
    ]


def hours_out(outage: Outage, day: date) -> slice:
    """The hours of the business day (0 to 23) at whose start the node is out."""
    began = start_of_business_day(day)
    first = -int((began - outage.start) // timedelta(hours=1))
    last = -int((began - outage.end) // timedelta(hours=1))
    return slice(min(max(first, 0), HOURS_A_DAY), min(max(last, 0), HOURS_A_DAY))
