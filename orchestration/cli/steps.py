"""Steps that several commands share: reading arguments, running parts of the job, showing deliveries."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.cli.session import (
    ERROR,
    EXIT_CODE_BY_REASON,
    FREE_SPACE,
    SHOWN_ROWS,
    Session,
    is_disk_full,
)
from orchestration.console import CommandError
from orchestration.home import Home

if TYPE_CHECKING:
    from orchestration.definitions import RunOutcome
    from orchestration.raw_store import Receipt

BUSINESS_OFFSET = timedelta(hours=8)
"""Weeks are of Asia/Shanghai, which has no summer time."""
AFTER_RAW = ("build", "forecast", "publish")
# Tells the raw assets of a run to load deliveries again that have a receipt.
REPLAY_TAG = "tidegauge/replay"
COMMAND_TAG = "tidegauge/command"


def day_of(text: str | None, option: str) -> date | None:
    """The day that an option names; None when it was left out."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r} is not a day", next_step="write it like 2026-11-22") from None


def feed_of(feed: str | None) -> str | None:
    """The feed itself, once it is known to be one."""
    from orchestration.contracts import FEEDS

    if feed is not None and feed not in FEEDS:
        raise CommandError(f"there is no feed {feed!r}", next_step=f"use one of {', '.join(FEEDS)}")
    return feed


def instant_of(text: str, option: str) -> datetime:
    """An instant in UTC; a day stands for its end."""
    try:
        if len(text) == len("2026-11-20"):
            return datetime.combine(date.fromisoformat(text), datetime.max.time())
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{option} {text!r} is not an instant", next_step="write it like 2026-11-20 or 2026-11-20T08:00"
        ) from None
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant


def week_of(week: str | None) -> str | None:
    """The ISO week itself, once it is known to be one."""
    if week is None:
        return None
    try:
        begins = datetime.strptime(f"{week}-1", "%G-W%V-%u")
    except ValueError:
        raise CommandError(f"--week {week!r} is not an ISO week", next_step="write it like 2026-W47") from None
    if begins > datetime.now(UTC).replace(tzinfo=None) + BUSINESS_OFFSET:
        raise CommandError(f"--week {week} has not begun", next_step="leave --week out for the latest whole week")
    return week


def published_edition(here: Session) -> Path:
    """The published capacity file; an error that says how to make it where there is none."""
    if not here.home.capacity.exists():
        raise CommandError(
            "nothing has been published yet", where=str(here.home.capacity), next_step="tidegauge run, or tidegauge demo"
        )
    return here.home.capacity


def materialize(here: Session, title: str, selection: Sequence[str], **more: Any) -> RunOutcome:
    """Runs part of the job with its progress shown; CommandError with the right exit code when it fails."""
    more["tags"] = {COMMAND_TAG: " ".join(sys.argv[1:2]), **more.get("tags", {})}
    # Dagster says so of parts that the pinned version has had for long.
    warnings.filterwarnings("ignore", message=".* is currently in beta")
    from orchestration import definitions

    # dbt's lines go to its log; a person gets them from there when the message is not enough.
    with here.console.step(title) as step, open(os.devnull, "w") as unread, redirect_stdout(unread):
        outcome = definitions.materialize(here.home, selection, on_event=step.listen, **more)
        if not outcome.success:
            step.outcome = "failed"
    here.result.setdefault("seconds", {})[title] = round(step.seconds, 2)
    here.result["run_id"] = outcome.run_id
    if not outcome.success:
        raise CommandError(
            outcome.error_message or f"{title} failed",
            where=f"step {outcome.failed_step}, run {outcome.run_id}" if outcome.failed_step else f"run {outcome.run_id}",
            next_step=_next_step(outcome),
            exit_code=EXIT_CODE_BY_REASON.get(outcome.reason, ERROR),
        )
    return outcome


def _next_step(outcome: RunOutcome) -> str:
    if is_disk_full(outcome.error_message or ""):
        return FREE_SPACE
    if outcome.reason == "audit_blocked":
        return "put right what the failed checks name, then `tidegauge run`; readers keep the last good file"
    if outcome.reason == "check_blocked":
        return "see what was delivered with `tidegauge status` and `tidegauge quarantine list`"
    if outcome.reason == "pretrained_unavailable":
        return "do what the message says, then `tidegauge run`; readers keep the last good file"
    if outcome.reason == "locked":
        return "wait for the other process, then run this again"
    return f"`tidegauge dev` shows run {outcome.run_id[:8]} with its log"


def ingest_pending(here: Session, feed: str | None = None) -> list[Receipt]:
    """Loads what waits in landing, as partitions of the delivery days; returns the new receipts."""
    from orchestration import definitions, raw_store

    waiting = raw_store.pending(here.home, feed)
    if not waiting:
        here.console.note("ingest: nothing new in landing")
        return []
    days = sorted({file.delivered_date for file in waiting})
    feeds = {file.feed for file in waiting}
    known = receipt_keys(here.home)
    materialize(
        here, "ingest", [selection for selection in definitions.RAW if any(f"raw/{name}" in selection for name in feeds)],
        partition_range=(days[0].isoformat(), days[-1].isoformat()),
    )
    return [receipt for receipt in raw_store.receipts(here.home) if receipt_key(receipt) not in known]


def receipt_key(receipt: Receipt) -> tuple:
    """What tells one loading of a delivery from another."""
    return receipt.feed, receipt.delivery_id, receipt.ingested_at


