"""An incremental dbt build must leave the same tables as a full build of the same deliveries.

Raw tables are made here by rule, day by day, without parsers: what a delivery holds is a function of
its name, so that adding and taking away deliveries is all that differs between two warehouses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from orchestration.contracts import EVENT_TABLES, SYSTEM_COLUMNS, TABLES, duckdb_type
from orchestration.home import DBT_PROJECT
from orchestration.warehouse import QUARANTINE_COLUMNS, RECEIPT_COLUMNS, canonical_hash

SCHEMAS = ("staging", "intermediate", "capacity", "quality")
DBT = Path(sys.executable).with_name("dbt")

# Rows of every delivery there could be: 'first' and 'second' hold halves of a day, 'again' repeats a
# third of the first with a few of other content, 'late' holds what came long after.
RULES = {
    "token_usage": """
        select 'meter' as source_id, 'e' || number as event_id,
            hash(number, {part} = 'again' and number % 5 = 0) as payload_hash,
            timestamp '2026-11-10' + to_seconds(number * 173) as occurred_at,
            case when number % 3 > 0 then 'cn-gd' end as origin_site_id,
            case when number % 4 > 0 then 'gba-sg' end as serving_site_id,
            case when number % 7 > 0 then 't' || number % 5 end as tenant_id,
            case when number % 2 = 0 then 'kimi-k3' else 'chat' end as model_id,
            case when number % 11 = 0 then 'throttled' else 'ok' end as status,
            1 + number % 3 as request_count,
            case when number % 3 > 0 then number * 7 % 1000 end as input_tokens,
            case when number % 3 > 0 then number * 5 % 100 + ({part} = 'again')::int end as output_tokens
        from numbers(3000)
    """,
    "token_lengths": """
        select 'meter' as source_id, 'l' || number as event_id, hash(number) as payload_hash,
            timestamp '2026-11-10' + to_hours(18 + 24 * (number // 5)) as window_started_at, 43200 as window_seconds,
            't' || number % 5 as tenant_id, 'chat' as model_id, 100 + number as mean_input_tokens,
            20.5 + number as mean_output_tokens
        from numbers(30)
    """,
    "job_logs": """
        select 'slurm' as source_id, 'j' || number || {part} as event_id, hash(number, {part}) as payload_hash,
            'cluster' as cluster_id, number::varchar as job_id, 0 as restart_count, 'training' as partition,
            timestamp '2026-11-10' + to_seconds(number * 1111) as submitted_at,
            timestamp '2026-11-10' + to_seconds(number * 1111 + 600) as started_at,
            case when {part} <> 'first' then timestamp '2026-11-10' + to_seconds(number * 1111 + number * 97) + interval 1 hour
            end as ended_at,
            timestamp '2026-11-10' + to_seconds(number * 1111 + 900) as observed_at,
            case when {part} = 'first' then 'RUNNING' else 'COMPLETED' end as state, 4 as accelerator_count,
            2 as node_count, 'n' || number % 3 || ',n' || number % 3 + 1 as node_list
        from numbers(460)
    """,
    "telemetry": """
        select 'dcgm' as source_id, 's' || number as event_id, hash(number) as payload_hash,
            timestamp '2026-11-10' + to_seconds(number * 240) as sampled_at, 'd' || number % 4 as device_id,
            'training' as pool_id, 240 as interval_seconds, (number % 100) / 100.0 as sm_active_ratio,
            100.0 + number % 7 as power_watts, (number % 900) * 24000.5 as energy_joules,
            case when number % 50 = 0 then 'down' end as device_state
        from numbers(2160)
    """,
    "pool_telemetry": """
        select 'counts' as source_id, 'p' || number as event_id, hash(number) as payload_hash,
            timestamp '2026-11-10' + to_seconds(number * 600) as sampled_at, 'earth' as cluster_id,
            'vc' || number % 2 as pool_id, 80 as installed_accelerator_count, number % 81 as allocated_accelerator_count
        from numbers(864)
    """,
    "link_counters": """
        select 'snmp' as source_id, 'o' || number as event_id, hash(number) as payload_hash,
            timestamp '2026-11-10' + to_seconds(number * 311) as sampled_at, 'jjj-zjk--yrd-demo' as link_id,
            ((number % 700) * 1000000007)::ubigint as octets_a_to_b, (number * 999999937)::ubigint as octets_b_to_a
        from numbers(1700) where number not between 270 and 290
    """,
}
EVENT_TIMES = {table.name: table.event_time for table in EVENT_TABLES}
PARTS = ("first", "second", "again", "late")
BEFORE = {(day, part) for day in (10, 11, 12, 13, 14) for part in ("first", "second", "again")} | {(15, "first")}
# The only delivery of the last day is withdrawn, and all of the 12th: its neighbours lose a sample and
# the lengths in force, though nothing of theirs changed. The 10th gains what is late.
AFTER = {(day, part) for day, part in BEFORE if day not in (12, 15)} | {(10, "late")}


def write_raw(path: Path, deliveries: set[tuple[int, str]], dirty: set[tuple[int, str]], backwards: bool) -> None:
    """Makes the raw schema of exactly these deliveries; ``backwards`` stores the rows in another order."""
    connection = duckdb.connect(str(path))
    connection.execute("create schema if not exists raw")
    connection.execute("create or replace macro numbers(upto) as table select range as number from range(upto)")
    connection.execute(f"create or replace table raw.receipts ({_columns(RECEIPT_COLUMNS)})")
    connection.execute(f"create or replace table raw.quarantine ({_columns(QUARANTINE_COLUMNS)})")
    connection.execute("create or replace table raw.dirty_days (table_name VARCHAR, event_day DATE)")
    for table in TABLES.values():
        types = {column.name: duckdb_type(column.dtype) for column in (*SYSTEM_COLUMNS, *table.columns)}
        connection.execute(f"create or replace table raw.{table.name} ({_columns({**types, 'event_day': 'DATE'})})")
    chosen = ", ".join(f"'{day}-{part}'" for day, part in sorted(deliveries))
    for name, rule in RULES.items():
        parts = " union all ".join(f"select '{part}' as part, * from ({rule.replace('{part}', repr(part))})" for part in PARTS)
        connection.execute(f"""
            insert into raw.{name} by name
            select * exclude (part, number), '{name}-' || day(event_day) || '-' || part as delivery_id,
                number as line_number, 1 as line_count
            from (
                select *, {EVENT_TIMES[name]}::date as event_day,
                    row_number() over (partition by part order by {EVENT_TIMES[name]}, event_id) as number
                from ({parts})
            )
            where day(event_day) || '-' || part in ({chosen})
                and case part when 'first' then number % 2 = 0 when 'second' then number % 2 = 1
                    when 'again' then number % 6 = 0 else number % 9 = 0 end
            order by {'hash(event_id)' if backwards else 'event_id'}
        """)
        connection.execute(f"""
            insert into raw.receipts by name
            select delivery_id, any_value(source_id) as source_id, '{TABLES[name].feed}' as feed, '{name}' as table_name,
                'rule' as format, delivery_id || '.csv' as delivery_name,
                max(event_day) + case when delivery_id like '%first' then 1 when delivery_id like '%second' then 2 else 3 end
                    as delivered_date,
                timestamp '2026-11-20' as ingested_at, count(*) as received_count, count(*) as loaded_count,
                0 as duplicate_count, 0 as quarantined_count, 'loaded' as status
            from raw.{name} group by delivery_id
        """)
        for day, _ in dirty:
            connection.execute(f"insert into raw.dirty_days values ('{name}', date '2026-11-{day}')")
    connection.execute("""
        insert into raw.node_pools by name
        select 'ref' as source_id, 'training' as event_id, 1::ubigint as payload_hash, 'ref' as delivery_id,
            1 as line_number, 1 as line_count, 'training' as pool_id, 'cluster' as cluster_id, 'gba-sg' as site_id,
            'nvidia-h20' as accelerator_id, 'training' as purpose, 5 as node_count, 4 as accelerators_per_node,
            date '1970-01-01' as event_day
    """)
    connection.execute("insert into raw.receipts (delivery_id, delivered_date) values ('ref', date '2026-11-01')")
    connection.execute("update raw.receipts set received_count = 1, loaded_count = 1, duplicate_count = 0, "
                       "quarantined_count = 0, status = 'loaded', table_name = 'node_pools', feed = 'reference', "
                       "source_id = 'ref' where delivery_id = 'ref'")
    connection.close()


def _columns(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {sql_type}" for name, sql_type in types.items())


def build(path: Path, target: Path, zone: str = "UTC") -> None:
    """Runs seeds and models, without tests; raises with dbt's words when it fails."""
    environment = {
        **os.environ, "TIDEGAUGE_WAREHOUSE": str(path), "DBT_PROFILES_DIR": str(DBT_PROJECT), "TZ": zone,
        "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target), "DBT_USE_COLORS": "false",
    }
    finished = subprocess.run(
        [str(DBT), "build", "--exclude-resource-type", "unit_test", "test"], cwd=DBT_PROJECT, env=environment,
        capture_output=True, text=True, check=False,
    )
    assert finished.returncode == 0, finished.stdout[-4000:]


def hashes(path: Path) -> dict[str, str]:
    """Canonical hashes of every table and view that dbt made."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return canonical_hash(connection, SCHEMAS)


@pytest.fixture(scope="module")
def warehouses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One warehouse brought up to date by an incremental build, and one built whole from the same deliveries."""
    folder = tmp_path_factory.mktemp("incremental")
    incremental, full = folder / "incremental.duckdb", folder / "full.duckdb"
    write_raw(incremental, BEFORE, set(), backwards=False)
    build(incremental, folder / "target")
    write_raw(incremental, AFTER, BEFORE ^ AFTER, backwards=False)
    build(incremental, folder / "target")
    write_raw(full, AFTER, set(), backwards=True)
    build(full, folder / "target", zone="America/New_York")
    return incremental, full


def test_an_incremental_build_equals_a_full_one_in_any_row_order_and_time_zone(warehouses):
    """Prevents a stale, doubled or lost day after a late or withdrawn delivery."""
    incremental, full = (hashes(path) for path in warehouses)
    assert len(full) > 50
    assert {name for name in full if full[name] != incremental.get(name)} == set()


def test_a_day_whose_only_delivery_was_withdrawn_is_empty(warehouses):
    """Prevents rows that no committed delivery holds any more from staying in the marts."""
    with duckdb.connect(str(warehouses[0]), read_only=True) as connection:
        days = connection.execute("select max(event_day) from capacity.fct_token_usage_hourly").fetchone()
    assert str(days[0]) == "2026-11-14"


def test_landing_raw_and_marts_agree(warehouses):
    """Prevents a record or a token from being lost or counted twice between two layers."""
    for path in warehouses:
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute("select table_name, metric, difference from quality.fct_reconciliation").fetchall()
        assert len(rows) > 15
        assert [row for row in rows if row[2] != 0] == []
