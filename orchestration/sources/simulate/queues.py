"""Training jobs and the queues they wait in: first come first served, with backfill, node by node.

A job of a whole node or more takes whole free nodes; a smaller one shares a node. A job behind the head
of the queue starts early only when its time limit ends before the head could start (EASY backfill).
Never are more accelerators held than there are. No files here: ``job_logs`` writes them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.network import Network, Pool, start_of_business_day
from orchestration.sources.simulate.outages import outages_beginning
from orchestration.sources.simulate.randomness import ONCE, generator

# How many jobs behind the head are looked at for backfill.
BACKFILL_DEPTH = 40
# Submissions by hour of the day (Shanghai): people at work over automation that never sleeps (assumption).
SUBMIT_SHAPE = 5 + np.array(
    [2, 1, 1, 1, 1, 1, 2, 3, 6, 9, 10, 9, 6, 7, 10, 10, 9, 8, 6, 5, 5, 4, 4, 3], float
)
WEEKEND_LOAD = 0.75
OPENING_SECONDS = 600
RETRY_SECONDS = 1_800
END_STATES = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY")
END_STATE_SHARES = (0.72, 0.13, 0.09, 0.04, 0.02)


def seconds(instant: datetime) -> int:
    """Whole seconds since 1970."""
    return int(instant.timestamp())


@dataclass
class Job:
    """One attempt of a job; times are seconds since 1970, None while not yet known."""

    job_id: str
    tenant_id: str
    pool: Pool
    accelerator_count: int
    submitted_at: int
    eligible_at: int
    run_seconds: int
    limit_seconds: int
    end_state: str
    activity: float
    restart_count: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    state: str = "PENDING"
    # (node, bit mask of the accelerators held on it)
    held: list[tuple[int, int]] = field(default_factory=list)


class PoolQueue:
    """The scheduler of one pool."""

    def __init__(self, pool: Pool):
        self.pool = pool
        self.full = (1 << pool.accelerators_per_node) - 1
        self.free = [self.full] * pool.node_count
        self.out: dict[int, int] = {}
        self.waiting: list[Job] = []
        self.running: list[tuple[int, int, Job]] = []
        self.ended: list[Job] = []
        # Jobs that nobody has submitted yet, because the pool looked too full.
        self.held_back: list[Job] = []
        self._sequence = 0

    def advance(self, until: int, arrivals: list[Job], outages: list[tuple[int, int, int]]) -> None:
        """Runs the queue up to the instant. Outages are (start, end, node), in time order, like arrivals."""
        arriving = [*self.held_back, *arrivals]
        events: list[tuple[int, int, int, object]] = [
            (job.eligible_at, 2, n, job) for n, job in enumerate(arriving)
        ]
        events += [(start, 1, n, (end, node)) for n, (start, end, node) in enumerate(outages)]
        events += [(end, 0, node, None) for node, end in self.out.items() if end <= until]
        heapq.heapify(events)
        while events or self.running:
            next_event = events[0][0] if events else until + 1
            next_end = self.running[0][0] if self.running else until + 1
            now = min(next_event, next_end)
            if now > until:
                break
            if next_end <= next_event:
                _, _, job = heapq.heappop(self.running)
                if job.state == "RUNNING":
                    self._finish(job, now, job.end_state)
            else:
                _, kind, node, what = heapq.heappop(events)
                if kind == 2 and self._is_too_full_for(what):
                    # Whoever sees a full pool comes back some time later.
                    later = RETRY_SECONDS + what.run_seconds % RETRY_SECONDS
                    what.submitted_at += later
                    what.eligible_at += later
                    heapq.heappush(events, (what.eligible_at, 2, node, what))
                elif kind == 2:
                    self.waiting.append(what)
                elif kind == 1:
                    end, number = what
                    self._node_fails(number, now, end)
                    if end <= until:
                        heapq.heappush(events, (end, 0, number, None))
                elif self.out.get(node, now + 1) <= now:
                    del self.out[node]
            self._start_what_fits(now)
        self.held_back = [
            what for _, kind, _, what in sorted(events, key=lambda event: event[:3]) if kind == 2
        ]

    def accelerators_asked_for(self) -> int:
        """Accelerators of the jobs that run or wait."""
        return sum(job.accelerator_count for job in [*self.running_jobs(), *self.waiting])

    def _is_too_full_for(self, job: Job) -> bool:
        """Whether the job's owner, seeing how much is asked for already, would not submit it now."""
        limit = self.pool.submit_limit_ratio * self.pool.accelerator_count
        return self.accelerators_asked_for() + job.accelerator_count > limit

    def running_jobs(self) -> list[Job]:
        """Jobs that run now."""
        return [job for _, _, job in self.running if job.state == "RUNNING"]

    def retire(self, now: int) -> None:
        """The pool goes: what still runs or waits in it is cancelled."""
        for job in self.running_jobs():
            self._finish(job, now, "CANCELLED")
        for job in self.waiting:
            job.state, job.ended_at = "CANCELLED", now
            self.ended.append(job)
        self.waiting, self.running, self.held_back = [], [], []

    def _finish(self, job: Job, now: int, state: str) -> None:
        job.state, job.ended_at = state, now
        for node, mask in job.held:
            self.free[node] |= mask
        self.ended.append(job)

    def _node_fails(self, node: int, now: int, end: int) -> None:
        """Jobs on the node end there and come back at the head of the queue, counted as restarts."""
        self.out[node] = max(end, self.out.get(node, 0))
        again = []
        for job in self.running_jobs():
            if any(held == node for held, _ in job.held):
                self._finish(job, now, "NODE_FAIL")
                again.append(Job(
                    job.job_id, job.tenant_id, job.pool, job.accelerator_count, job.submitted_at, now,
                    job.run_seconds, job.limit_seconds, job.end_state, job.activity, job.restart_count + 1,
                ))  # fmt: skip
        self.waiting = again + self.waiting

    def _place(
        self, free: list[int], out: dict[int, int], job: Job
    ) -> list[tuple[int, int]] | None:
        """Nodes and accelerators for the job among the free ones, or None."""
        per_node = self.pool.accelerators_per_node
        if job.accelerator_count >= per_node:
            wanted = job.accelerator_count // per_node
            nodes = []
            for node, mask in enumerate(free):
                if mask == self.full and node not in out:
                    nodes.append(node)
                    if len(nodes) == wanted:
                        return [(node, self.full) for node in nodes]
            return None
        best, best_count = None, per_node + 1
        for node, mask in enumerate(free):
            count = mask.bit_count()
            if job.accelerator_count <= count < best_count and node not in out:
                best, best_count = node, count
        if best is None:
            return None
        mask, taken = free[best], 0
        while taken.bit_count() < job.accelerator_count:
            lowest = mask & -mask
            taken |= lowest
            mask ^= lowest
        return [(best, taken)]

    def _start(self, job: Job, held: list[tuple[int, int]], now: int) -> None:
        job.held, job.started_at, job.state = held, now, "RUNNING"
        for node, mask in held:
            self.free[node] &= ~mask
        self._sequence += 1
        heapq.heappush(self.running, (now + job.run_seconds, self._sequence, job))

    def _start_what_fits(self, now: int) -> None:
        while self.waiting:
            held = self._place(self.free, self.out, self.waiting[0])
            if held is None:
                break
            self._start(self.waiting.pop(0), held, now)
        if len(self.waiting) > 1:
            self._backfill(now)

    def _backfill(self, now: int) -> None:
        """Starts jobs behind the head that end before the head could start."""
        candidates = [
            job for job in self.waiting[1:BACKFILL_DEPTH] if self._place(self.free, self.out, job)
        ]
        if not candidates:
            return
        head_starts = self._earliest_start(now, self.waiting[0])
        started = set()
        for job in candidates:
            if now + job.limit_seconds <= head_starts:
                held = self._place(self.free, self.out, job)
                if held is not None:
                    self._start(job, held, now)
                    started.add(id(job))
        if started:
            self.waiting = [job for job in self.waiting if id(job) not in started]

    def _earliest_start(self, now: int, head: Job) -> int:
        """When the head fits if every running job takes its whole limit and every node comes back on time."""
        free = list(self.free)
        out = dict(self.out)
        releases = [
            (job.started_at + job.limit_seconds, 0, job.held) for job in self.running_jobs()
        ]
        releases += [(end, 1, node) for node, end in out.items()]
        for at, kind, what in sorted(releases, key=lambda release: release[:2]):
            if kind == 0:
                for node, mask in what:
                    free[node] |= mask
            else:
                out.pop(what, None)
            if self._place(free, out, head):
                return at
        return now


