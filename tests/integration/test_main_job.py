"""The main job, end to end: what goes into landing is what comes out of the marts, to the token.

Figures of the real traces are those their publishers state, or are counted here from the files on
their own; never those of a run.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from orchestration.home import Home

WINDOW_SECONDS = 600
TOKEN_MEASURES = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
REQUEST_MEASURES = ("request_count", "throttled_request_count", "failed_request_count")
# Tokens that stand for unmetered requests are estimates; what was metered is the rest.
METERED = {
    "input_tokens": "input_tokens - coalesce(estimated_input_tokens, 0)",
    "output_tokens": "output_tokens - coalesce(estimated_output_tokens, 0)",
}


# --- real traces ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "requests", "input_tokens", "output_tokens"),
    [("azure-conv", 19_366, 22_361_870, 4_088_665), ("mooncake", 3_993, 61_194_628, 595_432)],
)
def test_requests_and_tokens_of_a_request_trace_all_arrive(
    traces_home, query, model, requests, input_tokens, output_tokens
):
    """A lost or doubled request would be lost or doubled money."""
    assert query(traces_home.capacity, f"""
        select sum(request_count), sum({METERED['input_tokens']}), sum({METERED['output_tokens']})
        from capacity.fct_token_usage_hourly where model_id = '{model}'
    """) == [(requests, input_tokens, output_tokens)]


def test_real_tokens_meet_real_prices(traces_home, query):
    """By hand: 61,194,628 tokens at 6.50 and 595,432 at 27 are 413.841746 CNY; 22,361,870 at 0.80 and 4,088,665 at 4.80, 37.515088."""
    assert query(traces_home.warehouse, """
        select model_id, sum(list_revenue_cny) from intermediate.int_usage__settled
        where model_id in ('azure-conv', 'mooncake') group by model_id order by model_id
    """) == [("azure-conv", Decimal("37.515088")), ("mooncake", Decimal("413.841746"))]
    assert query(traces_home.warehouse, "select model_id from intermediate.int_usage__settled where settlement <> 'list_price'") == []
    # The latest dated prices of DeepSeek, by day and by night.
    assert query(traces_home.warehouse, """
        select distinct time_band, price_cny_per_million from intermediate.int_usage__settled
        where model_id = 'servegen-deepseek-r1' and token_type = 'output' order by time_band
    """) == [("off_peak", Decimal("13.5")), ("peak", Decimal(27))]


def test_philly_jobs_are_all_there_also_the_rows_that_repeat(traces_home, shared_data, query):
    """Deduplication by content would drop 40 real jobs: the trace has no ids."""
    with gzip.open(next((shared_data / "philly").glob("*.csv.gz")), "rt") as stream:
        rows = Counter(line.strip() for line in stream if line.strip())
    assert sum(count - 1 for count in rows.values()) == 40
    hours = sum(
        Decimal(duration) * int(accelerators) * count
        for line, count in rows.items() if not line.startswith("timestamp")
        for _, duration, accelerators, _, _ in [line.split(",")]
    ) / 3600
    (jobs, distinct, accelerator_hours), = query(traces_home.capacity, """
        select count(*), count(distinct job_id), sum(accelerator_hours)
        from capacity.fct_jobs where cluster_id = 'philly'
    """)
    assert (jobs, distinct) == (55_803, 55_803)
    # Every job's hours are kept to six decimals.
    assert abs(accelerator_hours - hours) < Decimal("0.06")


def test_the_openb_cluster_is_whole(traces_home, query):
    """A node list that loses a type or a node makes supply look short."""
    assert query(traces_home.capacity, "select count(*) from capacity.fct_jobs where cluster_id = 'openb'") == [(5_706,)]
    assert query(traces_home.warehouse, """
        select count(*), sum(node_count * accelerators_per_node), count(distinct accelerator_id)
        from raw.node_pools where source_id = 'openb_nodes'
    """) == [(1_523, 6_212, 7)]
    assert query(traces_home.capacity, """
        select distinct sum(installed_accelerator_hours) / 24
        from capacity.fct_accelerator_hours_daily
        where accelerator_id like 'openb-%' and usage_date between '2026-11-16' and '2026-11-22'
        group by usage_date
    """) == [(6_212,)]


def test_servegen_requests_are_its_rates_times_its_windows(traces_home, shared_data, query):
    """A join of clients with their histograms would lose the heaviest, which have none."""
    expected, without_lengths = Counter(), Counter()
    for path in sorted((shared_data / "servegen").rglob("chunk-*-trace.csv*")):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as stream:
            requests = sum(
                (Decimal(row[1]) * WINDOW_SECONDS).quantize(Decimal(1), ROUND_HALF_UP)
                for row in csv.reader(stream)
            )
        model = path.parent.name
        expected[model] += int(requests)
        dataset = path.name.split("-trace")[0] + "-dataset.json"
        if not any(path.with_name(dataset + suffix).exists() for suffix in ("", ".gz")):
            without_lengths[model] += int(requests)
    found = {row[0].removeprefix("servegen-"): row[1:] for row in query(traces_home.capacity, """
        select model_id, sum(request_count), sum(unmetered_request_count)
        from capacity.fct_token_usage_hourly
        where tenant_id like '%chunk%' or tenant_id like 'servegen%' group by 1
    """)}
    assert {model: counts[0] for model, counts in found.items()} == dict(expected)
    # Shown as unmetered, and not as requests of zero tokens; windows before a first histogram too.
    for model, count in without_lengths.items():
        assert found[model][1] >= count > 0


def test_prices_in_dollars_stand_beside_ours_in_yuan(traces_home, query):
    """Compared as numbers, 25 dollars a million would look cheaper than 27 yuan."""
    (row,) = query(traces_home.finance, """
        select distinct competitor_list_price_per_million, competitor_price_cny_per_million, observed_date
        from finance.fct_price_position
        where model_name = 'claude-opus-4-8' and token_type = 'output' and price_date = '2026-11-22'
    """)
    assert row == (Decimal(25), Decimal("168.7175"), date(2026, 6, 10))
    assert query(traces_home.finance, """
        select count(distinct vendor) >= 3 from finance.fct_price_position where competitor_currency = 'USD'
    """) == [(True,)]


def test_every_delivery_adds_up_and_nothing_is_quarantined_whole(traces_home, query):
    """received = loaded + duplicate + quarantined has no exception."""
    assert query(traces_home.capacity, """
        select delivery_name from quality.fct_deliveries
        where received_count <> loaded_count + duplicate_count + quarantined_count or status <> 'loaded'
    """) == []
    for format in ("azure_llm", "mooncake", "servegen", "servegen_lengths", "philly", "openb_pods", "openb_nodes",
                   "helios", "llview_gpu", "sacct_hb_jobinfo", "sacct_xdmod", "llm_prices_cn", "litellm_prices",
                   "reference_price_book"):
        assert query(traces_home.capacity, f"select count(*) > 0 from quality.fct_deliveries where format = '{format}'") == [(True,)], format


@pytest.mark.parametrize("which", ["traces_home", "simulated_home"])
def test_landing_raw_and_marts_differ_by_nothing(which, request, tidegauge):
    """`tidegauge reconcile` is what a person trusts; it must have something to compare, and find 0."""
    ran = tidegauge(request.getfixturevalue(which), "reconcile", "--json")
    assert ran.exit_code == 0, ran.stdout
    assert ran.json["difference_count"] == 0
    assert len(ran.json["reconciliation"]) >= 10


def test_traces_lie_in_the_week_of_the_report(traces_home, query):
    """A replay that misses the report's week would show an empty network."""
    assert query(traces_home.capacity, "select iso_week from meta.publication") == [("2026-W47",)]
    late = query(traces_home.capacity, """
        select distinct model_id from capacity.fct_token_usage_hourly where usage_date > '2026-11-22'
    """)
    assert late == []
    assert (traces_home.reports / "weekly" / "2026-W47.html").stat().st_size > 10_000


