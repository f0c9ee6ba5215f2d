"""The ``tidegauge`` command: what each command reads, starts and prints.

Commands are glue: they call the raw store, the Dagster job and the published files, and say what came
of it. No figure is computed here. Heavy imports are inside the commands, so that help is instant.

Exit codes: 0 ok, 1 error, 2 the audit blocked publishing, 3 locked by another process, 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.console import CommandError, Console, shown
from orchestration.home import EDITIONS, PROJECT, Home

if TYPE_CHECKING:
    from orchestration.definitions import RunOutcome
    from orchestration.raw_store import Receipt

OK, ERROR, AUDIT_BLOCKED, LOCKED, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODE_BY_REASON = {"audit_blocked": AUDIT_BLOCKED, "locked": LOCKED}

# The simulated network of the demo ends with the last whole week before 2026-11-24.
DEMO_DAYS = 56
DEMO_EVENTS_PER_DAY = 40_000
DEMO_SEED = 7
DEMO_END = date(2026, 11, 22)
# Deliveries and quarantined lines that a person is shown; --json gives all.
SHOWN_ROWS = 20
AFTER_RAW = ("build", "forecast", "publish")
# Tells the raw assets of a run to load deliveries again that have a receipt.
REPLAY_TAG = "tidegauge/replay"
LEAST_FREE_BYTES = 2 * 2**30

app = typer.Typer(
    name="tidegauge", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Capacity warehouse for AI computing networks: from landing files to the weekly report.",
)
quarantine_app = typer.Typer(no_args_is_help=True, help="Lines and files that were not loaded: list, show, replay.")
app.add_typer(quarantine_app, name="quarantine")
export_app = typer.Typer(no_args_is_help=True, help="Published marts as files: csv, parquet, focus.")
app.add_typer(export_app, name="export")

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Home folder. Default: TIDEGAUGE_HOME, else data/.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
FeedOption = Annotated[str | None, typer.Option("--feed", help="token_usage, job_logs, telemetry or reference.")]
DayOption = typer.Option(metavar="YYYY-MM-DD", help="UTC day delivered.")
WeekOption = Annotated[
    str | None, typer.Option("--week", metavar="YYYY-Www", help="ISO week, like 2026-W47. Default: the latest whole one.")
]
LanguageOption = Annotated[str, typer.Option("--language", help="en or zh.")]


@dataclass
class Session:
    """One command at work: its home, how it speaks, and what it found."""

    home: Home
    console: Console
    result: dict[str, Any] = field(default_factory=dict)
    exit_code: int = OK


@contextmanager
def session(home: Path | None, as_json: bool) -> Iterator[Session]:
    """Runs a command's body; turns whatever goes wrong into a message and an exit code."""
    console = Console(as_json)
    if home is not None:
        # The job, dbt and worker processes all read it from here.
        os.environ["TIDEGAUGE_HOME"] = str(home.expanduser().absolute())
    here = Session(Home.from_environment(), console)
    try:
        yield here
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the one place where any error becomes a message
        explained = error if isinstance(error, CommandError) else explain(error)
        if os.environ.get("TIDEGAUGE_DEBUG"):
            traceback.print_exc()
        console.fail(explained)
        raise typer.Exit(explained.exit_code) from None
    console.finish(here.result)
    if here.exit_code:
        raise typer.Exit(here.exit_code)


def explain(error: Exception) -> CommandError:
    """What went wrong in a person's words, where, and the next step."""
    # Modules that were not imported can't have raised.
    warehouse = sys.modules.get("orchestration.warehouse")
    registry = sys.modules.get("orchestration.sources.registry")
    if warehouse and isinstance(error, warehouse.WarehouseLocked):
        return CommandError(str(error), exit_code=LOCKED, next_step="wait for the other process, then run this again")
    if warehouse and isinstance(error, warehouse.AuditFailed):
        return CommandError(str(error), exit_code=AUDIT_BLOCKED, next_step="see the lines above; readers keep the last good file")
    if warehouse and isinstance(error, warehouse.WarehouseAbsent):
        return CommandError(str(error), next_step="tidegauge demo, or tidegauge ingest PATH and tidegauge run")
    if registry and isinstance(error, registry.UnknownFormat):
        return CommandError(str(error), next_step="name the format with --format, or see `tidegauge ingest --help`")
    restatements = sys.modules.get("orchestration.restatements")
    if restatements and isinstance(error, restatements.NothingPublished):
        return CommandError(str(error), next_step="give a later --as-of, or publish with `tidegauge run`")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return CommandError(
            "the disk is full; nothing that readers see has changed", where=str(error.filename or ""),
            next_step="free some space, then run the same command again",
        )
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return CommandError(str(error), where=str(error.filename or ""), next_step="check the path and who may read it")
    if isinstance(error, ValueError):
        return CommandError(str(error), where=_place_of(error))
    return CommandError(
        f"{type(error).__name__}: {error}", where=_place_of(error),
        next_step="run it again with TIDEGAUGE_DEBUG=1 to see the whole trace",
    )


def _place_of(error: Exception) -> str:
    """The innermost line of the project's own code that the error passed through."""
    own = (PROJECT / "orchestration", PROJECT / "dashboards")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if any(path.is_relative_to(folder) for folder in own):
            return f"{path.relative_to(PROJECT)}:{frame.lineno}"
    return ""


