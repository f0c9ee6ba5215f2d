"""The DuckDB warehouse: who may open it, raw views over committed Parquet, and publishing.

Here is every place that opens ``warehouse.duckdb`` or writes a published file. No parsing (that is
``raw_store``), no metrics (those are dbt's) and no Dagster. The warehouse file is disposable: all of
it can be rebuilt from landing, so a damaged one is set aside and never repaired.

One process writes at a time. That is enforced by a lock on ``warehouse.lock`` and not by DuckDB's
own, because a step holds it across the dbt process that opens the file itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from orchestration import faults, restatements
from orchestration.audit import MART_KEYS, AuditCheck, AuditFailed, audit
from orchestration.canonical import hash_tables
from orchestration.contracts import SYSTEM_COLUMNS, TABLES, Column, Table, duckdb_type
from orchestration.durable import commit_text, sync
from orchestration.finance.payback import CAPITAL_PAYBACK
from orchestration.forecasting.matching_tables import MATCHING_MONEY_TABLES, MATCHING_TABLES
from orchestration.forecasting.tables import TABLES as FORECAST_TABLES
from orchestration.home import DBT_PROJECT, PROJECT, Home
from orchestration.sql import count, identifier, literal

if TYPE_CHECKING:
    from orchestration.raw_store import Receipt

log = logging.getLogger("tidegauge.warehouse")

MEMORY_LIMIT = "1GB"

@dataclass(frozen=True)
class Edition:
    """One published file: its name, the schemas it holds whole, and whether dimensions come along."""

    name: str
    schemas: tuple[str, ...]
    has_dimensions_of_capacity: bool = False


# The capacity edition holds no money, so that it can go to readers who may not see any.
CAPACITY = Edition("capacity", ("capacity", "quality"))
FINANCE = Edition("finance", ("finance", "quality"), has_dimensions_of_capacity=True)
EDITIONS = (CAPACITY, FINANCE)
MART_SCHEMAS = ("capacity", "finance", "quality")
RECEIPT_COLUMNS = {
    "delivery_id": "VARCHAR", "feed": "VARCHAR", "table_name": "VARCHAR", "format": "VARCHAR",
    "source_id": "VARCHAR", "delivery_name": "VARCHAR", "delivered_date": "DATE",
    "ingested_at": "TIMESTAMP", "byte_count": "BIGINT", "received_count": "BIGINT",
    "loaded_count": "BIGINT", "duplicate_count": "BIGINT", "quarantined_count": "BIGINT",
    "status": "VARCHAR", "superseded_by": "VARCHAR", "event_days": "DATE[]",
    "parser_version": "VARCHAR", "quarantined_by_reason": "VARCHAR",
}
QUARANTINE_COLUMNS = {
    "delivery_id": "VARCHAR", "table_name": "VARCHAR", "feed": "VARCHAR", "line_number": "BIGINT",
    "line_count": "BIGINT", "reason_code": "VARCHAR", "message": "VARCHAR", "raw_bytes": "BLOB",
}
# A delivery of these reference tables moves events of these tables (it decides where they are placed),
# so all their days are dirty then. Other reference is joined in models that are built whole.
MOVED_BY_REFERENCE = {"sites": ("token_usage",)}
# A delivery is built when the last build saw exactly this of it; a replay changes ingested_at.
BUILT_COLUMNS = ("delivery_id", "status", "ingested_at", "table_name", "event_days")


class WarehouseLocked(RuntimeError):
    """Another process is writing the warehouse; the message says which and since when."""


class WarehouseAbsent(RuntimeError):
    """There is no warehouse file yet."""


# --- opening -------------------------------------------------------------------------------------


@dataclass
class _Held:
    """A lock this process holds; the same thread may enter it again."""

    descriptor: int
    thread_id: int
    depth: int = 1


_held: dict[Path, _Held] = {}
_held_guard = threading.Lock()


@contextmanager
def writer_lock(home: Home, wait_seconds: float = 0) -> Iterator[None]:
    """Holds the right to write the warehouse; raises WarehouseLocked when another process has it."""
    path = home.root / "warehouse.lock"
    with _held_guard:
        held = _held.get(path)
        again = held is not None and held.thread_id == threading.get_ident()
        if again:
            held.depth += 1
    if not again:
        home.root.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, time.monotonic() + wait_seconds)
        with _held_guard:
            held = _held[path] = _Held(descriptor, threading.get_ident())
    try:
        yield
    finally:
        with _held_guard:
            held.depth -= 1
            if held.depth == 0:
                del _held[path]
                os.ftruncate(held.descriptor, 0)
                os.close(held.descriptor)


def _acquire(path: Path, deadline: float) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.read(descriptor, 200).decode().strip() or "another process"
                os.close(descriptor)
                raise WarehouseLocked(
                    f"the warehouse is locked by {holder}; wait for it to end, or end it, and try again"
                ) from None
            time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"pid {os.getpid()} since {_now():%Y-%m-%d %H:%M:%S} UTC".encode())
    return descriptor


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def connect(
    home: Home, read_only: bool = False, wait_seconds: float = 0
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens the warehouse: to write, as the only writer; or to read, while nobody writes.

    A damaged file is set aside. A writer then goes on with a new one; a reader gets WarehouseAbsent.
    """
    if read_only:
        connection = _open_to_read(home)
        try:
            yield connection
        finally:
            connection.close()
        return
    with writer_lock(home, wait_seconds):
        try:
            connection = _open(home, read_only=False)
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            set_aside(home, str(error))
            connection = _open(home, read_only=False)
        try:
            yield connection
        finally:
            connection.close()


