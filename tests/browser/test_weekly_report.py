"""The weekly report in a real browser, from a file, with the network cut."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import HOSTILE_NAMES, Opened, Report
from playwright.sync_api import Page
from published_fixture import SILENT_HOURS

from dashboards.bilingual import clean, compact_text
from dashboards.weekly_report import write_weekly_report
from dashboards.weekly_report.parts import ACTION_OWNERS
from dashboards.weekly_report.pdf import print_report
from dashboards.weekly_report.published import WeekNotPublished
from orchestration.forecasting.tables import HORIZON_WEEKS

Open = Callable[..., Opened]
LARGEST_BYTES = 3_000_000
SLOWEST_SECONDS = 3.0
LARGEST_BUILD_CPU_SECONDS = 10.0
WEEKS = 8

# Text that a reader sees, outside of what is marked as the same in every language.
VISIBLE_TEXT = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!/\\p{L}/u.test(node.data) || parent.closest('script,style,noscript,[translate=no],[data-lang]')) continue;
    texts.push({text: node.data.trim(), where: parent.closest('.plot') ? 'plot' : parent.tagName});
  }
  return texts;
}"""


def mart(report: Report, sql: str) -> list[dict]:
    """Rows of the published file."""
    connection = duckdb.connect()
    connection.execute(f"attach '{report.published}' as published (read_only)")
    result = connection.execute(sql.replace("capacity.", "published.capacity."))
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    connection.close()
    return rows


def marks(opened: Opened, chart: str) -> dict[str, int]:
    """Points that Plotly holds per trace of a chart, and bars or points that it drew."""
    return opened.page.evaluate("""(id) => {
      const plot = document.getElementById('chart-' + id);
      const held = {};
      plot._fullData.forEach((trace, index) => {
        const values = trace.z ? trace.z.flat() : trace.orientation === 'h' ? trace.x : trace.y;
        held[(trace.meta || 'trace') + ':' + index] = (values || []).filter((value) => value !== null).length;
      });
      held.drawnBars = plot.querySelectorAll('.barlayer .point path').length;
      held.drawnPoints = plot.querySelectorAll('.scatterlayer .points path').length;
      held.drawnLines = plot.querySelectorAll('.scatterlayer .lines path').length;
      held.images = plot.querySelectorAll('.heatmaplayer image').length;
      return held;
    }""", chart)


def of(counts: dict[str, int], meta: str) -> int:
    """Points of all traces with that meta."""
    return sum(count for name, count in counts.items() if name.rpartition(":")[0] == meta)


def test_it_opens_offline_asks_for_nothing_and_complains_of_nothing(report: Report, open_report: Open) -> None:
    """A report that phones out leaks who reads what, and is blank on a train."""
    opened = open_report(report.html, until="complete")
    assert opened.requests == [report.html.as_uri()]
    assert opened.complaints == []
    assert opened.page.locator(".modebar, .modebar-btn").count() == 0
    assert opened.page.locator("a[href]:not([href^='#'])").count() == 0
    policy = opened.page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]


def test_it_is_small_quick_to_build_and_quick_to_open(report: Report, open_report: Open, tmp_path: Path) -> None:
    """A page of minutes and megabytes is not opened on Monday morning."""
    assert report.html.stat().st_size <= LARGEST_BYTES
    started = time.process_time()
    report.write(tmp_path / "again.html", language="zh")
    cpu_seconds = time.process_time() - started
    # The machine may be busy with something else, so the best of three is the page's own time.
    times = [_times(open_report(report.html).page) for _ in range(3)]
    opening, complete = (min(time[index] for time in times) for index in (0, 1))
    busy = min(time[2] for time in times)
    print(f"build {cpu_seconds:.1f} CPU-s, {report.html.stat().st_size / 1e6:.2f} MB, opens in {opening:.2f} s, "
          f"all charts after {complete:.2f} s, of which the page worked {busy:.2f} s")
    assert cpu_seconds <= LARGEST_BUILD_CPU_SECONDS
    assert opening <= SLOWEST_SECONDS
    assert busy <= SLOWEST_SECONDS


