"""The margin dashboard as readers use it: a served app, a real browser, figures read from the page."""

from __future__ import annotations

import csv
import io
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
from margin_fixture import build_finance, record_audit
from playwright.sync_api import Browser, Page

from dashboards.margin_dashboard import content
from dashboards.margin_dashboard.app import address
from dashboards.margin_dashboard.readings import Book, Choice
from dashboards.margin_dashboard.static_page import write_static_page
from dashboards.margin_dashboard.words import Words
from dashboards.margin_strings import STRINGS

PASSWORD = "correct horse battery"
CENT = Decimal("0.01")


@dataclass
class Served:
    """A dashboard that is running, and the file it reads."""

    address: str
    published: Path
    process_id: int

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

    def cpu_seconds(self) -> float:
        """What the server has worked so far, in all of its threads."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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
        yield Served(found[0], published, process.pid)
    finally:
        patience.cancel()
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The dashboard of a plausible network."""
    yield from start(build_finance(tmp_path_factory.mktemp("margin"), planned=True))


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


def test_a_card_and_the_waterfall_compare_with_the_target_of_the_mart(served: Served, sign_in: Callable[..., Reader]) -> None:
    """A board that reads a mean of past weeks as its budget, or the budget as another week's, decides on nothing."""
    page = sign_in(served).open().page
    targets = dict(served.query("select measure, target_value from finance.dim_margin_target"))
    [(net,)] = served.query("select sum(net_revenue_cny) from finance.fct_margin_daily where iso_week = '2026-W47'")
    card = page.locator("[data-kpi=revenue]")
    assert card.locator(".card-target").text_content() == f"target {targets['net_revenue_cny']:,.2f}"
    assert money(re.search(r"[+−][\d,]+\.\d\d", card.locator(".card-variance").text_content())[0]) == to_the_cent(net - targets["net_revenue_cny"])
    assert page.locator("[data-kpi=margin] .card-target").text_content() == f"target {targets['gross_margin_ratio'] * 100:.1f}%"
    assert "stand-in" in page.locator("[data-kpi=utilization] .card-target").text_content()
    summary = page.locator("[data-block=kpis]").text_content()
    assert "2 of 6 targets are as delivered: performance_targets.csv" in summary and "Budget 2026" in summary
    assert page.locator("[data-block=waterfall] .legendtext", has_text="target").count() == 1


def test_the_course_of_a_tranche_is_that_of_the_mart_to_the_cent(served: Served, sign_in: Callable[..., Reader]) -> None:
    """A curve that ends on another day, or at another sum, than the table of tranches is a second opinion."""
    page = sign_in(served).open("/payback").page
    block = page.locator("[data-block=courses]")
    block.locator("summary").click()
    shown = {
        (cells[0], cells[3], cells[4]): money(cells[5])
        for cells in (row.locator("td").all_text_contents() for row in block.locator("tbody tr").all())
    }
    rows = served.query("select tranche_id, opening_book_cny, cumulative_gross_cash_cny, payback_date_base, payback_date_low from finance.fct_capital_payback")
    for tranche, book, cash, base, low in rows:
        assert shown[tranche, "median path", "2026-11-22"] == to_the_cent(cash)
        if base:
            assert shown[tranche, "median path", str(base)] == shown[tranche, "10% path", str(low)] == to_the_cent(book)


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
    offered = " ".join(reader.page.locator("button, a, [role=button]").all_text_contents())
    assert not re.search("share|cloud|edit in", offered, re.IGNORECASE)
    assert reader.page.locator(".modebar").count() == 0


