"""Formats that are tables: public traces and the canonical forms, as projections in SQL.

What belongs here: which columns a format has and how each contract column follows from them.
What does not: how text becomes a value (``strict_parse``), and business rules (dbt staging).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from orchestration.contracts import (
    EVENT_TABLES,
    JOB_LOGS,
    LINK_COUNTERS,
    NODE_POOLS,
    POOL_TELEMETRY,
    TELEMETRY,
    TOKEN_USAGE,
    Table,
)
from orchestration.sources.base import (
    Options,
    TabularFormat,
    local_instant_sql,
    relative_instant_sql,
)
from orchestration.sources.servegen_lengths import SERVEGEN_EPOCH, client_of
from orchestration.sql import literal

SHANGHAI = ZoneInfo("Asia/Shanghai")

# Relative traces count from an epoch that we choose, so that each ends in the same week (2026-W47)
# as the replayed ones. A manifest may name another.
MOONCAKE_EPOCH = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
BURSTGPT_EPOCH = datetime(2026, 7, 24, tzinfo=SHANGHAI)
OPENB_EPOCH = datetime(2026, 6, 26, tzinfo=SHANGHAI)

WHOLE = r"'[0-9]{1,18}'"
NUMBER = r"'[0-9]{1,15}(\.[0-9]+)?([eE][+-]?[0-9]+)?'"


def _first_line(head: str) -> str:
    return head.lstrip("\ufeff").split("\n", 1)[0].strip()


def _has_header(*names: str):
    """Whether the first line is a heading that begins with these names."""
    return lambda _name, head: _first_line(head).split(",")[: len(names)] == list(names)


def _must_match(column: str, pattern: str, code: str, what: str, optional: bool = False):
    empty = f"coalesce({column}, '') = '' or " if optional else ""
    return code, f"{empty}regexp_full_match({column}, {pattern})", f"{column} must be {what}"


def _azure_columns(options: Options) -> dict[str, str]:
    service = re.search(r"LLMInferenceTrace_([A-Za-z0-9]+)", options.name)
    return {
        "occurred_at": local_instant_sql('"TIMESTAMP"', options),
        "model_id": literal(f"azure-{service.group(1).lower()}" if service else "azure-llm"),
        "input_tokens": '"ContextTokens"',
        "output_tokens": '"GeneratedTokens"',
    }


AZURE_LLM = TabularFormat(
    name="azure_llm",
    table=TOKEN_USAGE,
    description="Azure LLM inference trace (TIMESTAMP, ContextTokens, GeneratedTokens); no zone: UTC assumed.",
    matches=_has_header("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    container="csv",
    inputs=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    required=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    columns=_azure_columns,
    checks=(
        _must_match('"TIMESTAMP"', r"'\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?'", "bad_timestamp",
                    "like 2023-11-16 18:15:46.6805900"),
    ),
)


def _mooncake_columns(options: Options) -> dict[str, str]:
    return {
        "occurred_at": relative_instant_sql('try_cast("timestamp" as bigint) * 1000', options.epoch or MOONCAKE_EPOCH),
        "model_id": literal("mooncake"),
        "input_tokens": '"input_length"',
        "output_tokens": '"output_length"',
    }


MOONCAKE = TabularFormat(
    name="mooncake",
    table=TOKEN_USAGE,
    description="Mooncake trace (ms since the start, input_length, output_length, hash_ids); cached tokens not recorded.",
    matches=lambda _name, head: _first_line(head).startswith("{") and '"hash_ids"' in head and '"input_length"' in head,
    container="ndjson",
    inputs=("timestamp", "input_length", "output_length", "hash_ids"),
    required=("timestamp", "input_length", "output_length"),
    columns=_mooncake_columns,
    checks=(_must_match('"timestamp"', WHOLE, "bad_timestamp", "whole milliseconds since the start"),),
)


def _servegen_columns(options: Options) -> dict[str, str]:
    tenant, model = client_of(options.name)
    return {
        "occurred_at": relative_instant_sql(
            "round(try_cast(window_start as double) * 1000000)", options.epoch or SERVEGEN_EPOCH
        ),
        "window_seconds": "'600'",
        "tenant_id": literal(tenant),
        "model_id": literal(model),
        "request_count": "cast(cast(round(try_cast(rate as decimal(38, 18)) * 600) as bigint) as varchar)",
    }


SERVEGEN = TabularFormat(
    name="servegen",
    table=TOKEN_USAGE,
    description="ServeGen chunk-N-trace.csv: one client, requests per second by windows of 600 s, no token counts.",
    matches=lambda name, head: "trace" in name.lower()
    and bool(re.fullmatch(r"\d+(\.\d+)?(,[^,]*){5}", _first_line(head)))
    and (_first_line(head).split(",")[3] in ("", "Weibull", "Gamma", "Exponential")),
    container="csv",
    header=False,
    inputs=("window_start", "rate", "cv", "pattern", "argument_1", "argument_2"),
    required=("window_start", "rate"),
    columns=_servegen_columns,
    # The client and the window name the record; equal lines of two clients are two records.
    event_id=lambda options: literal("|".join(client_of(options.name)) + "|") + " || window_start",
    checks=(
        _must_match("window_start", NUMBER, "bad_timestamp", "seconds since the start"),
        _must_match("rate", NUMBER, "bad_number", "requests per second"),
    ),
)


def _burstgpt_columns(options: Options) -> dict[str, str]:
    return {
        "occurred_at": relative_instant_sql(
            'round(try_cast("Timestamp" as double) * 1000000)', options.epoch or BURSTGPT_EPOCH
        ),
        "model_id": "lower(replace(\"Model\", ' ', '-'))",
        # The trace's own reading: a response of no tokens is a failed request.
        "status": "case when \"Response tokens\" = '0' then 'failed' else 'ok' end",
        "input_tokens": '"Request tokens"',
        "output_tokens": '"Response tokens"',
        "duration_us": 'cast(cast(round(try_cast(nullif("Elapsed time", \'\') as double) * 1000000) as bigint) as varchar)',
    }


BURSTGPT = TabularFormat(
    name="burstgpt",
    table=TOKEN_USAGE,
    description="BurstGPT (Timestamp in seconds, Model, Request, Response and Total tokens, Log Type; Session ID, Elapsed time).",
    matches=lambda _name, head: {"Timestamp", "Model", "Request tokens", "Response tokens"} <= set(_first_line(head).split(",")),
    container="csv",
    inputs=("Timestamp", "Session ID", "Elapsed time", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type"),
    required=("Timestamp", "Model", "Request tokens", "Response tokens"),
    columns=_burstgpt_columns,
    checks=(
        _must_match('"Timestamp"', NUMBER, "bad_timestamp", "seconds since the start"),
        _must_match('"Elapsed time"', NUMBER, "bad_number", "seconds", optional=True),
        ("total_mismatch",
         """coalesce("Total tokens", '') = '' or try_cast("Total tokens" as bigint)
            = try_cast("Request tokens" as bigint) + try_cast("Response tokens" as bigint)""",
         "Total tokens must be Request tokens + Response tokens"),
    ),
)


def _philly_columns(options: Options) -> dict[str, str]:
    start = local_instant_sql('"timestamp"', options)
    end = f"strftime(try_cast({start} as timestamp) + to_microseconds(cast(round(try_cast(duration as double) * 1000000) as bigint)), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return {
        "cluster_id": literal(options.source_id),
        "job_id": "event_id",
        "tenant_id": "cluster",
        "submitted_at": start,
        # The trace has one time only; the wait is unknown, not zero.
        "started_at": start,
        "start_source": "'assumed'",
        "ended_at": end,
        "state": "'UNKNOWN'",
        "accelerator_count": "num_gpus",
    }


PHILLY = TabularFormat(
    name="philly",
    table=JOB_LOGS,
    description="Philly trace as Pollux ships it (timestamp, duration, num_gpus, gpu_time, cluster); no job id, no zone.",
    matches=_has_header("timestamp", "duration", "num_gpus", "gpu_time", "cluster"),
    container="csv",
    inputs=("timestamp", "duration", "num_gpus", "gpu_time", "cluster"),
    required=("timestamp", "duration", "num_gpus", "cluster"),
    columns=_philly_columns,
    checks=(
        _must_match('"timestamp"', r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'", "bad_timestamp", "like 2017-10-09 07:01:55"),
        _must_match("duration", NUMBER, "bad_number", "seconds"),
        ("gpu_time_mismatch",
         "coalesce(gpu_time, '') = '' or abs(try_cast(gpu_time as double) - try_cast(duration as double) * try_cast(num_gpus as double)) < 0.5",
         "gpu_time must be duration x num_gpus"),
    ),
)


def _openb_cluster(options: Options) -> str:
    """One cluster for pods and nodes, or the inventory would never meet the jobs it runs."""
    return literal("openb" if options.source_id in ("openb_pods", "openb_nodes") else options.source_id)


def _openb_pod_columns(options: Options) -> dict[str, str]:
    epoch = options.epoch or OPENB_EPOCH

    def instant(column: str) -> str:
        return relative_instant_sql(f"try_cast(nullif({column}, '') as bigint) * 1000000", epoch)

    return {
        "cluster_id": _openb_cluster(options),
        "job_id": "name",
        "tenant_id": "qos",
        "accelerator_id": "case when gpu_spec <> '' then 'openb-' || lower(gpu_spec) end",
        "submitted_at": instant("creation_time"),
        "started_at": instant("scheduled_time"),
        "ended_at": instant("deletion_time"),
        "state": "case pod_phase when 'Running' then 'RUNNING' when 'Succeeded' then 'COMPLETED' "
                 "when 'Failed' then 'FAILED' when 'Pending' then 'PENDING' else pod_phase end",
        "accelerator_count": "cast(cast(try_cast(num_gpu as decimal(12, 3)) * try_cast(gpu_milli as decimal(12, 3)) / 1000 "
                             "as decimal(18, 3)) as varchar)",
        "node_count": "'1'",
    }


OPENB_PODS = TabularFormat(
    name="openb_pods",
    table=JOB_LOGS,
    description="openb Kubernetes pods (relative seconds); a shared GPU counts num_gpu x gpu_milli / 1000.",
    matches=_has_header("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"),
    container="csv",
    inputs=("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos", "pod_phase",
            "creation_time", "deletion_time", "scheduled_time"),
    required=("name", "num_gpu", "gpu_milli", "pod_phase", "creation_time", "deletion_time", "scheduled_time"),
    columns=_openb_pod_columns,
    # A pod seen again in another phase is another sighting, not a conflict.
    event_id=lambda _options: "name || '|' || pod_phase || '|' || coalesce(scheduled_time, '') || '|' || coalesce(deletion_time, '')",
    checks=(
        _must_match("creation_time", WHOLE, "bad_timestamp", "whole seconds since the start"),
        _must_match("scheduled_time", WHOLE, "bad_timestamp", "whole seconds since the start, or empty", optional=True),
        _must_match("deletion_time", WHOLE, "bad_timestamp", "whole seconds since the start, or empty", optional=True),
        _must_match("num_gpu", WHOLE, "bad_integer", "a whole number"),
        _must_match("gpu_milli", WHOLE, "bad_integer", "a whole number"),
    ),
)


def _openb_node_columns(options: Options) -> dict[str, str]:
    return {
        "pool_id": "sn",
        "cluster_id": _openb_cluster(options),
        "accelerator_id": "case when model <> '' then 'openb-' || lower(model) end",
        "purpose": "'shared'",
        "node_count": "'1'",
        "accelerators_per_node": "gpu",
        "source": literal("openb GPU trace"),
        "confidence": "'high'",
    }


OPENB_NODES = TabularFormat(
    name="openb_nodes",
    table=NODE_POOLS,
    description="openb node list: one node a line, as the inventory of cluster openb.",
    matches=_has_header("sn", "cpu_milli", "memory_mib", "gpu", "model"),
    container="csv",
    inputs=("sn", "cpu_milli", "memory_mib", "gpu", "model"),
    required=("sn", "gpu", "model"),
    columns=_openb_node_columns,
    event_id=lambda _options: "sn",
)


def _helios_columns(options: Options) -> dict[str, str]:
    folder = re.search(r"(?:([A-Za-z0-9]+)_vcs/)?(vc[A-Za-z0-9]+)/", options.name)
    cluster = f"helios-{folder.group(1).lower()}" if folder and folder.group(1) else options.source_id
    return {
        "sampled_at": local_instant_sql('"time"', options),
        "cluster_id": literal(cluster),
        "pool_id": literal(folder.group(2) if folder else options.name.rsplit("/", 1)[-1].split(".")[0]),
        "installed_accelerator_count": "total_gpu_num",
        "allocated_accelerator_count": "running_gpu_num",
        "pending_accelerator_count": "pending_gpu_num",
        "idle_accelerator_count": "idle_gpu_num",
        "running_job_count": "running_gpujob_num",
        "pending_job_count": "pending_gpujob_num",
    }


HELIOS = TabularFormat(
    name="helios",
    table=POOL_TELEMETRY,
    description="Helios cluster_sequence_vc.csv: GPUs and jobs of a virtual cluster by minute, wall clock of its zone.",
    matches=_has_header("time", "total_job_num", "running_job_num", "pending_job_num"),
    container="csv",
    inputs=("time", "total_gpu_num", "running_gpu_num", "pending_gpu_num", "idle_gpu_num", "running_gpujob_num", "pending_gpujob_num"),
    required=("time", "total_gpu_num", "running_gpu_num", "pending_gpu_num", "idle_gpu_num"),
    columns=_helios_columns,
    event_id=lambda options: " || '|' || ".join([_helios_columns(options)["cluster_id"], _helios_columns(options)["pool_id"], '"time"']),
    checks=(_must_match('"time"', r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'", "bad_timestamp", "like 2020-05-01 00:00:00"),),
)

# A canonical file has the contract's own columns. Its id: the producer's event_id, or the natural key.
NATURAL_KEYS = {
    TELEMETRY.name: "device_id || '|' || sampled_at",
    LINK_COUNTERS.name: "link_id || '|' || sampled_at",
    POOL_TELEMETRY.name: "cluster_id || '|' || pool_id || '|' || sampled_at",
    JOB_LOGS.name: "cluster_id || '|' || job_id || '|' || submitted_at || '|' || coalesce(restart_count, '0') "
                   "|| '|' || state || '|' || coalesce(ended_at, observed_at, 'open')",
}


def _canonical(table: Table) -> TabularFormat:
    has_id = table.name not in NATURAL_KEYS
    names = tuple(column.name for column in table.columns) + (("event_id",) if has_id else ())
    needed = tuple(column.name for column in table.columns if column.required and column.default is None)
    required = needed + (("event_id",) if has_id else ())

    def matches(_name: str, head: str) -> bool:
        line = _first_line(head)
        if line.startswith("{"):
            return all(f'"{column}"' in line for column in required)
        return set(required) <= set(line.replace('"', "").split(","))

    return TabularFormat(
        name=f"canonical_{table.name}",
        table=table,
        description=f"The contract's own columns of {table.name}, as JSON lines, CSV or Parquet.",
        matches=matches,
        container="any",
        inputs=names,
        required=required,
        columns=lambda _options: {column.name: f'"{column.name}"' for column in table.columns},
        event_id=lambda _options: NATURAL_KEYS.get(table.name, "event_id"),
    )


CANONICAL = tuple(_canonical(table) for table in EVENT_TABLES if table.name != "token_lengths")
TRACES = (AZURE_LLM, MOONCAKE, SERVEGEN, BURSTGPT, PHILLY, OPENB_PODS, OPENB_NODES, HELIOS)