def main() -> None:
    """Runs the command line; every way out has its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as misuse:
        misuse.show()
        # 2, the usual code, is taken: it says that the audit blocked.
        status = ERROR
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = ERROR
    sys.exit(status if isinstance(status, int) else OK)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


# --- steps that several commands share -----------------------------------------------------------


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r} is not a day", next_step="write it like 2026-11-22") from None


def _feed(feed: str | None) -> str | None:
    from orchestration.contracts import FEEDS

    if feed is not None and feed not in FEEDS:
        raise CommandError(f"there is no feed {feed!r}", next_step=f"use one of {', '.join(FEEDS)}")
    return feed


def _week(week: str | None) -> str | None:
    if week is None:
        return None
    try:
        datetime.strptime(f"{week}-1", "%G-W%V-%u")
    except ValueError:
        raise CommandError(f"--week {week!r} is not an ISO week", next_step="write it like 2026-W47") from None
    return week


def _published(here: Session) -> Path:
    if not here.home.capacity.exists():
        raise CommandError(
            "nothing has been published yet", where=str(here.home.capacity), next_step="tidegauge run, or tidegauge demo"
        )
    return here.home.capacity


def _materialize(here: Session, title: str, selection: Sequence[str], **more: Any) -> RunOutcome:
    """Runs part of the job with its progress shown; CommandError with the right exit code when it fails."""
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
    if outcome.reason == "audit_blocked":
        return "put right what the failed checks name, then `tidegauge run`; readers keep the last good file"
    if outcome.reason == "check_blocked":
        return "see what was delivered with `tidegauge status` and `tidegauge quarantine list`"
    if outcome.reason == "locked":
        return "wait for the other process, then run this again"
    return f"`tidegauge dev` shows run {outcome.run_id[:8]} with its log"


def _ingest_pending(here: Session, feed: str | None = None) -> list[Receipt]:
    """Loads what waits in landing, as partitions of the delivery days; returns the new receipts."""
    from orchestration import definitions, raw_store

    waiting = raw_store.pending(here.home, feed)
    if not waiting:
        here.console.note("ingest: nothing new in landing")
        return []
    days = sorted({file.delivered_date for file in waiting})
    feeds = {file.feed for file in waiting}
    known = _receipt_keys(here.home)
    _materialize(
        here, "ingest", [selection for selection in definitions.RAW if any(f"raw/{name}" in selection for name in feeds)],
        partition_range=(days[0].isoformat(), days[-1].isoformat()),
    )
    return [receipt for receipt in raw_store.receipts(here.home) if _key(receipt) not in known]


def _key(receipt: Receipt) -> tuple:
    return receipt.feed, receipt.delivery_id, receipt.ingested_at


def _receipt_keys(home: Home) -> set[tuple]:
    from orchestration import raw_store

    return {_key(receipt) for receipt in raw_store.receipts(home)}


def _show_receipts(here: Session, receipts: Sequence[Receipt]) -> None:
    """What came of deliveries: each one when they are few, added up by format when they are many."""
    here.result["deliveries"] = [_delivery(receipt) for receipt in receipts]
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
    replaced = [receipt for receipt in _receipts_of(here, None) if receipt.superseded_by in loaded]
    here.result["superseded"] = [_delivery(receipt) for receipt in replaced]
    for receipt in replaced:
        here.console.note(
            f"superseded: {receipt.delivery_name} of {receipt.delivered_date}: {receipt.loaded_count:,} lines no longer count; "
            "a file that comes daily needs its day in its name"
        )


def _delivery(receipt: Receipt) -> dict[str, Any]:
    return {
        name: getattr(receipt, name)
        for name in (
            "delivery_id", "feed", "table_name", "format", "source_id", "delivery_name", "delivered_date", "status",
            "received_count", "loaded_count", "duplicate_count", "quarantined_count", "quarantined_by_reason", "message",
            "warnings", "landing_path",
        )
    }


def _report(here: Session, week: str | None, language: str) -> Path:
    from orchestration import definitions

    if language not in ("en", "zh"):
        raise CommandError(f"there is no report in {language!r}", next_step="use --language en or --language zh")
    config = {"iso_week": _week(week) or "", "language": language}
    outcome = _materialize(
        here, "report", definitions.REPORT,
        run_config={"ops": {"reports__weekly_capacity": {"config": config}}},
    )
    path = Path(str(outcome.asset_metadata["reports/weekly_capacity"]["path"]))
    here.result["report"] = path
    return path


def _run_steps(here: Session, steps: Sequence[str], language: str = "en") -> None:
    """The named steps, one run each, and then the report."""
    from orchestration import definitions

    selections = {
        "build": definitions.BUILD, "forecast": definitions.FORECAST, "publish": definitions.PUBLISH,
    }
    for step in steps:
        _materialize(here, step, selections[step])
    _report(here, None, language)


def _run_due(here: Session, language: str) -> bool:
    """Everything that is due, from landing to report; False when nothing is."""
    from orchestration import definitions, warehouse

    due = warehouse.due_steps(here.home)
    if _is_current(here.home):
        return False
    known = _receipt_keys(here.home)
    if "raw" in due:
        # Also without new files: what a check blocked last time is judged again, and blocks again.
        _materialize(here, "ingest", definitions.RAW)
    _show_receipts(here, [receipt for receipt in _receipts_of(here) if _key(receipt) not in known])
    _run_steps(here, [step for step in due if step != "raw"], language)
    return True


def _is_current(home: Home) -> bool:
    """Whether everything down to the report follows from the deliveries and the code as they are."""
    from orchestration import definitions

    return home.capacity.exists() and not definitions.due_selection(home)


# --- commands: the main job ----------------------------------------------------------------------


@app.command()
def demo(
    traces: Annotated[
        Path | None, typer.Option("--traces", metavar="DIR", help="Read public traces below DIR instead of simulating.")
    ] = None,
    days: Annotated[int, typer.Option(min=14, help="Days to simulate.")] = DEMO_DAYS,
    events_per_day: Annotated[int, typer.Option(min=100, help="Token events a day to simulate.")] = DEMO_EVENTS_PER_DAY,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = DEMO_SEED,
    language: LanguageOption = "en",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The main job on a fresh machine: landing files, ingest, build, forecast, publish, weekly report."""
    with session(home, as_json) as here:
        if traces is not None:
            _land_traces(here, traces)
        else:
            _simulate(here, days, seed, events_per_day, DEMO_END)
        if not _run_due(here, language):
            here.console.say("nothing new: everything below is as the last run left it")
        _summarize(here)


