"""Takes the pictures of the margin dashboard in docs/screenshots/ from the home folder, in headless Chromium.

Every page as it opens, and the overview in dark, in Chinese and on a phone.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import threading

import waitress
from playwright.sync_api import Browser, sync_playwright

from dashboards.margin_dashboard import content
from dashboards.margin_dashboard.access import PASSWORD_VARIABLE, Access
from dashboards.margin_dashboard.app import make_app
from orchestration.home import PROJECT, Home

FOLDER = PROJECT / "docs" / "screenshots"
HOST = "127.0.0.1"
WIDE, PHONE = 1280, 390
TALLEST = 1900


def main() -> int:
    """Writes docs/screenshots/margin-*.png; 1 when nothing is published or there is no browser yet."""
    finance = Home.from_environment().finance
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if not finance.exists() or not executable:
        print("needs a published finance file (`make demo`) and a chromium on the PATH", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(16)
    access = Access.from_environment(HOST, {PASSWORD_VARIABLE: password})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for language in ("en", "zh"):
            server = waitress.create_server(make_app(finance, access, language), host=HOST, port=0, threads=4)
            threading.Thread(target=server.run, daemon=True).start()
            address = f"http://{HOST}:{server.effective_port}"
            if language == "zh":
                _picture(browser, address, password, "", WIDE, "margin-zh")
            else:
                for page in content.PAGES:
                    _picture(browser, address, password, "" if page is content.PAGES[0] else page.key, WIDE, f"margin-{page.key}")
                _picture(browser, address, password, "", WIDE, "margin-dark", is_dark=True)
                _picture(browser, address, password, "", PHONE, "margin-phone")
            server.close()
        browser.close()
    print(f"pictures of the margin dashboard in {FOLDER.relative_to(PROJECT)}/")
    return 0


def _picture(browser: Browser, address: str, password: str, path: str, width: int, name: str, is_dark: bool = False) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 1000}, http_credentials={"username": "reader", "password": password},
    )
    page = context.new_page()
    page.goto(f"{address}/{path}")
    drawn = (
        "() => { const blocks = [...document.querySelectorAll('#page-components .figure-container')];"
        " return blocks.length && blocks.every(one => one.querySelector('.block'))"
        " && [...document.querySelectorAll('.plot')].every(one => one.querySelector('.main-svg')); }"
    )
    page.wait_for_function(drawn, timeout=60_000)
    if is_dark:
        page.locator("#theme-toggle").click()
    if width != PHONE:
        # The page scrolls inside its frame, so the window is made as tall as what is in it.
        height = page.evaluate("document.querySelector('#page-components').scrollHeight")
        page.set_viewport_size({"width": width, "height": min(int(height) + 180, TALLEST)})
    page.wait_for_timeout(1200)
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
