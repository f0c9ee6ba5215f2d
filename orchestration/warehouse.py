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
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from orchestration import faults
from orchestration.contracts import SYSTEM_COLUMNS, TABLES, Column, Table
from orchestration.forecasting.tables import TABLES as FORECAST_TABLES
from orchestration.home import DBT_PROJECT, PROJECT, Home

if TYPE_CHECKING:
    from orchestration.raw_store import Receipt

log = logging.getLogger("tidegauge.warehouse")

MEMORY_LIMIT = "1GB"
NO_EVENT_DAY = date(1970, 1, 1)
EDITION_SCHEMAS = ("capacity", "quality")
# Parts of a column name that would put money into the edition that holds none.
MONEY_NAME_PARTS = ("price", "cost", "margin", "cny", "revenue")
# What differs between two runs over the same landing files, so no hash may depend on it.
RUN_DEPENDENT_COLUMNS = frozenset({"ingested_at", "published_at", "run_id", "built_at"})

# One row per this key, in the published marts whose grain is a contract.
MART_KEYS: dict[str, tuple[str, ...]] = {
    "capacity.dim_site": ("site_id",),
    "capacity.dim_link": ("link_id",),
    "capacity.dim_accelerator": ("accelerator_id",),
    "capacity.dim_model": ("model_id",),
    "capacity.dim_tenant": ("tenant_id",),
    "capacity.dim_date": ("usage_date",),
    "capacity.fct_token_usage_hourly": (
        "usage_hour", "origin_site_id", "serving_site_id", "tenant_id", "model_id", "product",
    ),
    "capacity.fct_accelerator_hours_daily": ("usage_date", "site_id", "accelerator_id"),
    "capacity.fct_link_utilization_hourly": ("usage_hour", "link_id", "direction"),
    "capacity.fct_supply_demand_daily": ("usage_date", "site_id", "accelerator_id"),
    "capacity.fct_supply_demand_weekly": ("iso_week", "site_id", "accelerator_id"),
    "quality.fct_deliveries": ("delivery_id",),
    **{f"capacity.{table.name}": table.grain for table in FORECAST_TABLES},
}
EXPECTED_TABLES = (*MART_KEYS, "capacity.fct_jobs", "quality.fct_reconciliation", "quality.fct_freshness")
# A mart must hold rows once raw holds rows of the table it is made from.
MART_SOURCES = {
    "capacity.fct_token_usage_hourly": "token_usage",
    "capacity.fct_jobs": "job_logs",
    "capacity.fct_link_utilization_hourly": "link_counters",
    "capacity.fct_accelerator_hours_daily": "node_pools",
}
IDENTITY_PARTS = ("down", "planned_down", "allocated_busy", "allocated_idle", "fragmented", "free")

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


def literal(text: str) -> str:
    """Text as an SQL string, for statements that take no bound parameters."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


# --- raw views and bookkeeping -------------------------------------------------------------------


def duckdb_type(dtype: pl.DataType | type[pl.DataType]) -> str:
    """The DuckDB type of a contract's column; an instant is a naive TIMESTAMP that means UTC."""
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMP"
    names = {
        pl.String: "VARCHAR", pl.Int64: "BIGINT", pl.UInt64: "UBIGINT", pl.Float64: "DOUBLE",
        pl.Date: "DATE", pl.Boolean: "BOOLEAN",
    }
    return names[dtype.base_type()]


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
    return bool(_count(
        connection,
        f"select count(*) from duckdb_tables() where database_name = {literal(database) if database else 'current_database()'}"
        f" and schema_name = {literal(schema)} and table_name = {literal(table)}",
    ))


def project_hash() -> str:
    """Hash of everything in the dbt project that decides what the models compute."""
    files = [path for path in DBT_PROJECT.glob("*.yml")]
    for folder in ("models", "macros", "seeds", "tests"):
        files += (DBT_PROJECT / folder).rglob("*")
    return _hash_of_files(files)


def forecast_hash() -> str:
    """Hash of the code that forecasts."""
    return _hash_of_files((PROJECT / "orchestration" / "forecasting").rglob("*.py"))


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
            requested = _has_table(connection, "raw", "requested_days") and _count(
                connection, "select count(*) from raw.requested_days"
            )
    except WarehouseAbsent:
        return STEPS if raw_store.receipts(home) else ()
    build, forecast = state.get("build"), state.get("forecast")
    if build is None or build.code_hash != project_hash() or requested or unbuilt_delivery_ids(home):
        return STEPS
    if forecast is None or forecast.code_hash != forecast_hash() or not forecast.stamp.startswith(build.stamp):
        return STEPS[2:]
    if not home.capacity.exists() or publication_of(home.capacity).forecast_stamp != forecast.stamp:
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
    declared = {table.name: table for table in FORECAST_TABLES}.get(name)
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


