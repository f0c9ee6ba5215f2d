"""From tokens to accelerators: queues, square-root staffing, whole servers, spares, and how many to order.

Pure formulas, no frames. Rates are per second, accelerators are counts (fractional until servers are
whole). Which throughput a model reaches on which accelerator is reference data and is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom, norm

SERVER_ACCELERATORS = 8
HOURS_A_YEAR = 8760
ENOUGH_UP_PROBABILITY = 0.999
"""At least this sure that the servers which are needed are up."""


@dataclass(frozen=True)
class Load:
    """What a pool is asked for in its busy hour, and what one accelerator makes of it.

    requests_per_second is the peak; rates are tokens a second of one accelerator that keep the latency
    objective; cached_ratio is the share of input read from the prompt cache.
    """

    requests_per_second: float
    input_length: float
    output_length: float
    cached_ratio: float
    input_tokens_per_second: float
    output_tokens_per_second: float

    @property
    def uncached_length(self) -> float:
        """Input tokens of one request that must be computed."""
        return self.input_length * (1 - self.cached_ratio)

    @property
    def asked_input_tokens_per_second(self) -> float:
        """Uncached input tokens asked for in a second."""
        return self.requests_per_second * self.uncached_length

    @property
    def asked_output_tokens_per_second(self) -> float:
        """Output tokens asked for in a second."""
        return self.requests_per_second * self.output_length

    @property
    def raw_prefill_accelerators(self) -> float:
        """Accelerators that prefill keeps busy on average."""
        return self.asked_input_tokens_per_second / self.input_tokens_per_second

    @property
    def raw_decode_accelerators(self) -> float:
        """Accelerators that decode keeps busy on average."""
        return self.asked_output_tokens_per_second / self.output_tokens_per_second

    @property
    def prefill_seconds(self) -> float:
        """Service time of one request's prefill on one accelerator."""
        return self.uncached_length / self.input_tokens_per_second


def erlang_c(servers: int, offered: float) -> float:
    """Probability that a request waits, of ``offered`` erlangs on ``servers`` (M/M/c); 1 when they do not suffice."""
    if offered <= 0:
        return 0.0
    if servers <= offered:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return servers * blocked / (servers - offered * (1 - blocked))


def least_servers_for_wait(offered: float, waiting_probability: float) -> int:
    """The fewest servers on which a request waits with at most this probability."""
    return _least(lambda servers: erlang_c(servers, offered), offered, waiting_probability)


def least_servers_for_tail(
    offered: float, service_seconds: float, wait_seconds: float, tail_probability: float, service_cv2: float
) -> int:
    """The fewest servers on which a request waits longer than ``wait_seconds`` with at most this probability.

    Erlang-C times the exponential tail of M/M/c, its rate scaled by 2 / (1 + Cs^2) for service times of
    squared coefficient of variation ``service_cv2``. Raises ValueError when nothing is left to wait:
    the objective is not longer than the service itself.
    """
    if wait_seconds <= 0:
        raise ValueError("the latency objective is not longer than the service time, so no number of servers keeps it")

    def tail(servers: int) -> float:
        spare_rate = (servers - offered) / service_seconds
        return erlang_c(servers, offered) * math.exp(-2 * max(spare_rate, 0) * wait_seconds / (1 + service_cv2))

    return _least(tail, offered, tail_probability)


def _least(probability: Callable[[int], float], offered: float, limit: float) -> int:
    """The fewest servers at which a falling probability is within the limit."""
    low = math.floor(max(offered, 0))
    high = low + 1
    while probability(high) > limit:
        low, high = high, high + max(1, high - math.floor(offered)) * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if probability(middle) > limit else (low, middle)
    return high


def square_root_beta(waiting_probability: float) -> float:
    """Halfin and Whitt's beta: servers a + beta sqrt(a) let a request wait with this probability."""
    return float(brentq(
        lambda beta: expit(-math.log(beta) - norm.logcdf(beta) + norm.logpdf(beta)) - waiting_probability, 1e-9, 40
    ))


def variability(arrival_cv2: float, service_cv2: float) -> float:
    """Peakedness z = (Ca^2 + Cs^2) / 2 of the square-root form; 1 for Poisson arrivals and exponential service."""
    return (arrival_cv2 + service_cv2) / 2


def prefill_accelerators(
    loads: Sequence[Load], ttft_seconds: float, tail_probability: float, service_cv2: float, together: int = 1
) -> int:
    """Accelerators for prefill such that the first token comes within the objective but for the tail.

    The loads share one queue. ``together`` accelerators work on one prompt, so that it takes that part of the time.
    Service times vary within each load by ``service_cv2``, and between loads by their lengths and rates. The wait that
    is left is that of the slowest load's mean prompt. Raises ValueError where nothing is left.
    """
    rate = sum(load.requests_per_second for load in loads)
    seconds = sum(load.requests_per_second * load.prefill_seconds for load in loads) / rate / together
    square = sum(load.requests_per_second * load.prefill_seconds**2 for load in loads) / rate / together**2
    slowest = max(load.prefill_seconds for load in loads) / together
    return together * least_servers_for_tail(
        rate * seconds, seconds, ttft_seconds - slowest, tail_probability, (1 + service_cv2) * square / seconds**2 - 1
    )