def _times(page: Page) -> tuple[float, float, float]:
    """Seconds until the first screens stood and until every chart did, and of CPU of the page's thread."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    page.wait_for_selector("html[data-complete]", timeout=60_000)
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    ready, complete = (int(page.locator("html").get_attribute(f"data-{name}")) / 1000 for name in ("ready", "complete"))
    return ready, complete, metrics["TaskDuration"]


def test_the_same_published_file_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    """A report that differs from run to run can't be compared with last week's."""
    again = report.write(tmp_path / "again.html")
    assert again.read_bytes() == report.html.read_bytes()


def test_decision_rows_equal_the_mart(report: Report, open_report: Open) -> None:
    """The one table that money is spent on."""
    opened = open_report(report.html, "#lang=en")
    rows = opened.page.evaluate("""() => [...document.querySelectorAll('table.decisions tbody tr')].map((row) => ({
      site: row.dataset.siteId, accelerator: row.dataset.acceleratorId, action: row.dataset.action,
      text: [...row.cells].map((cell) => {
        const copy = cell.cloneNode(true);
        copy.querySelectorAll('.cell-label, .owner-below, [data-lang=zh]').forEach((part) => part.remove());
        return copy.textContent.replace(/\\s+/g, ' ').trim();
      }),
    }))""")
    needs = {(row["site_id"], row["accelerator_id"]): row
             for row in mart(report, "select * from capacity.fct_capacity_need")}
    assert {(row["site"], row["accelerator"]) for row in rows} == set(needs)
    assert len(rows) == len(needs)
    week = {None: "not in 13 wk", "2026-W47": "already short"}
    for row in rows:
        need = needs[row["site"], row["accelerator"]]
        assert row["action"] == need["action"]
        ratio = need["now_p95_utilization_ratio"]
        assert row["text"][2] == ("–" if ratio is None else f"{ratio * 100:.0f}%")
        assert row["text"][3] == f"{round(need['demand_accelerator_count']):,} / {round(need['usable_accelerator_count']):,}"
        assert row["text"][4].startswith(week.get(need["runs_out_week_p50"], need["runs_out_week_p50"]))
        if need["runs_out_week_p50"] != "2026-W47":
            assert f"/ {week.get(need['runs_out_week_p90'], need['runs_out_week_p90'])}" in row["text"][4]
        if need["action"] == "add":
            assert row["text"][5] == f"Add {need['add_accelerator_count']:,}"
            assert need["order_by_date"] is None or f"{need['order_by_date'].day} {need['order_by_date']:%b}" in row["text"][6]
        assert row["text"][8].lower() == need["confidence"]
    acting = sum(need["action"] != "none" for need in needs.values())
    assert opened.page.locator("h1").inner_text().startswith(f"{acting} actions.")
    assert opened.page.get_by_text(f"No action needed: {len(needs) - acting} pools").first.is_visible()


def test_the_tokens_ahead_are_those_of_the_mart(report: Report, open_report: Open) -> None:
    """A sum over the wrong weeks, or a model that is not in use, would plan for tokens that nobody forecast."""
    opened = open_report(report.html, "#lang=en")
    rows = opened.page.locator("#outlook > .scroll").first.locator("tbody tr").all_inner_texts()
    ends = mart(report, """
        select level, series_id, value from capacity.fct_serving_demand_forecast
        where is_in_use and quantile = 0.5 and level in ('nation', 'segment', 'model')
        qualify target_date = max(target_date) over ()
    """)
    assert len(rows) == len(ends) == 5
    (nation,) = (row["value"] for row in ends if row["level"] == "nation")
    assert rows[0].split("\t")[7] == compact_text(nation, "en")
    asked = mart(report, """
        select sum(unconstrained_input_tokens) as input, sum(unconstrained_output_tokens) as output
        from capacity.fct_demand_daily where usage_date >= date '2026-11-16'""")[0]
    assert [rows[0].split("\t")[column] for column in (2, 4)] == [compact_text(float(asked[key]), "en") for key in ("input", "output")]
    tenants = opened.page.locator("#outlook > .scroll").nth(1).locator("tbody tr").all_inner_texts()
    largest = mart(report, """
        select series_id, value from capacity.fct_serving_demand_weekly
        where level = 'tenant' and week_start_date = date '2026-11-16' order by value desc, series_id""")
    assert [row.split("\t")[5] for row in tenants] == [compact_text(row["value"], "en") for row in largest]


def test_every_chart_has_as_many_marks_as_data(report: Report, open_report: Open) -> None:
    """A chart library without a trace's code draws nothing and raises nothing."""
    opened = open_report(report.html, "#site=cn-gd&pool=ascend-910c")
    fan = marks(opened, "fan")
    assert of(fan, "demand") == WEEKS
    assert of(fan, "median") == HORIZON_WEEKS
    assert of(fan, "supply") == WEEKS + HORIZON_WEEKS + 1
    assert [of(fan, f"q{quantile}") for quantile in (0.025, 0.1, 0.25, 0.75, 0.9, 0.975)] == [HORIZON_WEEKS] * 6
    assert of(fan, "committed") == 1
    crossing = of(fan, "crossing")
    assert fan["drawnPoints"] == WEEKS + HORIZON_WEEKS + 1 + crossing
    assert fan["drawnLines"] >= 3
    heat = marks(opened, "diurnal")
    assert (of(heat, "hours"), heat["images"]) == (7 * 24, 1)
    sites = mart(report, "select distinct site_id from capacity.fct_supply_demand_weekly")
    network = marks(opened, "network")
    assert of(network, "sites") == len(sites)
    links = mart(report, "select count(*) as link_count from capacity.dim_link")[0]["link_count"]
    assert of(network, "links") == 2 * links
    assert network["drawnPoints"] == len(sites)
    movers = marks(opened, "movers")
    assert of(movers, "increase") + of(movers, "decrease") == movers["drawnBars"] == 12
    for chart, bars in (("waste_weeks", WEEKS), ("waste_sites", 15)):
        counts = marks(opened, chart)
        assert counts["drawnBars"] == 6 * bars
    assert of(marks(opened, "movers"), "increase") > 0
    tokens = mart(report, """
        select count(distinct (date_trunc('week', usage_date), product)) as bar_count from capacity.fct_token_usage_hourly""")
    assert marks(opened, "tokens")["drawnBars"] == tokens[0]["bar_count"] > 0
    packages = mart(report, "select count(distinct iso_week) as bar_count from capacity.fct_package_demand")
    assert marks(opened, "packages")["drawnBars"] == packages[0]["bar_count"] == 6
    binding = mart(report, "select count(*) as bar_count from capacity.fct_binding_constraint_weekly")[0]["bar_count"]
    assert marks(opened, "binding")["drawnBars"] == min(binding, 10)
    assert marks(opened, "bridge")["drawnBars"] == 6
    for measure in ("input_tokens", "output_tokens"):
        ahead = marks(opened, f"outlook_{measure}")
        assert (of(ahead, "demand"), of(ahead, "median"), of(ahead, "q0.1")) == (WEEKS, HORIZON_WEEKS, HORIZON_WEEKS)
        assert ahead["drawnPoints"] == WEEKS + HORIZON_WEEKS
    scenarios = mart(report, "select count(distinct scenario) as bar_count from capacity.fct_what_if")[0]["bar_count"]
    assert marks(opened, "what_if")["drawnBars"] == scenarios + 1
    accuracy = mart(report, """
        select count(*) as point_count from capacity.fct_forecast_accuracy
        where level = 'site_accelerator' and series_id = 'all' and metric like 'wape_week_%'
    """)[0]["point_count"]
    assert marks(opened, "accuracy")["drawnPoints"] == accuracy > 0


