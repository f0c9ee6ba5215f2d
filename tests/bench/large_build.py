"""`make bench-large`: 100 million token events through one build, held to 4 GB.

One stretch of days is simulated and ingested for real. Writing and parsing five times as much would
say nothing more about the build, so the raw store is then filled up: each delivery again under other
ids and on earlier days, receipt and all. The build, the forecast and the publish see 100 million rows
that no cache and no deduplication can take together.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb

from orchestration import raw_store, warehouse
from orchestration.home import Home
from tests.bench.__main__ import TIDEGAUGE, measure

EVENTS = int(os.environ.get("TIDEGAUGE_BENCH_EVENTS", "100000000"))
SIMULATED_DAYS = 4
STRETCHES = 5
"""Stretches of days in the raw store: the simulated one and those before it."""
PEAK_GOAL_MB = 4096
END = date(2026, 11, 6)


def copy_delivery(home: Home, receipt: raw_store.Receipt, days: int, connection: duckdb.DuckDBPyConnection) -> None:
    """Commits a delivery once more, ``days`` earlier and with event ids of its own."""
    delivery_id = hashlib.sha256(f"{receipt.delivery_id} {days} days earlier".encode()).hexdigest()
    event_days = [day - timedelta(days=days) for day in receipt.event_days]
    files, sizes = [], []
    for name, day in zip(receipt.files, event_days, strict=True):
        file = f"{receipt.feed}/event_day={day}/{delivery_id}.parquet"
        target = home.raw / file
        target.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(
            f"""copy (
                select * replace (
                    md5(event_id || '{days}')::uuid::varchar as event_id, '{delivery_id}' as delivery_id,
                    occurred_at - interval {days} day as occurred_at
                ) from read_parquet(?, hive_partitioning = false)
            ) to '{target}' (format parquet, compression zstd)""",
            [str(home.raw / name)],
        )
        files.append(file)
        sizes.append(target.stat().st_size)
    text = json.loads(receipt.to_json()) | {
        "delivery_id": delivery_id, "delivery_name": f"earlier-{days}-{receipt.delivery_name}", "files": files,
        "file_sizes": sizes, "event_days": [day.isoformat() for day in event_days],
        # The lines a delivery lost stay with the one that was parsed.
        "received_count": receipt.loaded_count, "duplicate_count": 0, "quarantined_count": 0, "quarantined_by_reason": {},
        "delivered_date": (receipt.delivered_date - timedelta(days=days)).isoformat(),
    }
    folder = home.raw / "_receipts" / receipt.feed
    (folder / f"{delivery_id}.json").write_text(json.dumps(text))


def fill(home: Home) -> None:
    """Simulates and ingests SIMULATED_DAYS, then commits their usage again on the days before."""
    environment = {"TIDEGAUGE_HOME": str(home.root)}
    # A hundredth more, for the lines that are broken on purpose.
    events_per_day = EVENTS * 101 // 100 // (SIMULATED_DAYS * STRETCHES)
    measure([str(TIDEGAUGE), "simulate", "--days", str(SIMULATED_DAYS), "--events-per-day", str(events_per_day),
             "--seed", "3", "--end", END.isoformat()], **environment)
    measure([str(TIDEGAUGE), "ingest"], **environment)
    copy_usage(home, STRETCHES)


def copy_usage(home: Home, stretches: int) -> None:
    """Commits every usage delivery so often in all, each time SIMULATED_DAYS earlier."""
    with duckdb.connect() as connection:
        connection.execute("set memory_limit = '1GB'; set enable_progress_bar = false")
        for receipt in raw_store.receipts(home, "token_usage"):
            for copy in range(1, stretches):
                copy_delivery(home, receipt, copy * SIMULATED_DAYS, connection)


def main() -> int:
    """Fills a home, builds it, prints CPU and peak memory; 1 when the peak is above the goal."""
    with tempfile.TemporaryDirectory(prefix="tidegauge-bench-") as folder:
        home = Home(Path(folder))
        fill(home)
        return build(home)


def build(home: Home) -> int:
    """Builds a filled home and says what it took; 1 when the peak is above the goal or a count differs."""
    rows = sum(receipt.loaded_count for receipt in raw_store.receipts(home, "token_usage"))
    environment = {"TIDEGAUGE_HOME": str(home.root)}
    cpu, peak = measure([str(TIDEGAUGE), "build"], **environment)
    with warehouse.connect(home, read_only=True) as connection:
        ((compared, difference),) = connection.execute(
            "select count(*), sum(abs(difference)) from quality.fct_reconciliation"
        ).fetchall()
    print(
        f"build of {rows:,} token events: {cpu:.0f} CPU-s, {cpu / rows * 1e9:.0f} ns a row, "
        f"peak {peak:.0f} MB (goal {PEAK_GOAL_MB}); {compared} reconciliations, difference {difference}"
    )
    return int(peak > PEAK_GOAL_MB or difference != 0)


if __name__ == "__main__":
    sys.exit(main())