def test_the_second_demo_changes_nothing(traces_home, shared_data, tidegauge, hashes):
    """A repeated command that moved a figure would make every figure doubtful."""
    before = hashes(traces_home.capacity)
    landing = _files(traces_home.landing)
    ran = tidegauge(traces_home, "demo", "--traces", shared_data)
    assert ran.exit_code == 0
    assert "nothing new" in ran.stdout
    assert hashes(traces_home.capacity) == before
    assert _files(traces_home.landing) == landing


def test_a_longer_philly_file_adds_only_what_is_new(shared_data, tmp_path, tidegauge, query):
    """Public traces are delivered again with more rows; what was there must not count twice."""
    home = Home(tmp_path / "home")
    with gzip.open(next((shared_data / "philly").glob("*.csv.gz")), "rt") as stream:
        lines = stream.read().splitlines(keepends=True)
    shorter, longer = tmp_path / "shorter.csv", tmp_path / "longer.csv"
    shorter.write_text("".join(lines[:2_001]))
    longer.write_text("".join(lines[:3_001]))
    first = tidegauge(home, "ingest", shorter, "--json").json["totals"]
    assert first == {"received_count": 2_000, "loaded_count": 2_000, "duplicate_count": 0, "quarantined_count": 0}
    tidegauge(home, "ingest", longer, "--json")
    ran = tidegauge(home, "build", "--json")
    assert ran.exit_code == 0, ran.stdout
    assert query(home.warehouse, "select count(*) from capacity.fct_jobs") == [(3_000,)]
    assert query(home.warehouse, """
        select sum(received_count), sum(loaded_count), sum(duplicate_count), sum(quarantined_count)
        from quality.fct_deliveries
    """) == [(5_000, 3_000, 2_000, 0)]


