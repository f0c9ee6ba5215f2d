"""Publishing: readers see the old file or the new one, whole, and a failed audit changes nothing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration import warehouse
from orchestration.forecasting.matching_tables import MATCHING_MONEY_TABLES, MATCHING_TABLES
from orchestration.forecasting.tables import TABLES as FORECAST_TABLES
from orchestration.home import PROJECT, Home

FAULT_POINTS = ("before_copy", "after_copy", "before_fsync", "before_replace", "after_replace")
PUBLISH = (
    "from orchestration import warehouse; from orchestration.home import Home; "
    "warehouse.publish(Home.from_environment(), 'new')"
)
DIMENSIONS = {"dim_site": "site_id", "dim_link": "link_id", "dim_accelerator": "accelerator_id", "dim_model": "model_id",
              "dim_tenant": "tenant_id"}

# 100 of list revenue less 10 of discount and 6 of tax, and 20 and 1 of packages; all of it is cost, but for 55.
MARGIN_CNY = {
    "list_revenue": 100, "discount": 10, "tax": 6, "package_revenue": 20, "breakage": 1, "net_revenue": 105,
    "depreciation": 20, "energy": 10, "network": 5, "operations": 5, "idle": 10, "cost": 50, "gross_margin": 55,
}


def make_warehouse(home: Home, vintage: int = 1) -> None:
    """A warehouse with every mart that publishing expects, one row each; ``vintage`` stands in all of them."""
    with warehouse.connect(home) as con:
        for schema in ("raw", "capacity", "finance", "quality"):
            con.execute(f"create schema if not exists {schema}")
        marts = {f"capacity.{name}": f"'a' as {key}" for name, key in DIMENSIONS.items()} | {
            "capacity.dim_date": "date '2026-11-16' as usage_date, '2026-W47' as iso_week",
            "capacity.fct_token_usage_hourly":
                "timestamp '2026-11-16 01:00' as usage_hour, 'a' as origin_site_id, 'a' as serving_site_id, "
                "'t' as tenant_id, 'm' as model_id, 'payg' as product, 9007199254740993::hugeint as input_tokens",
            "capacity.fct_jobs": "'j' as job_id",
            "capacity.fct_accelerator_hours_daily":
                "date '2026-11-16' as usage_date, 'a' as site_id, 'x' as accelerator_id, "
                "48.0 as installed_accelerator_hours, 2.0 as down_accelerator_hours, 0.0 as planned_down_accelerator_hours, "
                "24.0 as allocated_busy_accelerator_hours, 6.0 as allocated_idle_accelerator_hours, "
                "0.0 as fragmented_accelerator_hours, 16.0 as free_accelerator_hours",
            "capacity.fct_link_utilization_hourly": "timestamp '2026-11-16' as usage_hour, 'l' as link_id, 'a_to_b' as direction",
            "capacity.fct_supply_demand_daily": "date '2026-11-16' as usage_date, 'a' as site_id, 'x' as accelerator_id",
            "capacity.fct_supply_demand_weekly":
                "'2026-W47' as iso_week, date '2026-11-16' as week_start_date, 7 as day_count, 'a' as site_id, 'x' as accelerator_id",
            "capacity.fct_demand_hourly":
                "timestamp '2026-11-16' as usage_hour, 'a' as origin_site_id, 't' as tenant_id, 'm' as model_id",
            "capacity.fct_usage_dropouts": "'origin' as site_role, 'a' as site_id, timestamp '2026-11-16 03:00' as usage_hour",
            "capacity.fct_demand_daily":
                "date '2026-11-16' as usage_date, 'a' as origin_site_id, 't' as tenant_id, 'm' as model_id",
            "capacity.fct_training_demand_daily":
                "date '2026-11-16' as usage_date, 'a' as site_id, 'x' as accelerator_id, 't' as tenant_id",
            "quality.fct_deliveries":
                "'d' as delivery_id, 'token_usage' as table_name, 'loaded' as status, now()::timestamp as ingested_at, "
                "10::bigint as received_count, 7::bigint as loaded_count, 2::bigint as duplicate_count, "
                "1::bigint as quarantined_count",
            "quality.fct_reconciliation": "'input_tokens' as metric, 0::hugeint as difference",
            "quality.fct_freshness": "timestamp '2026-11-22 15:59' as last_event_at",
            "finance.fct_margin_daily":
                "date '2026-11-16' as usage_date, 'a' as serving_site_id, 't' as tenant_id, 'm' as model_id, 'payg' as product, "
                + ", ".join(f"{value}::decimal(38, 9) as {name}_cny" for name, value in MARGIN_CNY.items())
                + ", 3::decimal(38, 0) as tokens, 2::decimal(38, 0) as priced_tokens, 1::decimal(38, 0) as package_tokens, "
                "0::decimal(38, 0) as trial_tokens, 0::decimal(38, 0) as unpriced_tokens",
            "finance.dim_margin_target": "'net_revenue_cny' as measure, 'all' as site_id, date '2026-01-01' as valid_from",
            "finance.fct_unit_economics_weekly": "'2026-W47' as iso_week, 'a' as site_id, 'm' as model_id",
            "finance.fct_price_position":
                "date '2026-11-16' as price_date, 'm' as model_id, 'input' as token_type, 'v' as vendor, 'm' as model_name",
            "finance.fct_package_burndown_daily": "date '2026-11-16' as usage_date, 's' as subscription_id",
            "finance.fct_trial_conversion": "'2026-W47' as cohort_week, 'enterprise' as segment",
            "finance.fct_money_reconciliation": "'received_tokens' as metric, 0::hugeint as difference",
            "finance.focus_cost_and_usage": "'c' as x_ChargeId",
        }
        for table, columns in marts.items():
            con.execute(f"create or replace table {table} as select {columns}, {vintage} as vintage")
    values = {"quantile": 0.5, "value": 1.0, "level": "nation", "action": "none", "confidence": "low", "why": "{}"}
    for schema, tables in (("capacity", (*FORECAST_TABLES, *MATCHING_TABLES)), ("finance", MATCHING_MONEY_TABLES)):
        warehouse.write_tables(home, schema, {
            table.name: table.frame([{
                column.name: values.get(column.name, _any_of(column.dtype)) for column in table.columns
            }])
            for table in tables
        })


def _any_of(dtype):
    import datetime
    import decimal

    import polars as pl

    return {
        pl.String: "a", pl.Date: datetime.date(2026, 11, 22), pl.Float64: 1.0, pl.Int64: 1, pl.Boolean: True,
        pl.Decimal: decimal.Decimal(1),
    }[dtype.base_type()]


def spoil(home: Home, statement: str) -> None:
    """Changes the warehouse behind the pipeline's back."""
    with warehouse.connect(home) as connection:
        connection.execute(statement)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(home: Home) -> list[str]:
    """Files beside the published ones."""
    return sorted(path.name for path in home.published.iterdir() if path.name not in ("capacity.duckdb", "finance.duckdb", home.last_audit.name))


