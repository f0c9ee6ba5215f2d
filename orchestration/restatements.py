"""The history of what was published: figures as of any publish, and every figure that moved since.

Each publish of an edition leaves one folder under ``history/<edition>/``: the daily figures of the days
that changed (of all days now and then, so that reading back stays short), what was delivered by then,
and the figures of earlier published days that are not what they were, with the reason. Folders are only
ever added, survive ``rebuild``, and are not derived from landing: they say what readers were told.

A folder is written and fsynced under a name that begins with ``.pending-`` before the live file is
replaced, and counts once the live file says that it is of this publish. So a killed publish leaves no
half restatement, whichever side of the replacement it died on. How figures are put together and
compared is in ``comparison``; nothing here writes a published file other than through the open
connection that is handed in.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb

from orchestration.comparison import (
    DAY,
    EXACT_TYPE,
    KEY_COLUMNS,
    SITE_COLUMNS,
    DailyMart,
    Measure,
    daily_marts,
    figures,
    fingerprints,
    moved,
    pair,
    shared_measures,
)
from orchestration.contracts import FINANCE_REFERENCE_TABLES
from orchestration.durable import commit_text, sync
from orchestration.home import EDITIONS, Home
from orchestration.sql import count, identifier, literal

log = logging.getLogger("tidegauge.restatements")

PENDING = ".pending-"
# Every so many publishes the figures of all days are kept again.
WHOLE_EVERY = 32
NAMES_SHOWN = 3
MONEY_TABLES = frozenset(table.name for table in FINANCE_REFERENCE_TABLES)
BUSINESS_DAY_OFFSET = timedelta(hours=8)
TABLE = "quality.fct_restatements"
GRAIN = ("restated_at", "mart", DAY, "site_id", "metric")
DESCRIPTION = (
    "Grain: restated_at, mart, usage_date, site_id, metric. Every daily figure that a publish changed after it "
    "had been published: what it was, what it is, and why. Each edition lists the figures that it publishes. "
    "Written by publishing, not by dbt; rows are only ever added."
)
COLUMNS = (
    ("restated_at", "TIMESTAMP", "When the changed figure was published (UTC)."),
    ("run_id", "VARCHAR", "Run that published it."),
    (DAY, "DATE", "Business day (Asia/Shanghai) of the figure."),
    ("is_closed_day", "BOOLEAN", "Whether the day was closed: the publish before already knew of a later business day."),
    ("reason", "VARCHAR", (
        "The --reason of a backfill; late delivery, delivery, superseded, withdrawn, replayed or reference, with names; "
        "code change; each that touches the day."
    )),
    ("mart", "VARCHAR", "Mart of the figure, schema.table."),
    ("site_id", "VARCHAR", "Site of the figure (the serving one); null in a mart without sites."),
    ("metric", "VARCHAR", "Column of the mart: its sum over the day and site; of a ratio or unit price the highest value."),
    ("before", EXACT_TYPE, "Figure as last published; null when there was none."),
    ("after", EXACT_TYPE, "Figure as published now; null when there is none."),
    ("gross_change", EXACT_TYPE, (
        "Sum of the absolute changes below the site (tenant, model, product, accelerator type): more than the difference "
        "when figures moved between them. Of a ratio the largest change."
    )),
)


class NothingPublished(ValueError):
    """No edition had been published by the instant that was asked for."""


@dataclass(frozen=True)
class Entry:
    """What one publish left: which days of which mart it holds, and what it had seen.

    ``days`` gives a fingerprint of each day's rows; equal ones need no closer look.
    """

    sequence: int
    edition: str
    run_id: str
    published_at: datetime
    data_as_of: datetime | None
    is_whole: bool
    days: dict[str, dict[date, str]]
    columns: dict[str, tuple[str, ...]]
    code_hash: str
    backfill_count: int
    restatement_count: int
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Entry:
        """The entry that a folder holds."""
        values = json.loads((folder / "publication.json").read_text("utf-8"))
        for name in ("published_at", "data_as_of"):
            values[name] = datetime.fromisoformat(values[name]) if values[name] else None
        values["days"] = {
            mart: {date.fromisoformat(day): fingerprint for day, fingerprint in days.items()}
            for mart, days in values["days"].items()
        }
        values["columns"] = {mart: tuple(columns) for mart, columns in values["columns"].items()}
        return cls(folder=folder, **values)

    def write(self) -> None:
        """Writes publication.json, the last file of the folder."""
        values = asdict(self)
        del values["folder"]
        values["days"] = {
            mart: {day.isoformat(): fingerprint for day, fingerprint in days.items()} for mart, days in self.days.items()
        }
        text = json.dumps(values, default=lambda value: value.isoformat(), indent=1) + "\n"
        commit_text(self.folder / "publication.json", text)


# --- backfills that were asked for ---------------------------------------------------------------


@dataclass(frozen=True)
class Backfill:
    """A replay that someone asked for: which deliveries, which event days they held, and why."""

    feed: str
    first: date
    last: date
    reason: str
    event_days: tuple[date, ...]


def record_backfill(home: Home, backfill: Backfill) -> None:
    """Keeps a backfill's reason until a publish has told it; call it holding the writer lock."""
    folder = _backfills(home)
    path = folder / f"{_backfill_count(home) + 1:08d}.json"
    commit_text(path, json.dumps(asdict(backfill), default=lambda day: day.isoformat(), ensure_ascii=False) + "\n")
    sync(folder)


