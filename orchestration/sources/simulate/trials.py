"""What trial customers of the simulated network do with their trial, and after it.

Kept apart from the grants, because demand follows from it: a customer that leaves asks for nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.network import HOURS_A_DAY, Tenant, read_seed

if TYPE_CHECKING:
    from orchestration.sources.simulate.demand import Demand

# Days before the end on which the trial programme began, the end included.
PROGRAMME_DAYS = 56
# So that the grants of all trial customers stay within the programme's pool of 1e12.
LARGEST_TRIAL_TOKENS = 6_000_000_000
# Who leaves has used no more than this share of its grant, so that noise and growth don't use it up after all.
LEAVES_AT_RATIO = 0.5


@dataclass(frozen=True)
class Course:
    """One trial: its days, how much use the grant holds and is made of it (days of full use), and whether it converts."""

    starts: date
    expires: date
    granted_days: float
    used_days: float
    converts: bool

    def activity_ratio(self, day: date) -> float:
        """Requests of the day over those of a day of full use: none before the trial, none once the customer has left."""
        elapsed = (day - self.starts).days
        if elapsed < 0:
            return 0.0
        return 1.0 if self.converts else min(max(self.used_days - elapsed, 0.0), 1.0)


def trial_package(tenant: Tenant) -> str:
    """The trial that a tenant of its segment is given."""
    return "trial-developer" if tenant.segment == "developer" else "trial-trillion"


def courses(demand: Demand) -> dict[int, Course]:
    """The course of each trial customer by its place among the tenants; kinds take turns in the order of the ids.

    The programme's days count from the end date, so that a day is the same however many are simulated.
    """
    tenants = demand.network.tenants
    daily = {package_id: quota_tokens_a_day(demand, package_id) for package_id in ("trial-developer", "trial-trillion")}
    first_day = demand.network.day_before_end(PROGRAMME_DAYS - 1)
    holders = sorted((tenant.tenant_id, rank) for rank, tenant in enumerate(tenants) if tenant.product == "trial")
    return {
        rank: _course(turn, first_day, LARGEST_TRIAL_TOKENS / max(daily[trial_package(tenants[rank])][rank], 1.0))
        for turn, (_, rank) in enumerate(holders)
    }


def _course(turn: int, first_day: date, largest_days: float) -> Course:
    """One in so many converts; the others leave with half their grant, early or late, or are not through yet."""
    kinds = calibration.TRIAL_COURSES
    granted, used, expires, converts = kinds[turn % len(kinds)]
    granted_days = min(granted * PROGRAMME_DAYS, largest_days)
    starts = first_day + timedelta(days=int(turn // len(kinds) % 3 * 0.1 * PROGRAMME_DAYS))
    ends = first_day + timedelta(days=int(expires * PROGRAMME_DAYS))
    used_days = min(used * PROGRAMME_DAYS, LEAVES_AT_RATIO * granted_days)
    return Course(starts, max(ends, starts + timedelta(days=1)), granted * PROGRAMME_DAYS, used_days, converts)


def quota_tokens_a_day(demand: Demand, package_id: str) -> np.ndarray:
    """Quota tokens of the package by tenant on a mean day at the end date; models not eligible take none."""
    rows = [row for row in read_seed("package_weights") if row["package_id"] == package_id]
    weights = np.array([_weights(rows, model.model_id) for model in demand.network.models])[demand.model]
    tokens = np.stack(
        [demand.input_length * (1 - demand.cached_share), demand.input_length * demand.cached_share, demand.output_length],
        axis=1,
    )
    by_stream = demand.daily_requests * (tokens * weights).sum(axis=1)
    return np.bincount(demand.tenant, by_stream, len(demand.network.tenants))


def _weights(weight_rows: list[dict[str, str]], model_id: str) -> list[float]:
    """Quota tokens per uncached input, cached input and output token, in the mean of the day's hours."""
    rows = [row for row in weight_rows if row["model_id"] in (model_id, "*")]
    means = []
    for token_type in ("input", "cached_input", "output"):
        fitting = [row for row in rows if row["token_type"] in (token_type, "*")]
        if not fitting:
            means.append(0.0)
            continue
        best = max((row["model_id"] != "*", row["token_type"] != "*") for row in fitting)
        means.append(
            sum(
                float(row["weight_ratio"]) * (int(row["hour_to"]) - int(row["hour_from"]))
                for row in fitting
                if (row["model_id"] != "*", row["token_type"] != "*") == best
            )
            / HOURS_A_DAY
        )
    return means