# --- audit ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AuditCheck:
    """One condition of publishing: whether it held, the figure seen, and what to do when it did not."""

    name: str
    passed: bool
    figure: str
    next_step: str = ""


class AuditFailed(RuntimeError):
    """A blocking check failed; nothing was published and the last good file stays."""

    def __init__(self, checks: Sequence[AuditCheck]):
        self.checks = tuple(checks)
        self.failures = tuple(check for check in checks if not check.passed)
        lines = [f"- {check.name}: {check.figure}. {check.next_step}" for check in self.failures]
        super().__init__(
            "the audit blocked publishing; the last published file is unchanged\n" + "\n".join(lines)
        )


def audit(connection: duckdb.DuckDBPyConnection) -> list[AuditCheck]:
    """Every condition that the capacity edition open on this connection must meet."""
    columns = _columns(connection)
    checks = [_check_present(columns)]
    present = {name for name in EXPECTED_TABLES if name in columns}
    if "quality.fct_deliveries" in present:
        checks.append(_check_line_accounting(connection))
        checks.append(_check_not_empty(connection, present))
    if "quality.fct_reconciliation" in present:
        checks.append(_check_reconciliation(connection))
    if "capacity.fct_accelerator_hours_daily" in present:
        checks.append(_check_capacity_identity(connection))
    checks += [
        _check_key(connection, table, key) for table, key in MART_KEYS.items() if table in present
    ]
    if "capacity.fct_demand_forecast" in present:
        checks.append(_check_forecast(connection))
    checks.append(_check_no_money(columns))
    checks.append(_check_exact_tokens(columns))
    return checks


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Column types of every table of the editions' schemas, by schema.table."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() "
        "where database_name = current_database() and schema_name in ('capacity', 'quality') "
        "order by schema_name, table_name, column_index"
    ).fetchall()
    columns: dict[str, dict[str, str]] = {}
    for table, column, data_type in rows:
        columns.setdefault(table, {})[column] = data_type
    return columns


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return connection.execute(query).fetchone()[0]


def _check_present(columns: Mapping[str, object]) -> AuditCheck:
    missing = [name for name in EXPECTED_TABLES if name not in columns]
    return AuditCheck(
        "every contract mart is there", not missing,
        f"missing: {', '.join(missing)}" if missing else f"{len(EXPECTED_TABLES)} marts",
        "Run `tidegauge build` and `tidegauge forecast`, then publish again.",
    )