def decode_slots(output_tokens_per_second: float, inter_token_seconds: float) -> float:
    """Requests that one accelerator decodes at once while each gets its token every ``inter_token_seconds``."""
    return output_tokens_per_second * inter_token_seconds


def decode_accelerators(
    loads: Sequence[Load], inter_token_seconds: float, waiting_probability: float, peakedness: float
) -> float:
    """Accelerators for decode: N requests reside at once, and beta sqrt(z N) slots are kept for bursts.

    Of several loads each request takes one slot of those that an accelerator has for its model, so the variances of
    what they hold add up.
    """
    raw, variance = 0.0, 0.0
    for load in loads:
        resident = load.requests_per_second * load.output_length * inter_token_seconds
        slots = decode_slots(load.output_tokens_per_second, inter_token_seconds)
        raw += resident / slots
        variance += peakedness * resident / slots**2
    return raw + square_root_beta(waiting_probability) * math.sqrt(variance)


def servers_of(accelerators: float) -> int:
    """Whole servers of eight that hold the accelerators."""
    return math.ceil(round(accelerators / SERVER_ACCELERATORS, 9))


def availability(failures_per_year: float, repair_hours: float, planned_ratio: float) -> float:
    """Share of time a server of eight is up: any of its accelerators failing takes it out until repaired.

    ``failures_per_year`` is per accelerator; ``planned_ratio`` is the share of time in maintenance.
    """
    return 1 - SERVER_ACCELERATORS * failures_per_year * repair_hours / HOURS_A_YEAR - planned_ratio


def up_probability(installed: int, needed: int, available_ratio: float) -> float:
    """Probability that at least ``needed`` of ``installed`` servers are up, failing independently."""
    return float(binom.sf(needed - 1, installed, available_ratio))


def installed_for(
    needed: int, available_ratio: float, probability: float = ENOUGH_UP_PROBABILITY, failure_domain_servers: int = 0
) -> int:
    """The fewest servers to install so that the needed ones are up with this probability.

    ``failure_domain_servers`` (N+1): the largest group that fails as one, such as a rack, on top. Raises
    ValueError for an availability that is not above 0.
    """
    if available_ratio <= 0:
        raise ValueError(f"availability must be above 0, not {available_ratio}")
    installed = needed
    while needed and up_probability(installed, needed, available_ratio) < probability:
        installed += 1
    return installed + (failure_domain_servers if needed else 0)


def newsvendor_quantile(unserved_cost: float, idle_cost: float) -> float:
    """tau = c_u / (c_u + c_o): the quantile of lead-time demand at which one more unit is worth its idling."""
    return unserved_cost / (unserved_cost + idle_cost)


def lead_time_demand(
    base: float, weekly_growth: float, weekly_sigma: float, lead_weeks: int, review_weeks: int, quantile: float
) -> float:
    """Demand at the end of lead time and review at this quantile, of a lognormal walk with drift.

    ``weekly_growth`` is a ratio (0.02 is 2% a week), ``weekly_sigma`` the log standard deviation of a week.
    """
    weeks = lead_weeks + review_weeks
    median = base * math.exp(weekly_growth * weeks)
    return median * math.exp(weekly_sigma * math.sqrt(weeks) * float(norm.ppf(quantile)))


def order_up_to(target: float, usable: float, on_order: float, usable_ratio: float) -> int:
    """Units to order: max(0, ceil((S* - usable - on order) / A)).

    ``target``, ``usable`` and ``on_order`` are in usable units (servers or what else is bought whole); a
    new unit adds ``usable_ratio`` of itself.
    """
    return max(0, math.ceil(round((target - usable - on_order) / usable_ratio, 9)))


def walk_paths(
    base: float, weekly_growth: float, weekly_sigma: float, weeks: int, path_count: int, seed: int
) -> np.ndarray:
    """Sample paths (path, week) of the walk that ``lead_time_demand`` is the quantile of."""
    steps = np.random.default_rng(seed).standard_normal((path_count, weeks))
    return base * np.exp(np.cumsum(weekly_growth + weekly_sigma * steps, axis=1))


def crossing_probability(paths: np.ndarray, supply: np.ndarray | float) -> float:
    """Share of the paths (path, week) that exceed supply (a number, or one a week) in any week."""
    return float((paths > supply).any(axis=1).mean())
