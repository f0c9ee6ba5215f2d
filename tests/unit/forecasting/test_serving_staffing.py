"""From what a pool served to the accelerators that keep its latency objective, against oracle O3 and by hand."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from orchestration.forecasting.serving_staffing import (
    Objective,
    Served,
    objective_of,
    served_of,
    staffed,
    staffed_accelerators,
    staffing_rows,
)
from orchestration.forecasting.tables import SERVING_STAFFING
from tests.unit.forecasting.test_capacity_need import bands, need, pool
from tests.unit.forecasting.test_staffing import O3

HALF_A_SECOND = Objective(ttft_seconds=0.5, tpot_seconds=0.050)
O3_BUSY = 128.489 + 86.099
WEEK_SECONDS = 7 * 86_400


def rows(**more) -> pl.DataFrame:
    """A week of oracle O3's requests at one site, as int_serving_demand__loads has them."""
    row = {"site_id": "a", "accelerator_id": "x", "model_id": "m", "request_count": 600.0 * WEEK_SECONDS,
           "input_tokens": 1400 * 600.0 * WEEK_SECONDS, "output_tokens": 400 * 600.0 * WEEK_SECONDS,
           "input_tokens_per_second": 52_300 / 8, "output_tokens_per_second": 22_300 / 8,
           "objective": "TTFT <= 500 ms, TPOT <= 50 ms"} | more
    return pl.DataFrame([row])


def test_o3_from_a_weeks_rows_to_servers() -> None:
    """The oracle of the formulas must hold of what the marts give, or the pools are staffed by something else."""
    mix = served_of(rows())["a/x"]
    assert mix.objective == HALF_A_SECOND
    assert mix.accelerators == pytest.approx(O3_BUSY, abs=1e-3)
    found = staffed(mix, mix.accelerators)
    assert (found.prefill, found.together) == (133, 1)
    assert found.decode == pytest.approx(87.965, abs=5e-4)
    case = {"site_id": "a", "accelerator_id": "x", "basis": "now", "serving_accelerator_count": mix.accelerators,
            "other_accelerator_count": 0.0, "available_accelerator_count": 224.0, "available_ratio": 0.98273}
    row = SERVING_STAFFING.frame(staffing_rows([case], {"a/x": mix}, "2026-W47")).to_dicts()[0]
    assert (row["staffed_server_count"], row["installed_server_count"], row["is_objective_kept"]) == (28, 32, True)
    assert row["uncached_input_tokens_per_second"] == pytest.approx(840_000)
    assert row["output_tokens_per_second"] == pytest.approx(240_000)
    fewer = staffing_rows([case | {"available_accelerator_count": 216.0}], {"a/x": mix}, "2026-W47")[0]
    assert not fewer["is_objective_kept"]


@pytest.mark.parametrize(("text", "objective"), [
    ("TPOT <= 50 ms", Objective(2.0, 0.05)),
    ("TTFT <= 450 ms, TPOT <= 40 ms", Objective(0.45, 0.04)),
    ("ITL<15ms; ttft <= 1.5 s", Objective(1.5, 0.015)),
    ("as published", Objective()), (None, Objective()), ("TPOT <= 0 ms", Objective()),
])
def test_the_objective_is_what_the_source_says(text: str | None, objective: Objective) -> None:
    """Half a second read as 500 s, or as none, staffs for a promise that nobody made."""
    assert objective_of(text) == objective


def test_two_models_alike_are_one() -> None:
    """Split by name, the same requests need the same accelerators: they share the pool."""
    half = replace(O3, requests_per_second=300)
    one, two = (staffed(Served(loads, HALF_A_SECOND), O3_BUSY) for loads in ((O3,), (half, half)))
    assert one.prefill == two.prefill
    assert one.decode == pytest.approx(two.decode)


def test_models_of_unlike_prompts_need_more_than_alike_ones() -> None:
    """Long prompts among short ones hold the queue up: a mean length would hide them."""
    short, middle, long = (replace(O3, requests_per_second=300, input_length=length) for length in (500, 1400, 2300))
    alike, unlike = (staffed(Served(loads, HALF_A_SECOND), 20) for loads in ((middle, middle), (short, long)))
    assert alike.together == unlike.together == 1
    assert unlike.prefill > alike.prefill


def test_small_pools_need_a_larger_share_of_slack() -> None:
    """One target utilization for all sizes is too much for a large pool and too little for a small one."""
    shares = [staffed(Served((O3,), HALF_A_SECOND), busy).accelerators / busy for busy in (8, 100, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 1.25 > shares[1]  # 1.25 is the slack of a target utilization of 80%


def test_several_accelerators_work_on_a_prompt_that_is_too_long_for_one() -> None:
    """A prompt of three seconds never keeps two on one accelerator; on four of them it takes under one."""
    slow = replace(O3, input_tokens_per_second=1400 / 3)
    assert staffed(Served((slow,), Objective()), 50).together == 4
    assert staffed(Served((slow,), Objective()), 50).prefill % 4 == 0
    assert staffed(Served((replace(O3, input_tokens_per_second=1400 / 20),), Objective()), 50) is None


def test_no_demand_needs_nothing_and_what_is_not_known_itself() -> None:
    """Slack invented for training, which may wait, or for a pool that nobody measured, is bought for nothing."""
    assert staffed_accelerators(Served((O3,), HALF_A_SECOND), 0.0, 7.0) == 7.0
    assert staffed_accelerators(None, 20.0, 7.0) == 27.0
    known = staffed_accelerators(Served((O3,), HALF_A_SECOND), O3_BUSY, 7.0)
    assert known == pytest.approx(133 + 87.965 + 7, abs=1e-3)


def test_requests_without_tokens_or_tokens_without_requests_are_left_out() -> None:
    """A feed without lengths would divide by nothing."""
    assert served_of(rows(request_count=0.0)) == {}
    assert served_of(rows(input_tokens=0.0, output_tokens=0.0)) == {}
    assert staffed(served_of(rows(input_tokens=0.0))["a/x"], 10.0).prefill == 0


def test_an_order_keeps_the_latency_objective_too() -> None:
    """Ordered up to 80% full, a pool of two servers keeps its requests waiting: queues do not shrink with the pool."""
    facts = {"usable": 6.4, "usable_ratio": 0.8, "demand": 6.0, "paths": bands(12.0), "serving_ratio": 1.0}
    # 12 busy are 15 at 80%, 7 more than the 8 installed: a server. O3's mix needs 16.3 for 12: a third server.
    assert staffed_accelerators(Served((O3,), HALF_A_SECOND), 12.0, 0.0) == pytest.approx(16.26, abs=0.005)
    plain, queueing = (need(pool(**facts, served=served))["a"] for served in (None, Served((O3,), HALF_A_SECOND)))
    assert (plain["add_accelerator_count"], plain["latency_accelerator_count"]) == (8, 0)
    assert (queueing["add_accelerator_count"], queueing["latency_accelerator_count"], queueing["spare_accelerator_count"]) == (16, 8, 0)
