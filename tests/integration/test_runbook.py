"""Incidents of the runbook, made for real on one small home; each ends with the command its page ends in.

The tests go in the order of the file: cheap ones leave the home as the next needs it. Late data is in
test_cli_commands, price fix and restatement are in test_restatements, where their homes are.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.home import PROJECT, Home
from orchestration.landing import MANIFEST_SUFFIX
from orchestration.raw_store import receipts
from orchestration.warehouse import canonical_hash
from tests.conftest import TIDEGAUGE, run_tidegauge, succeed
from tests.integration.deliveries import FIRST_DAY, deliver_usage, usage
from tests.runbook import PAGES, closing_command

# Room for logs and Dagster's store, and not for the two editions.
FILE_LIMIT_BYTES = 2 * 2**20


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that has published one day of usage, and goes from one incident to the next."""
    home = Home(tmp_path_factory.mktemp("runbook") / "home")
    deliver_usage(home, FIRST_DAY, f"usage-{FIRST_DAY}.jsonl", usage(FIRST_DAY, 30))
    succeed(home, "run")
    return home


def test_every_page_ends_in_a_command_that_a_test_types():
    """A page whose command nobody has typed is a guess at three in the morning."""
    pages = {path.stem for path in PAGES.glob("*.md")} - {"index"}
    typed = {
        page for path in (PROJECT / "tests").rglob("test_*.py")
        for page in re.findall(r'closing_command\(\s*"([a-z-]+)"', path.read_text("utf-8"))
    }
    assert pages == typed
    listed = set(re.findall(r"\(([a-z-]+)\.md\)", (PAGES / "index.md").read_text("utf-8")))
    assert listed == pages


def test_stuck_lock(incident: Home):
    """Prevents a hung process from blocking the pipeline with nobody knowing which it is."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom orchestration.home import Home\n"
        "from orchestration.warehouse import writer_lock\n"
        f"with writer_lock(Home(Path({str(incident.root)!r}))):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    hung = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert hung.stdout.readline() == "held\n"
    try:
        blocked = run_tidegauge(incident, "build")
        assert blocked.exit_code == 3
        assert f"pid {hung.pid}" in blocked.stderr
        [check] = [
            check for check in run_tidegauge(incident, "doctor", "--json").json["checks"] if not check["ok"]
        ]
        assert f"pid {hung.pid}" in check["found"]
        assert "kill" in check["next_step"]
    finally:
        hung.send_signal(signal.SIGKILL)
        hung.wait()
    succeed(incident, *closing_command("stuck-lock"))


def test_disk_full(incident: Home):
    """Prevents a publish that ran out of space from leaving half a file, or from needing more than room and a retry."""
    succeed(incident, "forecast")
    before = incident.capacity.read_bytes()
    full = subprocess.run(
        [str(TIDEGAUGE), "run"], capture_output=True, text=True, check=False,
        env={**os.environ, "TIDEGAUGE_HOME": str(incident.root)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES)),
    )
    assert full.returncode == 1, full.stderr
    assert "free some space" in full.stderr
    assert "Traceback" not in full.stderr
    assert incident.capacity.read_bytes() == before
    succeed(incident, *closing_command("disk-full"))
    assert run_tidegauge(incident, "status", "--json").json["due"] == []
    assert not list(incident.published.glob(".edition-*"))


def test_corrupt_database(incident: Home):
    """Prevents a damaged file from being trusted, from being deleted, and from changing a figure."""
    before = canonical_hash(incident.capacity) | canonical_hash(incident.finance)
    content = bytearray(incident.warehouse.read_bytes())
    content[:4096] = os.urandom(4096)
    incident.warehouse.write_bytes(content)
    checks = {check["check"]: check for check in run_tidegauge(incident, "doctor", "--json").json["checks"]}
    assert not checks["the warehouse opens"]["ok"]
    assert "tidegauge run" in checks["the warehouse opens"]["next_step"]
    succeed(incident, *closing_command("corrupt-database"))
    assert canonical_hash(incident.capacity) | canonical_hash(incident.finance) == before
    [kept] = incident.root.glob("warehouse.duckdb.corrupt-*")
    assert kept.read_bytes() == content


def test_bad_file(incident: Home, tmp_path: Path):
    """Prevents a refused delivery from being lost, and its correction from counting beside it."""
    path = tmp_path / closing_command("bad-file")[-1]
    records = usage(FIRST_DAY, 3, first=100)
    _write(path, [record | {"input_tokens": -1} for record in records])
    assert run_tidegauge(incident, "ingest", path).exit_code == 1
    [held] = run_tidegauge(incident, "quarantine", "list", "--json").json["deliveries"]
    assert held["quarantined_count"] == 3
    shown = succeed(incident, "quarantine", "show", held["delivery_id"][:12], "--json").json["lines"]
    assert [(line["line_number"], '"input_tokens": -1' in line["raw"]) for line in shown] == [(1, True), (2, True), (3, True)]
    _write(path, records)
    ran = succeed(incident, *closing_command("bad-file", argument=str(path)), "--json").json
    assert ran["totals"] == {"received_count": 3, "loaded_count": 3, "duplicate_count": 0, "quarantined_count": 0}
    assert [delivery["delivery_id"] for delivery in ran["superseded"]] == [held["delivery_id"]]


def test_schema_change(incident: Home):
    """Prevents lines that a new manifest makes readable from staying in quarantine, or from needing a new delivery."""
    path = incident.landing / "token_usage" / FIRST_DAY.isoformat() / "usage-gateway-west.jsonl"
    _write(path, [{"gateway": "west", "build": 7}, *usage(FIRST_DAY, 4, first=200)])
    # A file that was written a moment ago may still be growing, and would wait.
    os.utime(path, (path.stat().st_mtime - 60,) * 2)
    assert run_tidegauge(incident, "ingest").exit_code == 1
    [receipt] = [receipt for receipt in receipts(incident) if receipt.delivery_name == path.name]
    assert receipt.quarantined_by_reason == {"unknown_format": 1}
    path.with_name(path.name + MANIFEST_SUFFIX).write_text('{"format": "canonical_token_usage"}')
    ran = succeed(incident, *closing_command("schema-change"), "--json").json
    [row] = [row for row in ran["replayed"] if row["delivery_name"] == path.name]
    assert (row["loaded_before"], row["loaded_after"], row["quarantined_after"]) == (0, 4, 1)


def _write(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
