"""LLview files: GPU samples, fabric rates and the job report of one job.

The .dat files are aligned with blanks, not commas, and name their columns in a heading, since the set
differs between jobs. Samples come about once a minute, with jitter: a minute may be missing, or hold two
samples of a device, mostly with the same values but always some seconds apart, so a device and its second
name a sample. Fabric rows are stamped some seconds after the GPU rows of the same minute. No join of the
three here: they are joined, if at all, in dbt. File systems (FSusage) and node load (LoadMem) have no raw
table and are no format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestration.contracts import JOB_LOGS, LINK_COUNTERS, TELEMETRY, Table
from orchestration.sources.base import FormatError, Heading, Lines, Options, Reject, Row, RowFormat
from orchestration.sources.strict_json import NotStrict, document_of, text_is_clean

GIB = 2**30
# The job report's times are German wall clock; the .dat files hold UTC epoch seconds.
REPORT_ZONE = "Europe/Berlin"
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
EPOCH_SECONDS = re.compile(r"\d{1,10}", re.ASCII)


def _scaled(text: str | None, times: int, by: int = 1) -> str | None:
    """A number times one factor by another, as text; what is no number stays, for the caster to refuse."""
    if text is None or not NUMBER.fullmatch(text):
        return text
    return repr(float(text) * times / by)


def _gpu_values(fields: dict[str, str]) -> dict[str, str | None]:
    return {
        "device_id": fields["nodeid"],
        "node_id": fields["nodeid"].rsplit("_", 1)[0],
        "interval_seconds": "60",
        "gpu_utilization_ratio": _scaled(fields.get("gpu_usage"), 1, 100),
        "memory_used_bytes": _scaled(fields.get("gpu_memu"), GIB),
        "power_watts": fields.get("gpu_pu"),
        "temperature_celsius": fields.get("gpu_temp"),
        "sm_clock_mhz": fields.get("gpu_sclk"),
        "memory_clock_mhz": fields.get("gpu_clk"),
        "job_id": fields.get("jobid"),
    }


def _fabric_values(fields: dict[str, str]) -> dict[str, str | None]:
    # MB/s to Gbit/s.
    return {
        "link_id": fields["nodeid"],
        "throughput_a_to_b_gbps": _scaled(fields["mbin"], 8, 1000),
        "throughput_b_to_a_gbps": _scaled(fields["mbout"], 8, 1000),
    }


def _reader(required: tuple[str, ...], values_of):
    def read(lines: Lines, options: Options) -> Iterator[Row | Reject | Heading]:
        heading: list[str] | None = None
        for number, text in lines:
            fields = text.split()
            if heading is None:
                missing = [name for name in required if name not in fields]
                if missing:
                    raise FormatError("missing_column", f"the heading lacks {', '.join(missing)}")
                heading = fields
                yield Heading(number)
            elif fields == heading:
                yield Heading(number)
            elif len(fields) != len(heading):
                yield Reject(number, "wrong_column_count", f"{len(fields)} fields where the heading has {len(heading)}")
            else:
                record = dict(zip(heading, fields, strict=True))
                if not EPOCH_SECONDS.fullmatch(record["ts"]):
                    yield Reject(number, "bad_timestamp", "ts must be whole seconds since 1970, UTC")
                    continue
                instant = options.instant(datetime.fromtimestamp(int(record["ts"]), UTC))
                yield Row(number, values_of(record) | {"sampled_at": instant},
                          event_id=f"{record['nodeid']}|{record['ts']}")

    return read


def _dat(name: str, table: Table, description: str, required: tuple[str, ...], values_of) -> RowFormat:
    return RowFormat(
        name=name,
        table=table,
        description=description,
        matches=lambda _name, head: set(required) <= set(head.lstrip("\ufeff").split("\n", 1)[0].split()),
        read=_reader(required, values_of),
    )


LLVIEW_GPU = _dat(
    "llview_gpu", TELEMETRY, "LLview GPU_*.dat: one GPU a line by minute.",
    ("jobid", "ts", "nodeid", "gpu_usage"), _gpu_values,
)
LLVIEW_FABRIC = _dat(
    "llview_fabric", LINK_COUNTERS, "LLview Fabric_*.dat: a node's network rates by minute (in: a to b).",
    ("jobid", "ts", "nodeid", "mbin", "mbout"), _fabric_values,
)


def _read_report(lines: Lines, options: Options) -> Iterator[Row | Reject]:
    """The one job that a report describes, on however many lines."""
    texts = [text for _, text in lines]
    try:
        report = document_of("\n".join(texts))
        values, identity = _job(report["job"], options)
    except NotStrict as error:
        raise FormatError("malformed_json", f"the file is not one JSON document: it {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError("malformed_report", f"the file is not an LLview job report ({error!r})") from error
    yield Row(1, values, event_id=identity, line_count=len(texts))


def _job(job: dict, options: Options) -> tuple[dict[str, str | None], str]:
    """Contract values and identity of a report's job; any error of a lookup or conversion when it is none."""
    zone = replace(options, timezone=options.timezone if options.timezone != "UTC" else REPORT_ZONE)
    queued, started = (datetime.strptime(job[key], "%Y-%m-%d %H:%M:%S") for key in ("queuedate", "starttime"))
    finished = bool(job.get("finished"))
    # Hours, rounded by LLview to a thousandth. Added to the instant, not to the wall clock, which may jump.
    stop = started.replace(tzinfo=ZoneInfo(zone.timezone)).astimezone(UTC) + timedelta(
        seconds=round(float(job["runtime"]) * 3600)
    )
    values = {
        "cluster_id": options.source_id,
        "job_id": str(job["jobid"]),
        "tenant_id": str(job["account"]),
        "partition": job.get("queue"),
        "submitted_at": zone.instant(queued),
        "started_at": zone.instant(started),
        "ended_at": zone.instant(stop) if finished else None,
        "observed_at": None if finished else zone.instant(stop),
        "state": "COMPLETED" if finished else "RUNNING",
        "accelerator_count": str(job["numgpus"]),
        "node_count": str(job["numnodes"]),
        "node_list": ",".join(job["nodelist"].split()) or None,
    }
    for name, text in values.items():
        if text is not None and not text_is_clean(text):
            raise ValueError(f"{name} is no text")
    return values, f"{job['jobid']}|{job['queuedate']}|{values['state']}|{job['runtime']}"


LLVIEW_JOB = RowFormat(
    name="llview_job",
    table=JOB_LOGS,
    description="LLview jobreport_*.json: one job, times in German wall clock.",
    matches=lambda name, head: head.lstrip("\ufeff \n").startswith("{")
    and ("jobreport" in name.rsplit("/", 1)[-1] or ('"queuedate"' in head and '"numgpus"' in head)),
    read=_read_report,
)
