"""Slurm accounting: ``sacct --parsable2`` with a heading, and two dialects without one.

A line is one sighting of a job; an open job is seen again in a later file, so its identity carries how
far it was known to run. Step rows (4034541.batch) are parts of a job and carry no job of their own: known,
no data, not counted as received. Accelerators are counted once, from AllocTRES; a job that never started
holds none and is counted with what it asks for (ReqTRES). Users are people: where no account is given,
the tenant is a pseudonym of the user. Spreading jobs over hours is dbt's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestration.contracts import JOB_LOGS, JOB_STATES
from orchestration.sources.accelerator_names import accelerator_id_of
from orchestration.sources.base import FormatError, Heading, Lines, Options, Reject, Row, RowFormat

REQUIRED = ("JobID", "Submit", "State")
RESOURCES = ("AllocTRES", "ReqTRES")
OPEN_STATES = frozenset({"PENDING", "RUNNING", "SUSPENDED"})
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?", re.ASCII)
FIRST_YEAR, LAST_YEAR = 1970, 2200
SNOWMAN = "\u2603"
HB_JOBINFO = (
    "JobID", "JobName", "User", "Partition", "NodeList", "NNodes", "NCPUS", "NTasks", "State", "Submit", "Start",
    "End", "Timelimit", "Elapsed", "TotalCPU", "CPUTime", "UserCPU", "SystemCPU", "ReqMem", "MaxRSS", "MaxVMSize",
    "ReqTRES", "AllocTRES",
)
HB_JOBINFO_FIELDS = 38
XDMOD = (
    "JobID", "JobIDRaw", "Cluster", "Partition", "QOS", "Account", "Group", "GID", "User", "UID", "Submit", "Eligible",
    "Start", "End", "Elapsed", "ExitCode", "State", "NNodes", "NCPUS", "ReqCPUS", "ReqMem", "ReqTRES", "AllocTRES",
    "Timelimit", "NodeList", "JobName",
)
ABSENT = ("", "Unknown", "None", "N/A", "None assigned", "INVALID")
MOST_NODES = 100_000
HOST = re.compile(r"((?:[^,\[\]\s]|\[\d{1,9}(?:-\d{1,9})?(?:,\d{1,9}(?:-\d{1,9})?)*\])+)(?:,(?=.)|$)", re.ASCII)
HOST_PART = re.compile(r"([^\[\]]+)|\[([^\[\]]+)\]")


def seconds_of(text: str) -> int | None:
    """Seconds of [D-]HH:MM:SS or MM:SS (a fraction of a second is dropped); None when it is none."""
    match = re.fullmatch(r"(?:(\d{1,5})-)?(?:(\d{1,4}):)?(\d{1,2}):(\d{2})(?:\.\d+)?", text, re.ASCII)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def accelerators_of(tres: str) -> tuple[int, str | None]:
    """(accelerators, their type) of a TRES text: gres/gpu=N, else the sum of gres/gpu:type=N. ValueError.

    The type is None where none is given, and where several are.
    """
    total, typed, kinds = None, 0, []
    for part in filter(None, tres.split(",")):
        name, _, count = part.partition("=")
        if name != "gres/gpu" and not name.startswith("gres/gpu:"):
            continue
        if not re.fullmatch(r"\d{1,9}", count, re.ASCII):
            raise ValueError(f"{part!r} is no count of GPUs")
        if name == "gres/gpu":
            total = int(count)
        else:
            typed += int(count)
            kinds.append(name.removeprefix("gres/gpu:"))
    return (typed if total is None else total), (accelerator_id_of(kinds[0]) if len(set(kinds)) == 1 else None)


def nodes_of(text: str) -> list[str]:
    """Node names of a Slurm hostlist: cpn-[01-02,07],x becomes cpn-01, cpn-02, cpn-07, x. ValueError."""
    names: list[str] = []
    position = 0
    while position < len(text):
        host = HOST.match(text, position)
        if not host:
            raise ValueError(f"NodeList {text[:80]!r} is no list of nodes")
        names += _expanded(host.group(1), MOST_NODES - len(names))
        position = host.end()
    return names


def _expanded(host: str, most: int) -> list[str]:
    """The names of one entry of a hostlist, which may hold several brackets; each keeps its zeros."""
    names = [""]
    for literal, ranges in HOST_PART.findall(host):
        middles = _numbers(ranges, most) if ranges else [literal]
        if len(names) * len(middles) > most:
            raise ValueError(f"NodeList names more than {MOST_NODES:,} nodes")
        names = [name + middle for name in names for middle in middles]
    return names


def _numbers(ranges: str, most: int) -> list[str]:
    numbers: list[str] = []
    for piece in ranges.split(","):
        low, _, high = piece.partition("-")
        first, last = int(low), int(high or low)
        if not first <= last:
            raise ValueError(f"NodeList has the range [{piece}], which runs backwards")
        if len(numbers) + last - first >= most:
            raise ValueError(f"NodeList names more than {MOST_NODES:,} nodes")
        numbers += [str(number).zfill(len(low)) for number in range(first, last + 1)]
    return numbers


def state_of(text: str) -> str | None:
    """The Slurm state without what follows it ("CANCELLED by 380693"); None when it is not one."""
    words = text.split()
    state = words[0].rstrip("+") if words else ""
    return state if state in JOB_STATES else None


class _Faulty(ValueError):
    """A line that isn't exactly right: a reason code, and what to do about it."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def _instant(record: dict[str, str], name: str, zone: ZoneInfo, earliest: datetime | None = None) -> datetime | None:
    """A time of the record, aware; None when it is absent. _Faulty when it is no time.

    A wall-clock time that the end of summer time repeats is the second one if the first is before
    ``earliest``, which can't be later.
    """
    text = record.get(name, "")
    if text in ABSENT:
        return None
    try:
        instant = datetime.fromisoformat(text) if TIME.fullmatch(text) else None
    except ValueError:
        instant = None
    if instant is None or not FIRST_YEAR < instant.year < LAST_YEAR:
        raise _Faulty("bad_timestamp", f"{name} {text[:40]!r} must be like 2026-11-22T16:00:00")
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=zone)
        if earliest is not None and instant < earliest:
            instant = instant.replace(fold=1)
    return instant.astimezone(UTC)


