"""Tokens to servers to orders, against the published and hand-computed oracles O1 to O4, to their digits."""

from __future__ import annotations

import pytest

from orchestration.forecasting.staffing import (
    Load,
    availability,
    crossing_probability,
    decode_accelerators,
    decode_slots,
    erlang_c,
    installed_for,
    lead_time_demand,
    least_servers_for_tail,
    least_servers_for_wait,
    newsvendor_quantile,
    order_up_to,
    prefill_accelerators,
    servers_of,
    square_root_beta,
    up_probability,
    variability,
    walk_paths,
)

SECONDS_A_DAY = 86_400
# O3: 400 requests a second on average, 1.5 times that at the peak, on H100 with DeepSeek.
O3 = Load(requests_per_second=400 * 1.5, input_length=2000, output_length=400, cached_ratio=0.3,
          input_tokens_per_second=52_300 / 8, output_tokens_per_second=22_300 / 8)


def test_o1_a_published_day_of_tokens_needs_the_published_nodes() -> None:
    """Tokens turned into machines wrongly by a factor would pass every other test: this one is a fact."""
    day = Load(requests_per_second=1 / SECONDS_A_DAY, input_length=608e9, output_length=168e9, cached_ratio=0,
               input_tokens_per_second=73_700, output_tokens_per_second=14_800)
    assert day.raw_prefill_accelerators == pytest.approx(95.482, abs=5e-4)
    assert day.raw_decode_accelerators == pytest.approx(131.381, abs=5e-4)
    nodes = day.raw_prefill_accelerators + day.raw_decode_accelerators
    assert nodes == pytest.approx(226.864, abs=5e-4)
    assert nodes == pytest.approx(226.75, rel=0.001)  # as published
    assert 278 / 226.75 == pytest.approx(1.2260, abs=5e-5)


def test_o1_the_order_quantile_follows_from_what_a_node_earns_and_costs() -> None:
    """The quantile decides every order; a typed .845 without its source could be any number."""
    cost_a_day = 226.75 * 8 * 24 * 2  # USD, rented at 2 USD an accelerator-hour
    revenue_a_day = 342e3 * 0.14 + 266e3 * 0.55 + 168e3 * 2.19
    assert cost_a_day == pytest.approx(87_072)
    assert revenue_a_day == pytest.approx(562_100)
    assert cost_a_day / 226.75 == pytest.approx(384)
    # The published day's revenue, 73 USD from what the rounded token counts give.
    assert 562_027 / 226.75 == pytest.approx(2_478.62, abs=5e-3)
    assert newsvendor_quantile(2_478.62 - 384, 384) == pytest.approx(0.8451, abs=5e-5)


@pytest.mark.parametrize(("servers", "offered", "waits"), [(12, 10, 0.449388), (55, 50, 0.384547)])
def test_o2_erlang_c(servers: int, offered: float, waits: float) -> None:
    """The formula every staffing rests on."""
    assert erlang_c(servers, offered) == pytest.approx(waits, abs=5e-7)


def test_o2_no_load_waits_never_and_overload_always() -> None:
    """At the edges the recursion divides by zero."""
    assert erlang_c(3, 0) == 0
    assert erlang_c(10, 10) == erlang_c(9, 10) == 1


@pytest.mark.parametrize(
    ("waits", "beta"), [(0.5, 0.5061), (0.2, 1.0615), (0.1, 1.4202), (0.05, 1.7398), (0.01, 2.3749)]
)
def test_o2_square_root_beta(waits: float, beta: float) -> None:
    """The safety of the square-root form, from Halfin and Whitt's own table."""
    assert square_root_beta(waits) == pytest.approx(beta, abs=5e-5)


@pytest.mark.parametrize(("offered", "servers"), [(10, 17), (50, 64), (200, 226), (1000, 1056)])
def test_o2_least_servers_for_a_wait_of_five_percent(offered: float, servers: int) -> None:
    """One server less breaks the promise, one more is bought for nothing."""
    assert least_servers_for_wait(offered, 0.05) == servers
    assert erlang_c(servers, offered) <= 0.05 < erlang_c(servers - 1, offered)