def test_every_hub_region_has_its_three_charts_whole(report: Report, open_report: Open) -> None:
    """Eight small charts of one kind hide one that is empty, or one whose bands are sums of its sites' bands."""
    opened = open_report(report.html, "#lang=en", until="complete")
    usage = {row["hub_region"] for row in mart(report, """
        select distinct hub_region from capacity.fct_token_usage_hourly
        join capacity.dim_site on serving_site_id = site_id""")}
    medians = {row["series_id"]: row["medians"] for row in mart(report, """
        select series_id, list(value order by target_date) as medians from capacity.fct_demand_forecast
        where level = 'hub_region' and quantile = 0.5 and is_in_use group by series_id""")}
    articles = opened.page.locator("article.region")
    assert articles.count() == 8
    for number in range(1, 9):
        region = articles.nth(number - 1).get_attribute("data-region")
        fan = marks(opened, f"region-{number}-fan")
        assert (of(fan, "demand"), of(fan, "median")) == (WEEKS, HORIZON_WEEKS)
        drawn = opened.page.evaluate(
            "id => [...document.getElementById(id).data.find((trace) => trace.meta === 'median').y]", f"chart-region-{number}-fan")
        assert drawn == pytest.approx(medians[region], abs=0.06)
        assert of(fan, "supply") == WEEKS + HORIZON_WEEKS + 1
        arriving = of(fan, "committed")
        assert of(fan, "committed_part") == (HORIZON_WEEKS + 1 if arriving else 0)
        assert region in usage
        heat = marks(opened, f"region-{number}-hours")
        assert (of(heat, "hours"), heat["images"]) == (7 * 24, 1)
        assert marks(opened, f"region-{number}-waste")["drawnBars"] == 6 * WEEKS


def shown_decisions(page: Page) -> list[tuple[str, str]]:
    """Site and type of every decision row that the filters leave, folded away or not."""
    return page.evaluate("""() => [...document.querySelectorAll('table.decisions tbody tr')].filter((row) => !row.hidden)
        .map((row) => [row.dataset.siteId, row.dataset.acceleratorId].join())""")


