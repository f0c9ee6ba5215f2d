"""Takes the pictures in docs/ of the newest weekly report of the home folder and of its Dagster UI, in headless Chromium.

Every section of the report, the pages of one hub region, the Chinese head and a phone's view; of Dagster the
groups of assets, what a load says of itself, its checks, and the choice of days to load again. Nothing is launched.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from dashboards.weekly_report.pdf import browser_path
from orchestration.home import PROJECT, Home
from orchestration.raw_store import receipts

FOLDER = PROJECT / "docs" / "screenshots"
SECTIONS = (
    "decisions", "changes", "network", "regions", "sites", "outlook", "waste", "matching", "accuracy", "packages", "quality", "assumptions",
)
STARTS_WITHIN_SECONDS = 120
DESKTOP = {"width": 1440, "height": 900}
WIDE, PHONE = {"width": 1280, "height": 1100}, {"width": 390, "height": 844}


def main() -> int:
    """Writes docs/screenshots/*.png; 1 when there is no report or no browser yet."""
    home = Home.from_environment()
    reports = sorted((home.reports / "weekly").glob("*.html"))
    executable = browser_path()
    if not reports or not executable:
        print("needs a report (`make demo`) and a chromium on the PATH", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        pictures = weekly_report(browser, reports[-1])
        with tempfile.TemporaryDirectory() as folder, served(home, Path(folder) / "dev.log") as address:
            pictures += dagster_ui(browser, home, address)
        browser.close()
    print(f"{len(pictures)} pictures of {reports[-1].name} and the Dagster UI in {FOLDER.relative_to(PROJECT)}/")
    return 0


def weekly_report(browser: Browser, report: Path) -> list[Path]:
    """Pictures of the report: what opens first, each section, one region's page, in Chinese, on a phone."""
    taken: list[Path] = []

    def opened(address: str, viewport: dict[str, int]):
        page = browser.new_page(viewport=viewport)
        page.goto(report.as_uri() + address)
        page.wait_for_selector("html[data-complete]", timeout=60_000)
        # The bar that follows the reader would lie over a section that is taller than the window.
        page.add_style_tag(content=".sections{position:static!important}")
        return page

    def keep(name: str) -> str:
        taken.append(FOLDER / f"weekly-report-{name}.png")
        return str(taken[-1])

    page = opened("#lang=en", WIDE)
    page.screenshot(path=keep("first"))
    for section in SECTIONS:
        page.locator(f"#{section}").screenshot(path=keep(section))
    region = page.locator("article.region").first.get_attribute("data-region")
    page.select_option("#choose-region", region)
    page.wait_for_timeout(500)
    page.locator("#regions").screenshot(path=keep("one-region"))
    opened("#lang=zh", WIDE).screenshot(path=keep("zh"))
    opened("#lang=zh", PHONE).screenshot(path=keep("phone"))
    return taken


@contextmanager
def served(home: Home, log: Path, within_seconds: float = STARTS_WITHIN_SECONDS) -> Iterator[str]:
    """The address of `tidegauge dev` on the home, which ends with the block; what it prints is in the log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("tidegauge")), "dev", "--port", str(port), "--home", str(home.root)],
            stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            until = time.monotonic() + within_seconds
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"`tidegauge dev` does not answer: {log.read_text(errors='replace')[-3000:]}")
                time.sleep(1)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def choose_days(page: Page, first: date, last: date) -> Locator:
    """The dialog that an open page asks for days in, with these chosen and counted."""
    dialog = page.get_by_role("dialog")
    chosen = dialog.get_by_placeholder("No matching partitions").first
    count = (last - first).days + 1
    chosen.fill(f"[{first}...{last}]" if count > 1 else str(first))
    chosen.press("Enter")
    dialog.get_by_text(f"{count} partitions" if count > 1 else "1 partition", exact=True).first.wait_for()
    return dialog


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, TimeoutError):
        return False


def dagster_ui(browser: Browser, home: Home, address: str) -> list[Path]:
    """Pictures of the UI: the graph by group, a day's load with its chart, an asset's checks, days chosen to load again."""
    days = sorted({receipt.delivered_date for receipt in receipts(home, "token_usage")})
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(60_000)
    taken: list[Path] = []

    def keep(name: str) -> None:
        page.wait_for_timeout(2500)  # the graph moves into its place, live data arrives
        taken.append(FOLDER / f"dagster-{name}.png")
        page.screenshot(path=taken[-1])

    page.goto(f"{address}/asset-groups")
    page.get_by_text("reports", exact=True).first.wait_for()
    keep("graph")
    page.goto(f"{address}/assets/raw/token_usage?view=events&partition={days[-1]}")
    page.locator("tr", has=page.get_by_text("rows_by_hour", exact=True)).last.get_by_text("[Show Markdown]").click()
    page.locator("img[src^='data:image/svg']").first.wait_for()
    keep("load")
    page.goto(f"{address}/assets/raw/token_usage?view=checks")
    page.get_by_text("contract_expectations").first.wait_for()
    keep("checks")
    page.goto(f"{address}/assets/raw/token_usage?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    choose_days(page, days[-1] - timedelta(days=2), days[-1])
    keep("backfill")
    return taken


if __name__ == "__main__":
    sys.exit(main())
