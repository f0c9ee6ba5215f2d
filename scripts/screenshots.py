"""Takes the pictures in docs/ from the newest weekly report of the home folder, in headless Chromium.

Every section of the report, the pages of one hub region, the Chinese head and a phone's view. Pages
that are served rather than written (the margin dashboard, Dagster) are pictured where they are tested.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from dashboards.weekly_report.pdf import browser_path
from orchestration.home import PROJECT, Home

FOLDER = PROJECT / "docs" / "screenshots"
SECTIONS = (
    "decisions", "changes", "network", "regions", "sites", "outlook", "waste", "matching", "accuracy", "packages", "quality", "assumptions",
)
WIDE, PHONE = {"width": 1280, "height": 1100}, {"width": 390, "height": 844}


def main() -> int:
    """Writes docs/screenshots/*.png; 1 when there is no report or no browser yet."""
    reports = sorted((Home.from_environment().reports / "weekly").glob("*.html"))
    executable = browser_path()
    if not reports or not executable:
        print("needs a report (`make demo`) and a chromium on the PATH", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        pictures = weekly_report(browser, reports[-1])
        browser.close()
    print(f"{len(pictures)} pictures of {reports[-1].name} in {FOLDER.relative_to(PROJECT)}/")
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


if __name__ == "__main__":
    sys.exit(main())