def test_filters_change_rows_charts_tables_and_address_and_survive_a_reload(report: Report, open_report: Open) -> None:
    """A planner of one region sends a link; it must open on that region, with that region's numbers."""
    opened = open_report(report.html, "#lang=en")
    page = opened.page
    state = """() => [document.getElementById('chart-tokens').data.map((t) => (t.y || []).join()).join(';'),
                     document.querySelector('#tokens-table tbody').textContent, location.hash]"""
    everything = page.evaluate(state)
    page.select_option("#choose-region", "Guizhou")
    page.wait_for_timeout(200)
    region = page.evaluate(state)
    assert all(before != after for before, after in zip(everything, region, strict=True))
    assert "hub=Guizhou" in region[2]
    wanted = mart(report, """select concat_ws(',', need.site_id, accelerator_id) as pool from capacity.fct_capacity_need as need
        join capacity.dim_site using (site_id) where hub_region = 'Guizhou'""")
    assert sorted(shown_decisions(page)) == sorted(row["pool"] for row in wanted)
    assert page.locator("article.region:visible").count() == 1
    assert page.locator("#filtered-decisions").inner_text().startswith(f"{len(wanted)} of ")
    assert page.locator("#choose-site option").count() == len({row["pool"].split(",")[0] for row in wanted})
    page.select_option("#choose-product", "payg")
    page.wait_for_timeout(200)
    product = page.evaluate(state)
    assert "product=payg" in product[2] and "hub=Guizhou" in product[2]
    page.reload()
    page.wait_for_selector("html[data-complete]")
    assert page.evaluate(state) == product
    assert (page.input_value("#choose-region"), page.input_value("#choose-product")) == ("Guizhou", "payg")
    assert sorted(shown_decisions(page)) == sorted(row["pool"] for row in wanted)
    page.click("#reset-filters")
    page.wait_for_timeout(200)
    assert page.evaluate(state)[:2] == everything[:2]
    assert page.locator("article.region:visible").count() == 8


def exported(page: Page, name: str, folder: Path) -> list[dict]:
    """The rows of an export, as a spreadsheet would read them."""
    with page.expect_download() as waiting:
        page.click(f"[data-export={name}]")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_is_filtered_is_what_is_exported(report: Report, open_report: Open, tmp_path: Path) -> None:
    """Numbers that change on their way into a spreadsheet are found out in the board meeting."""
    page = open_report(report.html, "#lang=en&hub=Yangtze+River+Delta&product=payg").page
    rows = exported(page, "decisions", tmp_path)
    wanted = mart(report, """select need.*, hub_region from capacity.fct_capacity_need as need
        join capacity.dim_site using (site_id) where hub_region = 'Yangtze River Delta'""")
    found = {(row["site_id"], row["accelerator_id"]): row for row in rows}
    assert len(rows) == len(wanted) == len(found) > 5
    for row in wanted:
        cells = found[row["site_id"], row["accelerator_id"]]
        for column in ("cutoff_week", "hub_region", "runs_out_week_p50", "action", "confidence"):
            assert cells[column] == (row[column] or "")
        for column in ("demand_accelerator_count", "usable_accelerator_count", "expected_shortfall_accelerator_count"):
            assert float(cells[column]) == row[column]
        assert int(cells["add_accelerator_count"]) == row["add_accelerator_count"]
    tokens = exported(page, "tokens", tmp_path)
    total = mart(report, """
        select sum(input_tokens + cached_input_tokens + output_tokens) as tokens from capacity.fct_token_usage_hourly
        join capacity.dim_site on serving_site_id = site_id where hub_region = 'Yangtze River Delta'""")[0]["tokens"]
    assert sum(int(row["tokens"]) for row in tokens) == total


