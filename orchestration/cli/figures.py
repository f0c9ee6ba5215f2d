"""Published figures: as of an instant, reconciled, explained, and handed to other tools."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.session import ERROR, OK, HomeOption, JsonOption, Session, app, session
from orchestration.cli.steps import day_of, instant_of, published_edition
from orchestration.console import CommandError, shown
from orchestration.home import EDITIONS

export_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Published marts as files: csv, parquet, focus.")
app.add_typer(export_app, name="export")


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

        only = day_of(day, "--day")
        found = restatements.figures_as_of(
            here.home, instant_of(as_of, "--as-of"), mart=mart, first=only, last=only, by_site=by_site
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


@app.command()
def reconcile(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Compare landing, raw and marts, and what was settled with what was received; every difference must be 0."""
    with session(home, as_json) as here:
        published_edition(here)
        lines = _reconciliation(here, here.home.capacity, "quality.fct_reconciliation")
        money = _reconciliation(here, here.home.finance, "finance.fct_money_reconciliation")
        here.result["reconciliation"] = lines + money
        open_count = sum(row["difference"] != 0 for row in lines + money)
        here.result["difference_count"] = open_count
        here.console.say(
            f"{open_count} of {len(lines + money)} metrics differ; next: tidegauge rebuild, and reconcile again"
            if open_count else "difference 0"
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
        published_edition(here)
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
    published_edition(here)
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
        from_day, to_day = day_of(first, "--from"), day_of(last, "--to")
        if from_day and to_day and from_day > to_day:
            raise CommandError(f"--from {from_day} is after --to {to_day}", next_step="swap them")
        published_edition(here)
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
