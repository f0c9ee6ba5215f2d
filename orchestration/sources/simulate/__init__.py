"""A simulated nationwide network, written as landing files, with the truth beside them.

The operator's own data is private, so this stands in for it: calibrated on public facts where there are
any (``calibration``), planned where there are none (``network_plan``). Deterministic by seed and last
day, written business day by business day in bounded memory. Nothing here reads what the pipeline writes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

from orchestration.home import Home
from orchestration.sources.simulate import calibration, job_logs, network_plan, reference
from orchestration.sources.simulate.delivery import Landing
from orchestration.sources.simulate.demand import Demand
from orchestration.sources.simulate.link_counters import LinkWriter
from orchestration.sources.simulate.network import Network, start_of_business_day
from orchestration.sources.simulate.queues import Training
from orchestration.sources.simulate.telemetry import TelemetryWriter
from orchestration.sources.simulate.truth import UNITS, Truth, UsageTruth, planted_sites
from orchestration.sources.simulate.usage import UsageWriter, broken_kinds

__all__ = ["Truth", "simulate"]

SMALLEST_EVENTS_PER_DAY = 100
# Days before the end over which the busy hour of each site is taken (28 days hold 4 whole weeks).
BUSY_HOUR_DAYS = 28
BUSY_HOUR_QUANTILE = 0.95


def simulate(
    home: Home,
    *,
    days: int = 56,
    seed: int = 7,
    events_per_day: int = 40_000,
    end_date: date = date(2026, 11, 22),
    progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Writes ``days`` business days (Asia/Shanghai) of landing files up to ``end_date``; returns the truth.

    The files of a business day are delivered on the UTC day of the same date; the truth goes to
    ``home.truth``. The same arguments give the same bytes. Raises ValueError when days or
    events_per_day are too small.
    """
    if days < 1:
        raise ValueError(f"days must be at least 1, not {days}")
    if events_per_day < SMALLEST_EVENTS_PER_DAY:
        raise ValueError(
            f"events_per_day must be at least {SMALLEST_EVENTS_PER_DAY}, not {events_per_day}"
        )
    first_day = end_date - timedelta(days=days - 1)
    network = Network(seed, end_date)
    demand = Demand(network)
    landing = Landing(home)
    usage_truth = UsageTruth(demand, broken_kinds())
    usage = UsageWriter(demand, landing, usage_truth, events_per_day)
    telemetry = TelemetryWriter(network, landing)
    links = LinkWriter(demand, landing)
    training = Training(network, first_day)
    job_truth = job_logs.JobTruth()
    reference_rows, sold_and_bought = reference.write(demand, landing, first_day)
    for number in range(days):
        day = first_day + timedelta(days=number)
        today = demand.on(day)
        usage.write(day, today)
        ended = training.advance(day)
        job_logs.write(day, ended, training, landing, job_truth, last_day=day == end_date)
        telemetry.write(day, today, [*ended, *training.running_jobs()])
        links.write(day, today)
        if progress:
            progress(number + 1, days)
    usage.close()
    began, ends = (
        start_of_business_day(first_day),
        start_of_business_day(end_date + timedelta(days=1)),
    )
    kinds = {site: kind for kind, sites in (("hotspot", network_plan.PLANTED_HOTSPOTS),
             ("flat", network_plan.PLANTED_FLAT), ("idle", network_plan.PLANTED_IDLE)) for site in sites}  # fmt: skip
    truth = Truth(
        home.truth / "truth.json",
        {
            "parameters": {
                "days": days, "seed": seed, "events_per_day": events_per_day, "end_date": end_date.isoformat(),
                "first_date": first_day.isoformat(), "window_began_at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
                "window_ends_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
                "target_utilization_ratio": calibration.TARGET_UTILIZATION_RATIO,
            },
            "units": UNITS,
            "token_usage": usage_truth.as_dict(),
            "job_logs": job_truth.as_dict(),
            "telemetry": telemetry.truth.as_dict(),
            "link_counters": links.as_dict(),
            "reference": reference_rows,
            "sold_and_bought": sold_and_bought,
            "sites": planted_sites(demand, busy_hour_factors(demand), kinds, first_day),
            "scheduling_waste": usage_truth.waste.as_dict(first_day),
            "short_training_pools": list(network_plan.PLANTED_SHORT_TRAINING),
            "incidents": [
                {"site_id": incident.site_id, "usage_date": network.day_before_end(incident.days_before).isoformat(),
                 "start_hour": incident.start_hour, "hours": incident.hours, "node_share": incident.node_share}
                for incident in network_plan.INCIDENTS
            ],
            "deliveries": landing.deliveries,
        },
    )  # fmt: skip
    truth.write()
    return truth


def busy_hour_factors(demand: Demand) -> np.ndarray:
    """By site, the busy hour (95th percentile of a week's hours) over the mean hour, bursts included.

    The mean over four ordinary weeks that end on the last day.
    """
    network = demand.network
    days = [network.day_before_end(back) for back in range(BUSY_HOUR_DAYS - 1, -1, -1)]
    asked = np.concatenate([demand.on(day).asked_accelerators / demand.growth(day) for day in days])
    weeks = asked.reshape(BUSY_HOUR_DAYS // 7, 7 * 24, -1)
    return (np.quantile(weeks, BUSY_HOUR_QUANTILE, axis=1) / weeks.mean(axis=1)).mean(axis=0)