def receipt_keys(home: Home) -> set[tuple]:
    """The keys of every receipt of a home."""
    from orchestration import raw_store

    return {receipt_key(receipt) for receipt in raw_store.receipts(home)}


def show_receipts(here: Session, receipts: Sequence[Receipt]) -> None:
    """What came of deliveries: each one when they are few, added up by format when they are many."""
    here.result["deliveries"] = [delivery_of(receipt) for receipt in receipts]
    here.result["totals"] = {
        name: sum(getattr(receipt, name) for receipt in receipts)
        for name in ("received_count", "loaded_count", "duplicate_count", "quarantined_count")
    }
    if not receipts:
        return
    headings = ("received", "loaded", "duplicate", "quarantined")
    if len(receipts) <= SHOWN_ROWS:
        rows = [
            (r.delivery_name, r.format, r.received_count, r.loaded_count, r.duplicate_count, r.quarantined_count)
            for r in receipts
        ]
        here.console.table(("delivery", "format", *headings), rows)
    else:
        by_format: dict[str, list[int]] = {}
        for r in receipts:
            counts = by_format.setdefault(r.format, [0] * 5)
            for i, count in enumerate((1, r.received_count, r.loaded_count, r.duplicate_count, r.quarantined_count)):
                counts[i] += count
        here.console.table(("format", "deliveries", *headings), [(name, *counts) for name, counts in sorted(by_format.items())])
    for receipt in receipts:
        if receipt.quarantined_count:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in receipt.quarantined_by_reason.items())
            here.console.note(
                f"quarantined: {receipt.delivery_name}: {reasons}{': ' + receipt.message if receipt.message else ''}"
                f"  (tidegauge quarantine show {receipt.delivery_id[:12]})"
            )
        for warning in receipt.warnings:
            here.console.note(f"warning: {receipt.delivery_name}: {warning}")
    _show_superseded(here, {receipt.delivery_id for receipt in receipts})


def _show_superseded(here: Session, loaded: set[str]) -> None:
    """Says loudly what no longer counts, since a file that comes daily under one name supersedes itself."""
    replaced = [receipt for receipt in receipts_of(here, None) if receipt.superseded_by in loaded]
    here.result["superseded"] = [delivery_of(receipt) for receipt in replaced]
    for receipt in replaced:
        here.console.note(
            f"superseded: {receipt.delivery_name} of {receipt.delivered_date}: {receipt.loaded_count:,} lines no longer count; "
            "a file that comes daily needs its day in its name"
        )


def delivery_of(receipt: Receipt) -> dict[str, Any]:
    """A receipt as a program reads it."""
    return {
        name: getattr(receipt, name)
        for name in (
            "delivery_id", "feed", "table_name", "format", "source_id", "delivery_name", "delivered_date", "status",
            "received_count", "loaded_count", "duplicate_count", "quarantined_count", "quarantined_by_reason", "message",
            "warnings", "landing_path",
        )
    }


def write_report(here: Session, week: str | None, language: str) -> Path:
    """Writes the weekly report through its job and returns where the HTML is; the result says where its PDF is, or why not."""
    from orchestration import definitions

    if language not in ("en", "zh"):
        raise CommandError(f"there is no report in {language!r}", next_step="use --language en or --language zh")
    outcome = materialize(
        here, "report", definitions.REPORT, report_week=week_of(week),
        run_config={"ops": {"reports__weekly_capacity": {"config": {"language": language}}}},
    )
    written = outcome.asset_metadata["reports/weekly_capacity"]
    path = Path(str(written["path"]))
    here.result["report"] = path
    if "pdf" in written:
        here.result["pdf"] = Path(str(written["pdf"]))
    else:
        here.result["pdf_missing"] = str(written["pdf_missing"])
    return path


def run_steps(here: Session, steps: Sequence[str], language: str = "en") -> None:
    """The named steps, one run each, and then the report."""
    from orchestration import definitions

    selections = {
        "build": definitions.BUILD, "forecast": definitions.FORECAST, "publish": definitions.PUBLISH,
    }
    for step in steps:
        materialize(here, step, selections[step])
    write_report(here, None, language)


def run_due(here: Session, language: str) -> bool:
    """Everything that is due, from landing to report; False when nothing is."""
    from orchestration import definitions, warehouse

    due = warehouse.due_steps(here.home)
    if _is_current(here.home):
        return False
    known = receipt_keys(here.home)
    if "raw" in due:
        # Also without new files: what a check blocked last time is judged again, and blocks again.
        materialize(here, "ingest", definitions.RAW)
    show_receipts(here, [receipt for receipt in receipts_of(here) if receipt_key(receipt) not in known])
    run_steps(here, [step for step in due if step != "raw"], language)
    return True


def _is_current(home: Home) -> bool:
    """Whether everything down to the report follows from the deliveries and the code as they are."""
    from orchestration import definitions

    return home.capacity.exists() and not definitions.due_selection(home)


def receipts_of(here: Session, feed: str | None = None) -> list[Receipt]:
    """Every receipt of the home, or of one feed."""
    from orchestration import raw_store

    return raw_store.receipts(here.home, feed)


def publication_of(here: Session) -> dict[str, Any] | None:
    """What the published capacity file says of itself; None while there is none."""
    from orchestration import warehouse

    if not here.home.capacity.exists():
        return None
    with warehouse.open_published(here.home.capacity) as published:
        row = published.execute("select run_id, published_at, data_as_of, iso_week from meta.publication").fetchone()
    return dict(zip(("run_id", "published_at", "data_as_of", "iso_week"), row, strict=True))
