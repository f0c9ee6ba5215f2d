"""The margin dashboard as readers use it: a served app, a real browser, figures read from the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import pytest
from margin_fixture import build_finance
from playwright.sync_api import Browser, Page

PASSWORD = "correct horse battery"
CENT = Decimal("0.01")


@dataclass
class Served:
    """A dashboard that is running, and the file it reads."""

    address: str
    published: Path

    def get(self, path: str = "/", password: str | None = PASSWORD, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of a request, as any program would make it."""
        request = urllib.request.Request(self.address + path, headers=headers or {})
        if password is not None:
            request.add_header("Authorization", "Basic " + b64encode(f"reader:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def query(self, sql: str) -> list[tuple]:
        """Rows of the published file, which are what the page must say."""
        with duckdb.connect() as connection:
            connection.execute(f"attach '{self.published}' as edition (read_only)")
            connection.execute("use edition")
            return connection.execute(sql).fetchall()


def start(published: Path, language: str = "en", **environment: str) -> Iterator[Served]:
    """Runs ``tidegauge dashboard`` on a free port until it is no longer needed."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("tidegauge")), "dashboard", "--port", "0", "--language", language],
        env={**os.environ, "TIDEGAUGE_HOME": str(published.parent.parent), "TIDEGAUGE_DASHBOARD_PASSWORD": PASSWORD, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    patience = threading.Timer(90, process.kill)
    patience.start()
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://[\d.]+:\d+", line):
                break
        else:
            pytest.fail(f"the dashboard did not start: {''.join(said)}")
        patience.cancel()
        # Its log is read away, or a full pipe would stop it.
        threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
        yield Served(found[0], published)
    finally:
        patience.cancel()
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The dashboard of a plausible network."""
    yield from start(build_finance(tmp_path_factory.mktemp("margin")))


@dataclass
class Reader:
    """A signed-in page, with everything it asked for and complained about."""

    page: Page
    served: Served
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Reader:
        """Opens a page and waits until its figures are drawn."""
        self.page.goto(self.served.address + path)
        self.ready()
        return self

    def ready(self) -> None:
        """Waits until every block is there and every figure is drawn."""
        self.page.wait_for_selector(".block-stamp", timeout=40_000)
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('#page-components .figure-container')].every(one => one.querySelector('.block'))"
            " && [...document.querySelectorAll('.plot')].every(one => one.querySelector('.main-svg'))", timeout=40_000,
        )

    def text(self, block: str) -> str:
        """What a block says, its table included."""
        return self.page.locator(f"[data-block={block}]").text_content()

    def table(self, block: str) -> list[list[str]]:
        """The cells of a block's data table."""
        return self.page.locator(f"[data-block={block}] tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )


@pytest.fixture
def sign_in(browser: Browser) -> Iterator[Callable[..., Reader]]:
    """Opens a browser window that knows the password."""
    contexts = []

    def opened(served: Served, width: int = 1280, height: int = 900) -> Reader:
        context = browser.new_context(
            viewport={"width": width, "height": height}, http_credentials={"username": "reader", "password": PASSWORD},
            accept_downloads=True,
        )
        contexts.append(context)
        reader = Reader(context.new_page(), served)
        reader.page.on("request", lambda request: reader.requests.append(request.url))
        reader.page.on("console", lambda message: reader.complaints.append(message.text) if message.type in ("error", "warning") else None)
        reader.page.on("pageerror", lambda error: reader.complaints.append(str(error)))
        return reader

    yield opened
    for context in contexts:
        context.close()


def money(text: str) -> Decimal:
    """An amount as it is written on the page."""
    return Decimal(text.replace(",", "").replace("−", "-").replace("+", ""))


def to_the_cent(amount: Decimal) -> Decimal:
    """An amount of the mart as it is shown."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def test_the_waterfall_ends_at_the_kpi_and_the_mart_to_the_cent(served: Served, sign_in: Callable[..., Reader]) -> None:
    """A waterfall that ends elsewhere than the headline makes a board doubt both."""
    reader = sign_in(served).open()
    [(list_revenue, net_revenue, margin)] = served.query(
        "select sum(list_revenue_cny), sum(net_revenue_cny), sum(gross_margin_cny) from finance.fct_margin_daily where iso_week = '2026-W47'"
    )
    drawn = reader.page.locator("[data-block=waterfall] .textpoint text").all_text_contents()
    assert len(drawn) == 12
    assert (money(drawn[0]), money(drawn[5]), money(drawn[-1])) == (
        to_the_cent(list_revenue), to_the_cent(net_revenue), to_the_cent(margin),
    )
    assert money(reader.page.locator("[data-kpi=revenue] .card-number").text_content()) == to_the_cent(net_revenue)
    shown = re.search(r"[\d,]+\.\d\d", reader.page.locator("[data-kpi=margin]").text_content())[0]
    assert money(shown) == to_the_cent(margin)
    assert reader.complaints == []


def test_the_bridge_adds_up_to_the_change_of_margin(served: Served, sign_in: Callable[..., Reader]) -> None:
    """A bridge with a remainder explains nothing."""
    reader = sign_in(served).open()
    margins = [row[0] for row in served.query(
        "select sum(gross_margin_cny) from finance.fct_margin_daily where iso_week in ('2026-W46', '2026-W47') group by iso_week order by iso_week"
    )]
    amounts = [money(row[1]) for row in reader.table("bridge")]
    assert len(amounts) == 6
    assert abs(sum(amounts[:-1]) - amounts[-1]) <= CENT * 2
    assert amounts[-1] == to_the_cent(margins[1] - margins[0])


def test_a_wrong_password_is_refused_on_every_route(served: Served) -> None:
    """An open script route or callback would give away what the page hides."""
    page = served.get()[1].decode()
    script = re.search(r'src="(/_dash-component-suites/[^"]+)"', page)[1]
    for path in ("/", script, "/_dash-layout", "/_dash-dependencies", "/assets/margin.css", "/export/overview/waterfall.csv", "/nowhere"):
        assert served.get(path, password=None)[0] == 401, path
        assert served.get(path, password="wrong horse battery")[0] == 401, path
    assert served.get("/assets/margin.css")[0] == 200


def test_nothing_is_asked_of_anyone_else_and_nothing_can_be_shared(served: Served, sign_in: Callable[..., Reader]) -> None:
    """Plotly's defaults upload a chart's data at a click; money must not leave the machine."""
    reader = sign_in(served).open()
    reader.page.locator("[data-block=waterfall] .plot").hover()
    reader.page.wait_for_timeout(300)
    elsewhere = [url for url in reader.requests if not url.startswith((served.address, "data:", "blob:"))]
    assert elsewhere == []
    assert reader.complaints == []
    assert reader.page.locator("a[href*=plotly], a[href*='//']:not([href^='/'])").count() == 0
    assert not re.search("share|cloud|edit in", reader.page.locator("body").inner_text(), re.IGNORECASE)
    assert reader.page.locator(".modebar").count() == 0
