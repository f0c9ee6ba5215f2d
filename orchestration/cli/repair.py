"""Repair: replay days, make everything again, look into quarantine and free what can be freed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.session import (
    SHOWN_ROWS,
    FeedOption,
    HomeOption,
    JsonOption,
    Session,
    app,
    session,
)
from orchestration.cli.steps import (
    AFTER_RAW,
    REPLAY_TAG,
    day_of,
    delivery_of,
    feed_of,
    ingest_pending,
    materialize,
    receipts_of,
    run_steps,
    show_receipts,
)
from orchestration.console import CommandError
from orchestration.home import EDITIONS, Home

if TYPE_CHECKING:
    from orchestration.raw_store import Receipt
    from orchestration.replay_preview import Replayed

quarantine_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Lines and files that were not loaded: list, show, replay.")
app.add_typer(quarantine_app, name="quarantine")


@app.command()
def backfill(
    feed: Annotated[str, typer.Argument(help="token_usage, job_logs, telemetry or reference.")],
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day delivered.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day delivered.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the run and with every figure that moves.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and do nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the deliveries of some days; prints every published figure that moved, before, after and why."""
    with session(home, as_json) as here:
        from orchestration import definitions, landing, replay_preview, restatements, warehouse

        start, end = day_of(first, "--from"), day_of(last, "--to")
        if end < start:
            raise CommandError(f"--to {end} is before --from {start}", next_step="swap them")
        if not reason.strip():
            raise CommandError("--reason is empty", next_step="say why the days are replayed; it is kept with the run")
        days = [start + timedelta(days=offset) for offset in range((end - start).days + 1)]
        files, _skipped = landing.scan(here.home, feed_of(feed), days)
        if not files:
            raise CommandError(
                f"no deliveries of {feed} from {start} to {end}", where=str(here.home.landing / feed),
                next_step="`tidegauge status` shows the days that have some",
            )
        replayed = replay_preview.replayed(here.home, files, receipts_of(here, feed))
        touched = sorted({event_day for delivery in replayed for event_day in delivery.event_days})
        here.result |= {
            "feed": feed, "from": start, "to": end, "reason": reason, "dry_run": dry_run,
            "deliveries": [file.path for file in files], "event_days": touched,
        }
        row_count = sum(delivery.loaded_count or 0 for delivery in replayed)
        here.console.say(
            f"{len(files)} deliveries of {feed} from {start} to {end}, {row_count:,} rows as loaded, holding {len(touched)} "
            f"event days" + (f" ({touched[0]} to {touched[-1]})" if touched else "")
        )
        if dry_run:
            _show_preview(here, feed, replayed, touched)
            return
        with warehouse.writer_lock(here.home):
            told = _publish_sequences(here.home)
            restatements.record_backfill(
                here.home, restatements.Backfill(feed, start, end, " ".join(reason.split()), tuple(touched))
            )
            materialize(
                here, "ingest", [selection for selection in definitions.RAW if f"raw/{feed}" in selection],
                partition_range=(start.isoformat(), end.isoformat()),
                tags={"tidegauge/reason": reason[:200], REPLAY_TAG: "true"},
            )
            warehouse.request_days(here.home, feed, touched)
            run_steps(here, AFTER_RAW)
            _show_moved(here, told)


def _show_preview(here: Session, feed: str, replayed: Sequence[Replayed], touched: Sequence[date]) -> None:
    """What would be replayed and which published figures may move; nothing is run."""
    from orchestration import dbt_runs, replay_preview

    manifest = json.loads(dbt_runs.prepared_manifest(here.home).read_text("utf-8"))
    moving = replay_preview.may_move(here.home, feed, touched, manifest)
    here.result |= {"replayed": replayed, "may_move": moving}
    here.console.table(
        ("delivered", "delivery", "state", "received", "loaded", "quarantined", "parser"),
        [
            (d.delivered_date.isoformat(), d.delivery_name, d.state, d.received_count, d.loaded_count, d.quarantined_count,
             {True: "changed", False: "the same", None: ""}[d.parser_changed])
            for d in replayed[:SHOWN_ROWS]
        ],
    )
    if len(replayed) > SHOWN_ROWS:
        here.console.say(f"... and {len(replayed) - SHOWN_ROWS:,} more; --json gives all")
    here.console.table(
        ("edition", "mart", "first day", "last day", "days", "figures"),
        [(m.edition, m.mart, m.first_date.isoformat(), m.last_date.isoformat(), m.day_count, m.figure_count) for m in moving],
        title="Published figures that may move (balances may on later days too)",
    )
    new_count = sum(delivery.state == "new" for delivery in replayed)
    if new_count:
        here.console.say(f"{new_count} deliveries are new: which days they hold is known once they are loaded")
    if replayed and not any(delivery.parser_changed or delivery.state == "new" for delivery in replayed):
        here.console.say("no delivery is new and the parser is the one that loaded them: expect nothing to move")
    here.console.say("dry run: nothing was replayed; the same command without --dry-run does it")


def _publish_sequences(home: Home) -> dict[str, int]:
    """The number of the last publish of each edition, to tell later what came after it."""
    from orchestration import restatements

    return {
        edition: found[-1].sequence if (found := restatements.entries(home, edition)) else 0
        for edition in EDITIONS
    }


