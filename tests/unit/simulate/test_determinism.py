"""The same arguments give the same bytes in bounded memory, whatever the process and machine settings."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.sources.simulate import simulate

END = date(2026, 11, 20)
PROGRAM = """
import resource, sys
from datetime import date
from pathlib import Path
from orchestration.home import Home
from orchestration.sources.simulate import simulate
folder, days, events = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
simulate(Home(folder), days=days, seed=3, events_per_day=events, end_date=date(2026, 11, 20))
if sys.platform == "darwin":
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
else:
    # ru_maxrss of a child begins with the memory of the process that forked it, here a whole test run.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) * 1024)
"""


def run(folder: Path, days: int, events_per_day: int, **environment: str) -> int:
    """Simulates in a process of its own; returns its peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(days), str(events_per_day)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_time_zone_hash_seed_and_threads_change_nothing(tmp_path):
    """A simulation that depends on the machine can't be compared between two of them."""
    run(tmp_path / "a", 2, 300, TZ="UTC", PYTHONHASHSEED="1")
    run(tmp_path / "b", 2, 300, TZ="America/New_York", PYTHONHASHSEED="2", POLARS_MAX_THREADS="1")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_running_twice_into_the_same_home_changes_nothing(tmp_path):
    """Landing is immutable: the second run must leave exactly the files of the first."""
    home = Home(tmp_path)
    simulate(home, days=2, seed=3, events_per_day=300, end_date=END)
    before = tree(tmp_path)
    simulate(home, days=2, seed=3, events_per_day=300, end_date=END)
    assert tree(tmp_path) == before


def test_another_seed_gives_other_events(tmp_path):
    """A seed that changes nothing would make many simulations one."""
    one = simulate(Home(tmp_path / "a"), days=1, seed=3, events_per_day=300, end_date=END)
    two = simulate(Home(tmp_path / "b"), days=1, seed=4, events_per_day=300, end_date=END)
    assert one.content["token_usage"]["total"] != two.content["token_usage"]["total"]


def usage_of_last_day(folder: Path) -> dict[str, bytes]:
    """Lines of the last day's own files by event id; the lines that overlap with the day before left out."""
    found: dict[str, bytes] = {}
    for path in sorted(
        (folder / "landing" / "token_usage" / END.isoformat()).glob("token-usage-2026*.gz")
    ):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record["occurred_at"] >= "2026-11-19T16:00:00":
                found.setdefault(record["event_id"], line)
    return found


def test_a_day_is_the_same_however_many_days_came_before(tmp_path):
    """Making one day again must not need all days before it."""
    simulate(Home(tmp_path / "alone"), days=1, seed=3, events_per_day=300, end_date=END)
    simulate(Home(tmp_path / "after"), days=3, seed=3, events_per_day=300, end_date=END)
    alone = usage_of_last_day(tmp_path / "alone")
    assert len(alone) > 280
    assert alone == usage_of_last_day(tmp_path / "after")


def test_memory_does_not_grow_with_days(tmp_path):
    """A year of days must need no more memory than a week of them."""
    assert run(tmp_path / "many", 12, 2_000) < 1.15 * run(tmp_path / "few", 2, 2_000)


def test_memory_does_not_grow_with_events_beyond_a_part(tmp_path):
    """A day of many events is written part by part, so its size does not matter."""
    assert run(tmp_path, 1, 600_000) < 800e6


def test_progress_is_told_day_by_day(tmp_path):
    """Someone who waits must see that something moves."""
    told = []
    simulate(
        Home(tmp_path),
        days=2,
        seed=3,
        events_per_day=100,
        end_date=END,
        progress=lambda *done: told.append(done),
    )
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("wrong", [{"days": 0}, {"events_per_day": 99}])
def test_too_small_a_simulation_is_refused(tmp_path, wrong):
    """Nothing to simulate is a mistake, and must not write half a landing folder."""
    with pytest.raises(ValueError, match="must be at least"):
        simulate(Home(tmp_path), **wrong)
    assert not list(tmp_path.iterdir())
