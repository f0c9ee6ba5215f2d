"""Operations: what came, what is published and what to do next; the Dagster UI."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from orchestration.cli.session import SHOWN_ROWS, HomeOption, JsonOption, Session, app, session
from orchestration.cli.steps import publication_of, receipts_of
from orchestration.console import shown
from orchestration.home import EDITIONS, PROJECT


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What was delivered, what waits, what is published, what the last publish restated, what to do next."""
    with session(home, as_json) as here:
        from orchestration import landing, raw_store
        from orchestration.contracts import FEEDS

        receipts = receipts_of(here)
        waiting = raw_store.pending(here.home)
        _files, skipped = landing.scan(here.home)
        feeds = []
        for feed in FEEDS:
            own = [receipt for receipt in receipts if receipt.feed == feed]
            event_days = [day for receipt in own if receipt.status == "loaded" for day in receipt.event_days]
            feeds.append({
                "feed": feed, "delivery_count": len(own), "pending_count": sum(1 for file in waiting if file.feed == feed),
                "last_delivered_date": max((receipt.delivered_date for receipt in own), default=None),
                "last_event_day": max(event_days, default=None) if feed != "reference" else None,
                "loaded_count": sum(receipt.loaded_count for receipt in own if receipt.status == "loaded"),
                "quarantined_count": sum(receipt.quarantined_count for receipt in own),
                "superseded_count": sum(1 for receipt in own if receipt.status == "superseded"),
            })
        due, busy = _due(here)
        published, blocked = publication_of(here), _blocked_publish(here)
        restated = _restated_by_last_publish(here)
        next_step = _what_next(feeds, due, busy, published, blocked)
        here.result |= {
            "home": here.home.root, "feeds": feeds, "published": published, "restated": restated, "due": due, "busy": busy, "blocked": blocked,
            "passed_over": [{"path": item.path, "reason": item.reason, "message": item.message} for item in skipped],
            "next_step": next_step,
        }
        here.console.say(f"home {here.home.root}")
        here.console.table(
            ("feed", "deliveries", "waiting", "last delivered", "last event (UTC)", "loaded", "quarantined", "superseded"),
            [tuple(feed.values()) for feed in feeds],
        )
        for item in skipped[:SHOWN_ROWS]:
            here.console.say(f"passed over: {item.path}: {item.message}")
        if published is None:
            here.console.say("nothing published yet")
        else:
            here.console.say(
                f"published {shown(published['published_at'])}, week {published['iso_week']}, data as of "
                f"{shown(published['data_as_of'])}, run {published['run_id'][:8]}"
            )
        if blocked:
            here.console.table(
                ("failed check", "figure", "next step"),
                [(check["name"], check["figure"], check["next_step"]) for check in blocked["failures"]],
                title=f"A later publish ({blocked['attempted_at']}) failed its audit; readers keep the files above",
            )
        if restated:
            here.console.table(
                ("edition", "figures", "of closed days", "first day", "last day", "marts", "reason"),
                [
                    (r["edition"], r["figure_count"], r["closed_day_figure_count"], r["first_date"].isoformat(),
                     r["last_date"].isoformat(), len(r["marts"]), r["reason"])
                    for r in restated
                ],
                title="The last publish restated figures (each is in quality.fct_restatements)",
            )
        elif published is not None:
            here.console.say("the last publish restated nothing")
        if busy:
            here.console.say(busy)
        elif due:
            here.console.say(f"due: {', '.join(due)}")
        here.console.say(f"next: {next_step}")


def _due(here: Session) -> tuple[list[str] | None, str]:
    """Steps that are due; None, and who is at work, while another process writes."""
    from orchestration import warehouse

    try:
        return list(warehouse.due_steps(here.home)), ""
    except warehouse.WarehouseLocked as locked:
        return None, str(locked)


def _blocked_publish(here: Session) -> dict[str, Any] | None:
    """The last try to publish, when its audit failed."""
    if not here.home.last_audit.exists():
        return None
    record = json.loads(here.home.last_audit.read_text("utf-8"))
    return None if record["passed"] else record


def _restated_by_last_publish(here: Session) -> list[dict[str, Any]]:
    """What the last publish of each edition changed of what readers had been told, by reason."""
    from orchestration import restatements

    found = []
    for edition in EDITIONS:
        entries = restatements.entries(here.home, edition)
        if not entries or not entries[-1].restatement_count:
            continue
        by_reason: dict[str, list[Any]] = {}
        for row in restatements.restated_since(here.home, edition, entries[-1].sequence - 1):
            by_reason.setdefault(row.reason, []).append(row)
        found += [
            {
                "edition": edition, "reason": reason, "figure_count": len(rows),
                "closed_day_figure_count": sum(row.is_closed_day for row in rows),
                "first_date": min(row.usage_date for row in rows), "last_date": max(row.usage_date for row in rows),
                "marts": sorted({row.mart for row in rows}),
            }
            for reason, rows in by_reason.items()
        ]
    return sorted(found, key=lambda row: (row["edition"], -row["figure_count"], row["reason"]))


def _what_next(feeds: Sequence[dict[str, Any]], due: Sequence[str] | None, busy: str, published: Any, blocked: Any) -> str:
    """The command to type after having read the status."""
    if busy:
        return "wait for the run that is at work, or `tidegauge doctor` to see whether it hangs"
    if blocked:
        return "put right what the failed checks name, then `tidegauge run`"
    if due:
        return "tidegauge run"
    if published is None:
        return "tidegauge ingest PATH, or tidegauge demo"
    if any(feed["quarantined_count"] for feed in feeds):
        return "tidegauge quarantine list"
    return "nothing to do"


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    home: HomeOption = None,
) -> None:
    """Open the Dagster UI on this machine (Ctrl-C ends it)."""
    with session(home, False) as here:
        from orchestration import definitions

        definitions.instance_of(here.home)
        environment = {**os.environ, "DAGSTER_HOME": str(here.home.dagster), "TIDEGAUGE_HOME": str(here.home.root)}
        here.console.say(f"http://127.0.0.1:{port}  (home {here.home.root})")
        os.chdir(PROJECT)
        os.execvpe(
            sys.executable,
            [sys.executable, "-m", "dagster", "dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(port)],
            environment,
        )
