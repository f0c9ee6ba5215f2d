"""SIGKILL during ingest: whatever the moment, running it again loses nothing and counts nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import duckdb
import pytest

from orchestration.home import Home
from orchestration.landing import MANIFEST_SUFFIX
from orchestration.raw_store import ingest, receipts

KILLS = 200 if os.environ.get("TIDEGAUGE_LONG_FAULTS") else 8
CHILD = "import sys; from pathlib import Path; from orchestration.home import Home; from orchestration.raw_store import ingest; ingest(Home(Path(sys.argv[1])), workers=1)"


@pytest.fixture
def home(tmp_path) -> Home:
    """Twelve deliveries that wait in landing."""
    home = Home(tmp_path / "home")
    folder = home.landing / "token_usage" / "2026-11-20"
    folder.mkdir(parents=True)
    for part in range(12):
        path = folder / f"{part}.jsonl"
        path.write_text("".join(
            json.dumps({"event_id": f"{part}-{n}", "occurred_at": f"2026-11-{18 + n % 2}T01:00:00Z", "input_tokens": n}) + "\n"
            for n in range(2000)
        ))
        path.with_name(path.name + MANIFEST_SUFFIX).write_text('{"format": "canonical_token_usage"}')
    return home


def _run(home: Home, **environment: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(home.root)], env={**os.environ, **environment})


def _whole(home: Home) -> tuple:
    ingest(home)
    files = [str(home.raw / name) for receipt in receipts(home) for name in receipt.files]
    return duckdb.sql(f"select count(*), count(distinct event_id), sum(input_tokens) from read_parquet({files})").fetchone()


EXPECTED = (24_000, 24_000, 12 * sum(range(2000)))


def test_kills_at_random_moments_lose_nothing(home):
    """Prevents a power cut from losing a delivery or counting one twice."""
    chosen = random.Random(7)
    for _ in range(KILLS):
        child = _run(home)
        time.sleep(chosen.uniform(0.3, 1.6))
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert _whole(home) == EXPECTED


@pytest.mark.parametrize("point", ["ingest:before_write", "ingest:before_rename", "ingest:before_receipt", "ingest:after_receipt"])
def test_a_kill_at_each_step_of_the_commit_loses_nothing(home, point):
    """Prevents rows without a receipt from existing, and a receipt without rows from counting."""
    child = _run(home, TIDEGAUGE_FAULT=point)
    assert child.wait() == -signal.SIGKILL
    assert _whole(home) == EXPECTED
    assert not any((home.temporary / "parse").iterdir())