def test_o3_from_requests_to_servers() -> None:
    """The whole way from a request rate to servers, each step to the digits of the oracle."""
    assert O3.asked_input_tokens_per_second == pytest.approx(840_000)
    assert O3.asked_output_tokens_per_second == pytest.approx(240_000)
    assert O3.raw_prefill_accelerators == pytest.approx(128.489, abs=5e-4)
    assert O3.raw_decode_accelerators == pytest.approx(86.099, abs=5e-4)
    assert O3.prefill_seconds == pytest.approx(0.21415, abs=5e-6)
    prefill = prefill_accelerators([O3], ttft_seconds=0.5, tail_probability=0.01, service_cv2=1.5)
    assert prefill == 133
    assert O3.requests_per_second * O3.output_length * 0.050 == pytest.approx(12_000)
    assert decode_slots(O3.output_tokens_per_second, 0.050) == pytest.approx(139.375)
    decode = decode_accelerators([O3], inter_token_seconds=0.050, waiting_probability=0.01, peakedness=1)
    assert decode == pytest.approx(87.965, abs=5e-4)
    assert (servers_of(prefill), servers_of(decode)) == (17, 11)


def test_o3_spares_keep_the_needed_servers_up() -> None:
    """Sized by mean availability, half of all hours would be short of a server."""
    available = availability(failures_per_year=0.1106, repair_hours=72, planned_ratio=0.01)
    assert available == pytest.approx(0.98273, abs=5e-6)
    assert installed_for(28, available) == 32
    assert up_probability(32, 28, available) == pytest.approx(0.99979, abs=5e-6)
    assert up_probability(31, 28, available) == pytest.approx(0.99807, abs=5e-6)


def test_n_plus_one_adds_the_largest_failure_domain() -> None:
    """A rack that fails as one is not covered by spares counted one by one."""
    assert installed_for(28, 0.98273, failure_domain_servers=4) == 36
    assert installed_for(0, 0.98273, failure_domain_servers=4) == 0


def test_o4_the_order_up_to_quantity() -> None:
    """The quantity that is bought."""
    tau = newsvendor_quantile(2_478.62 - 384, 384)
    growing = {"base": 28, "weekly_growth": 0.02, "weekly_sigma": 0.06, "lead_weeks": 12, "review_weeks": 1}
    target = lead_time_demand(**growing, quantile=tau)
    assert target == pytest.approx(45.236, abs=5e-4)
    assert lead_time_demand(**growing, quantile=0.5) == pytest.approx(36.314, abs=5e-4)
    usable = 32 * availability(0.1106, 72, 0.01)
    assert usable == pytest.approx(31.447, abs=5e-4)
    assert order_up_to(target, usable, on_order=10, usable_ratio=0.98273) == 4


def test_o4_the_share_of_paths_that_cross() -> None:
    """Read from paths week by week: the chance at the last week alone (.271) would understate it."""
    paths = walk_paths(28, 0.02, 0.06, weeks=13, path_count=100_000, seed=0)
    assert crossing_probability(paths, 31.447 + 10) == pytest.approx(0.317, abs=5e-4)
    assert crossing_probability(paths[:, -1:], 31.447 + 10) == pytest.approx(0.271, abs=3e-3)


def test_nothing_is_ordered_when_enough_is_there() -> None:
    """Rounding a gap of zero up buys a server that nobody needs."""
    assert order_up_to(10, 10, 0, 1.0) == order_up_to(10, 6, 5, 0.9) == 0
    assert order_up_to(0.3, 0.1 + 0.2, 0, 1.0) == 0


def test_whole_servers_hold_the_accelerators() -> None:
    """Eight accelerators are one server, not two by a rounding error."""
    assert [servers_of(count) for count in (0, 0.1, 8, 8 + 1e-12, 8.1, 16)] == [0, 1, 1, 1, 2, 2]


def test_an_objective_shorter_than_the_service_is_refused() -> None:
    """A search for servers that can never suffice would not end."""
    with pytest.raises(ValueError, match="not longer than the service time"):
        prefill_accelerators([O3], ttft_seconds=0.2, tail_probability=0.01, service_cv2=1.5)


def test_burstier_traffic_needs_more() -> None:
    """Real clients arrive with a squared variation of 2 to 12; planned as Poisson they would queue."""
    calm, bursty = (decode_accelerators([O3], 0.050, 0.01, variability(cv2, 1)) for cv2 in (1, 12))
    assert bursty > calm
    assert least_servers_for_tail(10, 1.0, 0.5, 0.01, 4) > least_servers_for_tail(10, 1.0, 0.5, 0.01, 1)
