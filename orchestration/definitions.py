"""The Dagster code location, and the one way to run its job from Python.

What the assets do is in ``defs/``; what they call is beside it. Every run here, also one that a
command starts, is recorded in the instance of the home folder, so the UI shows it.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration import progress
from orchestration.contracts import FEEDS
from orchestration.defs.schedules import JOB_NAME, range_tags
from orchestration.home import Home
from orchestration.progress import Listener, Progress

log = logging.getLogger("tidegauge.definitions")

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
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""
STARTED_BY = "tidegauge/started_by"


@dg.definitions
def defs() -> dg.Definitions:
    """Everything under defs/."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. ``reason`` is empty, error, audit_blocked, check_blocked or locked."""

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
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, Any] | None = None,
    raise_on_error: bool = False,
    on_event: Listener | None = None,
) -> RunOutcome:
    """Runs the job, or the selected assets of it, in this process; the UI shows the run.

    Args:
        selection: asset selections in Dagster's syntax (RAW, BUILD, FORECAST, PUBLISH, REPORT); all if None.
        partition_range: first and last delivery day for the raw assets among them.
        run_config: config of ops, for example {"ops": {...}}; the home is added.
        on_event: told what starts, advances, succeeds and fails.
    """
    raise NotImplementedError