@pytest.fixture
def filled(home: Home) -> Home:
    """A home with a warehouse that passes the audit."""
    make_warehouse(home)
    return home


def test_a_sound_warehouse_is_published_with_its_origin(filled: Home) -> None:
    """A published file that does not say of when it is can't be told from a stale one."""
    publication = warehouse.publish(filled, "run-1")["capacity"]
    assert all(check.passed for check in publication.checks)
    found = warehouse.publication_of(filled.capacity)
    assert (found.run_id, found.iso_week, str(found.data_as_of)) == ("run-1", "2026-W47", "2026-11-22 15:59:00")
    assert stat.S_IMODE(filled.capacity.stat().st_mode) == 0o640
    assert leftovers(filled) == []
    with warehouse.open_published(filled.capacity) as connection:
        assert connection.execute("select input_tokens from capacity.fct_token_usage_hourly").fetchone() == (9007199254740993,)


SPOILED = {
    "received = loaded + duplicate + quarantined": "update quality.fct_deliveries set loaded_count = 8",
    "landing = raw = marts": "update quality.fct_reconciliation set difference = 1",
    "landing = raw = marts ": "update quality.fct_reconciliation set difference = null",
    "installed accelerator hours": "update capacity.fct_accelerator_hours_daily set free_accelerator_hours = 15",
    "no mart is empty": "delete from capacity.fct_token_usage_hourly",
    "no mart is empty ": "delete from capacity.dim_site",
    "has one row per": "insert into capacity.dim_site select * from capacity.dim_site",
    "every contract mart": "drop table capacity.fct_jobs",
    "holds no price": "alter table capacity.fct_jobs add column unit_cost_cny DOUBLE",
    "token columns are exact": "alter table capacity.fct_jobs add column output_tokens DOUBLE",
    "forecast values": "update capacity.fct_demand_forecast set value = 'nan'::double",
    "forecast values ": "update capacity.fct_demand_forecast set value = -1",
}