def _backfills(home: Home) -> Path:
    return home.history / "backfills"


def _backfill_count(home: Home) -> int:
    return max((int(path.stem) for path in _backfills(home).glob("[0-9]*.json")), default=0)


def _backfills_since(home: Home, seen: int) -> Iterator[Backfill]:
    for path in sorted(_backfills(home).glob("[0-9]*.json")):
        if int(path.stem) > seen:
            values = json.loads(path.read_text("utf-8"))
            yield Backfill(
                values["feed"], date.fromisoformat(values["first"]), date.fromisoformat(values["last"]),
                values["reason"], tuple(map(date.fromisoformat, values["event_days"])),
            )


# --- entries -------------------------------------------------------------------------------------


def entries(home: Home, edition: str) -> list[Entry]:
    """What every completed publish of an edition left, oldest first."""
    folder = home.history / edition
    if not folder.is_dir():
        return []
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    folders += [path for path in folder.glob(f"{PENDING}*") if _is_live(home, edition, path)]
    return sorted(map(Entry.read, folders), key=lambda entry: entry.sequence)


def settle(home: Home) -> None:
    """Takes in what a publish left that became live, and removes what one left that did not.

    Call it holding the writer lock: before a publish, and after the live files were replaced or not.
    """
    for edition in EDITIONS:
        folder = home.history / edition
        for path in sorted(folder.glob(f"{PENDING}*")):
            if _is_live(home, edition, path):
                os.replace(path, path.with_name(path.name.removeprefix(PENDING)))
            else:
                shutil.rmtree(path)
            sync(folder)


def _is_live(home: Home, edition: str, pending: Path) -> bool:
    """Whether the live file is of the publish that wrote this folder, to the microsecond and the run."""
    from orchestration.warehouse import publication_of

    live = home.edition(edition)
    if not live.exists() or not (pending / "publication.json").exists():
        return False
    try:
        publication = publication_of(live)
    except duckdb.Error as error:
        log.warning("%s can't be read, so what its publish left in the history is dropped: %s", live, error)
        return False
    return pending.name.endswith(_stamp(publication.published_at, publication.run_id))


def _stamp(published_at: datetime, run_id: str) -> str:
    return f"{published_at:%Y%m%dT%H%M%S%f}-{run_id}"


def _chain(found: Sequence[Entry]) -> list[Entry]:
    """The entries that together hold every figure as of the last of them."""
    start = max((index for index, entry in enumerate(found) if entry.is_whole), default=0)
    return list(found[start:])


def _owners(chain: Sequence[Entry], mart: str) -> dict[date, Entry]:
    """The entry that holds each day's figures: the last that wrote the day."""
    return {day: entry for entry in chain for day in entry.days.get(mart, ())}