def _open_to_read(home: Home) -> duckdb.DuckDBPyConnection:
    if not home.warehouse.exists():
        raise WarehouseAbsent(f"no warehouse yet at {home.warehouse}: `tidegauge run` makes it")
    try:
        return _open(home, read_only=True)
    except duckdb.Error as error:
        if not is_damage(error):
            raise
        with writer_lock(home):
            moved = set_aside(home, str(error))
        raise WarehouseAbsent(
            f"the warehouse was damaged and is kept as {moved[0]}: `tidegauge run` rebuilds it from raw"
        ) from error


def _open(home: Home, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(str(home.warehouse), read_only=read_only)
    except duckdb.IOException as error:
        if "Could not set lock on file" in str(error):
            raise WarehouseLocked(f"the warehouse is open elsewhere: {error}") from error
        raise
    configure(connection, home)
    return connection


def configure(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Bounds memory, keeps spill files inside the home, and leaves no meaning to the host's zone."""
    home.temporary.mkdir(parents=True, exist_ok=True)
    connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"set temp_directory = {literal(str(home.temporary / 'duckdb'))}")
    connection.execute("set TimeZone = 'UTC'")


def is_damage(error: duckdb.Error) -> bool:
    """Whether an error says that the file itself can't be read, rather than that it is in use."""
    if isinstance(error, (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)):
        return True
    text = str(error).lower()
    return any(
        sign in text
        for sign in ("not a valid duckdb", "checksum", "corrupt", "replaying wal", "newer version of duckdb")
    )


def set_aside(home: Home, reason: str) -> list[Path]:
    """Renames a damaged warehouse and its log out of the way, for a look later; nothing is deleted."""
    moved = []
    stamp = f"{_now():%Y%m%dT%H%M%S%f}"
    for path in (home.warehouse, home.warehouse.with_name(home.warehouse.name + ".wal")):
        if path.exists():
            target = path.with_name(f"{path.name}.corrupt-{stamp}")
            path.rename(target)
            moved.append(target)
    log.warning(
        "the warehouse could not be read (%s); it is kept as %s and is rebuilt from raw",
        reason.splitlines()[0], ", ".join(str(path) for path in moved),
    )
    return moved


# --- raw views and bookkeeping -------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """What prepare() found: deliveries known, and the days a build has to look at."""

    delivery_count: int
    dirty_day_count: int
    is_first_build: bool
    project_changed: bool

    @property
    def needs_full_refresh(self) -> bool:
        """Whether days that did not change must be rebuilt too, because the models did."""
        return self.project_changed and not self.is_first_build


def prepare(home: Home) -> Prepared:
    """Points the raw schema at exactly the committed deliveries and lists the days to rebuild."""
    from orchestration import raw_store

    receipts = raw_store.receipts(home)
    with connect(home) as connection:
        connection.execute("create schema if not exists raw")
        for table in TABLES.values():
            loaded = [
                receipt for receipt in receipts
                if receipt.table_name == table.name and receipt.status == "loaded"
            ]
            connection.execute(
                f"create or replace view raw.{identifier(table.name)} as "
                + raw_select(connection, home, table, loaded)
            )
        _write_receipts(connection, receipts)
        connection.execute("create or replace view raw.quarantine as " + _quarantine_select(home, receipts))
        _create_bookkeeping(connection)
        _write_dirty_days(connection)
        dirty = connection.execute("select count(*) from raw.dirty_days").fetchone()[0]
        state = _step_state(connection)
    built_with = state["build"].code_hash if "build" in state else None
    return Prepared(
        delivery_count=len(receipts),
        dirty_day_count=dirty,
        is_first_build=built_with is None,
        project_changed=built_with != project_hash(),
    )


def raw_select(
    connection: duckdb.DuckDBPyConnection, home: Home, table: Table, receipts: Sequence[Receipt]
) -> str:
    """SQL that reads one raw table from the Parquet files of these receipts, and no others.

    Files of one parser version share a schema, so DuckDB looks into one file of each version and not
    into thousands; a column that an older version did not know is null.
    """
    columns = (*SYSTEM_COLUMNS, *table.columns)
    files_by_version: dict[str, list[str]] = {}
    for receipt in receipts:
        files_by_version.setdefault(str(receipt.parser_version), []).extend(receipt.files)
    parts = []
    for _, files in sorted(files_by_version.items()):
        if not files:
            continue
        scan = _scan(home.raw, sorted(files))
        known = {
            row[0]
            for row in connection.execute(f"describe select * from {_scan(home.raw, files[:1])}").fetchall()
        }
        parts.append(f"select {_typed(columns, known)}, event_day from {scan}")
    if not parts:
        parts.append(f"select {_typed(columns, set())}, cast(null as DATE) as event_day where false")
    return " union all ".join(parts)


def _typed(columns: Iterable[Column], known: set[str]) -> str:
    return ", ".join(
        f"cast({identifier(column.name) if column.name in known else 'null'} as {duckdb_type(column.dtype)})"
        f" as {identifier(column.name)}"
        for column in columns
    )


def _scan(folder: Path, files: Sequence[str]) -> str:
    paths = ", ".join(literal(_glob_escaped(str(folder / name))) for name in files)
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{'event_day': DATE}})"


