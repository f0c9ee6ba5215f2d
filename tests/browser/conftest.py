"""A real browser for the pages, and the pages themselves, made once a session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from dashboards.weekly_report import write_weekly_report
from dashboards.weekly_report.pdf import browser_path

sys.path.insert(0, str(Path(__file__).parent))

from published_fixture import build_published, forecast_before

ARGUMENTS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)
HOSTILE_NAMES = {
    "cn-gd": "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>",
    "cn-zj": '=HYPERLINK("https://evil.example","x")',
    "yrd-demo": '\u202eevil\u202c <a href="https://evil.example">link</a> <b>bold</b>',
    "cn-sh": "</script><script>window.pwned=1</script><!--",
    "cn-xz": "W" * 300,
    "gs-qy": "مرحبا {0} {name} %s ${x} {{7*7}}",
    "cn-js": "javascript:window.pwned=1 & 'quoted' \"twice\"",
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's browser; Playwright's own download is not used."""
    path = browser_path()
    if path is None:
        pytest.skip("2026-11-24: no chromium or google-chrome is installed; `make setup-browser` says how")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), chromium_sandbox=False)
        yield started
        started.close()


@dataclass
class Opened:
    """A page, with everything it asked for and complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def open_report(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens a file with the network cut, at a width, and waits until it is ready, or until every chart is drawn."""
    contexts: list[BrowserContext] = []

    def opened(path: Path, address: str = "", width: int = 1280, height: int = 900, until: str = "ready") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        contexts.append(context)
        result = Opened(context.new_page())
        result.page.on("request", lambda request: result.requests.append(request.url))
        result.page.on("console", lambda message: result.complaints.append(message.text))
        result.page.on("pageerror", lambda error: result.complaints.append(str(error)))
        result.page.goto(path.as_uri() + address)
        result.page.wait_for_selector(f"html[data-{until}]", timeout=60_000)
        return result

    yield opened
    for context in contexts:
        context.close()


@dataclass(frozen=True)
class Report:
    """A report, the published file it was made from, and the forecast after the week before."""

    html: Path
    published: Path

    def write(self, out: Path, iso_week: str | None = None, language: str = "en") -> Path:
        """Makes the report again, of this week or another."""
        frames, sources = forecast_before(self.published.parent)
        return write_weekly_report(
            self.published, iso_week, out, language, other_cutoffs=frames, forecast_sources=sources)


def _made(folder: Path, **wanted) -> Report:
    made = Report(folder / "report.html", build_published(folder, **wanted))
    made.write(made.html)
    return made


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a plausible network with hotspots."""
    return _made(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The same network, whose sites carry hostile names."""
    return _made(tmp_path_factory.mktemp("hostile"), site_names=HOSTILE_NAMES)


@pytest.fixture(scope="session")
def one_week_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Three sites, one week of history, no link telemetry."""
    return _made(tmp_path_factory.mktemp("one-week"), weeks=1, site_count=3, with_links=False)


@pytest.fixture(scope="session")
def empty_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """No site at all."""
    return _made(tmp_path_factory.mktemp("empty"), site_count=0)