def _seconds(record: dict[str, str], name: str) -> int | None:
    text = record.get(name, "")
    if text in ABSENT:
        return None
    seconds = seconds_of(text)
    if seconds is None:
        raise _Faulty("bad_duration", f"{name} {text[:40]!r} must be like 1-02:03:04")
    return seconds


def _resources(record: dict[str, str]) -> tuple[int, str | None, list[str]]:
    """Accelerators, their type, and the nodes."""
    try:
        count, kind = accelerators_of(record.get("AllocTRES") or record.get("ReqTRES") or "")
        nodes = [] if record.get("NodeList", "") in ABSENT else nodes_of(record["NodeList"])
    except ValueError as error:
        raise _Faulty("bad_resources", str(error)) from error
    return count, kind, nodes


def _values(record: dict[str, str], options: Options) -> dict[str, str | None]:
    """Contract values of one job line. _Faulty when it isn't exactly right."""
    state = state_of(record["State"])
    if state is None:
        raise _Faulty("not_allowed", f"State {record['State'][:40]!r} is no Slurm state")
    zone = ZoneInfo(options.timezone)
    submitted = _instant(record, "Submit", zone)
    if submitted is None:
        raise _Faulty("missing", "Submit is missing")
    eligible, started = (_instant(record, name, zone, submitted) for name in ("Eligible", "Start"))
    ended = _instant(record, "End", zone, started)
    elapsed, suspended = _seconds(record, "Elapsed"), _seconds(record, "Suspended")
    observed = None
    if state in OPEN_STATES:
        # sacct --truncate ends an open job where its window ends. Elapsed leaves out suspended time.
        observed, ended = ended, None
        if observed is None and started is not None and elapsed is not None:
            observed = started + timedelta(seconds=elapsed + (suspended or 0))
    count, kind, nodes = _resources(record)
    account, user = record.get("Account", ""), record.get("User", "")
    if not account and user:
        account = "user-" + hashlib.sha256(user.encode()).hexdigest()[:12]

    def text_of(instant: datetime | None) -> str | None:
        return None if instant is None else options.instant(instant)

    return {
        "cluster_id": record.get("Cluster") or options.source_id,
        "job_id": record["JobID"],
        "restart_count": record.get("Restarts") or None,
        "tenant_id": account or None,
        "partition": record.get("Partition") or None,
        "accelerator_id": kind,
        "submitted_at": text_of(submitted),
        "eligible_at": text_of(eligible),
        "started_at": text_of(started),
        "ended_at": text_of(ended),
        "observed_at": text_of(observed),
        "suspended_seconds": None if suspended is None else str(suspended),
        "state": state,
        "accelerator_count": str(count),
        "node_count": record.get("NNodes") or None,
        "node_list": ",".join(nodes) or None,
    }