def test_a_cell_leads_down_to_segments_and_customers_and_back_again(served: Served, sign_in: Callable[..., Reader]) -> None:
    """An executive who can't come back from a cell does not go down a second time."""
    reader = sign_in(served).open("/matrix")
    page = reader.page
    first = reader.table("matrix")[0]
    whole = len(reader.table("matrix"))
    cells = page.locator("[data-block=matrix] .heatmaplayer").bounding_box()
    page.mouse.click(cells["x"] + 20, cells["y"] + 8)
    page.wait_for_selector("[data-block=matrix] .back")
    reader.ready()
    assert len(reader.table("matrix")) == 1 < whole
    assert reader.table("matrix")[0][0] in {row[0] for row in [first]} | {f"Site {number:02}" for number in range(1, 5)}
    [(segments,)] = served.query("select count(distinct segment) from capacity.dim_tenant")
    assert 1 <= len(reader.table("segments")) <= segments
    assert all(re.fullmatch(r"tenant-\d{3}", row[0]) for row in reader.table("tenants"))
    narrowed = page.url
    page.locator("[data-block=matrix] .back a").click()
    page.wait_for_selector("[data-block=matrix] .back", state="detached")
    reader.ready()
    assert len(reader.table("matrix")) == whole
    page.go_back()
    page.wait_for_selector("[data-block=matrix] .back")
    assert page.url.split("?")[0] == narrowed.split("?")[0]
    assert len(reader.table("matrix")) == 1
    assert reader.complaints == []


def test_groups_of_fewer_than_five_customers_are_not_broken_down(served: Served, sign_in: Callable[..., Reader]) -> None:
    """Three customers of one cell know each other's margin from the two others'."""
    page = content.page_of("matrix")
    reader = sign_in(served).open(address(page, Choice(product=("small",))))
    assert "Fewer than 5 customers" in reader.text("tenants")
    assert "not broken down" in reader.text("segments")
    assert reader.table("tenants") == reader.table("segments") == []


def test_filters_combine_and_live_in_the_address_and_survive_a_reload(served: Served, sign_in: Callable[..., Reader]) -> None:
    """A link that opens something else than its sender saw starts an argument about numbers."""
    reader = sign_in(served).open()
    page = reader.page
    before = page.locator("[data-kpi=revenue] .card-number").text_content()
    for dimension, wanted in (("site", "Site 02"), ("product", "pay as you go"), ("segment", "enterprise"), ("model", "model-01")):
        page.locator(f"#overview-{dimension}-choice").click()
        page.locator(".dash-dropdown-option", has_text=wanted).first.click()
        page.keyboard.press("Escape")
        page.wait_for_function("text => document.querySelector('[data-block=stamp]').textContent.includes(text)", arg=wanted)
    [(expected,)] = served.query("""
        select sum(net_revenue_cny) from finance.fct_margin_daily join capacity.dim_tenant using (tenant_id)
        where iso_week = '2026-W47' and serving_site_id = 'site-02' and product = 'payg' and segment = 'enterprise' and model_id = 'model-01'
    """)
    shown = page.locator("[data-kpi=revenue] .card-number").text_content()
    assert money(shown) == to_the_cent(expected)
    assert shown != before
    address_of_it = page.url
    page.reload()
    reader.ready()
    page.wait_for_function("text => document.querySelector('[data-kpi=revenue] .card-number').textContent === text", arg=shown)
    assert page.url == address_of_it
    other = sign_in(served)
    other.page.goto(address_of_it)
    other.ready()
    assert other.page.locator("[data-kpi=revenue] .card-number").text_content() == shown
    assert reader.complaints == other.complaints == []


def test_what_is_filtered_is_what_is_exported_and_it_round_trips(served: Served, sign_in: Callable[..., Reader]) -> None:
    """An export of everything, under the title of a part, ends in a wrong board paper."""
    reader = sign_in(served).open(address(content.page_of("matrix"), Choice("last-4", site=("site-03",))))
    with reader.page.expect_download() as download:
        reader.page.locator("[data-block=matrix] .export").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"), newline="")))
    expected = served.query("""
        select product, sum(net_revenue_cny), sum(gross_margin_cny) from finance.fct_margin_daily
        where usage_date > date '2026-11-22' - 28 and serving_site_id = 'site-03' group by 1
    """)
    assert sorted((Decimal(row["net_revenue_cny"]), Decimal(row["gross_margin_cny"])) for row in rows) == sorted(row[1:] for row in expected)
    assert {row["site"] for row in rows} == {"Site 03"}


