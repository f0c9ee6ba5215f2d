"""The raw schema: exactly the committed deliveries, and exactly the days that a build must look at."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import polars as pl
import pytest

from orchestration import warehouse
from orchestration.contracts import SYSTEM_COLUMNS, TABLES, duckdb_type
from orchestration.forecasting.tables import BUSY_HOUR_DEMAND
from orchestration.home import Home
from tests.integration.deliveries import FIRST_DAY, deliver_reference, deliver_usage, load, usage

DAY = FIRST_DAY
NEXT = FIRST_DAY + timedelta(days=1)
# A process that ends without closing leaves what it wrote in the log.
LEAVE_A_LOG = (
    "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
    "c.execute('create table raw.t as select range as i from range(1000)'); "
    "c.execute('insert into raw.t select range from range(1000)'); os._exit(0)"
)
SITES = (
    "site_id,site_name,site_kind,population,valid_from\n"
    "cn-bj,Beijing,hotspot,{population},\n"
)


def dirty(home: Home) -> set[tuple[str, date]]:
    """What the next build would look at."""
    warehouse.prepare(home)
    return set(rows(home, "select table_name, event_day from raw.dirty_days"))


def rows(home: Home, query: str) -> list[tuple]:
    """Rows of a query over the warehouse."""
    with warehouse.connect(home, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_an_empty_store_has_every_raw_table_with_its_types(home: Home) -> None:
    """A model over a feed that nobody delivers must build to an empty table, not fail."""
    warehouse.prepare(home)
    found = {(table, column): data_type for table, column, data_type in rows(
        home, "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'raw'"
    )}
    for table in TABLES.values():
        for column in (*SYSTEM_COLUMNS, *table.columns):
            assert found[table.name, column.name] == duckdb_type(column.dtype)
        assert found[table.name, "event_day"] == "DATE"
    for table, columns in (("receipts", warehouse.RECEIPT_COLUMNS), ("quarantine", warehouse.QUARANTINE_COLUMNS)):
        assert {name: found[table, name] for name in columns} == columns
    assert not any("WITH TIME ZONE" in data_type for data_type in found.values())


def test_a_view_holds_loaded_deliveries_and_no_superseded_ones(home: Home) -> None:
    """A corrected file counted beside the file it corrects would double its tokens."""
    deliver_usage(home, DAY, "a.jsonl", usage(DAY, 3))
    load(home)
    deliver_usage(home, DAY, "a.jsonl", usage(DAY, 2))
    load(home)
    warehouse.prepare(home)
    assert rows(home, "select count(*), sum(input_tokens), min(event_day) from raw.token_usage") == [(2, 201, DAY)]
    assert sorted(rows(home, "select status, received_count from raw.receipts")) == [("loaded", 2), ("superseded", 3)]


def test_quarantined_lines_are_listed_with_their_bytes(home: Home) -> None:
    """A rejected line that can't be read back can't be repaired."""
    deliver_usage(home, DAY, "a.jsonl", [*usage(DAY, 1), {**usage(DAY, 1, first=1)[0], "input_tokens": 1.5}])
    load(home)
    warehouse.prepare(home)
    ((line_number, raw_bytes),) = rows(home, "select line_number, raw_bytes from raw.quarantine")
    assert line_number == 2
    assert b"1.5" in raw_bytes


def test_days_are_dirty_until_a_build_has_seen_them(home: Home) -> None:
    """A day forgotten after a failed build keeps old figures for ever."""
    deliver_usage(home, NEXT, "a.jsonl", usage(DAY, 2) + usage(NEXT, 1))
    load(home)
    assert dirty(home) == {("token_usage", DAY), ("token_usage", NEXT)}
    assert dirty(home) == {("token_usage", DAY), ("token_usage", NEXT)}
    warehouse.mark_built(home)
    assert dirty(home) == set()
    deliver_usage(home, NEXT, "b.jsonl", usage(NEXT, 1, first=5))
    load(home)
    assert dirty(home) == {("token_usage", NEXT)}


def test_days_of_a_superseded_delivery_are_dirty_also_when_nothing_is_left_of_them(home: Home) -> None:
    """A day whose only rows were withdrawn keeps them in the marts unless it is looked at again."""
    deliver_usage(home, NEXT, "a.jsonl", usage(DAY, 2))
    load(home)
    warehouse.prepare(home)
    warehouse.mark_built(home)
    deliver_usage(home, NEXT, "a.jsonl", usage(NEXT, 2))
    load(home)
    assert dirty(home) == {("token_usage", DAY), ("token_usage", NEXT)}


def test_a_backfill_makes_days_dirty_until_they_are_built(home: Home) -> None:
    """A day asked for by name must be rebuilt although nothing new was delivered for it."""
    warehouse.prepare(home)
    warehouse.request_days(home, "token_usage", [DAY, DAY])
    assert dirty(home) == {("token_usage", DAY), ("token_lengths", DAY)}
    warehouse.mark_built(home)
    assert dirty(home) == set()


def test_new_sites_make_every_day_of_usage_dirty(home: Home) -> None:
    """Records without a site are placed by population, so another population moves old ones too."""
    deliver_usage(home, NEXT, "a.jsonl", usage(DAY, 1) + usage(NEXT, 1))
    deliver_reference(home, DAY, "sites.csv", SITES.format(population=10), "sites")
    load(home)
    warehouse.prepare(home)
    warehouse.mark_built(home)
    deliver_reference(home, NEXT, "sites.csv", SITES.format(population=20), "sites")
    load(home)
    assert dirty(home) >= {("token_usage", DAY), ("token_usage", NEXT)}


def test_a_first_build_is_told_from_a_build_after_the_models_changed(home: Home, monkeypatch) -> None:
    """Days built by old models beside days built by new ones are two truths in one table."""
    deliver_usage(home, DAY, "a.jsonl", usage(DAY, 1))
    load(home)
    assert not warehouse.prepare(home).needs_full_refresh
    warehouse.mark_built(home)
    assert not warehouse.prepare(home).needs_full_refresh
    monkeypatch.setattr(warehouse, "project_hash", lambda: "another project")
    assert warehouse.prepare(home).needs_full_refresh


def test_a_home_whose_path_is_a_glob_or_holds_a_quote_reads_its_own_files(tmp_path) -> None:
    """DuckDB expands [ab]* in file names, and a quote ends the string."""
    strange = Home(tmp_path / "ho[me]* it's")
    deliver_usage(strange, DAY, "a.jsonl", usage(DAY, 2))
    load(strange)
    warehouse.prepare(strange)
    assert rows(strange, "select count(*) from raw.token_usage") == [(2,)]


@pytest.mark.parametrize("damage", ["garbage", "flipped", "wal"])
def test_a_damaged_warehouse_is_set_aside_and_rebuilt(home: Home, damage: str, caplog) -> None:
    """A file that DuckDB can't open must cost one rebuild and no hand work; evidence is kept."""
    deliver_usage(home, DAY, "a.jsonl", usage(DAY, 2))
    load(home)
    warehouse.prepare(home)
    warehouse.mark_built(home)
    if damage == "garbage":
        home.warehouse.write_bytes(b"not a database" * 1000)
    elif damage == "flipped":
        content = bytearray(home.warehouse.read_bytes())
        content[:4096] = bytes(byte ^ 0xFF for byte in content[:4096])
        home.warehouse.write_bytes(content)
    else:
        subprocess.run([sys.executable, "-c", LEAVE_A_LOG, str(home.warehouse)], check=True)
        wal = home.warehouse.with_name("warehouse.duckdb.wal")
        content = bytearray(wal.read_bytes())
        content[len(content) // 3] ^= 0xFF
        wal.write_bytes(content)
    with pytest.raises(warehouse.WarehouseAbsent, match="tidegauge run"), warehouse.connect(home, read_only=True):
        pass
    assert dirty(home) == {("token_usage", DAY)}
    assert list(home.root.glob("warehouse.duckdb*.corrupt-*"))


def test_tables_of_the_forecast_are_replaced_all_or_none(home: Home) -> None:
    """A need of this week beside a forecast of last week is a decision on wrong grounds."""
    row = {"cutoff_date": DAY, "level": "nation", "series_id": "nation", "week_start_date": DAY,
           "demand_accelerator_count": 1.0, "usable_accelerator_count": 2.0}
    frame = BUSY_HOUR_DEMAND.frame([{column.name: row.get(column.name, 1.0) for column in BUSY_HOUR_DEMAND.columns}])
    warehouse.write_tables(home, "capacity", {BUSY_HOUR_DEMAND.name: frame, "other": pl.DataFrame({"n": [1]})})
    with pytest.raises(ValueError, match="lacks the columns level"):
        warehouse.write_tables(
            home, "capacity", {"other": pl.DataFrame({"n": [2]}), BUSY_HOUR_DEMAND.name: frame.drop("level")}
        )
    assert rows(home, "select n from capacity.other") == [(1,)]
    zoned = pl.DataFrame({"at": ["2026-11-16T00:00:00Z"]}).with_columns(pl.col("at").str.to_datetime(time_zone="UTC"))
    with pytest.raises(ValueError, match="zoned"):
        warehouse.write_tables(home, "capacity", {"other": zoned})


def test_what_is_due_follows_from_what_changed(home: Home, monkeypatch) -> None:
    """A run that rebuilds everything every time is slow; one that misses a change is wrong."""
    assert warehouse.due_steps(home) == ()
    deliver_usage(home, DAY, "a.jsonl", usage(DAY, 1))
    assert warehouse.due_steps(home) == warehouse.STEPS
    load(home)
    assert warehouse.due_steps(home) == warehouse.STEPS
    warehouse.prepare(home)
    warehouse.mark_built(home)
    assert warehouse.due_steps(home) == ("forecast", "publish")
    warehouse.mark_forecast(home)
    assert warehouse.due_steps(home) == ("publish",)
    warehouse.mark_built(home)
    assert warehouse.due_steps(home) == ("forecast", "publish")
    warehouse.request_days(home, "token_usage", [DAY])
    assert warehouse.due_steps(home) == warehouse.STEPS