def _glob_escaped(path: str) -> str:
    return "".join(f"[{character}]" if character in "[*?" else character for character in path)


def _write_receipts(connection: duckdb.DuckDBPyConnection, receipts: Sequence[Receipt]) -> None:
    rows = {name: [_receipt_value(receipt, name) for receipt in receipts] for name in RECEIPT_COLUMNS}
    frame = pl.DataFrame(
        rows, schema={name: _polars_type(sql_type) for name, sql_type in RECEIPT_COLUMNS.items()}
    )
    connection.register("incoming_receipts", frame.to_arrow())
    typed = ", ".join(f"cast({name} as {sql_type}) as {name}" for name, sql_type in RECEIPT_COLUMNS.items())
    connection.execute(
        f"create or replace table raw.receipts as select {typed} from incoming_receipts "
        "order by delivered_date, delivery_name, delivery_id"
    )
    connection.unregister("incoming_receipts")


def _receipt_value(receipt: Receipt, name: str) -> object:
    value = getattr(receipt, name)
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if name == "parser_version":
        return str(value)
    return value


def _polars_type(sql_type: str) -> pl.DataType:
    return {
        "VARCHAR": pl.String(), "DATE": pl.Date(), "TIMESTAMP": pl.Datetime("us"), "BIGINT": pl.Int64(),
        "DATE[]": pl.List(pl.Date()),
    }[sql_type]