def test_a_failed_audit_is_said_at_once_and_a_new_publish_is_read_without_a_restart(
    tmp_path: Path, sign_in: Callable[..., Reader]
) -> None:
    """Figures of a blocked publish's predecessor look certified; a dashboard that must be restarted shows last week's."""
    published = build_finance(tmp_path, weeks=3, restated=True, unpriced=True)
    for served in start(published):
        reader = sign_in(served).open()
        assert "Certified" in reader.text("stamp")
        assert "1 figures of this period were restated" in reader.text("stamp") and "late delivery of site-02" in reader.text("stamp")
        assert "have no price" in reader.text("stamp")
        record_audit(published, passed=False)
        reader.page.reload()
        reader.ready()
        assert "Provisional" in reader.text("stamp")
        assert "margin = net revenue - cost, to the last digit (3 rows do not add up)" in reader.text("stamp")
        replacement = build_finance(tmp_path / "next", weeks=3, site_count=1)
        os.replace(replacement, published)
        record_audit(published, passed=True)
        reader.page.reload()
        reader.ready()
        assert "Certified" in reader.text("stamp") and "late delivery" not in reader.text("stamp")
        [(revenue,)] = served.query("select sum(net_revenue_cny) from finance.fct_margin_daily where iso_week = '2026-W47'")
        assert money(reader.page.locator("[data-kpi=revenue] .card-number").text_content()) == to_the_cent(revenue)


HOSTILE_SITE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>"
HOSTILE_SITES = {
    "site-01": HOSTILE_SITE, "site-02": '=HYPERLINK("https://evil.example","x")', "site-03": '\u202eevil\u202c <a href="https://evil.example">link</a> <b>b</b>',
    "site-04": "W" * 300,
}
HOSTILE_MODELS = ("+1+cmd|'/c calc'!A1", "@SUM(1)", "-2+3", "</script><script>window.pwned=1</script><!--", "مرحبا {0} %s ${x} {{7*7}}", "javascript:window.pwned=1")
HOSTILE_TENANTS = ("<b onmouseover=window.pwned=1>t</b>", "=1+1", "\tTAB", "\u2067rtl\u2069")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A network whose sites, models and customers carry hostile names."""
    yield from start(build_finance(
        tmp_path_factory.mktemp("hostile"), weeks=3, site_names=HOSTILE_SITES, model_ids=HOSTILE_MODELS, tenant_ids=HOSTILE_TENANTS,
    ))


def test_hostile_names_are_shown_as_they_are_and_do_nothing(hostile: Served, sign_in: Callable[..., Reader], tmp_path: Path) -> None:
    """A customer who names himself a script must not run one on a director's screen, nor a formula in his spreadsheet."""
    reader = sign_in(hostile, width=1280)
    seen = ""
    for page in content.PAGES:
        reader.open("/" if page.key == "overview" else f"/{page.key}")
        seen += reader.page.locator("#page-components").text_content()
        assert reader.page.evaluate("window.pwned") is None
        assert reader.page.locator("#page-components a[href*='evil'], #page-components img:not([src^='data:']), #page-components b").count() == 0
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= 1280
    for literal_text in (HOSTILE_SITE, "W" * 300, '=HYPERLINK("https://evil.example","x")', "@SUM(1)", "<b onmouseover=window.pwned=1>t</b>", "{{7*7}}"):
        assert literal_text in seen, literal_text
    assert "\u202e" not in seen and "\u2067" not in seen
    assert reader.complaints == []
    texts, numbers = set(), 0
    for page, block in (("matrix", "matrix"), ("matrix", "tenants"), ("economics", "cost_stack")):
        for row in csv.reader(io.StringIO(hostile.get(f"/export/{page}/{block}.csv")[1].decode(), newline="")):
            for cell in row:
                if re.fullmatch(r"-?\d+(\.\d+)?", cell):
                    numbers += 1
                else:
                    texts.add(cell)
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {"'=1+1", "'@SUM(1)", "'-2+3", "'\tTAB"} <= texts
    assert numbers > 100