def test_who_acts_is_shown_filtered_and_exported_alike(report: Report, open_report: Open, tmp_path: Path) -> None:
    """A decision that is nobody's is not carried out, and one that a filter loses is nobody's again."""
    page = open_report(report.html, "#lang=en").page
    shown = page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('table.decisions tbody tr')]
        .map((row) => [row.dataset.siteId + '/' + row.dataset.acceleratorId, [row.dataset.action, row.dataset.owner]]))""")
    assert {tuple(pair) for pair in shown.values()} <= {*ACTION_OWNERS.items(), ("none", "")}
    owner = ACTION_OWNERS["add"]
    mine = {pool for pool, (_, theirs) in shown.items() if theirs == owner}
    page.select_option("#choose-owner", owner)
    assert f"owner={owner}" in page.url and 0 < len(mine) < len(shown)
    left = page.evaluate("""() => [...document.querySelectorAll('table.decisions tbody tr:not([hidden])')]
        .map((row) => row.dataset.siteId + '/' + row.dataset.acceleratorId)""")
    rows = exported(page, "decisions", tmp_path)
    assert set(left) == mine == {f"{row['site_id']}/{row['accelerator_id']}" for row in rows}
    assert {row["owner"] for row in rows} == {owner}


def map_rows(page: Page) -> list[list[str]]:
    """Site, load, demand and usable of each row beside the map."""
    return page.evaluate("""() => [...document.querySelectorAll('.map-rows tbody tr')].map((row) => [1, 3, 4, 5].map(
        (cell) => (row.cells[cell].querySelector('[data-lang=en]') || row.cells[cell]).textContent.trim()))""")


def test_the_map_and_its_table_follow_the_week(report: Report, open_report: Open) -> None:
    """A map of next month that shows this month's loads, or a table that stays behind it, moves servers to the wrong hub."""
    page = open_report(report.html, "#lang=en").page
    this_week = map_rows(page)
    page.focus("#choose-week")
    page.keyboard.press("ArrowRight")
    assert "week=2026-W48" in page.url
    wanted = mart(report, """
        select site_name, value as demand, usable, value / usable * now.usable_accelerator_count / now.available_accelerator_count as load
        from capacity.fct_demand_forecast as forecast join capacity.dim_site on series_id = site_id
        join capacity.fct_busy_hour_demand_weekly as now on now.level = 'site' and now.series_id = site_id
            and week_start_date = '2026-11-16' and now.cutoff_date = '2026-11-22'
        join (select site_id, sum(usable_accelerator_count) as usable from capacity.fct_supply_plan_weekly
            where target_date = '2026-11-23' and cutoff_date = '2026-11-22' group by 1) using (site_id)
        where forecast.level = 'site' and quantile = .5 and target_date = '2026-11-23'
            and forecast.cutoff_date = '2026-11-22' and is_in_use""")
    of_site = {tuple(row[1:]) for row in map_rows(page)}
    assert len(map_rows(page)) == len(wanted) > 30
    for row in (row for row in wanted if row["usable"]):
        near = [cells for cells in of_site if cells[0] == f"{100 * row['load']:.0f}%"]
        assert any(abs(int(demand.replace(",", "")) - row["demand"]) <= 0.5 for _, demand, _ in near), row
    drawn = page.evaluate("document.getElementById('chart-network').data.find((t) => t.meta === 'sites').text.join()")
    assert map_rows(page)[0][1] in drawn
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.get_attribute("#choose-week", "aria-valuetext") == "2026-W48 (+1)"
    assert map_rows(page) != this_week
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert map_rows(page) == this_week, "paper shows the week of the report"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.focus("#choose-week")
    page.keyboard.press("End")
    assert "(+12)" in page.inner_text("#map-week")
    page.keyboard.press("Home")
    assert "(−6)" in page.inner_text("#map-week")
    page.click("#this-week")
    assert map_rows(page) == this_week and "week=" not in page.url


def test_hours_that_nobody_heard_are_drawn_and_an_unbroken_feed_is_said(report: Report, open_report: Open) -> None:
    """A drop-out that looks like a quiet night hides demand; an empty picture leaves open whether anybody looked."""
    page = open_report(report.html, "#lang=en").page
    title = page.inner_text("#gaps_usage-title")
    assert f"{SILENT_HOURS} h" in title and "sites: 1" in title
    cells = page.evaluate("document.getElementById('chart-gaps_usage').data[0].z")
    assert len(cells) == 1 and sorted(cells[0])[-2:] == [0, SILENT_HOURS] and len(cells[0]) == 7 * WEEKS
    assert "Telemetry speaks of all that was held, at every site, in 56 days." in page.inner_text("#quality .notes")
    page.evaluate("document.querySelectorAll('#quality details').forEach((one) => { one.open = true; })")
    assert str(SILENT_HOURS) in page.inner_text("#quality details table")


