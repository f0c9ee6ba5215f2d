"""Slurm accounting: ``sacct --parsable2`` with a heading, and two dialects without one.

A line is one sighting of a job; an open job is seen again in a later file, so its identity carries how
far it was known to run. Step rows (4034541.batch) are parts of a job and no jobs; they are not counted.
Accelerators are counted once, from AllocTRES.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from orchestration.contracts import JOB_LOGS, JOB_STATES
from orchestration.sources.base import FormatError, Heading, Lines, Options, Reject, Row, RowFormat

REQUIRED = ("JobID", "Submit", "State")
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


def seconds_of(text: str) -> int | None:
    """Seconds of [D-]HH:MM:SS or MM:SS (a fraction of a second is dropped); None when it is none."""
    match = re.fullmatch(r"(?:(\d{1,5})-)?(?:(\d{1,4}):)?(\d{1,2}):(\d{2})(?:\.\d+)?", text, re.ASCII)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def accelerators_of(tres: str) -> tuple[int, str | None]:
    """(accelerators, type or None) of a TRES text: gres/gpu=N, else the sum of gres/gpu:type=N. ValueError."""
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
    return (typed if total is None else total), (kinds[0].lower() if len(kinds) == 1 else None)


def nodes_of(text: str) -> list[str]:
    """Node names of a Slurm hostlist: cpn-[01-02,07],x becomes cpn-01, cpn-02, cpn-07, x. ValueError."""
    names: list[str] = []
    for part in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text):
        names += _expanded(part)
        if len(names) > MOST_NODES:
            raise ValueError(f"names more than {MOST_NODES:,} nodes")
    if text.count("[") != text.count("]"):
        raise ValueError("has a bracket that is not closed")
    return names


def _expanded(part: str) -> list[str]:
    match = re.fullmatch(r"([^\[\]]*)\[([^\[\]]*)\](.*)", part)
    if not match:
        return [part]
    head, ranges, tail = match.groups()
    middles = []
    for piece in ranges.split(","):
        span = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", piece, re.ASCII)
        if not span:
            raise ValueError(f"[{ranges}] is no range of nodes")
        low, high = span.group(1), span.group(2) or span.group(1)
        if int(high) - int(low) > MOST_NODES:
            raise ValueError(f"names more than {MOST_NODES:,} nodes")
        middles += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return [head + middle + rest for rest in _expanded(tail) for middle in middles]


def state_of(text: str) -> str | None:
    """The Slurm state without what follows it ("CANCELLED by 380693"); None when it is not one."""
    words = text.split()
    state = words[0].rstrip("+") if words else ""
    return state if state in JOB_STATES else None


class _Faulty(ValueError):
    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def _instant(record: dict[str, str], name: str, options: Options) -> datetime | None:
    text = record.get(name, "")
    if text in ABSENT:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise _Faulty("bad_timestamp", f"{name} {text!r} must be like 2026-11-22T16:00:00") from error


def _values(record: dict[str, str], options: Options) -> tuple[dict[str, str | None], str]:
    """Contract values of one job line, and the job's identity without its sighting."""
    state = state_of(record["State"])
    if state is None:
        raise _Faulty("not_allowed", f"State {record['State']!r} is no Slurm state")
    submitted, eligible, started, ended = (_instant(record, name, options) for name in ("Submit", "Eligible", "Start", "End"))
    if submitted is None:
        raise _Faulty("missing", "Submit is missing")
    elapsed = seconds_of(record.get("Elapsed", ""))
    suspended = seconds_of(record.get("Suspended", ""))
    try:
        count, kind = accelerators_of(record.get("AllocTRES") or record.get("ReqTRES") or "")
        nodes = [] if record.get("NodeList", "") in ABSENT else nodes_of(record["NodeList"])
    except ValueError as error:
        raise _Faulty("bad_resources", str(error)) from error
    account, user = record.get("Account", ""), record.get("User", "")
    if not account and user:
        account = "user-" + hashlib.sha256(user.encode()).hexdigest()[:12]
    observed = None
    if ended is None:
        observed = started + timedelta(seconds=elapsed or 0) if started else eligible or submitted
    cluster = record.get("Cluster") or options.source_id
    values = {
        "cluster_id": cluster, "job_id": record["JobID"], "restart_count": record.get("Restarts") or None,
        "tenant_id": account or None, "partition": record.get("Partition") or None, "accelerator_id": kind,
        "submitted_at": options.instant(submitted),
        "eligible_at": options.instant(eligible) if eligible else None,
        "started_at": options.instant(started) if started else None,
        "ended_at": options.instant(ended) if ended else None,
        "observed_at": options.instant(observed) if observed else None,
        "suspended_seconds": None if suspended is None else str(suspended),
        "state": state, "accelerator_count": str(count), "node_count": record.get("NNodes") or None,
        "node_list": ",".join(nodes) or None,
    }
    return values, f"{cluster}|{record['JobID']}|{submitted.isoformat()}"


def _jobs(rows: Iterator[tuple[int, dict[str, str] | str]], options: Options) -> Iterator[Row | Reject | Heading]:
    """Rows of job lines; a text instead of a record is why the line is wrong.

    ``sacct -D`` repeats a requeued job: without a Restarts column, the nth start of a job is restart n - 1.
    """
    starts: dict[str, list[str | None]] = {}
    for number, record in rows:
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
            values, identity = _values(record, options)
        except _Faulty as fault:
            yield Reject(number, fault.reason, str(fault))
            continue
        except OverflowError:
            yield Reject(number, "bad_timestamp", "a time is beyond what a clock can show")
            continue
        if values["restart_count"] is None:
            seen = starts.setdefault(identity, [])
            if values["started_at"] not in seen:
                seen.append(values["started_at"])
            values["restart_count"] = str(seen.index(values["started_at"]))
        sighting = values["ended_at"] or f"open|{values['observed_at']}"
        yield Row(number, values, event_id=f"{identity}|{values['restart_count']}|{values['state']}|{sighting}")


def _read_parsable2(lines: Lines, options: Options) -> Iterator[Row | Reject | Heading]:
    number, heading = next(lines, (0, ""))
    names = heading.split("|")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise FormatError("missing_column", f"the heading lacks {', '.join(missing)}; sacct needs {', '.join(REQUIRED)}")
    yield Heading(number)

    def records():
        for number, text in lines:
            fields = text.split("|")
            if len(fields) != len(names):
                yield number, f"{len(fields)} fields where the heading has {len(names)}"
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
    return head.split("\n", 1)[0]


SACCT = RowFormat(
    name="sacct",
    table=JOB_LOGS,
    description="Slurm sacct --parsable2 with its heading, times in UTC unless the manifest names a zone.",
    matches=lambda _name, head: set(REQUIRED) <= set(_first(head).split("|")),
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
