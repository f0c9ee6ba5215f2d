"""The Dagster UI as a data engineer uses it: a backfill of three days, started by clicks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from orchestration.home import Home
from orchestration.raw_store import receipts
from orchestration.sources.simulate import simulate

STARTS_WITHIN_SECONDS = 180
BACKFILLS_WITHIN_SECONDS = 180
DAYS = (date(2026, 11, 10), date(2026, 11, 11), date(2026, 11, 12))


@pytest.fixture
def landed(tmp_path: Path) -> Home:
    """Two weeks of deliveries that wait in landing."""
    home = Home(tmp_path / "home")
    simulate(home, days=14, seed=7, events_per_day=200, end_date=date(2026, 11, 22))
    return home


@pytest.fixture
def ui(landed: Home) -> Iterator[str]:
    """The address of `tidegauge dev` on that home."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (landed.root / "dev.log").open("wb")
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("tidegauge")), "dev", "--port", str(port)],
        env={**os.environ, "TIDEGAUGE_HOME": str(landed.root)}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: _answers(f"{address}/server_info"), STARTS_WITHIN_SECONDS, lambda: log_text(landed))
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
        log.close()


def log_text(home: Home) -> str:
    """What the UI's processes printed, for the message of a test that fails."""
    return (home.root / "dev.log").read_text(errors="replace")[-3000:]


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, TimeoutError):
        return False


def _wait(condition, seconds: float, explain) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, explain()
        time.sleep(1)


def test_three_delivery_days_are_backfilled_from_the_ui(browser: Browser, landed: Home, ui: str):
    """Prevents a pipeline that only its command line can repair, and a backfill that loads other days too."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"{ui}/assets/raw/token_usage?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    chosen = dialog.get_by_placeholder("No matching partitions")
    chosen.fill(f"[{DAYS[0]}...{DAYS[-1]}]")
    chosen.press("Enter")
    dialog.get_by_text("3 partitions").first.wait_for()
    dialog.get_by_role("button", name="Launch").click()

    def loaded() -> set[date]:
        return {receipt.delivered_date for receipt in receipts(landed, "token_usage")}

    _wait(lambda: loaded() >= set(DAYS), BACKFILLS_WITHIN_SECONDS, lambda: log_text(landed))
    page.goto(f"{ui}/runs")
    page.get_by_text("Success").first.wait_for(timeout=BACKFILLS_WITHIN_SECONDS * 1000)
    assert loaded() == set(DAYS)
    page.close()