def test_an_exported_name_is_no_formula(hostile_report: Report, open_report: Open, tmp_path: Path) -> None:
    """A spreadsheet runs a cell that begins with an equals sign."""
    page = open_report(hostile_report.html, "#lang=en").page
    rows = exported(page, "decisions", tmp_path)
    names = {row["site_id"]: row["site_name"] for row in rows}
    assert names["cn-zj"] == "'" + HOSTILE_NAMES["cn-zj"]
    assert names["cn-gd"] == clean(HOSTILE_NAMES["cn-gd"])
    assert all(not value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_last_weeks_decisions_are_followed_up(report: Report, open_report: Open) -> None:
    """An action that nobody carried out must not silently become a new one."""
    page = open_report(report.html, "#lang=en").page
    text = page.locator("#changes").inner_text()
    assert "Nothing was published after 2026-W46, so its decisions are computed now" in text
    assert "What became of last week's actions" in text and "open, " in text
    assert "ordered: 512 more committed" in text or "ordered:" not in text
    assert "2 figures of 1 days were restated; demand moved by +30 accelerator-hours net." in text
    assert "late delivery part-9.jsonl" in text
    steps = page.evaluate("""() => document.getElementById('chart-bridge').data
        .flatMap((trace) => trace.text.map((text, index) => [trace.x[index], text]))""")
    amounts = {label.replace("<br>", " "): int(text.replace("−", "-").replace(",", "")) for label, text in steps}
    total = sum(amount for label, amount in amounts.items() if label != "gap now")
    assert abs(total - amounts["gap now"]) <= 2  # each is rounded to a whole accelerator


def test_matching_shows_flows_what_binds_and_scenarios_and_no_money(report: Report, open_report: Open) -> None:
    """What a planner may know of the optimum is hours and tokens; what they are worth is the finance edition's."""
    text = open_report(report.html, "#lang=en").page.locator("#matching").inner_text()
    assert "tokens elsewhere" in text and "binds longest" in text
    assert "1.00B tokens" in text and "because a pool is full" in text
    assert "If Gui'an is lost, 250 more accelerators are short in the worst week" in text
    assert "price −15%, elasticity 1 (assumption)" in text and "odd 1" in text
    for money in ("CNY", "¥", "yuan"):
        assert money not in text


def test_the_fan_shows_the_marts_numbers(report: Report, open_report: Open) -> None:
    """A chart of another pool under this pool's title is worse than no chart."""
    opened = open_report(report.html, "#lang=en&site=cn-zj&pool=nvidia-h20")
    rows = opened.page.evaluate(
        "() => [...document.querySelectorAll('#fan-table tbody tr')].map((row) => [...row.cells].map((c) => c.textContent))")
    model = mart(report, "select any_value(model) as model from capacity.fct_capacity_need where model is not null")
    forecast = mart(report, f"""
        select cast(target_date as varchar) as monday, quantile, value from capacity.fct_demand_forecast
        where series_id = 'cn-zj/nvidia-h20' and model = '{model[0]["model"]}' and quantile in (0.1, 0.5, 0.9)
    """)
    shown = {row[0]: row for row in rows}
    for row in forecast:
        cell = shown[row["monday"]][{0.1: 2, 0.5: 3, 0.9: 4}[row["quantile"]]]
        assert float(cell.replace(",", "")) == pytest.approx(row["value"], abs=0.06)
    assert len(rows) == WEEKS + HORIZON_WEEKS


def test_choosing_a_site_changes_chart_table_and_address_and_survives_a_reload(
    report: Report, open_report: Open
) -> None:
    """A link sent to a colleague must open on the same site."""
    opened = open_report(report.html, "#lang=en")
    page = opened.page
    state = """() => [document.getElementById('chart-fan').data.find((t) => t.meta === 'demand').y.join(),
                     document.querySelector('#fan-table tbody').textContent,
                     document.getElementById('fan-summary').textContent, location.hash]"""
    first = page.evaluate(state)
    page.select_option("#choose-site", "cn-bj")
    page.wait_for_timeout(200)
    second = page.evaluate(state)
    assert all(before != after for before, after in zip(first, second, strict=True))
    assert "site=cn-bj" in second[3]
    assert "Beijing" in second[2]
    page.select_option("#choose-pool", "nvidia-h20")
    page.wait_for_timeout(200)
    third = page.evaluate(state)
    assert "pool=nvidia-h20" in third[3]
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate(state) == third
    assert page.input_value("#choose-site") == "cn-bj"
    assert page.input_value("#choose-pool") == "nvidia-h20"


def test_a_decision_leads_to_its_pool(report: Report, open_report: Open) -> None:
    """From the row to the evidence is one click."""
    page = open_report(report.html, "#lang=en").page
    row = page.locator("table.decisions tbody tr").first
    row.locator("a.to-site").click()
    page.wait_for_timeout(200)
    assert page.input_value("#choose-site") == row.get_attribute("data-site-id")
    assert page.input_value("#choose-pool") == row.get_attribute("data-accelerator-id")


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_scrolls_sideways(report: Report, hostile_report: Report, open_report: Open, width: int) -> None:
    """A column off the screen is a column nobody reads."""
    for made in (report, hostile_report):
        page = open_report(made.html, width=width).page
        for details in page.locator("details").all():
            details.evaluate("element => { element.open = true; }")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("language, width", [("zh", 1280), ("en", 1280), ("zh", 390), ("en", 390)])
def test_no_label_of_a_chart_is_cut(report: Report, open_report: Open, language: str, width: int) -> None:
    """Half a site's name on an axis is another site's name."""
    page = open_report(report.html, f"#lang={language}", width=width, until="complete").page
    cut = page.evaluate("""() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
      const room = plot.getBoundingClientRect();
      return [...plot.querySelectorAll('svg text')].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < room.left - 1 || box.right > room.right + 1 || box.top < room.top - 1
          || box.bottom > room.bottom + 1);
      }).map((text) => plot.id + ': ' + text.textContent);
    })""")
    assert cut == []


@pytest.mark.parametrize("address, language", [("", "en"), ("#lang=zh", "zh")])
def test_no_text_is_left_in_the_other_language(
    report: Report, open_report: Open, address: str, language: str
) -> None:
    """Half a translation reads as carelessness about the numbers too."""
    page = open_report(report.html, address).page
    if language == "zh":
        page.click("[data-set-language=en]")
        page.click("[data-set-language=zh]")
    page.wait_for_timeout(500)
    seen = page.evaluate(VISIBLE_TEXT)
    loose = [item for item in seen if item["where"] not in ("plot", "H2", "OPTION", "FIGCAPTION", "OUTPUT")]
    assert loose == []
    dynamic = " ".join(item["text"] for item in seen)
    assert bool(re.search("[\u4e00-\u9fff]", dynamic)) == (language == "zh")
    if language == "zh":
        words = set(re.findall(r"[A-Za-z]{4,}", re.sub(r"Ascend|CloudMatrix\d*|WAPE", "", dynamic)))
        assert words == set()
        assert page.title().startswith("Tidegauge 算力容量周报")
    hidden = page.locator(f"[data-lang={'en' if language == 'zh' else 'zh'}]")
    assert all(box is None for box in (hidden.nth(index).bounding_box() for index in range(0, hidden.count(), 40)))
    assert page.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[language]


def test_hostile_names_are_shown_literally_and_run_nowhere(hostile_report: Report, open_report: Open) -> None:
    """A site's name is text that somebody else typed."""
    opened = open_report(hostile_report.html, "#lang=en&site=cn-gd&pool=ascend-910c")
    page = opened.page
    for language in ("zh", "en"):
        page.click(f"[data-set-language={language}]")
        page.wait_for_timeout(200)
        assert page.evaluate("window.pwned") is None
        assert page.locator("a[href]:not([href^='#'])").count() == 0
        assert page.locator("main b a, img, main script").count() == 0
    body = page.locator("body").evaluate("element => element.textContent")
    for name in HOSTILE_NAMES.values():
        assert clean(name) in body
    assert "\u202e" not in hostile_report.html.read_text("utf-8")
    assert HOSTILE_NAMES["cn-gd"] in page.locator("#fan-summary").inner_text()
    chart_text = page.locator("#chart-movers").evaluate("element => element.textContent")
    assert '<a href="https://evil' in chart_text
    assert opened.complaints == []
    assert len(opened.requests) == 1


def test_keyboard_reaches_every_control_and_shows_where_it_is(report: Report, open_report: Open) -> None:
    """A planner without a mouse has the same Monday."""
    page = open_report(report.html, "#lang=en").page
    wanted = page.evaluate("""() => [...document.querySelectorAll('button, select, a[href], summary, .scroll[tabindex]')]
        .filter((element) => element.checkVisibility()).length""")
    reached = set()
    for _ in range(wanted + 15):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("""() => {
          const element = document.activeElement;
          if (element === document.body) return null;
          element.dataset.visit = element.dataset.visit || String(Math.random());
          const style = getComputedStyle(element);
          return element.dataset.visit + (parseFloat(style.outlineWidth) > 0 ? ' seen' : ' unseen ' + element.outerHTML.slice(0, 80));
        }"""))
    reached.discard(None)
    assert [one for one in reached if " unseen" in one] == []
    assert len(reached) >= wanted