def _figures_as_kept(
    chain: Sequence[Entry], mart: str, only: set[date] | None = None
) -> tuple[str, tuple[str, ...]] | None:
    """SQL of a mart's daily figures as of the last entry, and their columns; None when there are none."""
    days_of: dict[Path, list[date]] = {}
    columns: dict[str, None] = {}
    for day, entry in _owners(chain, mart).items():
        if only is not None and day not in only:
            continue
        path = entry.folder / f"{mart}.parquet"
        if path.exists():
            days_of.setdefault(path, []).append(day)
            columns |= dict.fromkeys(entry.columns[mart])
    if not days_of:
        return None
    parts = [
        f"select * from read_parquet({literal(str(path))}) where {DAY} in ({_listed(days)})"
        for path, days in days_of.items()
    ]
    return " union all by name ".join(parts), tuple(columns)


# --- what a publish leaves -----------------------------------------------------------------------


def write(
    connection: duckdb.DuckDBPyConnection, home: Home, edition: str, schemas: Sequence[str], run_id: str,
    published_at: datetime,
) -> int:
    """Writes the pending entry of a publish, and quality.fct_restatements into the edition; returns its rows.

    The edition about to be published is the connection's default database, its marts are in it, and the
    warehouse is attached as ``warehouse``. Call settle() before, and once the live file was replaced.
    """
    found = entries(home, edition)
    chain = _chain(found)
    last = found[-1] if found else None
    sequence = last.sequence + 1 if last else 1
    folder = home.history / edition / f"{PENDING}{sequence:08d}-{_stamp(published_at, run_id)}"
    folder.mkdir(parents=True)
    is_whole = len(chain) % WHOLE_EVERY == 0
    days, columns = {}, {}
    connection.execute(
        f"create temp table moved_figures ({DAY} DATE, mart VARCHAR, site_id VARCHAR, metric VARCHAR, "
        f"before {EXACT_TYPE}, after {EXACT_TYPE}, gross_change {EXACT_TYPE})"
    )
    marts = daily_marts(connection, schemas)
    for mart in marts:
        days[mart.name] = _keep_figures(connection, chain, mart, folder, is_whole)
        columns[mart.name] = mart.columns
    gone = {mart for entry in chain for mart in entry.days} - {mart.name for mart in marts}
    for name in () if is_whole else gone:
        days[name], columns[name] = dict.fromkeys(_owners(chain, name), ""), ()
    _keep_deliveries(connection, folder)
    code_hash = _code_hash(connection)
    entry = Entry(
        sequence=sequence, edition=edition, run_id=run_id, published_at=published_at,
        data_as_of=_data_as_of(connection),
        is_whole=is_whole, days=days, columns=columns, code_hash=code_hash, backfill_count=_backfill_count(home),
        restatement_count=count(connection, "select count(*) from moved_figures"), folder=folder,
    )
    if entry.restatement_count:
        _keep_restatements(connection, entry, last, _causes(connection, home, entry, last))
    entry.write()
    for path in (*folder.iterdir(), folder, folder.parent, home.history):
        sync(path)
    total = _write_table(connection, [*found, entry])
    connection.execute("drop table moved_figures")
    return total


def _keep_figures(
    connection: duckdb.DuckDBPyConnection, chain: Sequence[Entry], mart: DailyMart, folder: Path, is_whole: bool
) -> dict[date, str]:
    """Compares a mart's figures with those kept, keeps the days that changed, and returns them."""
    days = {
        day: f"{row_count}-{fingerprint:016x}"
        for day, row_count, fingerprint in connection.execute(fingerprints(mart)).fetchall()
    }
    owners = _owners(chain, mart.name)
    columns_changed = any(entry.columns[mart.name] != mart.columns for entry in owners.values())
    differ = {
        day for day in days.keys() | owners.keys()
        if columns_changed or day not in owners or days.get(day, "") != owners[day].days[mart.name][day]
    }
    kept = set(days) if is_whole else differ
    if not kept | differ:
        return {}
    connection.execute(f"create temp table new_figures as {figures(mart, _listed(kept | differ))}")
    before = _figures_as_kept(chain, mart.name, differ)
    if before is not None:
        relation, known = before
        measures = shared_measures(mart, known)
        after = f"(select * from new_figures where {DAY} in ({_listed(differ)}))"
        connection.execute(f"create temp table pairs as {pair(mart, after, f'({relation})', known)}")
        if measures:
            connection.execute(f"insert into moved_figures {moved(mart, 'pairs', measures)}")
        connection.execute("drop table pairs")
    if kept & days.keys():
        order = ", ".join(map(identifier, (DAY, *mart.keys)))
        connection.execute(
            f"copy (select * from new_figures where {DAY} in ({_listed(kept)}) order by {order}) "
            f"to {literal(str(folder / f'{mart.name}.parquet'))} (format parquet, compression zstd)"
        )
    connection.execute("drop table new_figures")
    return {day: days.get(day, "") for day in sorted(kept)}


