"""The Dagster code location, and the one way to run its job from Python.

What the assets do is in ``defs/``; what they call is beside it. Every run here, also one that a
command starts, is recorded in the instance of the home folder, so the UI shows it.
"""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster import DagsterEventType

from orchestration import defs as defs_package
from orchestration import progress, raw_store, warehouse
from orchestration.contracts import FEEDS
from orchestration.defs.resources import RESOURCES
from orchestration.defs.schedules import JOB_NAME, REPORT_JOB_NAME, REPORT_KEY, range_tags
from orchestration.forecasting.iso_weeks import week_of
from orchestration.home import PROJECT, Home
from orchestration.partitions import partition_of_week
from orchestration.progress import Listener, Progress

# What each command materializes, in Dagster's selection syntax.
RAW = tuple(f'key:"raw/{feed}"' for feed in FEEDS)
BUILD = ("group:seeds", "group:staging", "group:intermediate", "group:marts")
FORECAST = ("group:forecast",)
PUBLISH = ("group:publish",)
REPORT = ("group:reports",)

INSTANCE_SETTINGS = """\
telemetry: {enabled: false}
nux: {enabled: false}
concurrency:
  pools:
    default_limit: 1
freshness: {enabled: true}
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  cancel_timeout_seconds: 300
  poll_interval_seconds: 15
  free_slots_after_run_end_seconds: 10
"""
STARTED_BY = "tidegauge/started_by"
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
# No run of two cores takes longer.
LONGEST_RUN = timedelta(days=1)


@dg.definitions
def defs() -> dg.Definitions:
    """Everything under defs/, for Dagster's own tools."""
    return loaded()


@cache
def loaded() -> dg.Definitions:
    """Everything under defs/, loaded once a process; importing the models parses the dbt project if needed."""
    with warnings.catch_warnings():
        # The loader is marked preview. load_from_defs_folder is not, and costs 2.7 CPU-s a start.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        found = dg.load_definitions_from_package_module(defs_package)
    return dg.Definitions.merge(found, dg.Definitions(resources=RESOURCES, executor=dg.in_process_executor))


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. ``reason`` is empty, error, audit_blocked, check_blocked, pretrained_unavailable or locked."""

    success: bool
    run_id: str
    failed_step: str | None = None
    error_message: str | None = None
    reason: str = ""
    asset_metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def instance_of(home: Home) -> dg.DagsterInstance:
    """The persistent instance of a home; made on first use."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(INSTANCE_SETTINGS, "utf-8")
    return dg.DagsterInstance.from_config(str(home.dagster))


def materialize(
    home: Home,
    selection: Sequence[str] | None = None,
    *,
    partition_range: tuple[str, str] | None = None,
    report_week: str | None = None,
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, Any] | None = None,
    raise_on_error: bool = False,
    on_event: Listener | None = None,
) -> RunOutcome:
    """Runs the job, or the selected assets of it, in this process; the UI shows the run.

    Holds the writer lock from start to end, so a second command says at once who is at work; raises
    WarehouseLocked then.

    Args:
        selection: asset selections in Dagster's syntax (RAW, BUILD, FORECAST, PUBLISH, REPORT); without
            it all that is due, which may be nothing: then there is no run and run_id is empty.
        partition_range: first and last delivery day for the raw assets among them; without it every day
            that has something to load.
        report_week: ISO week of the report among them; without it the latest that is published by then.
        run_config: config of ops, for example {"ops": {...}}; the home is added.
        on_event: told what starts, advances, succeeds, warns and fails.
    """
    with warehouse.writer_lock(home):
        if selection is None:
            selection = due_selection(home)
        if not selection:
            return RunOutcome(success=True, run_id="")
        graph = loaded().resolve_asset_graph()
        keys = _keys_of(selection, graph)
        metadata: dict[str, dict[str, Any]] = {}
        with instance_of(home) as instance:
            _end_orphans(home, instance)
            for part in _parts(home, graph, keys, partition_range):
                if part.job_name == REPORT_JOB_NAME:
                    part = replace(part, tags={"dagster/partition": _report_partition(home, report_week)})
                outcome = _execute(home, instance, part, tags or {}, run_config or {}, raise_on_error, on_event)
                metadata.update(outcome.asset_metadata)
                if outcome.reason == "interrupted":
                    # Dagster has recorded the interruption as a failed step; the command still ends as one.
                    raise KeyboardInterrupt
                if not outcome.success:
                    break
        return replace(outcome, asset_metadata=metadata)