def _simulate(here: Session, days: int, seed: int, events_per_day: int, end: date) -> None:
    """Landing files of a simulated network; nothing when this home has exactly them already."""
    from orchestration.sources.simulate import simulate as make

    wanted = {
        "days": days, "seed": seed, "events_per_day": events_per_day, "end_date": end.isoformat(),
    }
    present = _simulated(here.home)
    if present is not None:
        differing = {name: present.get(name) for name, value in wanted.items() if present.get(name) != value}
        if differing:
            # Its files have the same names; to write over deliveries would be to rewrite the past.
            raise CommandError(
                "this home holds another simulation: "
                + ", ".join(f"{name} {value}" for name, value in differing.items()),
                where=str(here.home.truth / "truth.json"),
                next_step="use another --home, or the same numbers",
            )
        here.console.note("simulate: nothing new, this home holds exactly this simulation")
        return
    title = f"simulate {days} days, {events_per_day:,} token events a day, seed {seed}"
    with here.console.step(title) as step:
        make(
            here.home, days=days, seed=seed, events_per_day=events_per_day, end_date=end,
            progress=step.advance,
        )
    here.result.setdefault("seconds", {})["simulate"] = round(step.seconds, 2)


def _simulated(home: Home) -> dict[str, Any] | None:
    """The parameters of the simulation that a home holds; it is written last, so it says it is whole."""
    path = home.truth / "truth.json"
    return json.loads(path.read_text("utf-8"))["parameters"] if path.exists() else None


def _land_traces(here: Session, directory: Path) -> None:
    from orchestration import traces

    with here.console.step(f"find traces in {directory}") as step:
        found, passed_over = traces.discover(directory)
        if not found:
            raise CommandError(
                f"no file below {directory} is of a known format", where=str(directory),
                next_step="the formats are listed by `tidegauge ingest --help`",
            )
        traces.land(here.home, found, progress=step.advance)
    here.result.setdefault("seconds", {})["land"] = round(step.seconds, 2)
    here.result["traces"] = [
        {"name": t.name, "formats": t.formats, "file_count": len(t.files), "shift_days": t.shift_days, "timezone": t.timezone}
        for t in found
    ]
    here.result["passed_over"] = [{"path": item.path, "reason": item.reason} for item in passed_over]
    here.console.table(
        ("trace", "format", "files", "last timestamp", "replayed by"),
        [
            (t.name, ", ".join(t.formats), len(t.files),
             t.last_timestamp.astimezone(UTC) if t.last_timestamp else "relative", f"{t.shift_days:,} days" if t.shift_days else "")
            for t in found
        ],
    )
    for reason, files in _grouped(passed_over).items():
        few = ", ".join(str(path.relative_to(directory.resolve())) for path in files[:3])
        here.console.note(f"passed over {len(files)}: {reason}: {few}{', ...' if len(files) > 3 else ''}")


def _grouped(passed_over: Sequence[Any]) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {}
    for item in passed_over:
        reason = item.reason if item.reason.startswith("licence") else "of no known format"
        grouped.setdefault(reason, []).append(item.path)
    return grouped