def _show_moved(here: Session, told: dict[str, int]) -> None:
    """Every published figure that moved since, before and after, and why."""
    from orchestration import restatements

    moved = [
        row for edition, sequence in told.items() for row in restatements.restated_since(here.home, edition, sequence)
    ]
    here.result["moved"] = moved
    if not moved:
        here.console.say("no published figure moved")
        return
    here.console.table(
        ("day", "closed", "mart", "site", "figure", "before", "after", "reason"),
        [
            (m.usage_date.isoformat(), m.is_closed_day, m.mart, m.site_id, m.metric, m.before, m.after, m.reason)
            for m in moved[:SHOWN_ROWS * 5]
        ],
        title=f"{len(moved):,} published figures moved; all of them are in quality.fct_restatements",
    )
    if len(moved) > SHOWN_ROWS * 5:
        here.console.say(f"... and {len(moved) - SHOWN_ROWS * 5:,} more; --json gives all")


@app.command()
def rebuild(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Everything again from landing: raw, warehouse, published file, report."""
    with session(home, as_json) as here:
        from orchestration import landing, warehouse

        files, _ = landing.scan(here.home)
        if not files:
            raise CommandError(
                "landing holds nothing to rebuild from, so nothing was removed", where=str(here.home.landing),
                next_step="tidegauge ingest PATH, or tidegauge demo",
            )
        with warehouse.writer_lock(here.home):
            told = _publish_sequences(here.home)
            for path in (here.home.raw, here.home.quarantine):
                shutil.rmtree(path, ignore_errors=True)
            for path in here.home.root.glob(f"{here.home.warehouse.name}*"):
                path.unlink()
        show_receipts(here, ingest_pending(here))
        run_steps(here, AFTER_RAW)
        _show_moved(here, told)


@quarantine_app.command("list")
def quarantine_list(feed: FeedOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Deliveries that have quarantined lines, with reasons."""
    with session(home, as_json) as here:
        held = [receipt for receipt in receipts_of(here, feed_of(feed)) if receipt.quarantined_count]
        here.result["deliveries"] = [delivery_of(receipt) for receipt in held]
        if not held:
            here.console.say("nothing is quarantined")
            return
        here.console.table(
            ("delivery id", "delivered", "feed", "delivery", "lines", "reasons"),
            [
                (r.delivery_id[:12], r.delivered_date.isoformat(), r.feed, r.delivery_name, r.quarantined_count,
                 ", ".join(f"{count:,} {reason}" for reason, count in r.quarantined_by_reason.items()))
                for r in held
            ],
        )


@quarantine_app.command("show")
def quarantine_show(
    delivery: Annotated[str, typer.Argument(help="Delivery id (its first characters do), or the delivery's name.")],
    limit: Annotated[int, typer.Option(min=1, help="Lines to show.")] = SHOWN_ROWS,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quarantined lines of one delivery: file, line, reason, and the bytes as they came."""
    with session(home, as_json) as here:
        import pyarrow.parquet as pq

        receipt = _one_held(here, delivery)
        path = here.home.quarantine / receipt.feed / f"{receipt.delivery_id}.parquet"
        rows = pq.read_table(path).sort_by("line_number").to_pylist()
        here.result |= {"delivery": delivery_of(receipt), "lines": [
            {key: row[key] for key in ("line_number", "line_count", "reason_code", "message")}
            | {"raw": row["raw_bytes"].decode("utf-8", errors="backslashreplace")}
            for row in rows
        ]}
        here.console.say(f"{here.home.landing / receipt.landing_path}: {receipt.quarantined_count:,} of {receipt.received_count:,} lines")
        here.console.table(
            ("line", "reason", "what is wrong", "as it came"),
            [
                (row["line_number"], row["reason_code"], row["message"], row["raw_bytes"][:160].decode("utf-8", errors="backslashreplace"))
                for row in rows[:limit]
            ],
        )
        if len(rows) > limit:
            here.console.say(f"... and {len(rows) - limit:,} more (--limit)")


def _one_held(here: Session, delivery: str) -> Receipt:
    held = [receipt for receipt in receipts_of(here) if receipt.quarantined_count]
    fits = [receipt for receipt in held if receipt.delivery_id.startswith(delivery) or receipt.delivery_name == delivery]
    if len(fits) != 1:
        raise CommandError(
            f"{len(fits)} deliveries with quarantined lines are named {delivery!r}",
            next_step="`tidegauge quarantine list` shows them; give more of the delivery id",
        )
    return fits[0]


@quarantine_app.command("replay")
def quarantine_replay(
    feed: FeedOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Load deliveries with quarantined lines again, with today's parsers, and say what was freed."""
    with session(home, as_json) as here:
        from orchestration import definitions

        held = [receipt for receipt in receipts_of(here, feed_of(feed)) if receipt.quarantined_count]
        if not held:
            here.console.say("nothing is quarantined")
            return
        days = sorted({receipt.delivered_date for receipt in held})
        materialize(
            here, "ingest",
            [selection for selection in definitions.RAW if any(f"raw/{receipt.feed}" in selection for receipt in held)],
            partition_range=(days[0].isoformat(), days[-1].isoformat()),
            tags={"tidegauge/reason": "quarantine replay", REPLAY_TAG: "true"},
        )
        now = {(receipt.feed, receipt.delivery_id): receipt for receipt in receipts_of(here)}
        rows = [
            (before.delivery_name, before.quarantined_count, after.quarantined_count, before.loaded_count, after.loaded_count)
            for before in held if (after := now.get((before.feed, before.delivery_id)))
        ]
        names = ("delivery_name", "quarantined_before", "quarantined_after", "loaded_before", "loaded_after")
        here.result["replayed"] = [dict(zip(names, row, strict=True)) for row in rows]
        here.console.table(("delivery", "quarantined before", "after", "loaded before", "after"), rows)
        here.console.say("run `tidegauge run` to bring what was freed into the marts")
