"""The main job: demo, simulate, ingest, and each step from build to report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.session import (
    ERROR,
    DayOption,
    FeedOption,
    HomeOption,
    JsonOption,
    LanguageOption,
    Session,
    WeekOption,
    app,
    session,
)
from orchestration.cli.steps import (
    day_of,
    feed_of,
    ingest_pending,
    materialize,
    published_edition,
    run_due,
    show_receipts,
    week_of,
    write_report,
)
from orchestration.console import CommandError, shown
from orchestration.home import Home

# The simulated network of the demo ends with the last whole week before 2026-11-24.
DEMO_DAYS = 56
DEMO_EVENTS_PER_DAY = 40_000
DEMO_SEED = 7
DEMO_END = date(2026, 11, 22)


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
        if not run_due(here, language):
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

    iso_week = warehouse.week_to_report(published_edition(here))
    with warehouse.open_published(published_edition(here)) as published:
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
        "report": weekly, "margin_page": here.home.margin_page, "published": here.home.capacity, "published_finance": here.home.finance,
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
        ("its PDF", _printed(here, weekly)),
        ("margin dashboard", here.home.margin_page),
    ])


def _printed(here: Session, report: Path) -> str:
    """Where the report's PDF is, or why there is none and what to do."""
    pdf = report.with_suffix(".pdf")
    if pdf.exists():
        return str(pdf)
    return here.result.get("pdf_missing", "not printed yet; `tidegauge report` prints it where there is a chromium")


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
        _simulate(here, days, seed, events_per_day, day_of(end, "--end") or DEMO_END)
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
            _land_paths(here, paths, feed_of(feed), format, table, source, epoch, timezone, shift_days, day_of(day, "--day"))
        loaded = ingest_pending(here, feed_of(feed))
        show_receipts(here, loaded)
        if loaded and all(receipt.status == "quarantined" for receipt in loaded):
            here.console.note("nothing of it was loaded; next: tidegauge quarantine list")
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
        materialize(here, "build", raw + definitions.BUILD)


@app.command()
def forecast(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Forecast demand and the capacity it needs, from the marts."""
    with session(home, as_json) as here:
        from orchestration import definitions

        materialize(here, "forecast", definitions.FORECAST)


@app.command()
def publish(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Audit the marts and put them before readers; a failed audit changes nothing."""
    with session(home, as_json) as here:
        from orchestration import definitions

        materialize(here, "publish", definitions.PUBLISH)
        here.result["published"] = here.home.capacity
        here.console.say(str(here.home.capacity))


@app.command()
def report(
    week: WeekOption = None, language: LanguageOption = "en", home: HomeOption = None, as_json: JsonOption = False,
) -> None:
    """Write the weekly capacity report from what is published, and its PDF; a past week as of then."""
    with session(home, as_json) as here:
        week_of(week)
        published_edition(here)
        written = write_report(here, week, language)
        here.console.say(str(written))
        here.console.say(_printed(here, written))


@app.command()
def run(language: LanguageOption = "en", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Everything that is due: ingest, build, forecast, publish, report."""
    with session(home, as_json) as here:
        here.result["due"] = run_due(here, language)
        if here.result["due"]:
            _summarize(here)
        else:
            here.console.say("nothing is due")