def _summarize(here: Session) -> None:
    """Where everything is, and the few figures that tell a good run from a bad one."""
    from orchestration import warehouse
    from orchestration.sql import literal

    iso_week = warehouse.week_to_report(_published(here))
    with warehouse.open_published(_published(here)) as published:
        publication = published.execute("select iso_week, data_as_of, run_id from meta.publication").fetchone()
        deliveries = published.execute(
            "select count(*), sum(received_count), sum(loaded_count), sum(duplicate_count), sum(quarantined_count) "
            "from quality.fct_deliveries"
        ).fetchone()
        tokens = published.execute(
            "select sum(request_count), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens) "
            "from capacity.fct_token_usage_hourly"
        ).fetchone()
        actions = published.execute(
            "select action, count(*) from capacity.fct_capacity_need group by 1 order by 1"
        ).fetchall()
        differences = published.execute(
            "select count(*) from quality.fct_reconciliation where difference is distinct from 0"
        ).fetchone()[0]
    with warehouse.open_published(here.home.finance) as published:
        net_revenue, gross_margin = published.execute(
            "select coalesce(sum(net_revenue_cny), 0), coalesce(sum(gross_margin_cny), 0) "
            f"from finance.fct_margin_daily where iso_week = {literal(iso_week or '')}"
        ).fetchone()
    weekly = here.home.reports / "weekly" / f"{iso_week}.html"
    here.result["summary"] = summary = {
        "iso_week": iso_week, "data_as_of": publication[1],
        "delivery_count": deliveries[0], "received_count": deliveries[1], "loaded_count": deliveries[2],
        "duplicate_count": deliveries[3], "quarantined_count": deliveries[4],
        "request_count": tokens[0], "input_tokens": tokens[1], "cached_input_tokens": tokens[2], "output_tokens": tokens[3],
        "decisions": dict(actions), "reconciliation_difference_count": differences,
        "net_revenue_cny": net_revenue, "gross_margin_cny": gross_margin,
        "report": weekly, "published": here.home.capacity, "published_finance": here.home.finance,
    }
    here.console.say()
    here.console.table(("", ""), [
        ("week", summary["iso_week"]),
        ("deliveries", deliveries[0]),
        ("lines", " + ".join((
            f"{shown(deliveries[1])} = {shown(deliveries[2])} loaded",
            f"{shown(deliveries[3])} duplicate", f"{shown(deliveries[4])} quarantined",
        ))),
        ("requests", tokens[0]),
        ("tokens", f"{shown(tokens[1])} input + {shown(tokens[2]) or 'unknown'} cached input + {shown(tokens[3])} output"),
        ("decisions", ", ".join(f"{count} {action}" for action, count in actions) or "none"),
        ("landing = raw = marts", "difference 0" if differences == 0 else f"{differences} metrics differ"),
        ("gross margin of the week", f"{gross_margin:,.0f} of {net_revenue:,.0f} CNY net revenue"),
        ("published", here.home.capacity),
        ("with money", here.home.finance),
        ("weekly report", weekly),
    ])


@app.command()
def simulate(
    days: Annotated[int, typer.Option(min=1, help="Days, the last one --end.")],
    seed: Annotated[int, typer.Option(help="The same seed makes the same files.")],
    events_per_day: Annotated[int, typer.Option(min=100, help="Token events a day.")] = DEMO_EVENTS_PER_DAY,
    end: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Last business day.")] = DEMO_END.isoformat(),
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Landing files of a synthetic nationwide network, with the truth beside them."""
    with session(home, as_json) as here:
        _simulate(here, days, seed, events_per_day, _day(end, "--end") or DEMO_END)
        here.result["landing"] = here.home.landing
        here.result["truth"] = here.home.truth / "truth.json"
        here.console.say(f"landing files in {here.home.landing}, what is true in {here.home.truth / 'truth.json'}")


@app.command()
def ingest(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files or folders to copy into landing first.", show_default=False)
    ] = None,
    feed: FeedOption = None,
    format: Annotated[str | None, typer.Option("--format", help="Format of the files; told from their content when left out.")] = None,
    table: Annotated[str | None, typer.Option("--table", help="Table of a canonical or reference file.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Producer; ids need to be unique within it only.")] = None,
    epoch: Annotated[str | None, typer.Option("--epoch", metavar="INSTANT", help="What relative times count from, like 2026-11-13T00:00:00+08:00.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="Zone of wall-clock times that name none, like Asia/Shanghai.")] = None,
    shift_days: Annotated[int, typer.Option("--shift-days", help="Days added to every event time.")] = 0,
    day: Annotated[str | None, DayOption] = None,
    list_formats: Annotated[bool, typer.Option("--list-formats", help="List the formats and end.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load new deliveries: those waiting in landing, or PATHs, copied into landing first."""
    with session(home, as_json) as here:
        if list_formats:
            _show_formats(here)
            return
        if paths:
            _land_paths(here, paths, _feed(feed), format, table, source, epoch, timezone, shift_days, _day(day, "--day"))
        loaded = _ingest_pending(here, _feed(feed))
        _show_receipts(here, loaded)
        if loaded and all(receipt.status == "quarantined" for receipt in loaded):
            here.exit_code = ERROR


def _show_formats(here: Session) -> None:
    from orchestration.sources.registry import FORMATS

    rows = [(format.table.feed, name, format.table.name, format.description) for name, format in FORMATS.items()]
    here.result["formats"] = [dict(zip(("feed", "format", "table", "description"), row, strict=True)) for row in rows]
    here.console.table(("feed", "format", "table", "what it is"), sorted(rows))


def _land_paths(
    here: Session, paths: list[Path], feed: str | None, format: str | None, table: str | None, source: str | None,
    epoch: str | None, timezone: str | None, shift_days: int, day: date | None,
) -> None:
    from zoneinfo import ZoneInfo

    from orchestration import raw_store

    if timezone is not None:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError):
            raise CommandError(f"there is no time zone {timezone!r}", next_step="name one like Asia/Shanghai") from None
    try:
        instant = datetime.fromisoformat(epoch) if epoch else None
    except ValueError:
        raise CommandError(f"--epoch {epoch!r} is not an instant", next_step="write it like 2026-11-13T00:00:00+08:00") from None
    landed = raw_store.land(
        here.home, paths, feed=feed, format=format, table=table, source_id=source, epoch=instant, timezone=timezone,
        shift_days=shift_days, delivered=day,
    )
    here.result["landed"] = [file.path for file in landed]
    here.console.note(f"landed {len(landed)} file{'s' if len(landed) != 1 else ''} in {here.home.landing}")