def test_every_chart_is_named_summed_up_and_tabled(report: Report, open_report: Open) -> None:
    """Plotly's drawing says nothing to a screen reader."""
    page = open_report(report.html, "#lang=en").page
    charts = page.locator(".plot")
    assert charts.count() == 15 + 3 * 8
    for chart in charts.all():
        figure = chart.locator("xpath=ancestor::figure")
        assert figure.get_attribute("role") == "group"
        for name in f"{figure.get_attribute('aria-labelledby')} {chart.get_attribute('aria-labelledby')}".split():
            assert len(page.locator(f"#{name}").inner_text()) > 10
        # The map and the scenarios have their table beside them, in the open.
        assert figure.locator("table").count() == 1 or chart.get_attribute("id") in ("chart-network", "chart-what_if")


def test_text_keeps_its_contrast_as_computed(report: Report, open_report: Open) -> None:
    """What the stylesheet promises is not always what the reader gets."""
    page = open_report(report.html, "#lang=en").page
    weak = page.evaluate("""() => {
      const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
      const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const colour = parse(getComputedStyle(at).backgroundColor);
          if (colour.length === 3 || colour[3] > 0.9) return colour;
        }
        return [255, 255, 255];
      };
      const found = new Set();
      document.querySelectorAll('main *, header *, nav *, footer *').forEach((element) => {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || element.closest('svg')) return;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) found.add(element.tagName + '.' + element.className);
      });
      return [...found];
    }""")
    assert weak == []