@pytest.mark.parametrize("check", SPOILED)
def test_a_failed_audit_names_the_check_and_leaves_the_live_file_as_it_was(filled: Home, check: str) -> None:
    """A blocked publish that touches the live file gives readers what the audit rejected."""
    warehouse.publish(filled, "good")
    before = sha256_of(filled.capacity)
    spoil(filled, SPOILED[check])
    with pytest.raises(warehouse.AuditFailed) as failed:
        warehouse.publish(filled, "bad")
    assert [failure for failure in failed.value.failures if check.strip() in failure.name]
    assert all(failure.next_step for failure in failed.value.failures)
    assert sha256_of(filled.capacity) == before
    assert leftovers(filled) == []


def test_readers_of_the_last_good_file_can_tell_that_a_later_publish_failed(filled: Home) -> None:
    """Figures that a failed audit left in place look certified unless something beside them says otherwise."""
    warehouse.publish(filled, "good")
    assert json.loads(filled.last_audit.read_text("utf-8"))["passed"] is True
    spoil(filled, "update quality.fct_reconciliation set difference = 1")
    with pytest.raises(warehouse.AuditFailed):
        warehouse.publish(filled, "bad")
    told = json.loads(filled.last_audit.read_text("utf-8"))
    assert (told["passed"], told["run_id"]) == (False, "bad")
    assert told["failures"][0]["name"] == "landing = raw = marts"
    assert filled.last_audit.stat().st_mode & 0o777 == 0o640
    assert told["attempted_at"] > warehouse.publication_of(filled.finance).published_at.isoformat()


def test_an_identity_within_rounding_is_closed(filled: Home) -> None:
    """Hours are doubles: an audit to the last bit would block a sound day."""
    spoil(filled, "update capacity.fct_accelerator_hours_daily set free_accelerator_hours = 16 + 1e-9")
    warehouse.publish(filled, "run-1")


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_kill_at_any_point_leaves_one_whole_vintage_and_the_next_publish_cleans_up(filled: Home, point: str) -> None:
    """A power cut between two writes must not leave readers a half state, or a lock."""
    warehouse.publish(filled, "old")
    make_warehouse(filled, vintage=2)
    killed = subprocess.run(
        [sys.executable, "-c",
         ("from orchestration import warehouse; from orchestration.home import Home; "
         "warehouse.publish(Home.from_environment(), 'new')")],
        env={**os.environ, "TIDEGAUGE_HOME": str(filled.root), "TIDEGAUGE_FAULT": f"publish:{point}"},
        cwd=PROJECT, check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert vintages(filled.capacity) == ({2} if point == "after_replace" else {1})
    warehouse.publish(filled, "again")
    assert vintages(filled.capacity) == {2}
    assert leftovers(filled) == []


def vintages(path: Path) -> set[int]:
    """Every vintage that stands in the marts of a published file."""
    with warehouse.open_published(path) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_columns() "
            "where column_name = 'vintage' and database_name = 'edition'"
        ).fetchall()
        assert len(tables) > 10
        return {
            row[0] for (table,) in tables for row in connection.execute(f"select distinct vintage from {table}").fetchall()
        }


def read_until(path: Path, stop, seen, errors) -> None:
    """A reader: opens the file again and again and notes the vintages it holds."""
    while not stop.is_set():
        try:
            found = vintages(path)
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is what the test is about
            errors.append(repr(error))
        else:
            seen.append(sorted(found))


def test_readers_never_see_two_vintages_at_once_nor_an_error(filled: Home) -> None:
    """A reader that opens the file during a publish must get one of the two, whole."""
    warehouse.publish(filled, "run-0")
    with multiprocessing.get_context("spawn").Manager() as manager:
        stop, seen, errors = manager.Event(), manager.list(), manager.list()
        reader = multiprocessing.get_context("spawn").Process(target=read_until, args=(filled.capacity, stop, seen, errors))
        reader.start()
        try:
            for vintage in range(2, 10):
                make_warehouse(filled, vintage)
                warehouse.publish(filled, f"run-{vintage}")
        finally:
            stop.set()
            reader.join()
        assert list(errors) == []
        assert len(seen) > 0
        assert all(len(found) == 1 for found in seen)