def _keys_of(selection: Sequence[str], graph: Any) -> set[dg.AssetKey]:
    """Assets that the selections name and that a run can write."""
    with warnings.catch_warnings():
        # Dagster's own parser of selections uses a parameter that it marks beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AssetSelection.from_coercible(list(selection)).resolve(graph) & graph.materializable_asset_keys


def due_selection(home: Home) -> tuple[str, ...]:
    """Selections of everything whose inputs or code changed since it last succeeded."""
    groups = {"raw": RAW, "build": BUILD, "forecast": FORECAST, "publish": PUBLISH}
    steps = warehouse.due_steps(home)
    if steps or _report_is_due(home):
        return sum((groups[step] for step in steps), ()) + REPORT
    return ()


def _report_is_due(home: Home) -> bool:
    """Whether the published week has no report, or one older than its data or the code that draws it."""
    if not home.capacity.exists():
        return False
    iso_week = warehouse.week_to_report(home.capacity)
    if iso_week is None:
        return False
    report = home.reports / "weekly" / f"{iso_week}.html"
    inputs = [home.capacity, *(path for path in (PROJECT / "dashboards").rglob("*") if path.is_file() and path.suffix != ".pyc")]
    return not report.exists() or report.stat().st_mtime < max(path.stat().st_mtime for path in inputs)


@dataclass(frozen=True)
class _Part:
    """What goes into one Dagster run."""

    keys: frozenset[dg.AssetKey]
    tags: Mapping[str, str] = field(default_factory=dict)
    job_name: str = JOB_NAME


def _parts(
    home: Home, graph: Any, keys: set[dg.AssetKey], partition_range: tuple[str, str] | None
) -> list[_Part]:
    """One run, two when raw covers many days, and one of its own for the report, whose partitions are weeks.

    Dagster plans every asset of a run once per partition of the run, partitioned or not: 60 models and
    57 days are 3,400 events and half a minute.
    """
    report = [_Part(frozenset({REPORT_KEY}), job_name=REPORT_JOB_NAME)] if REPORT_KEY in keys else []
    pipeline = frozenset(keys) - {REPORT_KEY}
    partitioned = frozenset(key for key in pipeline if graph.get(key).is_partitioned)
    rest = pipeline - partitioned
    if not partitioned:
        return ([_Part(rest)] if rest else []) + report
    first, last = partition_range or _pending_range(home)
    if first == last or not rest:
        return [_Part(pipeline, range_tags(first, last)), *report]
    return [_Part(partitioned, range_tags(first, last)), _Part(rest), *report]


def _report_partition(home: Home, iso_week: str | None) -> str:
    """The partition of the week asked for, or of the latest that is published; of this week while nothing is."""
    published = warehouse.week_to_report(home.capacity) if home.capacity.exists() else None
    return partition_of_week(iso_week or published or week_of(datetime.now(UTC).date()))


def _pending_range(home: Home) -> tuple[str, str]:
    days = {file.delivered_date for file in raw_store.pending(home)} or {datetime.now(UTC).date()}
    return min(days).isoformat(), max(days).isoformat()