def test_hostile_names_do_nothing_on_the_printed_page_either(hostile: Served, open_report: Callable, tmp_path: Path) -> None:
    """The file is sent by mail and opened by whoever gets it."""
    out = write_static_page(hostile.published, tmp_path / "margin.html")
    opened = open_report(out)
    assert opened.page.evaluate("window.pwned") is None
    assert opened.page.locator("a[href*='evil'], img:not([src^='data:'])").count() == 0
    assert HOSTILE_SITE in opened.page.locator("main").text_content()
    assert opened.complaints == []


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_scrolls_sideways(served: Served, sign_in: Callable[..., Reader], width: int) -> None:
    """On a phone, a page that is wider than the screen hides its last column."""
    reader = sign_in(served, width=width)
    for page in content.PAGES:
        reader.open("/" if page.key == "overview" else f"/{page.key}")
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width, page.key
        outside = reader.page.locator(".block").evaluate_all(
            "blocks => blocks.filter(block => block.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert outside == 0, page.key
    assert reader.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(served: Served, sign_in: Callable[..., Reader], theme: str) -> None:
    """Grey on grey is not read by those who most need to."""
    reader = sign_in(served).open()
    if theme == "dark":
        reader.page.locator("#theme-toggle").click()
        reader.page.wait_for_selector("html[data-bs-theme=dark]")
    weak = reader.page.evaluate("""() => {
      const parse = text => { const all = text.match(/[\\d.]+/g).map(Number); return all.length > 3 ? all : [...all.slice(0, 3), 1]; };
      const over = (top, under) => top.slice(0, 3).map((value, index) => value * top[3] + under[index] * (1 - top[3]));
      const ground = element => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
          const colour = parse(getComputedStyle(at).backgroundColor);
          if (colour[3] > 0) layers.push(colour);
          if (colour[3] === 1) break;
        }
        return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
      };
      const light = rgb => rgb.map(value => value / 255).map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
      const found = new Set();
      document.querySelectorAll('.block *, #control-panel *, #nav-panel *').forEach(element => {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || element.closest('svg')) return;
        const under = ground(element);
        const text = over(parse(getComputedStyle(element).color), under);
        const [high, low] = [light(text), light(under)].sort((a, b) => b - a);
        if ((high + 0.05) / (low + 0.05) < 4.5) found.add(element.tagName + '.' + element.className);
      });
      document.querySelectorAll('.block .plot text').forEach(element => {
        const under = ground(element.closest('.block'));
        const text = over(parse(getComputedStyle(element).fill), under);
        const [high, low] = [light(text), light(under)].sort((a, b) => b - a);
        if ((high + 0.05) / (low + 0.05) < 4.5) found.add('svg ' + element.parentElement.getAttribute('class'));
      });
      return [...found];
    }""")
    assert weak == []


def test_the_printed_page_says_the_same_and_asks_for_nothing(served: Served, open_report: Callable, tmp_path: Path) -> None:
    """What is filed must be what was served, to the cent, and open years later without a network."""
    out = write_static_page(served.published, tmp_path / "margin.html")
    assert out.stat().st_mode & 0o777 == 0o640
    assert out.stat().st_size < 3_000_000
    opened = open_report(out)
    [(margin,)] = served.query("select sum(gross_margin_cny) from finance.fct_margin_daily where iso_week = '2026-W47'")
    drawn = opened.page.locator("[data-block=waterfall] .textpoint text").all_text_contents()
    assert money(drawn[-1]) == to_the_cent(margin)
    assert opened.page.locator("[data-block=waterfall] .bars path").count() == 15  # 12 steps, and the frames of 3 totals that have a target
    blank = opened.page.locator(".plot").evaluate_all(
        "plots => plots.filter(plot => !plot.querySelector('.bars path, .scatterlayer path, .heatmaplayer image, .heatmaplayer g')).map(plot => plot.id)"
    )
    assert blank == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert opened.complaints == []


def test_a_file_without_sales_is_a_page_with_reasons(tmp_path: Path) -> None:
    """Traces without prices, packages or capital are published too; a page that fails on them fails the whole run."""
    published = build_finance(tmp_path, weeks=1, site_count=1, model_count=1)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{published}' as edition; use edition")
        for table in ("fct_margin_daily", "fct_package_burndown_daily", "fct_trial_conversion", "fct_capital_payback", "fct_price_position",
                      "fct_unit_economics_weekly", "focus_cost_and_usage"):
            connection.execute(f"delete from finance.{table}")
    page = write_static_page(published, tmp_path / "margin.html").read_text("utf-8")
    for reason in ("There is no list revenue", "No tokens were served", "Nothing is left of any package", "No capital is recorded"):
        assert reason in page


def test_scenarios_savings_and_bottlenecks_are_the_marts_to_the_cent(tmp_path: Path) -> None:
    """What a hub's loss costs is asked once a year, and must not be a number of its own."""
    book, words = Book(build_finance(tmp_path)), Words("en")
    whole, narrowed = book.reading(Choice()), book.reading(Choice(site=("site-01",), model=("model-02",)))
    scenarios = content.what_if(whole, words)
    assert scenarios.title == "What would cost most margin: Site 02 is lost, unheard_of 1, 50,000.50 CNY over 13 weeks (5.0%)"
    assert [row["difference_cny"] for row in scenarios.table.rows] == [Decimal("-50000.5"), Decimal("-1000.25"), Decimal(90000)]
    drawn = [value for trace in scenarios.figure.data for value in trace.x if value is not None]
    assert sorted(drawn) == [-50000.5, -1000.25, 90000.0]
    assert content.what_if(narrowed, words).table.rows == scenarios.table.rows
    saving = content.scheduling(whole, words)
    assert saving.title == "Better scheduling would have saved 69.00 CNY in 2026-W47 (4.60% of what serving earned)"
    parts = ("more_earned_cny", "energy_saved_cny", "transport_saved_cny")
    assert all(sum(row[part] for part in parts) == row["saving_cny"] for row in saving.table.rows)
    assert [row["model_id"] for row in content.scheduling(narrowed, words).table.rows] == ["model-02"]
    scarce = content.bottlenecks(whole, words)
    assert scarce.title == "Of 3 pools and links 1 are worth building, 1 are a matter of moving load, 1 can wait"
    assert [row["worth_ratio"] for row in scarce.table.rows] == [1.5, 0.005, None]
    assert content.bottlenecks(narrowed, words).title.startswith("Of 1 pools")


def test_every_sentence_is_there_in_both_languages() -> None:
    """A missing string stops the page of the other language."""
    incomplete = [key for key, texts in STRINGS.items() if set(texts) != {"zh", "en"} or not all(texts.values())]
    differing = [key for key, texts in STRINGS.items() if set(re.findall(r"\{(\w+)", texts["zh"])) != set(re.findall(r"\{(\w+)", texts["en"]))]
    assert (incomplete, differing) == ([], [])


def test_a_filter_is_answered_in_300_ms_on_a_year_of_31_sites_and_20_models(tmp_path: Path, sign_in: Callable[..., Reader]) -> None:
    """A dashboard that thinks for seconds is not asked a second question. Prints what it measured."""
    published = build_finance(tmp_path, weeks=52, site_count=31, model_count=20)
    for served in start(published):
        reader = sign_in(served).open()
        page = reader.page
        waited, worked = [], []
        for number in range(2, 7):
            before = served.cpu_seconds()
            page.locator("#overview-site-choice").click()
            page.locator(".dash-dropdown-option", has_text=f"Site {number:02}").first.click()
            page.keyboard.press("Escape")
            page.wait_for_function("text => document.querySelector('[data-block=stamp]').textContent.includes(text)", arg=f"Site {number:02}")
            reader.ready()
            waited.append(page.evaluate("performance.getEntriesByType('resource').filter(one => one.name.includes('_dash-update-component')).at(-1).duration"))
            worked.append((served.cpu_seconds() - before) * 1000)
        middle = len(worked) // 2
        print(
            f"\n31 sites x 20 models x 52 weeks, overview after a filter: server {sorted(worked)[middle]:.0f} CPU-ms median, "
            f"answer in {min(waited):.0f} ms at best and {sorted(waited)[middle]:.0f} ms median on a machine with a load of {os.getloadavg()[0]:.1f}"
        )
        # A wall time measures what else the machine does; the work is what it takes when it does nothing else.
        assert sorted(worked)[middle] <= 300
        if os.getloadavg()[0] < 1:
            assert sorted(waited)[middle] <= 300