def test_a_reader_keeps_the_file_it_opened(filled: Home) -> None:
    """A long query must not change its answer when a new edition is published."""
    warehouse.publish(filled, "old")
    with warehouse.open_published(filled.capacity) as connection:
        make_warehouse(filled, vintage=2)
        warehouse.publish(filled, "new")
        assert connection.execute("select vintage from capacity.dim_site").fetchone() == (1,)


@pytest.mark.parametrize("run_id", ["", "../../etc/x", "a b", "x'; drop table y"])
def test_a_run_id_that_is_no_file_name_is_refused(filled: Home, run_id: str) -> None:
    """The run id becomes part of a path and of SQL."""
    with pytest.raises(ValueError, match="run id"):
        warehouse.publish(filled, run_id)


def test_publishing_without_a_warehouse_says_what_makes_one(home: Home) -> None:
    """A stack trace about a missing file helps nobody on the first day."""
    with pytest.raises(warehouse.WarehouseAbsent, match="tidegauge run"):
        warehouse.publish(home, "run-1")


def test_equal_rows_have_equal_hashes_whatever_their_order_and_run(filled: Home, tmp_path: Path) -> None:
    """A hash that depends on storage can't show that two builds agree."""
    one, two = tmp_path / "one.duckdb", tmp_path / "two.duckdb"
    rows = "(1, 'a\\nb', 0.1::double + 0.2::double, 1.50::decimal(9, 2), date '2026-11-16', timestamp '2026-11-16 01:00')"
    other = "(2, null, -0.0::double, 2.25::decimal(9, 2), date '2026-11-17', timestamp '2026-11-17')"
    for path, values, ingested in ((one, f"{rows}, {other}", "1 day"), (two, f"{other}, {rows.replace('0.1::double + 0.2::double', '0.3::double')}", "2 days")):
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema capacity")
            connection.execute(
                f"create table capacity.t as select *, now()::timestamp + interval {ingested} as ingested_at "
                f"from (values {values}) as v(number, name, ratio, amount, day, instant)"
            )
    assert warehouse.canonical_hash(one, ["capacity"]) == warehouse.canonical_hash(two, ["capacity"])


def test_a_hash_tells_null_from_text_and_one_token_from_none(tmp_path: Path) -> None:
    """Two states that hash alike hide a lost value."""
    hashes = set()
    for index, value in enumerate(("null::varchar", "''", "'-'", "'null'", "'a' || chr(10) || 'b'", "'a\\nb'")):
        path = tmp_path / f"{index}.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"create schema capacity; create table capacity.t as select {value} as name")
        hashes.add(warehouse.canonical_hash(path, ["capacity"])["capacity.t"])
    assert len(hashes) == 6


def test_the_hash_of_a_file_is_the_same_in_every_time_zone(filled: Home) -> None:
    """An hour that moves with the host's zone would make one machine disagree with the next."""
    warehouse.publish(filled, "run-1")
    script = (
        "from orchestration import warehouse; from orchestration.home import Home; import json; "
        "print(json.dumps(warehouse.canonical_hash(Home.from_environment().capacity)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=PROJECT, check=True, capture_output=True, text=True,
            env={**os.environ, "TIDEGAUGE_HOME": str(filled.root), "TZ": zone},
        ).stdout
        for zone in ("UTC", "Asia/Shanghai", "America/New_York")
    }
    assert len(outputs) == 1


def run_in_thread(action: Callable[[], object]) -> list[BaseException]:
    """What an action raises in another thread, which stands for another process's lock."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


def test_a_second_writer_is_told_who_is_at_work_and_since_when(filled: Home) -> None:
    """Two builds in one file interleave; a message without a name leaves nothing to wait for."""
    with warehouse.writer_lock(filled):
        raised = run_in_thread(lambda: warehouse.publish(filled, "run-1"))
        assert [type(error) for error in raised] == [warehouse.WarehouseLocked]
        assert f"pid {os.getpid()} since 20" in str(raised[0])
        with warehouse.connect(filled) as connection:
            connection.execute("select 1")
    warehouse.publish(filled, "run-2")


def test_a_lock_ends_with_the_process_that_held_it(filled: Home) -> None:
    """A lock file that outlives a killed build would stop the pipeline until someone deletes it."""
    script = (
        "import os, signal; from orchestration import warehouse; from orchestration.home import Home\n"
        "with warehouse.writer_lock(Home.from_environment()): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, check=False, env={**os.environ, "TIDEGAUGE_HOME": str(filled.root)}
    )
    warehouse.publish(filled, "run-1")
