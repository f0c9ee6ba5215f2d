"""The scheduler's accounting as ``sacct --parsable2`` prints it, one file a business day, times in UTC.

A file holds the attempts that ended in the day and those still open at its end, so an open job is seen
again later. Counts the exact accelerator-seconds of what it writes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta

from orchestration.sources.simulate.delivery import Feed, Landing
from orchestration.sources.simulate.network import start_of_business_day
from orchestration.sources.simulate.queues import Job, Training, seconds

FEED = Feed("job_logs", "sacct", "job_logs", "simulated-slurm")
HEADING = (
    "Cluster", "JobID", "Account", "Partition", "Submit", "Eligible", "Start", "End", "Elapsed", "State",
    "NNodes", "AllocTRES", "NodeList", "Restarts", "ReqTRES",
)  # fmt: skip
SECONDS_A_DAY = 86_400


def _instant(at: int | None) -> str:
    return (
        "Unknown" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    )


def _elapsed(run: int) -> str:
    days, rest = divmod(run, SECONDS_A_DAY)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def _node_list(job: Job) -> str:
    """Node names folded as Slurm folds them: pool-node-[0001-0003,0007]."""
    if not job.held:
        return "None assigned"
    numbers = sorted(node + 1 for node, _ in job.held)
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    if len(numbers) == 1:
        return job.pool.node_id(numbers[0] - 1)
    folded = ",".join(f"{a:04d}" if a == b else f"{a:04d}-{b:04d}" for a, b in ranges)
    return f"{job.pool.pool_id}-node-[{folded}]"


def _resources(job: Job, nodes: int) -> str:
    count = job.accelerator_count
    return f"billing={count},cpu={count * 12},gres/gpu={count},mem={count * 120}G,node={nodes}"


def line(job: Job, now: int) -> str:
    """The job as one line, as it stood at the instant."""
    per_node = job.pool.accelerators_per_node
    nodes = max(1, job.accelerator_count // per_node)
    started = job.started_at is not None
    run = ((job.ended_at if job.ended_at is not None else now) - job.started_at) if started else 0
    state = "CANCELLED by 1001" if job.state == "CANCELLED" else job.state
    return "|".join((
        job.pool.site_id, job.job_id, job.tenant_id, job.pool.pool_id,
        _instant(job.submitted_at), _instant(job.eligible_at), _instant(job.started_at), _instant(job.ended_at),
        _elapsed(run), state, str(nodes), _resources(job, nodes) if started else "", _node_list(job),
        str(job.restart_count), _resources(job, nodes),
    ))  # fmt: skip


class JobTruth:
    """Attempts seen and the exact accelerator-seconds they held, by pool and UTC day."""

    def __init__(self) -> None:
        self.attempts: set[tuple[str, str, int, int]] = set()
        self.sightings = 0
        self.states: Counter[str] = Counter()
        self.wait_seconds = 0
        self.by_pool: Counter[str] = Counter()
        self.by_utc_day: Counter[str] = Counter()
        self.by_usage_date: Counter[str] = Counter()
        self.by_usage_date_and_pool: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def see(self, job: Job) -> None:
        """Counts one sighting."""
        self.sightings += 1
        self.attempts.add((job.pool.site_id, job.job_id, job.submitted_at, job.restart_count))

    def close(self, job: Job, now: int) -> None:
        """Counts the last that is known of an attempt: its end, or that it is open at the instant."""
        self.states[job.state] += 1
        if job.started_at is None:
            return
        self.wait_seconds += job.started_at - job.eligible_at
        end = job.ended_at if job.ended_at is not None else now
        self.by_pool[job.pool.pool_id] += (end - job.started_at) * job.accelerator_count
        for shift, name in ((0, "by_utc_day"), (8 * 3600, "by_usage_date")):
            at = job.started_at
            while at < end:
                midnight = (at + shift) // SECONDS_A_DAY * SECONDS_A_DAY + SECONDS_A_DAY - shift
                day = datetime.fromtimestamp(at + shift, UTC).date().isoformat()
                held = (min(end, midnight) - at) * job.accelerator_count
                getattr(self, name)[day] += held
                if shift:
                    self.by_usage_date_and_pool[day][job.pool.pool_id] += held
                at = min(end, midnight)

    def as_dict(self) -> dict:
        """Everything counted, in plain types; seconds are accelerator-seconds."""
        return {
            "sightings": self.sightings,
            "attempts": len(self.attempts),
            "attempts_by_last_state": dict(sorted(self.states.items())),
            "accelerator_seconds": sum(self.by_pool.values()),
            "wait_seconds": self.wait_seconds,
            "accelerator_seconds_by_pool": dict(sorted(self.by_pool.items())),
            "accelerator_seconds_by_utc_day": dict(sorted(self.by_utc_day.items())),
            "accelerator_seconds_by_usage_date": dict(sorted(self.by_usage_date.items())),
            "accelerator_seconds_by_usage_date_and_pool": {
                day: dict(sorted(pools.items()))
                for day, pools in sorted(self.by_usage_date_and_pool.items())
            },
        }


def write(
    day: date,
    ended: list[Job],
    training: Training,
    landing: Landing,
    truth: JobTruth,
    last_day: bool,
) -> None:
    """Writes the business day's file and counts it."""
    # The last second of the day, so that no job reaches into the next.
    now = seconds(start_of_business_day(day + timedelta(days=1))) - 1
    still_open = training.open_jobs()
    jobs = sorted(
        [*ended, *still_open],
        key=lambda job: (job.pool.pool_id, job.submitted_at, job.job_id, job.restart_count),
    )
    for job in jobs:
        truth.see(job)
    for job in [*ended, *(still_open if last_day else [])]:
        truth.close(job, now)
    text = "\n".join(["|".join(HEADING), *(line(job, now) for job in jobs)]) + "\n"
    landing.deliver(FEED, day, f"sacct-{day.isoformat()}.txt.gz", text.encode(), len(jobs) + 1)
