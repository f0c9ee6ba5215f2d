"""The Dagster UI as a data engineer uses it: the graph, a backfill of three days, a check that blocks.

One server on one small home serves all tests, which go from the graph through the backfill to the
broken delivery; none runs the models, so the file costs the server's start and a few small runs.
"""

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
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from orchestration.home import Home
from orchestration.raw_store import receipts
from orchestration.sources.simulate import simulate

STARTS_WITHIN_SECONDS = 300
BACKFILLS_WITHIN_SECONDS = 300
GROUPS = ("landing", "raw", "seeds", "staging", "intermediate", "marts", "forecast", "publish", "reports")
DAYS = (date(2026, 11, 10), date(2026, 11, 11), date(2026, 11, 12))


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two weeks of deliveries that wait in landing."""
    home = Home(tmp_path_factory.mktemp("ui") / "home")
    simulate(home, days=14, seed=7, events_per_day=200, end_date=date(2026, 11, 22))
    return home


@pytest.fixture(scope="module")
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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of a desktop's size."""
    opened = browser.new_page(viewport={"width": 1500, "height": 950})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


def test_the_graph_shows_every_group_from_landing_to_reports(page: Page, ui: str):
    """Prevents a graph of 150 assets in one heap, in which nobody finds the step that failed."""
    page.goto(f"{ui}/asset-groups")
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    page.goto(f"{ui}/assets/raw/token_usage?view=overview")
    page.get_by_text("One metered record of token usage", exact=False).first.wait_for()
    page.get_by_text("data-engineering").first.wait_for()


def test_three_delivery_days_are_backfilled_from_the_ui(page: Page, landed: Home, ui: str):
    """Prevents a pipeline that only its command line can repair, and a backfill that loads other days too."""
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


def test_a_day_shows_its_deliveries_and_draws_its_rows(page: Page, ui: str):
    """Prevents a green day that says nothing: what came of each delivery, and a picture that really shows."""
    page.goto(f"{ui}/assets/raw/token_usage?view=events&partition={DAYS[1]}")
    page.get_by_text(f"token-usage-{DAYS[1]}-00.jsonl.gz").first.wait_for()
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/svg']").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 600
    assert "Rows by hour of the event" in picture.get_attribute("alt")


def test_a_blocking_check_that_fails_leaves_publish_undone(page: Page, landed: Home, ui: str):
    """Prevents a broken delivery that reaches readers although a check saw it."""
    today = datetime.now(UTC).date()
    folder = landed.landing / "telemetry" / today.isoformat()
    folder.mkdir(parents=True)
    # No row of it can be loaded: a GPU that is seven times busy.
    (folder / "broken.csv").write_text(
        "sampled_at,device_id,site_id,gpu_utilization_ratio,power_watts\n2026-11-20T01:00:00Z,gpu-1,cn-gd,7.0,300\n"
    )
    page.goto(f"{ui}/locations/orchestration.definitions/jobs/tidegauge_pipeline")
    page.get_by_role("button", name="Materialize all").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Partition selection").wait_for()
    chosen = dialog.get_by_placeholder("No matching partitions").first
    chosen.fill(today.isoformat())
    chosen.press("Enter")
    dialog.get_by_text("1 partition", exact=True).first.wait_for()
    dialog.get_by_role("button", name="Launch 1 run").click()
    # A page that is left before the run is launched takes the request along.
    dialog.wait_for(state="hidden")

    def is_over() -> bool:
        page.goto(f"{ui}/runs")
        page.get_by_text(f"partition: {today}").first.wait_for()
        return page.get_by_text("Failure", exact=True).count() > 0

    _wait(is_over, BACKFILLS_WITHIN_SECONDS, lambda: log_text(landed))
    page.goto(f"{ui}/assets/raw/telemetry?view=checks")
    page.get_by_text("This is a blocking asset check.").first.wait_for()
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.goto(f"{ui}/assets/published/capacity?view=events")
    page.get_by_text("No materialization", exact=False).or_(page.get_by_text("No events", exact=False)).or_(
        page.get_by_text("Never materialized", exact=False)
    ).first.wait_for()
    assert not landed.capacity.exists()
