"""The simulated network against the public facts it stands for."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from orchestration.sources.simulate import busy_hour_factors, calibration, network_plan
from orchestration.sources.simulate.demand import Demand, hourly_shares
from orchestration.sources.simulate.network import Network
from orchestration.sources.simulate.truth import planted_sites

END = date(2026, 11, 22)
SEEDS = range(1, 7)
# 2026-W47 and thirteen weeks; 2026 has 53.
HORIZON_WEEK = "2027-W07"


@pytest.fixture(scope="module")
def demands() -> list[Demand]:
    """The demand of several networks that differ by seed."""
    return [Demand(Network(seed, END)) for seed in SEEDS]


def fortnight(demand: Demand) -> np.ndarray:
    """(hour, stream) requests of the last fourteen days."""
    return np.concatenate(
        [demand.on(END - timedelta(days=back)).requests for back in range(13, -1, -1)]
    )


def of_class(demand: Demand, model_class: str) -> np.ndarray:
    """Which streams ask a model of the class."""
    return np.array(
        [demand.network.models[number].model_class == model_class for number in demand.model]
    )


def test_the_peak_hour_stands_over_the_mean_as_measured(demands):
    """Capacity is bought for the peak: the measured peak over the mean hour is 1.74-1.98 (ServeGen).

    One fortnight is one draw, so the mean over networks must lie in the range and each be near it.
    """
    ratios = []
    for demand in demands:
        requests = fortnight(demand)
        for model_class in ("large", "mid", "small"):
            hourly = requests[:, of_class(demand, model_class)].sum(axis=1)
            ratios.append(hourly.max() / hourly.mean())
    assert 1.74 <= np.mean(ratios) <= 1.98
    assert all(1.3 <= ratio <= 2.8 for ratio in ratios)


def test_the_ten_largest_tenants_carry_what_was_measured(demands):
    """Concentration decides how far the loss of one customer moves a forecast: 63-93% (ServeGen)."""
    for demand in demands:
        by_tenant = np.sort(np.bincount(demand.tenant, fortnight(demand).sum(axis=0)))[::-1]
        assert 0.63 <= by_tenant[:10].sum() / by_tenant.sum() <= 0.93
        assert len(by_tenant) > 300


def test_the_day_has_the_measured_trough_and_peak():
    """Small models fall to 0.66 at five and rise to 1.46 at eight in the evening (ServeGen)."""
    small, large = 24 * hourly_shares("small"), 24 * hourly_shares("large")
    assert (small.argmin(), small.argmax(), large.argmin(), large.argmax()) == (5, 20, 8, 19)
    assert small[5] == pytest.approx(0.66, abs=0.01)
    assert small[20] == pytest.approx(1.46, abs=0.01)
    assert all(hourly_shares(name).sum() == pytest.approx(1) for name in calibration.DIURNAL_SHAPES)


def test_token_mixes_by_class_are_the_measured_ones(demands):
    """The mix decides what a token costs: input to output 5.9, 6.0, 8.0, 0.83, and agents 98.7% input."""
    demand = demands[0]
    ratios = demand.input_length / demand.output_length
    for model_class, ratio in (("large", 5.9), ("mid", 6.04), ("small", 8.04), ("reasoning", 0.83)):
        assert ratios[~demand.is_agent & of_class(demand, model_class)] == pytest.approx(
            ratio, rel=0.01
        )
    assert ratios[demand.is_agent] == pytest.approx(0.987 / 0.013)


def test_a_day_is_about_a_trillion_tokens_on_a_fleet_half_in_use(demands):
    """Tokens and accelerators must fit together, or every unit cost built on them is nonsense."""
    daily_tokens = []
    for demand in demands:
        daily_tokens.append(
            (demand.daily_requests * (demand.input_length + demand.output_length)).sum()
        )
        pools = [pool for pool in demand.network.pools if pool.in_service(END)]
        installed = sum(pool.accelerator_count for pool in pools)
        assert 3_800 <= installed <= 4_200
        busy = demand.trend_accelerators(END).sum()
        busy += sum(
            min(pool.training_load, 0.75) * pool.accelerator_count
            for pool in pools
            if pool.purpose == "training"
        )
        assert 0.5 < busy / installed < 0.62
    assert 0.7e12 < np.mean(daily_tokens) < 1.5e12
    assert all(0.5e12 < tokens < 2.5e12 for tokens in daily_tokens)


def test_the_network_has_the_breadth_it_must_have(demands):
    """Ten clusters, 31 hotspots, at least six accelerator types and twelve models, four segments."""
    network = demands[0].network
    assert (network.is_hub.sum(), len(network.hotspots), len(network.links)) == (10, 31, 132)
    assert len({pool.accelerator_id for pool in network.pools}) >= 6
    assert len(network.models) >= 12
    assert {tenant.segment for tenant in network.tenants} == set(calibration.SEGMENT_SHARES)
    assert {pool.accelerators_per_node for pool in network.pools} == {4, 8, 16}
    assert any(pool.commissioned_date > END - timedelta(days=56) for pool in network.pools)
    assert any(pool.retired_date for pool in network.pools)


def test_days_off_are_quieter_and_make_up_workdays_are_not(demands):
    """National Day (1 to 7 October) and its make-up Saturday move demand; a forecast must see both."""
    demand = demands[0]
    workday, holiday = (
        demand.calendar_factors(date(2026, 9, 30)),
        demand.calendar_factors(date(2026, 10, 1)),
    )
    assert (holiday < workday).all()
    assert (demand.calendar_factors(date(2026, 10, 10)) == workday).all()
    assert (demand.calendar_factors(date(2026, 10, 17)) == holiday).all()
    week = np.mean(
        [demand.calendar_factors(date(2026, 10, 19) + timedelta(days=n)) for n in range(7)], axis=0
    )
    assert week == pytest.approx(1)


def test_growth_slows_and_flat_sites_stay_flat(demands):
    """A constant rate overstates the future: growth per week must fall, and be zero where planted flat."""
    index = demands[0].network.site_index
    levels = [demands[0].growth(END + timedelta(weeks=weeks)) for weeks in (-8, -4, 0, 4)]
    rates = np.diff(np.log([level[index["cn-gd"]] for level in levels]))
    assert rates[0] > rates[1] > rates[2] > 0
    for site_id in network_plan.PLANTED_FLAT:
        assert all(level[index[site_id]] == 1 for level in levels)


def test_demand_follows_the_trend_it_is_planted_with(demands):
    """The planted crossing week is only true when what is asked for follows the trend."""
    days = [END - timedelta(days=back) for back in range(27, -1, -1)]
    over_trend = []
    for demand in demands:
        asked = np.mean([demand.on(day).asked_accelerators.mean(axis=0) for day in days], axis=0)
        trend = np.mean([demand.trend_accelerators(day) for day in days], axis=0)
        over_trend.append(asked / trend)
    assert np.mean(over_trend) == pytest.approx(1, abs=0.04)
    assert np.mean(over_trend, axis=0) == pytest.approx(1, abs=0.12)


def test_at_least_three_sites_fill_up_within_thirteen_weeks(demands):
    """A forecast can be judged only against sites that do run out, and sites that do not."""
    kinds = dict.fromkeys(network_plan.PLANTED_HOTSPOTS, "hotspot")
    for demand in demands:
        rows = planted_sites(demand, busy_hour_factors(demand), kinds, END - timedelta(days=55))
        crossing = {row["site_id"]: row["busy_hour_crossing_week"] for row in rows}
        soon = [
            site
            for site in network_plan.PLANTED_HOTSPOTS
            if crossing[site] and crossing[site] <= HORIZON_WEEK
        ]
        assert len(soon) >= 3
        assert not any(
            crossing[site] for site in network_plan.PLANTED_FLAT + network_plan.PLANTED_IDLE
        )


def test_throttling_stays_where_capacity_is_short(demands):
    """Throttled requests are lost demand; spread everywhere they would say nothing about where to build."""
    throttled = np.zeros(len(demands[0].network.site_ids))
    for demand in demands:
        for back in range(14):
            today = demand.on(END - timedelta(days=back))
            throttled += (today.throttled_ratio * today.asked_accelerators).sum(axis=0)
            assert (today.served_ratio <= calibration.THROTTLING_RATIO + 1e-9).all()
    index = demands[0].network.site_index
    assert throttled.argmax() == index["cn-bj"]
    assert throttled[index["cn-xz"]] == 0