def _quarantine_select(home: Home, receipts: Sequence[Receipt]) -> str:
    files = sorted(
        f"{receipt.feed}/{receipt.delivery_id}.parquet" for receipt in receipts if receipt.quarantined_count
    )
    typed = ", ".join(
        f"cast({name if files else 'null'} as {sql_type}) as {name}"
        for name, sql_type in QUARANTINE_COLUMNS.items()
    )
    if not files:
        return f"select {typed} where false"
    paths = ", ".join(literal(_glob_escaped(str(home.quarantine / name))) for name in files)
    return f"select {typed} from read_parquet([{paths}], hive_partitioning = false)"


def _create_bookkeeping(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables that only this module writes: what the last build saw, and days asked for by name."""
    built = ", ".join(f"{name} {RECEIPT_COLUMNS[name]}" for name in BUILT_COLUMNS)
    connection.execute(f"create table if not exists raw.built ({built})")
    connection.execute("create table if not exists raw.requested_days (table_name VARCHAR, event_day DATE)")
    connection.execute("create table if not exists raw.step_state (step VARCHAR, stamp VARCHAR, code_hash VARCHAR)")


def _write_dirty_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Days of every delivery that came, went or changed since the last build, and days asked for."""
    built = ", ".join(BUILT_COLUMNS)
    moved = " or ".join(
        f"(table_name in ({', '.join(map(literal, names))}) and "
        f"exists (select 1 from touched where table_name = {literal(reference)}))"
        for reference, names in MOVED_BY_REFERENCE.items()
    )
    connection.execute(f"""
        create or replace table raw.dirty_days as
        with changed as (
            (select {built} from raw.receipts except select {built} from raw.built)
            union all
            (select {built} from raw.built except select {built} from raw.receipts)
        ),
        touched as (
            select table_name, unnest(event_days) as event_day from changed
            union
            select table_name, event_day from raw.requested_days
        ),
        moved as (
            select table_name, unnest(event_days) as event_day from raw.receipts
            where {moved}
        )
        select table_name, event_day from touched where table_name is not null
        union
        select table_name, event_day from moved where table_name is not null
        order by table_name, event_day
    """)


def request_days(home: Home, feed: str, days: Iterable[date]) -> int:
    """Marks event days of a feed to be rebuilt by the next build; returns how many table-days."""
    names = [table.name for table in TABLES.values() if table.feed == feed]
    rows = [(name, day) for name in names for day in sorted(set(days))]
    with connect(home) as connection:
        connection.execute("create schema if not exists raw")
        _create_bookkeeping(connection)
        if rows:
            connection.executemany("insert into raw.requested_days values (?, ?)", rows)
    return len(rows)


def mark_built(home: Home) -> None:
    """Records that a build has seen the deliveries of the last prepare(); they are dirty no longer."""
    built = ", ".join(BUILT_COLUMNS)
    with connect(home) as connection:
        connection.execute("begin")
        connection.execute("delete from raw.built")
        connection.execute(f"insert into raw.built select {built} from raw.receipts")
        connection.execute("delete from raw.requested_days")
        connection.execute("delete from raw.dirty_days")
        _write_step_state(connection, "build", project_hash())
        connection.execute("commit")


def mark_forecast(home: Home) -> None:
    """Records that the forecast's tables belong to the marts as they are now."""
    with connect(home) as connection:
        _create_bookkeeping(connection)
        connection.execute("begin")
        _write_step_state(connection, "forecast", forecast_hash())
        connection.execute("commit")


@dataclass(frozen=True)
class StepState:
    """The last success of a step: a stamp no other success has, and the hash of the code that ran."""

    stamp: str
    code_hash: str


def _step_state(connection: duckdb.DuckDBPyConnection, database: str | None = None) -> dict[str, StepState]:
    if not _has_table(connection, "raw", "step_state", database):
        return {}
    table = "raw.step_state" if database is None else f"{database}.raw.step_state"
    rows = connection.execute(f"select step, stamp, code_hash from {table}").fetchall()
    return {step: StepState(stamp, code_hash) for step, stamp, code_hash in rows}


def _write_step_state(connection: duckdb.DuckDBPyConnection, step: str, code_hash: str) -> None:
    connection.execute("delete from raw.step_state where step = ?", [step])
    stamp = uuid.uuid4().hex
    if step == "forecast":
        # A forecast's stamp begins with its build's, so a later build shows that it is behind.
        stamp = f"{_step_state(connection)['build'].stamp}-{stamp}"
    connection.execute("insert into raw.step_state values (?, ?, ?)", [step, stamp, code_hash])


def _has_table(
    connection: duckdb.DuckDBPyConnection, schema: str, table: str, database: str | None = None
) -> bool:
    # No bound parameters: binding any makes DuckDB import pandas, a second that `run` has no use for.
    return bool(count(
        connection,
        f"select count(*) from duckdb_tables() where database_name = {literal(database) if database else 'current_database()'}"
        f" and schema_name = {literal(schema)} and table_name = {literal(table)}",
    ))


def project_hash() -> str:
    """Hash of everything that decides what the models compute: the dbt project, and the Python that it calls."""
    files = [*DBT_PROJECT.glob("*.yml"), PROJECT / "orchestration" / "finance" / "packages.py"]
    for folder in ("models", "macros", "seeds", "tests"):
        files += (DBT_PROJECT / folder).rglob("*")
    return _hash_of_files(files)


def forecast_hash() -> str:
    """Hash of the code that forecasts, and of the pretrained model that the environment adds to it."""
    folder = PROJECT / "orchestration"
    code = _hash_of_files([
        *(folder / "forecasting").rglob("*.py"), folder / "finance" / "payback.py", folder / "matching_inputs.py",
    ])
    pretrained = os.environ.get("TIDEGAUGE_PRETRAINED")
    return f"{code}+{pretrained}" if pretrained else code


def _hash_of_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file() and not path.name.startswith(".")):
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def unbuilt_delivery_ids(home: Home) -> set[str]:
    """Deliveries whose receipt differs from what the last build saw, or that only one of them has."""
    from orchestration import raw_store

    now = {(each.delivery_id, each.status, _receipt_value(each, "ingested_at")) for each in raw_store.receipts(home)}
    built: set[tuple] = set()
    with suppress(WarehouseAbsent), connect(home, read_only=True) as connection:
        if _has_table(connection, "raw", "built"):
            built = set(connection.execute("select delivery_id, status, ingested_at from raw.built").fetchall())
    return {key[0] for key in now ^ built}