class _Restarts:
    """Which attempt a line is, where no Restarts column says so: the nth start of a job is restart n - 1.

    ``sacct --duplicates`` lists the attempts of a requeued job, oldest first. Keeps two hashes a job.
    """

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self.later: dict[int, list[int]] = {}

    def of(self, job: tuple, start: str | None) -> int:
        key, started = hash(job), hash(start)
        if start is None:
            # Waiting, after as many starts as were seen.
            return int(key in self.first) + len(self.later.get(key, ()))
        if self.first.setdefault(key, started) == started:
            return 0
        later = self.later.setdefault(key, [])
        if started not in later:
            later.append(started)
        return later.index(started) + 1


def _jobs(rows: Iterator[tuple[int, dict[str, str] | str | None]], options: Options) -> Iterator[Row | Reject | Heading]:
    """Rows of job lines; no record is a heading, and a text instead is why the line is wrong."""
    restarts = _Restarts()
    for number, record in rows:
        if record is None:
            yield Heading(number)
            continue
        if isinstance(record, str):
            yield Reject(number, "wrong_column_count", record)
            continue
        if "." in record["JobID"]:
            yield Heading(number)
            continue
        if not record["JobID"]:
            yield Reject(number, "missing", "JobID is missing")
            continue
        try:
            values = _values(record, options)
        except _Faulty as fault:
            yield Reject(number, fault.reason, str(fault))
            continue
        # As delivered, so that identity does not move with the times of a replayed trace.
        job = (values["cluster_id"], record["JobID"], record["Submit"])
        if values["restart_count"] is None:
            values["restart_count"] = str(restarts.of(job, values["started_at"]))
        until = record.get("Elapsed", "") if values["ended_at"] is None else record["End"]
        yield Row(number, values, event_id="|".join((*job, values["restart_count"], values["state"], until)))


def _read_parsable2(lines: Lines, options: Options) -> Iterator[Row | Reject | Heading]:
    number, heading = next(lines, (0, ""))
    names = heading.split("|")
    missing = [name for name in REQUIRED if name not in names]
    if not set(RESOURCES) & set(names):
        missing.append(RESOURCES[0])
    if missing:
        raise FormatError(
            "missing_column",
            f"the heading lacks {', '.join(missing)}; ask sacct for --parsable2 "
            f"--format={','.join((*REQUIRED, RESOURCES[0]))},... and leave its heading in",
        )
    yield Heading(number)

    def records():
        for number, text in lines:
            fields = text.split("|")
            if text == heading:
                yield number, None
            elif len(fields) != len(names):
                yield number, (
                    f"{len(fields)} fields where the heading has {len(names)}; a '|' inside a field (JobName, Comment) "
                    "can't be told apart, so leave that column out"
                )
            else:
                yield number, dict(zip(names, fields, strict=True))

    yield from _jobs(records(), options)


def _without_heading(delimiter: str, names: tuple[str, ...], width: int):
    def read(lines: Lines, options: Options) -> Iterator[Row | Reject | Heading]:
        def records():
            for number, text in lines:
                fields = text.split(delimiter)
                if len(fields) != width:
                    yield number, f"{len(fields)} fields where {width} are expected"
                else:
                    yield number, dict(zip(names, fields, strict=False))

        yield from _jobs(records(), options)

    return read


def _first(head: str) -> str:
    return head.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")


SACCT = RowFormat(
    name="sacct",
    table=JOB_LOGS,
    description="Slurm sacct --parsable2 with its heading, times in UTC unless the manifest names a zone.",
    matches=lambda _name, head: "JobID" in _first(head).split("|") and not {"State", "Submit"}.isdisjoint(_first(head).split("|")),
    read=_read_parsable2,
)
SACCT_HB_JOBINFO = RowFormat(
    name="sacct_hb_jobinfo",
    table=JOB_LOGS,
    description="sacct as hb-jobinfo calls it: no heading, 38 fields between snowmen.",
    matches=lambda _name, head: _first(head).count(SNOWMAN) == HB_JOBINFO_FIELDS - 1,
    read=_without_heading(SNOWMAN, HB_JOBINFO, HB_JOBINFO_FIELDS),
)
SACCT_XDMOD = RowFormat(
    name="sacct_xdmod",
    table=JOB_LOGS,
    description="sacct as Open XDMoD's shredder calls it: no heading, 26 fields.",
    matches=lambda _name, head: _first(head).count("|") == len(XDMOD) - 1 and _first(head)[:1].isdigit(),
    read=_without_heading("|", XDMOD, len(XDMOD)),
)
