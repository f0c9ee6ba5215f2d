"""`make bench`: prints the table of PERFORMANCE figures and writes it as JSON.

CPU seconds (user + system) and peak memory of whole processes, medians of TIDEGAUGE_BENCH_RUNS (3); wall
times say little on shared machines. TIDEGAUGE_BENCH_ROWS (1,000,000) sizes the ingest file.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from orchestration.home import PROJECT, Home
from orchestration.sources.simulate import simulate
from tests.bench.contenders import CONTENDERS

ROWS = int(os.environ.get("TIDEGAUGE_BENCH_ROWS", "1000000"))
RUNS = int(os.environ.get("TIDEGAUGE_BENCH_RUNS", "3"))
# dlt's default takes minutes a million; a part is measured and scaled.
PART = {"dlt_default": 20}
TIDEGAUGE = Path(sys.executable).with_name("tidegauge")


@dataclass(frozen=True)
class Figure:
    """One measured row of the table."""

    work: str
    cpu_seconds: float
    peak_mb: float
    unit: str


def measure(command: list[str], **environment: str) -> tuple[float, float]:
    """(CPU seconds, peak MB) of a process and its children; CalledProcessError when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss / 1024
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = usage.ru_utime + usage.ru_stime
    return max(own, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), peak


def usage_file(path: Path, rows: int) -> Path:
    """A gz JSONL file of token usage with realistic entropy, the same for the same number of rows."""
    chosen = random.Random(7)
    with gzip.open(path, "wt", compresslevel=3) as stream:
        for n in range(rows):
            stream.write(json.dumps({
                "event_id": str(uuid.UUID(int=chosen.getrandbits(128))),
                "occurred_at": f"2026-11-{1 + n % 2:02d}T{chosen.randrange(24):02d}:{chosen.randrange(60):02d}:{chosen.randrange(60):02d}.{chosen.randrange(10**6):06d}Z",
                "origin_site_id": f"cn-{chosen.randrange(31)}", "serving_site_id": f"hub-{chosen.randrange(10)}",
                "tenant_id": f"tenant-{chosen.randrange(400):04d}", "model_id": f"model-{chosen.randrange(14)}",
                "product": "payg", "status": "ok", "request_count": 1, "input_tokens": chosen.randrange(4000),
                "cached_input_tokens": chosen.randrange(2000), "output_tokens": chosen.randrange(900), "reasoning_tokens": 0,
                "time_to_first_token_us": chosen.randrange(10**6), "duration_us": chosen.randrange(10**8),
            }) + "\n")
    return path


def ingest_figures(scratch: Path) -> list[Figure]:
    """Loading a gz JSONL file: ours and its peers, per million rows, start-up included; and start-up apart, by one row."""
    files = {1: usage_file(scratch / "usage.jsonl.gz", ROWS)}
    one_row = usage_file(scratch / "one.jsonl.gz", 1)
    found = []
    for name in CONTENDERS:
        part = PART.get(name, 1)
        if part not in files:
            files[part] = usage_file(scratch / f"usage-{part}.jsonl.gz", ROWS // part)
        samples = []
        for run in range(RUNS):
            folder = scratch / f"{name}-{run}"
            folder.mkdir()
            samples.append(measure([sys.executable, "-m", "tests.bench.contenders", name, str(files[part]), str(folder)]))
            shutil.rmtree(folder)
        cpu = statistics.median(cpu for cpu, _ in samples) * part * 1_000_000 / ROWS
        found.append(Figure(f"ingest: {name}", cpu, statistics.median(peak for _, peak in samples), "CPU-s per million rows"))
        folder = scratch / f"{name}-start"
        folder.mkdir()
        command = [sys.executable, "-m", "tests.bench.contenders", name, str(one_row), str(folder)]
        found.append(Figure(f"start-up: {name}", *measure(command), "CPU-s"))
    return found


def incremental_figures(scratch: Path) -> list[Figure]:
    """Building one late day after a short and a long history, and a run with nothing to do."""
    found = []
    for days in (14, 56):
        home = Home(scratch / f"history-{days}")
        simulate(home, days=days, seed=7, events_per_day=5_000, end_date=date(2026, 11, 22))
        environment = {"TIDEGAUGE_HOME": str(home.root)}
        measure([str(TIDEGAUGE), "run"], **environment)
        late = home.landing / "token_usage" / "2026-11-23" / "late.jsonl"
        late.parent.mkdir(parents=True, exist_ok=True)
        late.write_text('{"event_id":"late","occurred_at":"2026-11-20T01:00:00Z","input_tokens":1,"output_tokens":1}\n')
        late.with_name("late.jsonl.manifest.json").write_text('{"format": "canonical_token_usage", "lines": 1}')
        found.append(Figure(f"run: one late day after {days}", *measure([str(TIDEGAUGE), "run"], **environment), "CPU-s"))
        found.append(Figure(f"run: nothing to do after {days}", *measure([str(TIDEGAUGE), "run"], **environment), "CPU-s"))
    found.append(Figure("tidegauge --help", *measure([str(TIDEGAUGE), "--help"]), "CPU-s"))
    return found


def main() -> None:
    """Measures, prints and writes."""
    with tempfile.TemporaryDirectory(prefix="tidegauge-bench-") as folder:
        figures = ingest_figures(Path(folder)) + incremental_figures(Path(folder))
    floor = figures[0].cpu_seconds
    print(f"{'work':<36}{'CPU-s':>9}{'peak MB':>9}{'x floor':>9}   unit")
    for figure in figures:
        ratio = f"{figure.cpu_seconds / floor:.2f}" if figure.work.startswith("ingest") else ""
        print(f"{figure.work:<36}{figure.cpu_seconds:>9.2f}{figure.peak_mb:>9.0f}{ratio:>9}   {figure.unit}")
    target = Home.from_environment().root / "bench.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    print(f"written to {target}")


if __name__ == "__main__":
    main()