def _listed(days: Iterable[date]) -> str:
    return ", ".join(f"date {literal(str(day))}" for day in sorted(days))


DELIVERY_COLUMNS = (
    "delivery_id", "feed", "table_name", "delivery_name", "delivered_date", "status", "superseded_by", "ingested_at",
    "event_days",
)


def _keep_deliveries(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Keeps what the build behind this publish had seen, to tell later what came since."""
    if not _warehouse_has(connection, "receipts"):
        return
    connection.execute(
        f"copy (select {', '.join(DELIVERY_COLUMNS)} from warehouse.raw.receipts order by all) "
        f"to {literal(str(folder / 'deliveries.parquet'))} (format parquet, compression zstd)"
    )


def _code_hash(connection: duckdb.DuckDBPyConnection) -> str:
    if not _warehouse_has(connection, "step_state"):
        return ""
    row = connection.execute("select code_hash from warehouse.raw.step_state where step = 'build'").fetchone()
    return row[0] if row else ""


def _data_as_of(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    try:
        return connection.execute("select max(last_event_at) from quality.fct_freshness").fetchone()[0]
    except duckdb.CatalogException:
        # The audit, which runs next, names every mart that is missing.
        return None


def _warehouse_has(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(count(
        connection,
        "select count(*) from duckdb_tables() where database_name = 'warehouse' and schema_name = 'raw' "
        f"and table_name = {literal(table)}",
    ))


def _keep_restatements(
    connection: duckdb.DuckDBPyConnection, entry: Entry, last: Entry, causes: Sequence[Cause]
) -> None:
    """Gives each moved figure its reason and keeps them all."""
    days = [row[0] for row in connection.execute(f"select distinct {DAY} from moved_figures order by 1").fetchall()]
    known_until = (last.data_as_of + BUSINESS_DAY_OFFSET).date() if last.data_as_of else date.min
    reasons = ", ".join(
        f"(date {literal(str(day))}, {'true' if day < known_until else 'false'}, "
        f"{literal(reason_for(day, day < known_until, causes))})"
        for day in days
    )
    connection.execute(
        f"copy (select timestamp {literal(str(entry.published_at))} as restated_at, {literal(entry.run_id)} as run_id, "
        f"{DAY}, is_closed_day, reason, mart, site_id, metric, before, after, gross_change "
        f"from moved_figures join (values {reasons}) as reasons({DAY}, is_closed_day, reason) using ({DAY}) order by all) "
        f"to {literal(str(entry.folder / 'restatements.parquet'))} (format parquet, compression zstd)"
    )


def _write_table(connection: duckdb.DuckDBPyConnection, found: Sequence[Entry]) -> int:
    """Puts the restatements of every publish into the edition, with what each column means."""
    paths = [str(entry.folder / "restatements.parquet") for entry in found if entry.restatement_count]
    typed = ", ".join(f"{name} {sql_type}" for name, sql_type, _ in COLUMNS)
    names = ", ".join(name for name, _, _ in COLUMNS)
    connection.execute(f"create table {TABLE} ({typed})")
    if paths:
        connection.execute(
            f"insert into {TABLE} select {names} from read_parquet([{', '.join(map(literal, paths))}]) order by {', '.join(GRAIN)}"
        )
    connection.execute(f"comment on table {TABLE} is {literal(DESCRIPTION)}")
    for name, _, description in COLUMNS:
        connection.execute(f"comment on column {TABLE}.{name} is {literal(description)}")
    return count(connection, f"select count(*) from {TABLE}")


# --- why figures moved ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cause:
    """Something that happened between two publishes; without business days it touches every day."""

    kind: str
    text: str
    days: frozenset[date] | None = None

    def touches(self, day: date) -> bool:
        """Whether figures of a business day can come from it."""
        return self.days is None or day in self.days


def reason_for(day: date, is_closed: bool, causes: Sequence[Cause]) -> str:
    """Why a day's figures moved, in words: every cause that touches it, else every cause there was."""
    touching = [cause for cause in causes if cause.touches(day)] or list(causes)
    if not touching:
        return "not known: nothing was delivered, replayed or changed"
    texts: dict[str, dict[str, None]] = {}
    for cause in touching:
        kind = "late delivery" if cause.kind == "delivery" and is_closed else cause.kind
        texts.setdefault(kind, {})[cause.text] = None
    return "; ".join(
        f"{kind}: {_few(list(named))}" if kind and any(named) else kind or _few(list(named)) for kind, named in texts.items()
    )


def _few(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _Delivery:
    """A delivery as one publish saw it."""

    delivery_id: str
    feed: str
    table_name: str
    delivery_name: str
    delivered_date: date
    status: str
    superseded_by: str | None
    ingested_at: datetime
    event_days: tuple[date, ...]

    def cause(self, kind: str) -> Cause:
        """What its coming, going or changing means for business days."""
        if self.feed == "reference":
            return Cause("reference", f"{self.table_name} ({self.delivery_name})")
        return Cause(kind, self.delivery_name, business_days(self.event_days))


def business_days(event_days: Iterable[date]) -> frozenset[date]:
    """Business days (Asia/Shanghai) that events of these UTC days fall on: the day and the one after."""
    return frozenset(day + timedelta(days=more) for day in event_days for more in (0, 1))


def _causes(connection: duckdb.DuckDBPyConnection, home: Home, entry: Entry, last: Entry) -> list[Cause]:
    """What happened since the last publish that can have moved figures."""
    now, before = _deliveries(connection, entry), _deliveries(connection, last)
    if entry.edition == "capacity":
        # Money moves no figure of the edition that holds none, and its files need not be named there.
        for seen in (now, before):
            for delivery_id in [key for key, each in seen.items() if each.table_name in MONEY_TABLES]:
                del seen[delivery_id]
    backfills = [
        backfill for backfill in _backfills_since(home, last.backfill_count)
        # Of a backfill of nothing but money the words speak of money too.
        if entry.edition != "capacity" or backfill.feed != "reference" or any(_is_of(each, backfill) for each in now.values())
    ]
    causes = [
        Cause("", backfill.reason, None if backfill.feed == "reference" else business_days({
            *backfill.event_days,
            *(day for each in now.values() if _is_of(each, backfill) for day in each.event_days),
        }))
        for backfill in backfills
    ]
    replacing = {each.superseded_by for each in now.values() if each.superseded_by}
    for delivery_id, each in now.items():
        old = before.get(delivery_id)
        if old is None and each.status == "loaded":
            causes.append(each.cause("superseded" if delivery_id in replacing else "delivery"))
        elif old is not None and old.status != each.status:
            causes.append(each.cause("superseded" if each.status == "superseded" else "delivery"))
        elif old is not None and old.ingested_at != each.ingested_at and not any(_is_of(each, one) for one in backfills):
            causes.append(each.cause("replayed"))
    causes += [before[delivery_id].cause("withdrawn") for delivery_id in before.keys() - now.keys()]
    if entry.code_hash != last.code_hash:
        causes.append(Cause("code change", ""))
    return sorted(causes, key=lambda cause: (cause.kind != "", cause.kind == "code change", cause.kind, cause.text))


def _is_of(delivery: _Delivery, backfill: Backfill) -> bool:
    return delivery.feed == backfill.feed and backfill.first <= delivery.delivered_date <= backfill.last


def _deliveries(connection: duckdb.DuckDBPyConnection, entry: Entry) -> dict[str, _Delivery]:
    path = entry.folder / "deliveries.parquet"
    if not path.exists():
        return {}
    rows = connection.execute(
        f"select {', '.join(DELIVERY_COLUMNS)} from read_parquet({literal(str(path))}) order by delivered_date, delivery_name, delivery_id"
    ).fetchall()
    return {row[0]: _Delivery(*row[:-1], event_days=tuple(row[-1] or ())) for row in rows}


# --- reading back --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restatement:
    """One row of quality.fct_restatements."""

    restated_at: datetime
    run_id: str
    usage_date: date
    is_closed_day: bool
    reason: str
    mart: str
    site_id: str | None
    metric: str
    before: Decimal | None
    after: Decimal | None
    gross_change: Decimal


def restated_since(home: Home, edition: str, sequence: int) -> list[Restatement]:
    """What the publishes of an edition after that number restated, in the order of the table."""
    paths = [
        literal(str(entry.folder / "restatements.parquet")) for entry in entries(home, edition)
        if entry.sequence > sequence and entry.restatement_count
    ]
    if not paths:
        return []
    names = ", ".join(name for name, _, _ in COLUMNS)
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select {names} from read_parquet([{', '.join(paths)}]) order by {', '.join(GRAIN)}"
        ).fetchall()
    return [Restatement(*row) for row in rows]


@dataclass(frozen=True)
class Figure:
    """One published figure of a business day, and of a site when asked for by site."""

    usage_date: date
    mart: str
    site_id: str | None
    metric: str
    value: Decimal | None


@dataclass(frozen=True)
class AsOf:
    """Figures as they stood, and the publish of each edition that they are from."""

    publishes: tuple[Entry, ...]
    figures: tuple[Figure, ...]


def figures_as_of(
    home: Home, instant: datetime, *, mart: str | None = None, first: date | None = None, last: date | None = None,
    by_site: bool = False,
) -> AsOf:
    """Daily figures as the last publish at or before an instant (UTC) gave them.

    Raises NothingPublished when there was none, and ValueError for a mart that was not in it.
    """
    publishes, found, marts = [], [], set()
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for edition in EDITIONS:
            chain = _chain([entry for entry in entries(home, edition) if entry.published_at <= instant])
            if not chain:
                continue
            publishes.append(chain[-1])
            known = {name for entry in chain for name in entry.days}
            marts |= known
            for name in sorted(known):
                if mart in (None, name, name.split(".")[1]):
                    found += _read_figures(connection, chain, name, first, last, by_site)
    if not publishes:
        raise NothingPublished(_nothing_published(home, instant))
    if mart is not None and not any(mart in (name, name.split(".")[1]) for name in marts):
        raise ValueError(f"no mart {mart!r} with daily figures was published then; there are {', '.join(sorted(marts))}")
    return AsOf(tuple(publishes), tuple(found))


def _nothing_published(home: Home, instant: datetime) -> str:
    earliest = min((entry.published_at for edition in EDITIONS for entry in entries(home, edition)), default=None)
    then = f"; the first publish was at {earliest:%Y-%m-%d %H:%M:%S} UTC" if earliest else " since"
    return f"nothing had been published by {instant:%Y-%m-%d %H:%M:%S} UTC{then if earliest else ', nor' + then}"


def _read_figures(
    connection: duckdb.DuckDBPyConnection, chain: Sequence[Entry], mart: str, first: date | None, last: date | None,
    by_site: bool,
) -> Iterator[Figure]:
    kept = _figures_as_kept(chain, mart)
    if kept is None:
        return
    relation, columns = kept
    site = next((column for column in SITE_COLUMNS if column in columns), None) if by_site else None
    types = dict(connection.execute(f"select column_name, column_type from (describe {relation})").fetchall())
    bounds = " and ".join(
        f"{DAY} {comparison} date {literal(str(day))}" for comparison, day in ((">=", first), ("<=", last)) if day
    )
    place = identifier(site) if site else "cast(null as VARCHAR)"
    for column in columns:
        if column == DAY or column in KEY_COLUMNS:
            continue
        measure = Measure(column, types[column] != "DOUBLE")
        rows = connection.execute(
            f"select {DAY}, {place} as site_id, try_cast({measure.aggregate}({identifier(column)}) as {EXACT_TYPE}) "
            f"from ({relation}) where {bounds or 'true'} group by all order by all"
        ).fetchall()
        yield from (Figure(day, mart, where, column, value) for day, where, value in rows)


# --- files ---------------------------------------------------------------------------------------