def _check_line_accounting(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    broken = _count(connection, """
        select count(*) from quality.fct_deliveries
        where (received_count = loaded_count + duplicate_count + quarantined_count) is not true
    """)
    return AuditCheck(
        "received = loaded + duplicate + quarantined for every delivery", broken == 0,
        f"{broken} deliveries do not add up",
        "Look at them in quality.fct_deliveries; `tidegauge rebuild` loads them again from landing.",
    )


def _check_not_empty(connection: duckdb.DuckDBPyConnection, present: set[str]) -> AuditCheck:
    loaded = dict(connection.execute("""
        select table_name, sum(loaded_count) from quality.fct_deliveries
        where status = 'loaded' group by table_name
    """).fetchall())
    empty = [
        mart for mart, source in MART_SOURCES.items()
        if mart in present and loaded.get(source) and not _count(connection, f"select count(*) from {mart}")
    ]
    empty += [
        mart for mart in sorted(present)
        if mart.startswith("capacity.dim_") and not _count(connection, f"select count(*) from {mart}")
    ]
    if not loaded:
        empty.append("quality.fct_deliveries")
    return AuditCheck(
        "no mart is empty while raw has rows for it", not empty,
        f"empty: {', '.join(empty)}" if empty else "none empty",
        "Check what was delivered with `tidegauge status`, then run `tidegauge build`.",
    )


def _check_reconciliation(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    rows = connection.execute("""
        select metric, difference from quality.fct_reconciliation
        where (difference = 0) is not true order by metric
    """).fetchall()
    shown = ", ".join(f"{metric} {difference}" for metric, difference in rows[:5])
    return AuditCheck(
        "landing = raw = marts", not rows,
        f"{len(rows)} metrics differ: {shown}" if rows else "difference 0",
        "See quality.fct_reconciliation; `tidegauge rebuild` tells a lost row from a wrong model.",
    )


def _check_capacity_identity(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    parts = " + ".join(f"{part}_accelerator_hours" for part in IDENTITY_PARTS)
    rows, worst = connection.execute(f"""
        select count(*), max(abs(residue)) from (
            select installed_accelerator_hours - ({parts}) as residue, installed_accelerator_hours
            from capacity.fct_accelerator_hours_daily
        ) where (abs(residue) <= 1e-6 * greatest(1, installed_accelerator_hours)) is not true
    """).fetchone()
    return AuditCheck(
        "installed accelerator hours = the sum of their parts", rows == 0,
        f"{rows} site-days open, worst by {worst} hours" if rows else "closes to zero",
        "See capacity.fct_accelerator_hours_daily; more may be allocated or down than is installed.",
    )


def _check_key(connection: duckdb.DuckDBPyConnection, table: str, key: Sequence[str]) -> AuditCheck:
    columns = ", ".join(key)
    repeated = _count(connection, f"""
        select count(*) from (select 1 from {table} group by {columns} having count(*) > 1)
    """)
    return AuditCheck(
        f"{table} has one row per {columns}", repeated == 0, f"{repeated} keys repeat",
        "A join fans out or a reference row is doubled; run `tidegauge build` after correcting it.",
    )


def _check_forecast(connection: duckdb.DuckDBPyConnection) -> AuditCheck:
    broken = _count(connection, """
        select count(*) from capacity.fct_demand_forecast
        where (isfinite(value) and value >= 0 and quantile > 0 and quantile < 1) is not true
    """)
    return AuditCheck(
        "forecast values are finite and not negative", broken == 0, f"{broken} values are not",
        "Run `tidegauge forecast` again; if they stay, look at the series in fct_supply_demand_daily.",
    )


def _check_no_money(columns: Mapping[str, Mapping[str, str]]) -> AuditCheck:
    money = [
        f"{table}.{column}" for table, names in columns.items() for column in names
        if any(part in column.lower().split("_") for part in MONEY_NAME_PARTS)
    ]
    return AuditCheck(
        "the capacity edition holds no price, cost or margin", not money,
        f"found {', '.join(money)}" if money else "none",
        "Move the column to a finance mart.",
    )


def _check_exact_tokens(columns: Mapping[str, Mapping[str, str]]) -> AuditCheck:
    inexact = [
        f"{table}.{column}" for table, names in columns.items() for column, data_type in names.items()
        if column.endswith("_tokens") and data_type in ("DOUBLE", "FLOAT")
    ]
    return AuditCheck(
        "token columns are exact", not inexact,
        f"inexact: {', '.join(inexact)}" if inexact else "none inexact",
        "Cast the sum to HUGEINT or DECIMAL(38,0) in the model.",
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


def publish(home: Home, run_id: str) -> Publication:
    """Copies the marts aside, audits the copy, and moves it over the live file in one step.

    Raises AuditFailed, and leaves the live file untouched, when a check fails. A reader that has the
    old file open keeps it; one that opens the path gets the old file or the new one, whole.
    """
    if not run_id or not all(character.isalnum() or character in "-_" for character in run_id):
        raise ValueError(f"run id {run_id!r} may hold letters, digits, - and _ only")
    with writer_lock(home):
        if not home.warehouse.exists():
            raise WarehouseAbsent(f"no warehouse yet at {home.warehouse}: `tidegauge run` makes it")
        home.published.mkdir(parents=True, exist_ok=True)
        _remove_asides(home)
        aside = home.published / f".edition-{run_id}.duckdb"
        faults.point("publish:before_copy")
        try:
            publication = _write_edition(home, aside, run_id)
            faults.point("publish:before_fsync")
            _sync(aside)
            faults.point("publish:before_replace")
            os.replace(aside, home.capacity)
        except BaseException:
            _remove_asides(home)
            raise
        faults.point("publish:after_replace")
        _sync(home.published)
    return publication


def _remove_asides(home: Home) -> None:
    """Removes what a killed or failed publish left; the writer lock says no other is at work."""
    for path in home.published.glob(".edition-*"):
        path.unlink()


def _write_edition(home: Home, aside: Path, run_id: str) -> Publication:
    connection = duckdb.connect(":memory:")
    try:
        configure(connection, home)
        attach_edition(connection, aside, read_only=False)
        os.chmod(aside, 0o640)
        connection.execute(f"attach {literal(str(home.warehouse))} as warehouse (read_only)")
        row_counts = _copy_schemas(connection)
        forecast = _step_state(connection, "warehouse").get("forecast")
        connection.execute("detach warehouse")
        faults.point("publish:after_copy")
        checks = audit(connection)
        if not all(check.passed for check in checks):
            raise AuditFailed(checks)
        publication = _write_publication(
            connection, home, run_id, forecast.stamp if forecast else "", row_counts, checks
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


def _copy_schemas(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Copies every mart, in the order of its key, so that equal builds give equal files to read."""
    tables = connection.execute(
        "select schema_name, table_name from ("
        " select database_name, schema_name, table_name from duckdb_tables()"
        " union all select database_name, schema_name, view_name from duckdb_views()"
        ") where database_name = 'warehouse' and schema_name in ('capacity', 'quality') order by all"
    ).fetchall()
    row_counts = {}
    for schema in EDITION_SCHEMAS:
        connection.execute(f"create schema {schema}")
    for schema, table in tables:
        name = f"{identifier(schema)}.{identifier(table)}"
        key = ", ".join(identifier(column) for column in MART_KEYS.get(f"{schema}.{table}", ())) or "all"
        connection.execute(f"create table {name} as select * from warehouse.{name} order by {key}")
        row_counts[f"{schema}.{table}"] = _count(connection, f"select count(*) from {name}")
    return row_counts


def _write_publication(
    connection: duckdb.DuckDBPyConnection, home: Home, run_id: str, forecast_stamp: str,
    row_counts: dict[str, int], checks: Sequence[AuditCheck],
) -> Publication:
    data_as_of = connection.execute("select max(last_event_at) from quality.fct_freshness").fetchone()[0]
    publication = Publication(
        path=home.capacity, run_id=run_id, published_at=_now(), data_as_of=data_as_of,
        iso_week=latest_whole_week(connection), forecast_stamp=forecast_stamp, row_counts=row_counts,
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- canonical hash ------------------------------------------------------------------------------


def canonical_hash(
    source: Path | str | duckdb.DuckDBPyConnection, schemas: Sequence[str] = EDITION_SCHEMAS
) -> dict[str, str]:
    """sha256 of each table's rows in a form that depends on nothing but the rows.

    Rows are written as text and sorted; instants, dates and decimals are exact. A DOUBLE is written to
    ten significant digits, because the order of a parallel sum moves the last bits. Columns of
    RUN_DEPENDENT_COLUMNS are left out. The table's columns and their types are hashed too.
    """
    if isinstance(source, duckdb.DuckDBPyConnection):
        return _hash_tables(source, schemas)
    with open_published(source) as connection:
        return _hash_tables(connection, schemas)


def _hash_tables(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> dict[str, str]:
    marks = ", ".join("?" for _ in schemas)
    rows = connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() "
        f"where database_name = current_database() and schema_name in ({marks}) "
        "order by schema_name, table_name, column_name",
        list(schemas),
    ).fetchall()
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, column, data_type in rows:
        if column not in RUN_DEPENDENT_COLUMNS:
            columns.setdefault((schema, table), []).append((column, data_type))
    return {
        f"{schema}.{table}": _hash_table(connection, f"{identifier(schema)}.{identifier(table)}", names)
        for (schema, table), names in columns.items()
    }


def _hash_table(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[tuple[str, str]]
) -> str:
    digest = hashlib.sha256(repr(list(columns)).encode())
    text = " || ".join(_canonical_text(name, data_type) for name, data_type in columns)
    result = connection.execute(
        f"select {text} as row_text from {table} order by row_text"
    )
    while batch := result.fetchmany(50_000):
        digest.update("".join(row[0] for row in batch).encode())
    return digest.hexdigest()


def _canonical_text(name: str, data_type: str) -> str:
    """SQL for a value as text that ends in a line feed and can't be taken for two values."""
    column = identifier(name)
    if data_type in ("DOUBLE", "FLOAT"):
        text = f"case when {column} = 0 then '0' else printf('%.9e', {column}) end"
    elif data_type.startswith("TIMESTAMP"):
        text = f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%f')"
    elif data_type == "BLOB":
        text = f"hex({column})"
    else:
        text = f"cast({column} as VARCHAR)"
    escaped = f"replace(replace({text}, '\\', '\\\\'), chr(10), '\\n')"
    return f"coalesce('=' || {escaped}, '-') || chr(10)"