def test_a_short_history_and_missing_tables_are_said(one_week_report: Report, open_report: Open) -> None:
    """A blank where data should be reads as zero."""
    opened = open_report(one_week_report.html, "#lang=en")
    text = opened.page.locator("main").inner_text()
    assert "There is no week to compare with" in text
    assert "History is too short for a backtest" in text
    assert "there is no link telemetry" in text
    assert "capacity.fct_link_utilization_hourly" in text
    assert opened.complaints == []


def test_a_network_without_sites_is_said(empty_report: Report, open_report: Open) -> None:
    """The first report of a new installation must be a page with reasons, not an error."""
    opened = open_report(empty_report.html, "#lang=en", width=390)
    text = opened.page.locator("main").inner_text()
    assert "There is no forecast for this week, so no decision." in text
    assert "holds no supply and demand data" in text
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.complaints == []


def test_a_week_that_is_not_published_is_refused_by_name(report: Report, tmp_path: Path) -> None:
    """A report of another week under this week's name would be believed."""
    with pytest.raises(WeekNotPublished, match="2025-W01 is not in the published file, which holds 2026-W40 to 2026-W47"):
        write_weekly_report(report.published, "2025-W01", tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_week_is_reported_without_what_came_after(report: Report, tmp_path: Path) -> None:
    """Made again, last month's report must not know this month."""
    page = report.write(tmp_path / "w45.html", "2026-W45").read_text("utf-8")
    assert "There is no forecast for this week, so no decision." in page
    assert "2026-W46" not in page and "2026-W47" not in page
    assert "all other figures end with that week" in unescape(page)


def test_a_past_week_is_reported_with_the_forecast_of_then(report: Report, open_report: Open, tmp_path: Path) -> None:
    """A decision is judged by what was known when it was made."""
    page = report.write(tmp_path / "w46.html", "2026-W46")
    opened = open_report(page, "#lang=en", until="complete")
    assert "computed now by today's method from data up to that week" in opened.page.locator(".notice").first.inner_text()
    needs = pl.read_parquet(report.published.parent / "before" / "fct_capacity_need.parquet")
    assert opened.page.locator("table.decisions tbody tr").count() == needs.height
    assert opened.page.locator("h1").inner_text().startswith(f"{needs.filter(pl.col('action') != 'none').height} actions.")
    assert marks(opened, "fan")["drawnPoints"] > 0
    assert of(marks(opened, "region-1-fan"), "demand") == WEEKS - 1
    assert "2026-W47" not in opened.page.locator("#changes, #waste").all_inner_texts()
    assert opened.complaints == []


def page_titles(html: Path) -> list[str]:
    """The English titles of every section that is printed."""
    sections = re.findall(r'<section id="(\w+)".*?</section>', html.read_text("utf-8"), re.DOTALL)
    found = []
    for name, body in re.findall(r'<section id="(\w+)"(.*?)</section>', html.read_text("utf-8"), re.DOTALL):
        if name != "sites" and (title := re.search(r'<h[12][^>]*>.*?data-lang="en" lang="en">(.*?)</span></h', body, re.DOTALL)):
            found.append(unescape(re.sub("<.*?>", "", title[1])))
    assert len(found) >= len(sections) - 1
    return found


def test_the_printed_report_is_whole(report: Report, tmp_path: Path, browser: object) -> None:
    """Directors read paper: nothing cut, no blank chart, at most twelve pages."""
    if shutil.which("pdftotext") is None or shutil.which("pdftoppm") is None:
        pytest.skip("2026-11-24: pdftotext and pdftoppm (poppler-utils) are not installed; `make setup-browser` says how")
    pdf = print_report(report.html, tmp_path / "report.pdf", "en")
    text = subprocess.run(["pdftotext", "-layout", pdf, "-"], check=True, capture_output=True, text=True).stdout
    pages = text.split("\f")[:-1]
    assert 5 <= len(pages) <= 12
    assert "Without action" in pages[0] and "2026-W47" in pages[0]
    assert all(len(page.split()) > 20 for page in pages)
    for axis_or_legend in ("busy-hour demand", "site load", "held, idle", "seasonal naive", "YRD Demonstration Zone",
                           "gap last", "pay as you go", "billion tokens"):
        assert axis_or_legend in text
    for need in mart(report, "select distinct site_name from capacity.fct_capacity_need join capacity.dim_site using (site_id)"):
        assert need["site_name"] in text or need["site_name"].split()[0] in text
    for title in page_titles(report.html):
        assert " ".join(title.split()[:4]) in " ".join(text.split())
    subprocess.run(["pdftoppm", "-r", "30", "-png", pdf, tmp_path / "page"], check=True)
    sizes = [path.stat().st_size for path in tmp_path.glob("page-*.png")]
    assert min(sizes) > 8_000
