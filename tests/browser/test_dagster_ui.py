"""The Dagster UI as a data engineer uses it: the graph, a backfill, a check that blocks, a run that is killed.

One server on one small home serves all tests, which go from the graph through a backfill and a broken
delivery to the killed run; none runs the models, so the file costs the server's start and a few small runs.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg
import duckdb
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from playwright.sync_api import Browser, Page

from orchestration.definitions import instance_of
from orchestration.home import Home
from orchestration.raw_store import receipts
from orchestration.sources.simulate import simulate
from scripts.screenshots import choose_days, served

STARTS_WITHIN_SECONDS = 300
BACKFILLS_WITHIN_SECONDS = 300
GROUPS = ("landing", "raw", "seeds", "staging", "intermediate", "marts", "forecast", "publish", "reports")
DAYS = (date(2026, 11, 10), date(2026, 11, 11), date(2026, 11, 12))
KILLED_DAYS = (date(2026, 11, 16), date(2026, 11, 19))


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two weeks of deliveries that wait in landing."""
    home = Home(tmp_path_factory.mktemp("ui") / "home")
    simulate(home, days=14, seed=7, events_per_day=200, end_date=date(2026, 11, 22))
    return home


@pytest.fixture(scope="module")
def ui(landed: Home) -> Iterator[str]:
    """The address of `tidegauge dev` on that home."""
    with served(landed, landed.root / "dev.log", STARTS_WITHIN_SECONDS) as address:
        yield address


def log_text(home: Home) -> str:
    """What the UI's processes printed, for the message of a test that fails."""
    return (home.root / "dev.log").read_text(errors="replace")[-3000:]


def _wait(condition, seconds: float, explain, every: float = 1) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, explain()
        time.sleep(every)


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
    choose_days(page, DAYS[0], DAYS[-1]).get_by_role("button", name="Launch").click()

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
    page.get_by_role("dialog").get_by_text("Partition selection").wait_for()
    dialog = choose_days(page, today, today)
    dialog.get_by_role("button", name="Launch 1 run").click()
    # A page that is left before the run is launched takes the request along.
    dialog.wait_for(state="hidden")

    with instance_of(landed) as instance:

        def has_failed() -> bool:
            of_today = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": today.isoformat()}))
            return any(run.status == dg.DagsterRunStatus.FAILURE for run in of_today)

        _wait(has_failed, BACKFILLS_WITHIN_SECONDS, lambda: log_text(landed))
    page.goto(f"{ui}/assets/raw/telemetry?view=checks")
    page.get_by_text("This is a blocking asset check.").first.wait_for()
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.goto(f"{ui}/assets/published/capacity?view=events")
    page.get_by_text("No materialization", exact=False).or_(page.get_by_text("No events", exact=False)).or_(
        page.get_by_text("Never materialized", exact=False)
    ).first.wait_for()
    assert not landed.capacity.exists()


def test_a_killed_run_is_executed_again_from_its_failure(page: Page, landed: Home, ui: str):
    """Prevents a killed run that is "running" for ever, holds the writer's place, or is repaired with lines lost or twice."""
    page.goto(f"{ui}/locations/orchestration.definitions/asset-groups/raw")
    page.get_by_role("button", name="Materialize all").first.click()
    choose_days(page, *KILLED_DAYS).get_by_role("button", name="Launch").click()
    # Jobs are loaded first: with their first receipt the run is in the middle of its first step of eight.
    _wait(lambda: receipts(landed, "job_logs"), BACKFILLS_WITHIN_SECONDS, lambda: log_text(landed), every=0.01)
    with instance_of(landed) as instance:
        killed = instance.get_runs(limit=1)[0]
        os.kill(_worker_of(instance, killed.run_id), signal.SIGKILL)

        def ended(run_id: str) -> bool:
            return instance.get_run_by_id(run_id).is_finished

        def has_given_up() -> bool:
            return instance.get_backfill(killed.tags["dagster/backfill"]).status == BulkActionStatus.COMPLETED_FAILED

        # While the backfill goes on the page launches without the question that it asks here.
        _wait(lambda: ended(killed.run_id) and has_given_up(), BACKFILLS_WITHIN_SECONDS, lambda: log_text(landed))
        assert instance.get_run_by_id(killed.run_id).status == dg.DagsterRunStatus.FAILURE
        assert all(receipt.delivered_date not in KILLED_DAYS for receipt in receipts(landed, "telemetry")), "killed too late"

        page.goto(f"{ui}/runs/{killed.run_id}")
        page.get_by_role("button", name="Re-execute all").locator("xpath=following::button[1]").click()
        page.get_by_role("menuitem", name="From failure").click()
        page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
        page.wait_for_url(lambda address: killed.run_id not in address)
        again = page.url.split("?")[0].rsplit("/", 1)[-1]
        _wait(lambda: ended(again), BACKFILLS_WITHIN_SECONDS, lambda: log_text(landed))
        run = instance.get_run_by_id(again)
        assert (run.status, run.parent_run_id) == (dg.DagsterRunStatus.SUCCESS, killed.run_id)
    for feed in ("job_logs", "telemetry", "token_usage"):
        waiting = {
            path.name for path in (landed.landing / feed).glob("*/*")
            if KILLED_DAYS[0] <= date.fromisoformat(path.parent.name) <= KILLED_DAYS[1] and not path.name.endswith(".manifest.json")
        }
        mine = [receipt for receipt in receipts(landed, feed) if receipt.delivery_name in waiting]
        assert {receipt.delivery_name for receipt in mine} == waiting and len(mine) == len(waiting)
        _assert_raw_holds_what_receipts_say(landed, feed)


def _worker_of(instance: dg.DagsterInstance, run_id: str) -> int:
    """The process that executes a run's steps."""
    started = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return next(
        int(entry.dagster_event.event_specific_data.metadata["pid"].value)
        for entry in started if "pid" in entry.dagster_event.event_specific_data.metadata
    )


def _assert_raw_holds_what_receipts_say(home: Home, feed: str) -> None:
    """Every received line is loaded, a duplicate or in quarantine, and every loaded one is in raw once."""
    found = receipts(home, feed)
    for receipt in found:
        assert receipt.received_count == receipt.loaded_count + receipt.duplicate_count + receipt.quarantined_count
    for table in {receipt.table_name for receipt in found if receipt.loaded_count}:
        loaded = sum(receipt.loaded_count for receipt in found if receipt.table_name == table)
        files = str(home.raw / table / "*" / "*.parquet")
        assert duckdb.execute("select count(*) from read_parquet(?)", [files]).fetchone() == (loaded,)
