"""Commands on a home that holds data: what each prints, writes and leaves alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests.runbook import closing_command

TIDEGAUGE = Path(sys.executable).with_name("tidegauge")


def test_status_says_what_came_and_what_is_published(simulated_home, tidegauge):
    """The first look of the day: anything missing shows here."""
    status = tidegauge(simulated_home, "status", "--json").json
    assert [feed["feed"] for feed in status["feeds"]] == ["token_usage", "job_logs", "telemetry", "reference"]
    assert all(feed["delivery_count"] > 0 and feed["pending_count"] == 0 for feed in status["feeds"])
    assert status["published"]["iso_week"] == "2026-W47"
    assert (status["due"], status["busy"], status["restated"]) == ([], "", [])
    assert status["next_step"] == "tidegauge quarantine list"
    said = tidegauge(simulated_home, "status").stdout
    assert "token_usage" in said
    assert "2026-W47" in said


def test_run_with_nothing_due_does_nothing(simulated_home, tidegauge):
    """A schedule may call it every hour."""
    before = simulated_home.capacity.stat().st_mtime_ns
    ran = tidegauge(simulated_home, "run", "--json")
    assert ran.exit_code == 0
    assert ran.json["due"] is False
    assert simulated_home.capacity.stat().st_mtime_ns == before


def test_quarantine_shows_file_line_reason_and_bytes(simulated_home, tidegauge):
    """Who delivered a bad line must be told which, and why, in words they can act on."""
    held = tidegauge(simulated_home, "quarantine", "list", "--json").json["deliveries"]
    assert held
    shown = tidegauge(simulated_home, "quarantine", "show", held[0]["delivery_id"][:12], "--json").json
    assert sum(line["line_count"] for line in shown["lines"]) == held[0]["quarantined_count"]
    for line in shown["lines"]:
        assert line["line_number"] >= 0
        assert line["reason_code"]
        assert line["message"]
    said = tidegauge(simulated_home, "quarantine", "show", held[0]["delivery_id"][:12])
    assert held[0]["landing_path"] in said.stdout


def test_an_exported_csv_holds_the_mart_and_no_formula(simulated_home, tidegauge, query, tmp_path):
    """A spreadsheet runs =cmd(); and a number that became text would not add up."""
    ran = tidegauge(
        simulated_home, "export", "csv", "--table", "capacity.fct_token_usage_hourly", "--out", tmp_path, "--json"
    )
    assert ran.exit_code == 0
    with (tmp_path / "capacity.fct_token_usage_hourly.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = query(simulated_home.capacity, "select count(*), sum(input_tokens) from capacity.fct_token_usage_hourly")
    assert [(len(rows), sum(int(row["input_tokens"] or 0) for row in rows))] == expected
    assert ran.json["exported"][0]["row_count"] == len(rows)


def test_text_that_a_spreadsheet_would_run_is_made_harmless(tmp_path):
    """A tenant may be named anything; a negative number stays a number."""
    from orchestration.exports import export

    published = tmp_path / "p.duckdb"
    hostile = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "plain", "a=b", "'quoted"]
    with duckdb.connect(str(published)) as connection:
        connection.execute("create schema capacity; create table capacity.t (name varchar, headroom integer, total hugeint)")
        for name in hostile:
            connection.execute("insert into capacity.t values (?, -5, 170141183460469231731687303715884105727)", [name])
    export(published, tmp_path, "csv", ["capacity.t"])
    with (tmp_path / "capacity.t.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["name"] for row in rows} == {
        "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "'\nx", "plain", "a=b", "'quoted"
    }
    assert {(row["headroom"], row["total"]) for row in rows} == {("-5", "170141183460469231731687303715884105727")}


def test_parquet_exports_keep_sums_beyond_64_bits_exact(tmp_path):
    """Parquet has no 128-bit integer, and a DOUBLE would round the tokens of a nation."""
    from orchestration.exports import export

    published = tmp_path / "p.duckdb"
    with duckdb.connect(str(published)) as connection:
        connection.execute("create schema capacity; create table capacity.t as select 12345678901234567890123::hugeint as total")
    export(published, tmp_path, "parquet", ["capacity.t"])
    with duckdb.connect() as connection:
        assert str(connection.execute("select total from read_parquet(?)", [str(tmp_path / "capacity.t.parquet")]).fetchone()[0]) == "12345678901234567890123"


def test_a_dry_backfill_names_deliveries_rows_and_figures_and_does_nothing(simulated_home, tidegauge, query):
    """Before days are replayed, a person wants to see which, how much, and what readers may see move."""
    before = simulated_home.warehouse.stat().st_mtime_ns
    dry = ("backfill", "token_usage", "--from", "2026-11-18", "--to", "2026-11-19", "--reason", "test", "--dry-run")
    ran = tidegauge(simulated_home, *dry, "--json")
    assert ran.exit_code == 0, ran.stdout
    found = ran.json
    deliveries = query(
        simulated_home.capacity,
        "select delivery_name, received_count from quality.fct_deliveries where feed = 'token_usage' "
        "and delivered_date between '2026-11-18' and '2026-11-19' order by delivered_date, delivery_name",
    )
    counted = [d for d in found["replayed"] if d["state"] != "resent"]
    assert [(d["delivery_name"], d["received_count"]) for d in counted] == deliveries
    assert not any(d["parser_changed"] for d in found["replayed"])
    marts = {item["mart"]: item for item in found["may_move"]}
    assert {"capacity.fct_token_usage_hourly", "finance.fct_margin_daily"} <= set(marts)
    assert "capacity.fct_jobs" not in marts
    usage = marts["capacity.fct_token_usage_hourly"]
    days = query(
        simulated_home.capacity,
        "select count(distinct usage_date) from capacity.fct_token_usage_hourly "
        f"where usage_date between '{usage['first_date']}' and '{usage['last_date']}'",
    )
    assert 0 < usage["day_count"] <= days[0][0]
    said = tidegauge(simulated_home, *dry).stdout
    assert "expect nothing to move" in said
    assert "dry run: nothing was replayed" in said
    assert simulated_home.warehouse.stat().st_mtime_ns == before


def test_a_backfill_replays_its_days_and_moves_nothing_that_is_right(copied_home, tidegauge, hashes):
    """A replay of unchanged deliveries with an unchanged parser must give the same figures."""
    before = hashes(copied_home.capacity)
    ran = tidegauge(
        copied_home, "backfill", "token_usage", "--from", "2026-11-18", "--to", "2026-11-19", "--reason", "test", "--json"
    )
    assert ran.exit_code == 0, ran.stdout
    assert ran.json["moved"] == []
    assert hashes(copied_home.capacity) == before


def test_a_correction_shows_which_figures_moved(copied_home, tidegauge):
    """A closed week changes only through a listed restatement: day, figure, before, after."""
    folder = copied_home.landing / "token_usage" / "2026-11-24"
    folder.mkdir(parents=True)
    event = {
        "event_id": "late-1", "occurred_at": "2026-11-20T03:00:00Z", "origin_site_id": "cn-gd",
        "serving_site_id": "cn-gd", "tenant_id": "late-tenant", "model_id": "deepseek-v3", "product": "payg",
        "input_tokens": 1_000, "cached_input_tokens": 0, "output_tokens": 10, "reasoning_tokens": 0,
    }
    (folder / "late.jsonl").write_text(json.dumps(event) + "\n")
    ran = tidegauge(copied_home, *closing_command("late-data"), "--json")
    assert ran.exit_code == 0, ran.stdout
    tokens = {
        item["metric"]: item["after"] - item["before"] for item in ran.json["moved"]
        if item["mart"] == "capacity.fct_token_usage_hourly"
    }
    assert tokens == {"request_count": 1, "input_tokens": 1_000, "output_tokens": 10}
    used = [item for item in ran.json["moved"] if item["mart"].startswith("capacity.")]
    assert {item["usage_date"] for item in used} == {"2026-11-20"}
    assert {item["reason"] for item in used} == {"a gateway was offline; late delivery: late.jsonl"}
    restated = tidegauge(copied_home, "status", "--json").json["restated"]
    assert sum(row["figure_count"] for row in restated) == len(ran.json["moved"])
    assert {row["first_date"] for row in restated if row["edition"] == "capacity"} == {"2026-11-20"}
    assert "a gateway was offline" in tidegauge(copied_home, "status").stdout


def test_ingest_says_which_delivery_no_longer_counts(home, tidegauge, tmp_path):
    """A file that comes daily under one name supersedes itself; whoever sends it must see that at once."""
    record = '{"event_id":"%s","occurred_at":"2026-11-20T03:00:00Z","input_tokens":1}\n'
    usage = tmp_path / "usage.jsonl"
    usage.write_text(record % "a")
    assert tidegauge(home, "ingest", usage).exit_code == 0
    usage.write_text(record % "b" + record % "c")
    ran = tidegauge(home, "ingest", usage)
    assert "superseded: usage.jsonl" in ran.stderr + ran.stdout
    assert "1 lines no longer count" in ran.stderr + ran.stdout


def test_a_file_of_no_known_format_is_refused_with_the_reason(home, tidegauge, tmp_path):
    """Guessing would load nonsense; the message names what could be meant."""
    stranger = tmp_path / "stranger.csv"
    stranger.write_text("colour,taste\nred,sweet\n")
    ran = tidegauge(home, "ingest", stranger)
    assert ran.exit_code == 1
    assert "colour,taste" in ran.stderr
    assert "--format" in ran.stderr
    assert not home.landing.exists()


def test_an_ingest_from_another_folder_finds_the_format_on_its_own(home, tidegauge, tmp_path):
    """People type the command where their files are."""
    (tmp_path / "azure.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n2023-11-16 18:15:51,1.5,9\n"
    )
    finished = subprocess.run(
        [str(TIDEGAUGE), "ingest", "azure.csv", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "TIDEGAUGE_HOME": str(home.root)},
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout)
    assert result["totals"] == {"received_count": 3, "loaded_count": 2, "duplicate_count": 0, "quarantined_count": 1}
    assert result["deliveries"][0]["format"] == "azure_llm"


def test_the_same_file_again_loads_nothing(home, tidegauge, tmp_path):
    """A delivery that is repeated, or renamed, counts once."""
    first, renamed = tmp_path / "azure.csv", tmp_path / "renamed.csv"
    for path in (first, renamed):
        path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    assert tidegauge(home, "ingest", first, "--json").json["totals"]["loaded_count"] == 1
    for path in (first, renamed):
        ran = tidegauge(home, "ingest", path, "--json")
        assert ran.exit_code == 0
        assert ran.json["totals"]["loaded_count"] == 0


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_cleanly_and_can_go_on(home, tidegauge, kill):
    """Ctrl-C is not an error: no traceback, no lock left, and the same command finishes the work."""
    arguments = [str(TIDEGAUGE), "demo", "--days", "14", "--events-per-day", "500"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TIDEGAUGE_HOME": str(home.root)},
    )
    while process.poll() is None and not (home.raw / "_receipts").exists():
        time.sleep(0.05)
    process.send_signal(kill)
    _stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    lock = next(check for check in tidegauge(home, "doctor", "--json").json["checks"] if "writes" in check["check"])
    assert lock["ok"], lock


def test_demand_of_a_site_is_shown_by_the_day_and_adds_up_to_its_mart(simulated_home, tidegauge, query):
    """A planner who asks about one site must see what the marts hold of it, and what comes, or why nothing does."""
    site, = query(simulated_home.capacity, "select max(origin_site_id) from capacity.fct_demand_daily")[0]
    said = tidegauge(simulated_home, "demand", "--level", "site", "--only", site, "--ahead", 3, "--json").json
    seen = {row["period"]: row["value"] for row in said["seen"]}
    marts = query(
        simulated_home.capacity,
        "select cast(usage_date as varchar), cast(sum(unconstrained_output_tokens) as double) from capacity.fct_demand_daily "
        f"where origin_site_id = '{site}' group by all")
    assert dict(marts).items() >= seen.items() and len(seen) >= 7
    assert {row["series_id"] for row in said["ahead"]} == {site}
    assert len({row["period"] for row in said["ahead"]}) == 3
    hours = tidegauge(simulated_home, "demand", "--by", "hour", "--ahead", 2, "--seen", 1)
    assert hours.exit_code == 0 and len(hours.stdout.splitlines()) == 4
    wrong = tidegauge(simulated_home, "demand", "--level", "planet")
    assert wrong.exit_code == 1 and "use one of site, region" in wrong.stderr
    nobody = tidegauge(simulated_home, "demand", "--level", "tenant", "--only", "nobody")
    assert nobody.exit_code == 1 and "no tenant 'nobody'" in nobody.stderr