def _files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# --- the simulated network -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth(simulated_home) -> dict:
    """What the simulator planted."""
    return json.loads((simulated_home.truth / "truth.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("group", "column"),
    [
        ("by_usage_date", "cast(usage_date as varchar)"), ("by_origin_site", "origin_site_id"),
        ("by_serving_site", "serving_site_id"), ("by_tenant", "tenant_id"), ("by_model", "model_id"),
        ("by_product", "product"),
    ],
)
def test_the_marts_are_the_truth_to_the_token(simulated_home, truth, query, group, column):
    """Late, duplicate, conflicting and broken lines are planted; each token still counts once."""
    measures = (*REQUEST_MEASURES, *TOKEN_MEASURES)
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in measures)
    found = {
        row[0]: dict(zip(measures, map(int, row[1:]), strict=True))
        for row in query(simulated_home.capacity, f"""
            select {column}, {sums} from capacity.fct_token_usage_hourly group by 1
        """)
    }
    planted = {
        key: {name: counts[name] for name in measures}
        for key, counts in truth["token_usage"][group].items() if any(counts.values())
    }
    assert found == planted


def test_planted_bad_lines_are_all_quarantined_and_no_others(simulated_home, truth, query):
    """A planted bad line that loads is a wrong number; a good line that does not is a lost one."""
    lines = truth["token_usage"]["lines"]
    (duplicates, conflicts, quarantined), = query(simulated_home.capacity, """
        select sum(duplicate_count), sum(conflict_count), sum(quarantined_count)
        from quality.fct_deliveries where table_name = 'token_usage' and status = 'loaded'
    """)
    assert conflicts + quarantined - conflicts == sum(lines["broken_lines"].values()) + lines["conflict_lines"]
    assert duplicates >= lines["duplicate_lines"] + lines["overlap_lines"]


def test_job_hours_are_the_truth(simulated_home, truth, query):
    """Open jobs are seen again and again; only their latest sighting counts, and all of its hours."""
    (attempts, hours), = query(simulated_home.capacity, "select count(*), sum(accelerator_hours) from capacity.fct_jobs")
    assert attempts == truth["job_logs"]["attempts"]
    planted = Decimal(truth["job_logs"]["accelerator_seconds"]) / 3600
    assert abs(hours - planted) <= Decimal("0.000001") * attempts


def test_the_second_simulated_demo_changes_nothing(copied_home, tidegauge, hashes):
    """The newcomer who types `make demo` twice must see the same report."""
    before = hashes(copied_home.capacity)
    ran = tidegauge(copied_home, "demo", "--days", 21, "--events-per-day", 1500, "--seed", 7)
    assert ran.exit_code == 0
    assert "nothing new" in ran.stdout
    assert hashes(copied_home.capacity) == before


def test_a_demo_does_not_write_over_another_simulation(copied_home, tidegauge):
    """Landing is the truth; two simulations under the same names would be neither."""
    ran = tidegauge(copied_home, "demo", "--days", 21, "--events-per-day", 1500, "--seed", 8)
    assert ran.exit_code == 1
    assert "another simulation" in ran.stderr


def test_a_machine_in_new_york_makes_the_same_marts(copied_home, simulated_home, tidegauge, hashes):
    """A day cut in the host's zone would move eight hours of usage to another day, and week."""
    ran = tidegauge(copied_home, "rebuild", TZ="America/New_York")
    assert ran.exit_code == 0, ran.stderr
    assert "no published figure moved" in ran.stdout
    assert hashes(copied_home.capacity) == hashes(simulated_home.capacity)