def latest_whole_week(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The last ISO week of which all seven business days are known.

    A job may end long after the last thing that was seen to happen, in a replayed trace for one; the
    weeks it reaches into are not known.
    """
    return connection.execute("""
        select max(iso_week) from capacity.fct_supply_demand_weekly
        where day_count = 7 and week_start_date + 6 <= (
            select cast(max(last_event_at) + interval 8 hours as date) from quality.fct_freshness
        )
    """).fetchone()[0]


# --- what is due ---------------------------------------------------------------------------------

STEPS = ("raw", "build", "forecast", "publish")


def due_steps(home: Home) -> tuple[str, ...]:
    """Steps whose inputs or code changed since their last success; each makes those after it due.

    A build brings raw with it even when nothing waits in landing: deliveries that a check blocked are
    judged again, and block again until they are superseded.
    """
    from orchestration import raw_store

    if raw_store.pending(home):
        return STEPS
    try:
        with connect(home, read_only=True) as connection:
            state = _step_state(connection)
            requested = _has_table(connection, "raw", "requested_days") and count(
                connection, "select count(*) from raw.requested_days"
            )
    except WarehouseAbsent:
        return STEPS if raw_store.receipts(home) else ()
    build, forecast = state.get("build"), state.get("forecast")
    if build is None or build.code_hash != project_hash() or requested or unbuilt_delivery_ids(home):
        return STEPS
    if forecast is None or forecast.code_hash != forecast_hash() or not forecast.stamp.startswith(build.stamp):
        return STEPS[2:]
    for edition in EDITIONS:
        path = home.edition(edition.name)
        if not path.exists() or publication_of(path).forecast_stamp != forecast.stamp:
            return STEPS[3:]
    return ()


# --- tables that Python writes -------------------------------------------------------------------


def write_tables(home: Home, schema: str, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Replaces these tables of the warehouse, all or none; returns the rows of each.

    A table that the forecast declares must bring every column named there and gets its types and
    comments; a value that a type can't hold raises and nothing changes.
    """
    with connect(home) as connection:
        connection.execute(f"create schema if not exists {identifier(schema)}")
        connection.execute("begin")
        try:
            for name, frame in frames.items():
                _replace_table(connection, schema, name, frame)
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
    return {name: frame.height for name, frame in frames.items()}


def _replace_table(
    connection: duckdb.DuckDBPyConnection, schema: str, name: str, frame: pl.DataFrame
) -> None:
    written = (*FORECAST_TABLES, CAPITAL_PAYBACK, *MATCHING_TABLES, *MATCHING_MONEY_TABLES)
    declared = {table.name: table for table in written}.get(name)
    promised = {column.name: duckdb_type(column.dtype) for column in declared.columns} if declared else {}
    missing = [column for column in promised if column not in frame.columns]
    if missing:
        raise ValueError(f"{schema}.{name} lacks the columns {', '.join(missing)}")
    zoned = [
        column for column, dtype in frame.schema.items()
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    ]
    if zoned:
        raise ValueError(f"{schema}.{name} holds zoned instants in {', '.join(zoned)}; give naive UTC")
    columns = [*promised, *(column for column in frame.columns if column not in promised)]
    typed = ", ".join(
        f"cast({identifier(column)} as {promised[column]}) as {identifier(column)}"
        if column in promised else identifier(column)
        for column in columns
    )
    key = ", ".join(identifier(column) for column in declared.grain) if declared else "all"
    target = f"{identifier(schema)}.{identifier(name)}"
    connection.register("incoming_frame", frame.to_arrow())
    connection.execute(
        f"create or replace table {target} as select {typed} from incoming_frame order by {key}"
    )
    connection.unregister("incoming_frame")
    if declared:
        connection.execute(f"comment on table {target} is {literal(declared.description)}")
        for column in declared.columns:
            connection.execute(
                f"comment on column {target}.{identifier(column.name)} is {literal(column.description)}"
            )


# --- publish -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Publication:
    """What was published: where, by which run, how fresh, and how much."""

    path: Path
    run_id: str
    published_at: datetime
    data_as_of: datetime | None
    iso_week: str | None
    forecast_stamp: str = ""
    row_counts: dict[str, int] = field(default_factory=dict)
    checks: tuple[AuditCheck, ...] = ()


def publish(home: Home, run_id: str) -> dict[str, Publication]:
    """Copies the marts of each edition aside, audits the copies, and moves each over its live file in one step.

    Raises AuditFailed, and leaves every live file untouched, when a check fails. A reader that has the
    old file open keeps it; one that opens the path gets the old file or the new one, whole.
    """
    if not run_id or not all(character.isalnum() or character in "-_" for character in run_id):
        raise ValueError(f"run id {run_id!r} may hold letters, digits, - and _ only")
    with writer_lock(home):
        if not home.warehouse.exists():
            raise WarehouseAbsent(f"no warehouse yet at {home.warehouse}: `tidegauge run` makes it")
        home.published.mkdir(parents=True, exist_ok=True)
        _remove_asides(home)
        restatements.settle(home)
        asides = {edition: home.published / f".edition-{edition.name}-{run_id}.duckdb" for edition in EDITIONS}
        published_at = _now()
        faults.point("publish:before_copy")
        try:
            publications: dict[str, Publication] = {}
            for edition, aside in asides.items():
                whole_week = publications["capacity"].iso_week if publications else None
                publications[edition.name] = _write_edition(home, edition, aside, run_id, published_at, whole_week)
            faults.point("publish:before_fsync")
            for aside in asides.values():
                sync(aside)
            faults.point("publish:before_replace")
            for edition, aside in asides.items():
                os.replace(aside, home.edition(edition.name))
        except BaseException as error:
            _remove_asides(home)
            restatements.settle(home)
            if isinstance(error, AuditFailed):
                _record_audit(home, run_id, published_at, error)
            raise
        faults.point("publish:after_replace")
        sync(home.published)
        _record_audit(home, run_id, published_at, None)
        restatements.settle(home)
    return publications


def _record_audit(home: Home, run_id: str, attempted_at: datetime, error: AuditFailed | None) -> None:
    """Says beside the published files how the last try went, so that readers of the last good ones know of a failed one."""
    record = {
        "run_id": run_id, "attempted_at": f"{attempted_at.isoformat()}Z", "passed": error is None,
        "edition": error.edition if error else None, "failures": [asdict(check) for check in error.failures] if error else [],
    }
    commit_text(home.last_audit, json.dumps(record, indent=1) + "\n", mode=0o640)


def _remove_asides(home: Home) -> None:
    """Removes what a killed or failed publish left; the writer lock says no other is at work."""
    for path in home.published.glob(".edition-*"):
        path.unlink()


def _write_edition(
    home: Home, edition: Edition, aside: Path, run_id: str, published_at: datetime, whole_week: str | None
) -> Publication:
    connection = duckdb.connect(":memory:")
    try:
        configure(connection, home)
        attach_edition(connection, aside, read_only=False)
        os.chmod(aside, 0o640)
        connection.execute(f"attach {literal(str(home.warehouse))} as warehouse (read_only)")
        row_counts = _copy_schemas(connection, edition)
        row_counts[restatements.TABLE] = restatements.write(
            connection, home, edition.name, (edition.name,), run_id, published_at
        )
        forecast = _step_state(connection, "warehouse").get("forecast")
        connection.execute("detach warehouse")
        faults.point("publish:after_copy")
        checks = audit(connection, edition.name)
        if not all(check.passed for check in checks):
            raise AuditFailed(checks, edition.name)
        if edition is CAPACITY:
            whole_week = latest_whole_week(connection)
        publication = _write_publication(
            connection, home.edition(edition.name), run_id, published_at, forecast.stamp if forecast else "", row_counts,
            checks, whole_week,
        )
        connection.execute("checkpoint edition")
    finally:
        connection.close()
    return publication


def attach_edition(connection: duckdb.DuckDBPyConnection, path: Path | str, read_only: bool = True) -> None:
    """Makes a published file the default database under a name that none of its schemas has.

    Opened directly, capacity.duckdb is a catalog named capacity, and ``capacity.fct_jobs`` is ambiguous.
    """
    mode = "read_only" if read_only else "read_write"
    connection.execute(f"attach {literal(str(path))} as edition ({mode})")
    connection.execute("use edition")


@contextmanager
def open_published(path: Path | str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A published file, to read: ``select * from capacity.fct_jobs`` works."""
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("set TimeZone = 'UTC'")
        attach_edition(connection, path)
        yield connection
    finally:
        connection.close()


def _copy_schemas(connection: duckdb.DuckDBPyConnection, edition: Edition) -> dict[str, int]:
    """Copies every mart, in the order of its key, so that equal builds give equal files to read."""
    tables = connection.execute(
        "select schema_name, table_name from ("
        " select database_name, schema_name, table_name from duckdb_tables()"
        " union all select database_name, schema_name, view_name from duckdb_views()"
        ") where database_name = 'warehouse' order by all"
    ).fetchall()
    row_counts = {}
    for schema in (*edition.schemas, *(("capacity",) if edition.has_dimensions_of_capacity else ())):
        connection.execute(f"create schema {schema}")
    for schema, table in tables:
        is_dimension = schema == "capacity" and table.startswith("dim_")
        if schema not in edition.schemas and not (edition.has_dimensions_of_capacity and is_dimension):
            continue
        name = f"{identifier(schema)}.{identifier(table)}"
        key = ", ".join(identifier(column) for column in MART_KEYS.get(f"{schema}.{table}", ())) or "all"
        connection.execute(f"create table {name} as select * from warehouse.{name} order by {key}")
        row_counts[f"{schema}.{table}"] = count(connection, f"select count(*) from {name}")
    return row_counts


def _write_publication(
    connection: duckdb.DuckDBPyConnection, path: Path, run_id: str, published_at: datetime, forecast_stamp: str,
    row_counts: dict[str, int], checks: Sequence[AuditCheck], whole_week: str | None,
) -> Publication:
    data_as_of = connection.execute("select max(last_event_at) from quality.fct_freshness").fetchone()[0]
    publication = Publication(
        path=path, run_id=run_id, published_at=published_at, data_as_of=data_as_of,
        iso_week=whole_week, forecast_stamp=forecast_stamp, row_counts=row_counts,
        checks=tuple(checks),
    )
    connection.execute("create schema meta")
    connection.execute(
        "create table meta.publication (run_id VARCHAR, published_at TIMESTAMP, data_as_of TIMESTAMP,"
        " iso_week VARCHAR, forecast_stamp VARCHAR, delivery_count BIGINT, check_count BIGINT)"
    )
    connection.execute(
        "insert into meta.publication values (?, ?, ?, ?, ?, ?, ?)",
        [run_id, publication.published_at, data_as_of, publication.iso_week, forecast_stamp,
         row_counts["quality.fct_deliveries"], len(checks)],
    )
    return publication


def publication_of(path: Path) -> Publication:
    """What a published file says of itself."""
    with open_published(path) as connection:
        run_id, published_at, data_as_of, iso_week, forecast_stamp = connection.execute(
            "select run_id, published_at, data_as_of, iso_week, forecast_stamp from meta.publication"
        ).fetchone()
    return Publication(path, run_id, published_at, data_as_of, iso_week, forecast_stamp)


def week_to_report(path: Path) -> str | None:
    """The latest whole week of a published file, or the latest of which anything is known; None without."""
    whole = publication_of(path).iso_week
    if whole is not None:
        return whole
    with open_published(path) as connection:
        return connection.execute("select max(iso_week) from capacity.fct_supply_demand_weekly").fetchone()[0]


# --- canonical hash ------------------------------------------------------------------------------


def canonical_hash(
    source: Path | str | duckdb.DuckDBPyConnection, schemas: Sequence[str] = MART_SCHEMAS
) -> dict[str, str]:
    """sha256 of each table's rows in a form that depends on nothing but the rows.

    Rows are written as text and sorted; instants, dates and decimals are exact. A DOUBLE is written to
    ten significant digits, because the order of a parallel sum moves the last bits. Columns of
    RUN_DEPENDENT_COLUMNS and RUN_DEPENDENT_TABLES are left out. The table's columns and their types are hashed too.
    """
    if isinstance(source, duckdb.DuckDBPyConnection):
        return hash_tables(source, schemas)
    with open_published(source) as connection:
        return hash_tables(connection, schemas)
