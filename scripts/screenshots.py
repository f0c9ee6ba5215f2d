"""Takes the pictures in docs/ from the newest weekly report of the home folder, in headless Chromium."""

from __future__ import annotations

import shutil
import sys

from playwright.sync_api import sync_playwright

from orchestration.home import PROJECT, Home

VIEWPORT = {"width": 1280, "height": 1100}


def main() -> int:
    """Writes docs/weekly-report.png; 1 when there is no report or no browser yet."""
    reports = sorted((Home.from_environment().reports / "weekly").glob("*.html"))
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if not reports or not browser_path:
        print("needs a report (`make demo`) and a chromium on the PATH", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=VIEWPORT)
        page.goto(reports[-1].as_uri())
        page.wait_for_selector(".plotly .main-svg", state="attached")
        target = PROJECT / "docs" / "weekly-report.png"
        page.screenshot(path=target)
        browser.close()
    print(f"{target.relative_to(PROJECT)} shows {reports[-1].name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