@app.command()
def build(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Build the marts from what was ingested since the last build."""
    with session(home, as_json) as here:
        from orchestration import definitions, warehouse

        # What a check has not passed yet is judged before it is built.
        raw = definitions.RAW if "raw" in warehouse.due_steps(here.home) else ()
        _materialize(here, "build", raw + definitions.BUILD)


@app.command()
def forecast(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Forecast demand and the capacity it needs, from the marts."""
    with session(home, as_json) as here:
        from orchestration import definitions

        _materialize(here, "forecast", definitions.FORECAST)


@app.command()
def publish(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Audit the marts and put them before readers; a failed audit changes nothing."""
    with session(home, as_json) as here:
        from orchestration import definitions

        _materialize(here, "publish", definitions.PUBLISH)
        here.result["published"] = here.home.capacity
        here.console.say(str(here.home.capacity))


@app.command()
def report(week: WeekOption = None, language: LanguageOption = "en", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Write the weekly capacity report from what is published."""
    with session(home, as_json) as here:
        _week(week)
        _published(here)
        here.console.say(str(_report(here, week, language)))


@app.command()
def run(language: LanguageOption = "en", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Everything that is due: ingest, build, forecast, publish, report."""
    with session(home, as_json) as here:
        here.result["due"] = _run_due(here, language)
        if here.result["due"]:
            _summarize(here)
        else:
            here.console.say("nothing is due")


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
        from orchestration import definitions, landing, restatements, warehouse

        start, end = _day(first, "--from"), _day(last, "--to")
        if end < start:
            raise CommandError(f"--to {end} is before --from {start}", next_step="swap them")
        if not reason.strip():
            raise CommandError("--reason is empty", next_step="say why the days are replayed; it is kept with the run")
        days = [start + timedelta(days=offset) for offset in range((end - start).days + 1)]
        files, _skipped = landing.scan(here.home, _feed(feed), days)
        if not files:
            raise CommandError(
                f"no deliveries of {feed} from {start} to {end}", where=str(here.home.landing / feed),
                next_step="`tidegauge status` shows the days that have some",
            )
        receipts = {receipt.landing_path: receipt for receipt in _receipts_of(here, feed)}
        touched = sorted({
            event_day for file in files
            if (receipt := receipts.get(file.path.relative_to(here.home.landing).as_posix())) for event_day in receipt.event_days
        })
        here.result |= {
            "feed": feed, "from": start, "to": end, "reason": reason, "dry_run": dry_run,
            "deliveries": [file.path for file in files], "event_days": touched,
        }
        here.console.say(
            f"{len(files)} deliveries of {feed} from {start} to {end}, holding {len(touched)} event days"
            + (f" ({touched[0]} to {touched[-1]})" if touched else "")
        )
        if dry_run:
            here.console.table(("delivered", "delivery"), [(file.delivered_date.isoformat(), file.name) for file in files[:SHOWN_ROWS]])
            here.console.say("dry run: nothing was replayed")
            return
        with warehouse.writer_lock(here.home):
            told = _publish_sequences(here.home)
            restatements.record_backfill(
                here.home, restatements.Backfill(feed, start, end, " ".join(reason.split()), tuple(touched))
            )
            _materialize(
                here, "ingest", [selection for selection in definitions.RAW if f"raw/{feed}" in selection],
                partition_range=(start.isoformat(), end.isoformat()),
                tags={"tidegauge/reason": reason[:200], REPLAY_TAG: "true"},
            )
            warehouse.request_days(here.home, feed, touched)
            _run_steps(here, AFTER_RAW)
            _show_moved(here, told)


def _receipts_of(here: Session, feed: str | None = None) -> list[Receipt]:
    from orchestration import raw_store

    return raw_store.receipts(here.home, feed)


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
        _show_receipts(here, _ingest_pending(here))
        _run_steps(here, AFTER_RAW)
        _show_moved(here, told)


@app.command()
def figures(
    as_of: Annotated[str, typer.Option("--as-of", metavar="INSTANT", help="UTC: 2026-11-20 is that whole day, 2026-11-20T08:00 that minute.")],
    mart: Annotated[str | None, typer.Option("--mart", help="Only this mart, like fct_margin_daily.", show_default=False)] = None,
    day: Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Only this business day.", show_default=False)] = None,
    by_site: Annotated[bool, typer.Option("--by-site", help="One figure a site instead of their sum.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Daily figures as an earlier publish gave them, before what was restated since."""
    with session(home, as_json) as here:
        from orchestration import restatements

        only = _day(day, "--day")
        found = restatements.figures_as_of(
            here.home, _instant(as_of, "--as-of"), mart=mart, first=only, last=only, by_site=by_site
        )
        here.result["publishes"] = [
            {"edition": publish.edition, "published_at": publish.published_at, "run_id": publish.run_id,
             "data_as_of": publish.data_as_of}
            for publish in found.publishes
        ]
        here.result["figures"] = found.figures
        for publish in found.publishes:
            here.console.note(
                f"{publish.edition} as published {publish.published_at:%Y-%m-%d %H:%M:%S} UTC, data as of "
                f"{shown(publish.data_as_of)}, run {publish.run_id[:8]}"
            )
        here.console.table(
            ("day", "mart", *(("site",) if by_site else ()), "figure", "value"),
            [
                (f.usage_date.isoformat(), f.mart, *((f.site_id,) if by_site else ()), f.metric, f.value)
                for f in found.figures
            ],
        )


def _instant(text: str, option: str) -> datetime:
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


# --- commands: operations ------------------------------------------------------------------------


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What was delivered, what waits, what is published."""
    with session(home, as_json) as here:
        from orchestration import raw_store
        from orchestration.contracts import FEEDS

        receipts = _receipts_of(here)
        waiting = raw_store.pending(here.home)
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
        here.result |= {"home": here.home.root, "feeds": feeds, "published": _publication(here)}
        here.console.say(f"home {here.home.root}")
        here.console.table(
            ("feed", "deliveries", "waiting", "last delivered", "last event (UTC)", "loaded", "quarantined", "superseded"),
            [tuple(feed.values()) for feed in feeds],
        )
        published = here.result["published"]
        if published is None:
            here.console.say("nothing published yet: `tidegauge run`")
        else:
            here.console.say(
                f"published {shown(published['published_at'])}, week {published['iso_week']}, data as of "
                f"{shown(published['data_as_of'])}, run {published['run_id'][:8]}"
            )


def _publication(here: Session) -> dict[str, Any] | None:
    from orchestration import warehouse

    if not here.home.capacity.exists():
        return None
    with warehouse.open_published(here.home.capacity) as published:
        row = published.execute("select run_id, published_at, data_as_of, iso_week from meta.publication").fetchone()
    return dict(zip(("run_id", "published_at", "data_as_of", "iso_week"), row, strict=True))


@app.command()
def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for what breaks runs: versions, disk, locks, leftovers, clock, browser."""
    with session(home, as_json) as here:
        checks = [check(here) for check in DOCTOR_CHECKS]
        here.result["checks"] = [
            {"check": name, "ok": ok, "found": found, "next_step": "" if ok else next_step}
            for name, ok, found, next_step in checks
        ]
        here.console.table(
            ("", "check", "found", "next step"),
            [("ok" if ok else "!!", name, found, "" if ok else next_step) for name, ok, found, next_step in checks],
        )
        here.exit_code = OK if all(ok for _, ok, _, _ in checks) else ERROR


Finding = tuple[str, bool, str, str]


def _check_versions(_here: Session) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    names = ("tidegauge", "dagster", "dbt-core", "duckdb", "polars", "great-expectations", "plotly")
    found, missing = [f"Python {sys.version.split()[0]}"], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return "versions", not missing, ", ".join(found), f"missing: {', '.join(missing)}; run `make setup`"


def _check_home(here: Session) -> Finding:
    root = here.home.root
    parent = next(path for path in (root, *root.parents) if path.exists())
    return "home can be written", os.access(parent, os.W_OK), str(root), "name another with --home or TIDEGAUGE_HOME"


def _check_disk(here: Session) -> Finding:
    parent = next(path for path in (here.home.root, *here.home.root.parents) if path.exists())
    free = shutil.disk_usage(parent).free
    return "free disk", free >= LEAST_FREE_BYTES, f"{free / 2**30:.1f} GiB", "free some space; a run needs about 2 GiB"


def _check_file_system(here: Session) -> Finding:
    """DuckDB's locks do not hold on a network file system."""
    kind = _file_system_of(here.home.root)
    network = kind.startswith(("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs"))
    return "home is on a local disk", not network, kind or "not known on this system", "move the home to a local disk"


def _file_system_of(path: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best = ("", "")
    for line in mounts.read_text("utf-8", errors="replace").splitlines():
        _device, mount, kind, *_ = line.split(" ")
        mount = mount.encode().decode("unicode_escape")
        if path.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _check_lock(here: Session) -> Finding:
    from orchestration import warehouse

    if not here.home.root.exists():
        return "no other process writes", True, "no home yet", ""
    try:
        with warehouse.writer_lock(here.home):
            return "no other process writes", True, "free", ""
    except warehouse.WarehouseLocked as locked:
        return "no other process writes", False, str(locked), "wait for it to end, or end it"


def _check_leftovers(here: Session) -> Finding:
    wal = here.home.warehouse.with_name(here.home.warehouse.name + ".wal")
    damaged = sorted(here.home.root.glob("*.corrupt-*"))
    found = [f"{path.name}, {path.stat().st_size:,} bytes" for path in (wal, *damaged) if path.exists()]
    return (
        "nothing left by a killed run", not found, ", ".join(found) or "nothing",
        "`tidegauge run` replays a .wal; a .corrupt file was set aside and may be deleted once looked at",
    )


def _check_published(here: Session) -> Finding:
    import duckdb

    try:
        publication = _publication(here)
    except duckdb.Error as error:
        return "published file opens", False, str(error).splitlines()[0], "tidegauge publish; if that fails, tidegauge rebuild"
    return "published file opens", True, f"week {publication['iso_week']}" if publication else "nothing published yet", ""


def _check_clock(here: Session) -> Finding:
    """A clock that is behind makes fresh events look as if they came from the future."""
    now = datetime.now(UTC).replace(tzinfo=None)
    latest = max((receipt.ingested_at for receipt in _receipts_of(here)), default=now)
    zone = f"{now:%Y-%m-%d %H:%M} UTC, local zone {os.environ.get('TZ') or datetime.now().astimezone().tzname()}"
    return (
        "the clock has not gone back", latest <= now + timedelta(minutes=5), zone,
        f"something was ingested at {latest:%Y-%m-%d %H:%M} UTC; set the clock",
    )


def _check_browser(_here: Session) -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    for bundle in ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"):
        found = found or (bundle if Path(bundle).exists() else None)
    return "browser (for pictures and browser tests)", found is not None, found or "none", "scripts/setup --browser"


DOCTOR_CHECKS: tuple[Callable[[Session], Finding], ...] = (
    _check_versions, _check_home, _check_disk, _check_file_system, _check_lock, _check_leftovers, _check_published,
    _check_clock, _check_browser,
)


@app.command()
def reconcile(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Compare landing, raw and marts, and what was settled with what was received; every difference must be 0."""
    with session(home, as_json) as here:
        _published(here)
        lines = _reconciliation(here, here.home.capacity, "quality.fct_reconciliation")
        money = _reconciliation(here, here.home.finance, "finance.fct_money_reconciliation")
        here.result["reconciliation"] = lines + money
        open_count = sum(row["difference"] != 0 for row in lines + money)
        here.result["difference_count"] = open_count
        here.console.say(
            f"{open_count} of {len(lines + money)} metrics differ" if open_count else "difference 0"
        )
        here.exit_code = ERROR if open_count else OK


def _reconciliation(here: Session, edition: Path, table: str) -> list[dict[str, Any]]:
    from orchestration import warehouse

    with warehouse.open_published(edition) as published:
        cursor = published.execute(f"select * from {table} order by all")
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    here.console.table(names, rows)
    return [dict(zip(names, row, strict=True)) for row in rows]


@app.command()
def bridge(
    before: Annotated[str, typer.Argument(help="Week 2026-W46, month 2026-10, or days 2026-10-01..2026-10-07.")],
    after: Annotated[str, typer.Argument(help="The period to explain, written likewise.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain why gross margin moved between two periods: price, unit cost, volume, mix, new and retired.

    The terms add up to the change exactly; --json has them by site, model and product.
    """
    with session(home, as_json) as here:
        from orchestration import warehouse
        from orchestration.finance import margin_bridge

        periods = [margin_bridge.period_of(text) for text in (before, after)]
        _published(here)
        with warehouse.open_published(here.home.finance) as published:
            sold = [margin_bridge.sold_in(published, period) for period in periods]
        for period, products in zip(periods, sold, strict=True):
            if not products:
                raise CommandError(
                    f"nothing is published for {period.name}", where=str(here.home.finance),
                    next_step="tidegauge status shows how far the data reaches",
                )
        margins = [margin_bridge.margin_of(products) for products in sold]
        by_product = margin_bridge.bridge(*sold)
        terms = margin_bridge.total(by_product.values())
        here.result |= {
            "before": {"period": before, "gross_margin_cny": margins[0]},
            "after": {"period": after, "gross_margin_cny": margins[1]},
            "terms": asdict(terms), "change_cny": terms.change_cny,
            "products": [
                dict(zip(margin_bridge.KEYS, key, strict=True)) | asdict(each) for key, each in by_product.items()
            ],
        }
        here.console.table(("", "CNY"), [
            (f"gross margin {before}", margins[0]),
            *((name.removesuffix("_cny").replace("_", " "), amount) for name, amount in asdict(terms).items()),
            (f"gross margin {after}", margins[1]),
        ])


MartOption = Annotated[list[str] | None, typer.Option("--mart", "--table", metavar="NAME", help="Only this mart, like capacity.fct_capacity_need; may be repeated.", show_default=False)]
EditionOption = Annotated[str | None, typer.Option("--edition", metavar="capacity|finance", help="Only the marts of this edition. Default: both.", show_default=False)]
FolderOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to. Default: exports/ in the home.", show_default=False)]


@export_app.command("csv")
def export_csv(
    mart: MartOption = None, edition: EditionOption = None, out: FolderOption = None, home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Marts as CSV that is safe to open in a spreadsheet, one file a mart."""
    with session(home, as_json) as here:
        _export_marts(here, "csv", mart, edition, out)


@export_app.command("parquet")
def export_parquet(
    mart: MartOption = None, edition: EditionOption = None, out: FolderOption = None, home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Marts as Parquet, one file a mart."""
    with session(home, as_json) as here:
        _export_marts(here, "parquet", mart, edition, out)


def _export_marts(here: Session, format: str, marts: list[str] | None, edition: str | None, out: Path | None) -> None:
    from orchestration import exports

    if edition not in (None, *EDITIONS):
        raise CommandError(f"there is no edition {edition!r}", next_step=f"use {' or '.join(EDITIONS)}")
    _published(here)
    editions = [here.home.edition(name) for name in ([edition] if edition else EDITIONS)]
    known = {published: exports.tables_of(published) for published in editions if published.exists()}
    chosen: dict[Path, list[str]] = {published: [] for published in known}
    for name in marts or ():
        # Where both editions hold it, the one without money.
        published = next((published for published, tables in known.items() if name in tables), None)
        if published is None:
            names = sorted({table for tables in known.values() for table in tables})
            raise CommandError(f"no published mart is named {name!r}", next_step=f"use one of {', '.join(names)}")
        chosen[published].append(name)
    folder = out or here.home.root / "exports"
    written = [
        item for published, tables in (chosen if marts else known).items()
        for item in exports.export(published, folder, format, tables)
    ]
    here.result["exported"] = written
    here.console.table(("mart", "rows", "file"), [(item.table, item.row_count, item.path) for item in written])


@export_app.command("focus")
def export_focus(
    version: Annotated[str, typer.Option("--focus-version", help="Names of the columns: 1.2 or 1.4.")] = "1.2",
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First business day. Default: from the beginning.", show_default=False)] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Last business day. Default: to the end.", show_default=False)] = None,
    format: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="File to write, or - for standard output. Default: exports/finance.focus-VERSION.FORMAT in the home.", show_default=False)] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Charges in the FinOps Open Cost and Usage Specification: usage, purchases, credits, adjustments."""
    with session(home, as_json) as here:
        from orchestration import exports

        if version not in exports.FOCUS_VERSIONS:
            raise CommandError(f"--focus-version {version!r} can't be written", next_step=f"use {' or '.join(exports.FOCUS_VERSIONS)}")
        if format not in exports.FORMATS:
            raise CommandError(f"{format!r} is not an export format", next_step=f"use {' or '.join(exports.FORMATS)}")
        if out == "-" and as_json:
            raise CommandError("--out - and --json both want standard output", next_step="leave one of them out")
        from_day, to_day = _day(first, "--from"), _day(last, "--to")
        if from_day and to_day and from_day > to_day:
            raise CommandError(f"--from {from_day} is after --to {to_day}", next_step="swap them")
        _published(here)
        if exports.FOCUS_TABLE not in exports.tables_of(here.home.finance):
            raise CommandError(
                f"{exports.FOCUS_TABLE} is not published yet", where=str(here.home.finance), next_step="tidegauge run"
            )
        if out == "-":
            exports.export_focus(here.home.finance, sys.stdout.buffer, version, format, from_day, to_day)
            sys.stdout.buffer.flush()
            return
        target = Path(out) if out else here.home.root / "exports" / f"finance.focus-{version}.{format}"
        target.parent.mkdir(parents=True, exist_ok=True)
        row_count = exports.export_focus(here.home.finance, target, version, format, from_day, to_day)
        written = exports.Exported(exports.FOCUS_TABLE, target, row_count)
        here.result["exported"] = [written]
        here.console.table(("mart", "rows", "file"), [(written.table, written.row_count, written.path)])


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


# --- commands: quarantine ------------------------------------------------------------------------


@quarantine_app.command("list")
def quarantine_list(feed: FeedOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Deliveries that have quarantined lines, with reasons."""
    with session(home, as_json) as here:
        held = [receipt for receipt in _receipts_of(here, _feed(feed)) if receipt.quarantined_count]
        here.result["deliveries"] = [_delivery(receipt) for receipt in held]
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
        here.result |= {"delivery": _delivery(receipt), "lines": [
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
    held = [receipt for receipt in _receipts_of(here) if receipt.quarantined_count]
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

        held = [receipt for receipt in _receipts_of(here, _feed(feed)) if receipt.quarantined_count]
        if not held:
            here.console.say("nothing is quarantined")
            return
        days = sorted({receipt.delivered_date for receipt in held})
        _materialize(
            here, "ingest",
            [selection for selection in definitions.RAW if any(f"raw/{receipt.feed}" in selection for receipt in held)],
            partition_range=(days[0].isoformat(), days[-1].isoformat()),
            tags={"tidegauge/reason": "quarantine replay", REPLAY_TAG: "true"},
        )
        now = {(receipt.feed, receipt.delivery_id): receipt for receipt in _receipts_of(here)}
        rows = [
            (r.delivery_name, r.quarantined_count, now[(r.feed, r.delivery_id)].quarantined_count)
            for r in held if (r.feed, r.delivery_id) in now
        ]
        here.result["replayed"] = [
            dict(zip(("delivery_name", "quarantined_before", "quarantined_after"), row, strict=True)) for row in rows
        ]
        here.console.table(("delivery", "quarantined before", "after"), rows)
        here.console.say("run `tidegauge run` to bring what was freed into the marts")


if __name__ == "__main__":
    main()