def _execute(
    home: Home, instance: dg.DagsterInstance, part: _Part, tags: Mapping[str, str],
    run_config: Mapping[str, Any], raise_on_error: bool, on_event: Listener | None,
) -> RunOutcome:
    run_id = str(uuid4())
    if on_event is not None:
        instance.add_event_listener(run_id, lambda entry: _tell(entry, on_event))
    with _alive(home, run_id), progress.listening(on_event):
        result = loaded().resolve_job_def(part.job_name).execute_in_process(
            instance=instance, run_id=run_id, raise_on_error=raise_on_error,
            asset_selection=sorted(part.keys),
            tags={**tags, **part.tags, STARTED_BY: "command"},
            run_config={
                **run_config,
                "resources": {"home_folder": {"config": {"root": str(home.root)}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    step, message, reason = _failure_of(result)
    return RunOutcome(
        success=result.success, run_id=run_id, failed_step=step, error_message=message, reason=reason,
        asset_metadata=_metadata_of(result),
    )


def _tell(entry: dg.EventLogEntry, listener: Listener) -> None:
    """Passes on what a person waiting wants to know of one Dagster event."""
    event = entry.dagster_event
    if event is None:
        return
    if event.event_type == DagsterEventType.STEP_START:
        listener(Progress("started", event.step_key))
    elif event.event_type == DagsterEventType.STEP_SUCCESS:
        listener(Progress("succeeded", event.step_key))
    elif event.event_type == DagsterEventType.STEP_FAILURE:
        name, message = _root_cause(event.step_failure_data)
        listener(Progress("failed", event.step_key, message=message or name))
    elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            name = f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"
            listener(Progress("warned", event.step_key, message=f"{name}: {evaluation.description or 'failed'}"))


def _failure_of(result: dg.ExecuteInProcessResult) -> tuple[str | None, str | None, str]:
    """The step that failed first, why in its own words, and the kind of failure."""
    if result.success:
        return None, None, ""
    for event in result.all_events:
        if event.is_step_failure:
            name, message = _root_cause(event.step_failure_data)
            if name == "DagsterAssetCheckFailedError":
                message = "\n".join(_failed_checks(result, event.step_key)) or message
            reasons = {
                "AuditFailed": "audit_blocked", "WarehouseLocked": "locked",
                "DagsterAssetCheckFailedError": "check_blocked", "DbtFailed": "check_blocked",
                "PretrainedUnavailable": "pretrained_unavailable", "KeyboardInterrupt": "interrupted", "DagsterExecutionInterruptedError": "interrupted",
            }
            return event.step_key, message, reasons.get(name, "error")
    for event in result.all_events:
        if event.is_failure:
            return None, event.message, "error"
    return None, "the run failed before its first step", "error"


def _failed_checks(result: dg.ExecuteInProcessResult, step: str) -> Iterator[str]:
    """What the checks of a step found that blocks, one line each."""
    for event in result.events_for_node(step):
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                yield f"{evaluation.asset_key.to_user_string()}: {evaluation.description or evaluation.check_name}"


def _root_cause(failure: Any) -> tuple[str, str]:
    """Class name and message of the error at the bottom of a step's failure."""
    if failure.user_failure_data is not None:
        return "Failure", failure.user_failure_data.description
    error = failure.error
    while error.cause is not None:
        error = error.cause
    message = error.message.strip().removeprefix(f"{error.cls_name}: ")
    head, _, tail = message.partition(": ")
    return error.cls_name, tail if head.endswith(error.cls_name) else message


def _metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Metadata of every asset written, by key; counts of a partitioned one are summed over its days."""
    collected: dict[str, dict[str, Any]] = {}
    for event in result.all_events:
        if event.event_type != DagsterEventType.ASSET_MATERIALIZATION:
            continue
        mine = collected.setdefault(event.asset_key.to_user_string(), {})
        for name, value in event.materialization.metadata.items():
            if name.endswith("_count") and isinstance(value.value, int):
                mine[name] = mine.get(name, 0) + value.value
            else:
                mine[name] = value.value
    return collected


# --- runs that were killed -----------------------------------------------------------------------


@contextmanager
def _alive(home: Home, run_id: str) -> Iterator[None]:
    """Holds a lock that ends with this process, so that others can tell a killed run from a live one."""
    path = _life_line(home, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
        # Not in a finally: after an interrupt the file tells the next command to end this run's record.
        path.unlink()


def _life_line(home: Home, run_id: str) -> Path:
    return home.dagster / "alive" / run_id


def stuck_runs(home: Home) -> list[tuple[str, datetime]]:
    """Runs that no process works at any more, with the instant (UTC) at which each began.

    A command's run is one when nobody holds its life line. The UI's are watched by run monitoring, so
    one that has been going for a day is called stuck too.
    """
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED and status != dg.DagsterRunStatus.QUEUED]
    found = []
    with instance_of(home) as instance:
        for record in instance.get_run_records(dg.RunsFilter(statuses=unfinished)):
            run, since = record.dagster_run, record.create_timestamp.astimezone(UTC).replace(tzinfo=None)
            is_commands = run.tags.get(STARTED_BY) == "command"
            overdue = datetime.now(UTC).replace(tzinfo=None) - since > LONGEST_RUN
            if (is_commands and not _is_alive(_life_line(home, run.run_id))) or (not is_commands and overdue):
                found.append((run.run_id, since))
    return sorted(found, key=lambda item: item[1])


def _is_alive(life_line: Path) -> bool:
    """Whether a process holds this life line."""
    if not life_line.exists():
        return False
    with life_line.open("r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _end_orphans(home: Home, instance: dg.DagsterInstance) -> None:
    """Marks runs of killed commands as failed and frees their pool slots, which would block for ever."""
    for path in sorted((home.dagster / "alive").glob("*")):
        with path.open("r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            run = instance.get_run_by_id(path.name)
            if run is not None and not run.is_finished:
                instance.report_run_failed(run, "the process that ran it was ended from outside")
            instance.event_log_storage.free_concurrency_slots_for_run(path.name)
            path.unlink()
