"""Training queues: nothing is held twice, and who waits for whom is as a person would say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import pytest

from orchestration.sources.simulate import network_plan
from orchestration.sources.simulate.network import Network, Pool, start_of_business_day
from orchestration.sources.simulate.queues import Job, PoolQueue, Training, seconds

END = date(2026, 11, 22)


def pool(nodes: int = 2, per_node: int = 8) -> Pool:
    """A small pool."""
    return Pool("p", 0, "s", "training", "nvidia-h20", nodes, per_node, date(2026, 1, 1), None, 1.0)


def job(name: str, count: int, submitted_at: int, run: int, limit: int) -> Job:
    """A job of a small pool."""
    return Job(name, "t", pool(), count, submitted_at, submitted_at, run, limit, "COMPLETED", 0.8)


def test_a_job_behind_the_head_starts_early_only_when_it_delays_nobody():
    """Backfill that delays the head starves large jobs; none at all leaves accelerators idle.

    A holds a node until 100. B needs both nodes: it starts at 100 and ends at 110. C (limit 50) ends
    before that, so it starts at once at 2 and ends at 52. D (limit 200) would not, so it waits for B.
    """
    a, b = job("a", 8, 0, 100, 100), job("b", 16, 1, 10, 10)
    c, d = job("c", 8, 2, 50, 50), job("d", 8, 3, 20, 200)
    PoolQueue(pool()).advance(1_000, [a, b, c, d], [])
    assert [(each.started_at, each.ended_at) for each in (a, b, c, d)] == [
        (0, 100),
        (100, 110),
        (2, 52),
        (110, 130),
    ]


def test_small_jobs_share_a_node_and_leave_whole_nodes_free():
    """Small jobs spread over all nodes would fragment the pool until no large job fits."""
    small = [job(f"small-{number}", 2, 0, 100, 100) for number in range(4)]
    large = job("large", 8, 1, 10, 10)
    PoolQueue(pool()).advance(50, [*small, large], [])
    assert {each.held[0][0] for each in small} == {small[0].held[0][0]}
    assert large.started_at == 1


def test_a_job_on_a_failed_node_ends_there_and_comes_back_as_a_restart():
    """A requeued job counted once would lose its first run; counted as one run it would hold a dead node."""
    queue, first = PoolQueue(pool(nodes=1)), job("a", 8, 0, 100, 100)
    queue.advance(1_000, [first], [(40, 70, 0)])
    again = queue.ended[-1]
    assert (first.state, first.started_at, first.ended_at) == ("NODE_FAIL", 0, 40)
    assert (again.job_id, again.restart_count, again.submitted_at) == ("a", 1, 0)
    assert (again.state, again.eligible_at, again.started_at, again.ended_at) == (
        "COMPLETED",
        40,
        70,
        170,
    )


def test_a_node_that_is_out_takes_no_job():
    """A job on a node that is out would run on nothing."""
    waiting = job("a", 16, 10, 5, 5)
    PoolQueue(pool()).advance(1_000, [waiting], [(0, 500, 1)])
    assert waiting.started_at == 500


def test_a_node_that_fails_again_while_out_stays_out_for_the_longer_time():
    """Two overlapping outages of a node are one; its first end must not bring it back early."""
    waiting = job("a", 16, 10, 5, 5)
    PoolQueue(pool()).advance(1_000, [waiting], [(0, 100, 1), (50, 300, 1)])
    assert waiting.started_at == 300


def ends_when_cut(cuts: list[int]) -> list[tuple]:
    """Starts and ends of sixty jobs and two outages, advanced up to each instant in turn."""
    jobs = [
        job(str(n), (1, 2, 8, 16, 4)[n % 5], 7 * n, 30 + 11 * (n % 7), 60 + 11 * (n % 7))
        for n in range(60)
    ]
    outages = [(100, 180, 1), (400, 430, 0)]
    queue, done, before = PoolQueue(pool()), [], -1
    for cut in cuts:
        arrivals = [each for each in jobs if before < each.eligible_at <= cut]
        queue.advance(cut, arrivals, [each for each in outages if before < each[0] <= cut])
        done, queue.ended, before = done + queue.ended, [], cut
    return sorted(
        (each.job_id, each.restart_count, each.started_at, each.ended_at) for each in done
    )


def test_time_in_pieces_gives_what_time_at_once_gives():
    """Days are run one by one; where the cut falls must not change any job."""
    assert ends_when_cut([10_000]) == ends_when_cut([50, 101, 180, 300, 433, 10_000])


@pytest.fixture(scope="module")
def attempts() -> list[Job]:
    """All attempts of three weeks, with what is still open at the end."""
    training = Training(Network(5, END), END - timedelta(days=20))
    ended = [
        each for back in range(20, -1, -1) for each in training.advance(END - timedelta(days=back))
    ]
    return ended + training.open_jobs()


def test_no_accelerator_is_held_twice(attempts):
    """More allocated than installed breaks the capacity identity, and no real scheduler does it."""
    now = seconds(start_of_business_day(END + timedelta(days=1)))
    changes = []
    for each in attempts:
        if each.started_at is not None:
            end = each.ended_at if each.ended_at is not None else now
            assert sum(mask.bit_count() for _, mask in each.held) == each.accelerator_count
            for node, mask in each.held:
                changes.append((each.started_at, 1, each.pool.pool_id, node, mask))
                changes.append((end, 0, each.pool.pool_id, node, mask))
    held: Counter[tuple[str, int]] = Counter()
    for _, starts, pool_id, node, mask in sorted(changes):
        if starts:
            assert held[pool_id, node] & mask == 0
            held[pool_id, node] |= mask
        else:
            held[pool_id, node] &= ~mask


def test_jobs_stay_within_their_pool_and_its_dates(attempts):
    """A job on nodes that are not there yet, or no longer, would hold accelerators nobody installed."""
    for each in attempts:
        assert all(0 <= node < each.pool.node_count for node, _ in each.held)
        if each.started_at is None:
            continue
        assert each.started_at >= each.eligible_at >= each.submitted_at
        assert each.started_at >= seconds(start_of_business_day(each.pool.commissioned_date))
        if each.pool.retired_date:
            assert each.ended_at <= seconds(start_of_business_day(each.pool.retired_date))


def test_people_hold_their_jobs_back_while_a_pool_looks_full():
    """Without it every burst of jobs would look like a pool that is short of accelerators.

    A holds one of two nodes until 5,000; with a limit of half the pool, B comes back after 1,810 seconds
    twice and finds A gone at the third try (3 x 1,810 = 5,430).
    """
    a, b = job("a", 8, 0, 5_000, 5_000), job("b", 8, 0, 10, 10)
    PoolQueue(replace(pool(), submit_limit_ratio=0.5)).advance(10_000, [a, b], [])
    assert (a.started_at, b.submitted_at, b.started_at) == (0, 5_430, 5_430)


def test_jobs_wait_where_accelerators_are_short(attempts):
    """Waiting that does not follow load would teach the wrong lesson about where to build."""
    waits: dict[str, list[int]] = {}
    short = network_plan.PLANTED_SHORT_TRAINING
    for each in attempts:
        if each.started_at is not None:
            waits.setdefault(each.pool.pool_id, []).append(each.started_at - each.eligible_at)
    mean = {pool_id: sum(values) / len(values) for pool_id, values in waits.items()}
    assert min(mean[pool_id] for pool_id in short) > 10 * max(
        wait for pool_id, wait in mean.items() if pool_id not in short
    )
