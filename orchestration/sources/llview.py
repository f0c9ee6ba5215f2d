"""LLview files: GPU samples, fabric rates and the job report of one job.

The .dat files are aligned with blanks, not commas, and name their columns in a heading, since the set
differs between jobs. No join of the three here: they are joined, if at all, in dbt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestration.contracts import JOB_LOGS, LINK_COUNTERS, TELEMETRY, Table
from orchestration.sources.base import FormatError, Heading, Lines, Options, Reject, Row, RowFormat

GIB = 2**30
# The job report's times are German wall clock; the .dat files hold UTC epoch seconds.
REPORT_ZONE = "Europe/Berlin"
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def _scaled(text: str | None, factor: float) -> str | None:
    """A number times a factor, as text; null stays null, and what is no number stays as it is."""
    if text is None or not NUMBER.fullmatch(text):
        return text
    return repr(float(text) * factor)


def _gpu_values(fields: dict[str, str]) -> dict[str, str | None]:
    return {
        "device_id": fields["nodeid"],
        "node_id": fields["nodeid"].rsplit("_", 1)[0],
        "interval_seconds": "60",
        "gpu_utilization_ratio": _scaled(fields.get("gpu_usage"), 0.01),
        "memory_used_bytes": _scaled(fields.get("gpu_memu"), GIB),
        "power_watts": fields.get("gpu_pu"),
        "temperature_celsius": fields.get("gpu_temp"),
        "sm_clock_mhz": fields.get("gpu_sclk"),
        "memory_clock_mhz": fields.get("gpu_clk"),
        "job_id": fields.get("jobid"),
    }


def _fabric_values(fields: dict[str, str]) -> dict[str, str | None]:
    # MB/s to Gbit/s: x 8 / 1000.
    return {
        "link_id": fields["nodeid"],
        "throughput_a_to_b_gbps": _scaled(fields["mbin"], 0.008),
        "throughput_b_to_a_gbps": _scaled(fields["mbout"], 0.008),
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
            elif len(fields) != len(heading):
                yield Reject(number, "wrong_column_count", f"{len(fields)} fields where the heading has {len(heading)}")
            else:
                record = dict(zip(heading, fields, strict=True))
                if not re.fullmatch(r"\d{1,10}", record["ts"]):
                    yield Reject(number, "bad_timestamp", "ts must be whole seconds since 1970, UTC")
                    continue
                instant = options.instant(datetime.fromtimestamp(int(record["ts"]), UTC))
                # A minute may come twice; the same instant and device is one sample.
                yield Row(number, values_of(record) | {"sampled_at": instant},
                          event_id=f"{record['nodeid']}|{record['ts']}")

    return read


def _dat(name: str, table: Table, description: str, required: tuple[str, ...], values_of) -> RowFormat:
    return RowFormat(
        name=name,
        table=table,
        description=description,
        matches=lambda _name, head: set(required) <= set(head.split("\n", 1)[0].split()),
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
    """The one job that a report describes; the document counts as one record."""
    try:
        job = json.loads("\n".join(text for _, text in lines))["job"]
        zone = replace(options, timezone=options.timezone if options.timezone != "UTC" else REPORT_ZONE)
        queued, started = (datetime.strptime(job[key], "%Y-%m-%d %H:%M:%S") for key in ("queuedate", "starttime"))
        finished = bool(job.get("finished"))
        # LLview rounds the runtime to a thousandth of an hour.
        stop = started + timedelta(seconds=round(float(job["runtime"]) * 3600))
        values = {
            "cluster_id": options.source_id, "job_id": str(job["jobid"]), "tenant_id": str(job["account"]),
            "partition": job.get("queue"), "submitted_at": zone.instant(queued), "started_at": zone.instant(started),
            "ended_at": zone.instant(stop) if finished else None,
            "observed_at": None if finished else zone.instant(stop),
            "state": "COMPLETED" if finished else "RUNNING",
            "accelerator_count": str(job["numgpus"]), "node_count": str(job["numnodes"]),
            "node_list": ",".join(job["nodelist"].split()) or None,
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("malformed_report", f"the file is not an LLview job report ({error!r})") from error
    yield Row(1, values, event_id=f"{job['jobid']}|{job['queuedate']}|{values['state']}|{job['runtime']}")


LLVIEW_JOB = RowFormat(
    name="llview_job",
    table=JOB_LOGS,
    description="LLview jobreport_*.json: one job, times in German wall clock.",
    matches=lambda name, head: "jobreport" in name and head.lstrip().startswith("{"),
    read=_read_report,
)
