"""Trials of the simulated network: who converts, who leaves, and that no site's load moves with them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.demand import Demand
from orchestration.sources.simulate.network import Network
from orchestration.sources.simulate.trials import (
    LARGEST_TRIAL_TOKENS,
    Course,
    quota_tokens_a_day,
    trial_package,
)

END = date(2026, 11, 22)


@pytest.fixture(scope="module")
def demand() -> Demand:
    """Demand of the usual eight weeks."""
    return Demand(Network(7, END))


def requests_by_tenant(demand: Demand, day: date) -> np.ndarray:
    """Mean requests of each tenant on the day."""
    requests = demand.mean_requests(day)
    return np.bincount(demand.tenant, requests, len(demand.network.tenants))


def test_a_course_ends_within_the_day_its_use_does() -> None:
    """By hand: two and a half days of use are two whole days, half a day, and nothing more."""
    start = date(2026, 10, 1)
    leaver = Course(start, start + timedelta(days=30), 5.0, 2.5, converts=False)
    assert [leaver.activity_ratio(start + timedelta(days=days)) for days in (-1, 0, 1, 2, 3, 40)] == [0, 1, 1, 0.5, 0, 0]
    stays = Course(start, start + timedelta(days=30), 5.0, 2.5, converts=True)
    assert [stays.activity_ratio(start + timedelta(days=days)) for days in (-1, 0, 40)] == [0, 1, 1]


def test_a_site_stays_on_its_trend_while_trials_come_and_go(demand: Demand) -> None:
    """Load that left with its trials would move the planted hotspots, and the truth with which they are judged."""
    for back in (55, 30, 0):
        day = END - timedelta(days=back)
        cost = demand.accelerator_seconds(day, demand.routed)
        sites = len(demand.network.site_ids)
        made = np.bincount(demand.routed, demand.mean_requests(day) * cost, sites)
        trend = np.bincount(demand.routed, demand.daily_requests * demand.growth(day)[demand.routed] * cost, sites)
        assert made == pytest.approx(trend)


def test_the_trend_of_every_site_is_what_its_requests_take(demand: Demand) -> None:
    """A misroute that is in the records and not in the trend would make the truth of two sites wrong."""
    cost = demand.accelerator_seconds(END, demand.serving)
    made = np.bincount(demand.serving, demand.mean_requests(END) * cost, len(demand.network.site_ids)) / 86_400
    assert len(demand.moved) > 0
    assert made == pytest.approx(demand.trend_accelerators(END))


def test_who_leaves_asks_for_nothing_more_and_one_in_five_stays(demand: Demand) -> None:
    """A customer that goes on after its trial is a paying one to the mart, so four in five would convert."""
    converting = [course.converts for course in demand.trials.values()]
    share = sum(kind[3] for kind in calibration.TRIAL_COURSES) / len(calibration.TRIAL_COURSES)
    assert np.mean(converting) == pytest.approx(share, abs=0.02)
    last = requests_by_tenant(demand, END)
    gone = [rank for rank, course in demand.trials.items() if not course.activity_ratio(END)]
    assert len(gone) > len(converting) / 2
    assert not last[gone].any()
    assert all(last[rank] > 0 for rank, course in demand.trials.items() if course.converts and demand.daily_requests[demand.tenant == rank].any())


def test_who_leaves_has_not_used_up_its_grant(demand: Demand) -> None:
    """A grant used up by the way is followed by a charge at list price, and the customer counted as converted."""
    for rank, course in demand.trials.items():
        daily = quota_tokens_a_day(demand, trial_package(demand.network.tenants[rank]))[rank]
        granted = min(course.granted_days * daily, LARGEST_TRIAL_TOKENS)
        if not course.converts:
            assert course.used_days * daily <= 0.5 * granted * 1.0001