class Training:
    """All training queues of the network, advanced one business day at a time."""

    def __init__(self, network: Network, first_day: date):
        self.network = network
        self.queues = [PoolQueue(pool) for pool in network.pools if pool.purpose == "training"]
        self._next_id = {
            pool.site_id: 100_001 for pool in network.pools if pool.purpose == "training"
        }
        self._payers = [
            tenant for tenant in network.tenants
            if tenant.is_registered and tenant.segment in ("ai_model_company", "internal", "enterprise")
        ][:60]  # fmt: skip
        shares = np.array([tenant.share**0.5 for tenant in self._payers])
        self._payer_shares = shares / shares.sum()
        self._mean_work = {
            queue.pool.pool_id: self._mean_accelerator_hours(queue.pool) for queue in self.queues
        }
        self._first_day = first_day

    def advance(self, day: date) -> list[Job]:
        """Runs the business day to its last second; returns the attempts that ended in it."""
        began, ends = start_of_business_day(day), start_of_business_day(day + timedelta(days=1))
        outages: dict[str, list[tuple[int, int, int]]] = {}
        for outage in outages_beginning(self.network, day):
            outages.setdefault(outage.pool_id, []).append(
                (seconds(outage.start), seconds(outage.end), outage.node)
            )
        for queue in self.queues:
            pool = queue.pool
            if pool.retired_date == day:
                queue.retire(seconds(began))
            arrivals = self._arrivals(queue, day) if pool.in_service(day) else []
            queue.advance(seconds(ends) - 1, arrivals, outages.get(pool.pool_id, []))
        ended = [job for queue in self.queues for job in queue.ended]
        for queue in self.queues:
            queue.ended = []
        return ended

    def _sizes(self, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
        """Job sizes that the pool takes, and their shares."""
        sizes = np.array(calibration.JOB_SIZES)
        fits = sizes <= pool.accelerator_count * calibration.LARGEST_JOB_SHARE
        shares = np.array(calibration.JOB_SIZE_SHARES)[fits]
        return sizes[fits], shares / shares.sum()

    @staticmethod
    def _run_hours(random: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
        medians = np.where(
            sizes <= 8, calibration.SMALL_JOB_MEDIAN_HOURS, calibration.LARGE_JOB_MEDIAN_HOURS
        )
        hours = medians * np.exp(calibration.JOB_SIGMA * random.standard_normal(len(sizes)))
        return np.minimum(hours, calibration.LONGEST_JOB_HOURS)

    def _mean_accelerator_hours(self, pool: Pool) -> float:
        """Mean accelerator-hours of a job of the pool, by drawing many."""
        random = generator(self.network.seed, ONCE, "job-size")
        sizes, shares = self._sizes(pool)
        drawn = random.choice(sizes, size=200_000, p=shares)
        return float((drawn * self._run_hours(random, drawn)).mean())

    def _arrivals(self, queue: PoolQueue, day: date) -> list[Job]:
        """Jobs meant for the pool on the business day; fewer, the more work is held back already."""
        pool = queue.pool
        backlog = sum(job.accelerator_count for job in queue.held_back) / pool.accelerator_count
        random = generator(self.network.seed, day, f"jobs:{pool.pool_id}")
        weekly = (5 + 2 * WEEKEND_LOAD) / 7
        load = pool.training_load * (WEEKEND_LOAD if day.weekday() >= 5 else 1.0) / weekly
        count = int(
            random.poisson(
                load / (1 + backlog) * pool.accelerator_count * 24 / self._mean_work[pool.pool_id]
            )
        )
        began = seconds(start_of_business_day(day))
        hours = random.choice(24, size=count, p=SUBMIT_SHAPE / SUBMIT_SHAPE.sum())
        submits = began + hours * 3600 + random.integers(0, 3600, count)
        if day == self._first_day:
            # The records begin here, the work did not: what would be running comes at once.
            sizes, shares = self._sizes(pool)
            opening = round(load * pool.accelerator_count / float((sizes * shares).sum()))
            submits = np.append(submits, began + random.integers(0, OPENING_SECONDS, opening))
        return self._jobs(random, pool, np.sort(submits))

    def _jobs(self, random: np.random.Generator, pool: Pool, submits: np.ndarray) -> list[Job]:
        """Jobs submitted to the pool at the instants, by when they may start."""
        count = len(submits)
        sizes, shares = self._sizes(pool)
        drawn = random.choice(sizes, size=count, p=shares)
        runs = np.maximum((self._run_hours(random, drawn) * 3600).astype(np.int64), 30)
        limits = np.maximum(runs * random.uniform(1.1, 3.0, count) // 1800 * 1800, 1800).astype(
            np.int64
        )
        limits = np.maximum(limits, runs)
        states = random.choice(len(END_STATES), size=count, p=END_STATE_SHARES)
        payers = random.choice(len(self._payers), size=count, p=self._payer_shares)
        activity = random.beta(8, 2, count)
        array_tasks = random.random(count) < 0.04
        jobs = []
        for k in range(count):
            number = self._next_id[pool.site_id]
            self._next_id[pool.site_id] += 1
            state = END_STATES[states[k]]
            submitted = int(submits[k])
            jobs.append(Job(
                job_id=f"{number}_{int(drawn[k])}" if array_tasks[k] else str(number),
                tenant_id=self._payers[payers[k]].tenant_id,
                pool=pool,
                accelerator_count=int(drawn[k]),
                submitted_at=submitted,
                eligible_at=submitted + (1 if array_tasks[k] else 0),
                run_seconds=int(runs[k]),
                limit_seconds=int(runs[k] if state == "TIMEOUT" else limits[k]),
                end_state=state,
                activity=float(activity[k]),
            ))  # fmt: skip
        return sorted(jobs, key=lambda job: job.eligible_at)

    def running_jobs(self) -> list[Job]:
        """Jobs that run now."""
        return [job for queue in self.queues for job in queue.running_jobs()]

    def open_jobs(self) -> list[Job]:
        """Jobs that run or wait now."""
        return [job for queue in self.queues for job in [*queue.running_jobs(), *queue.waiting]]
