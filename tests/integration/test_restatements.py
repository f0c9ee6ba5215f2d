"""Figures that moved since they were published: listed once, with reason, before and after, and kept.

Most tests publish a small warehouse made by hand, so that before and after are known to the last digit;
the last ones go through the command line with real deliveries.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from orchestration import restatements, warehouse
from orchestration.definitions import materialize
from orchestration.home import DBT_PROJECT, PROJECT, Home
from orchestration.restatements import Backfill, NothingPublished, figures_as_of, record_backfill
from tests.conftest import succeed
from tests.integration.deliveries import FIRST_DAY, deliver_reference, deliver_usage, usage
from tests.integration.test_publish import make_warehouse, spoil
from tests.runbook import closing_command

MONDAY = date(2026, 11, 16)
RECEIPTS = (
    "create or replace table raw.receipts (delivery_id VARCHAR, feed VARCHAR, table_name VARCHAR, delivery_name VARCHAR, "
    "delivered_date DATE, status VARCHAR, superseded_by VARCHAR, ingested_at TIMESTAMP, event_days DATE[])"
)
HUGE = 9007199254740993


def receipt(delivery_id: str, name: str, day: date = MONDAY, status: str = "loaded", by: str | None = None, version: int = 0,
            feed: str = "token_usage", table: str = "token_usage") -> str:
    """One row of raw.receipts, in SQL: delivered the day after its events; ``version`` moves ingested_at."""
    superseded_by = f"'{by}'" if by else "null"
    return (
        f"('{delivery_id}', '{feed}', '{table}', '{name}', '{day + timedelta(days=1)}', '{status}', {superseded_by}, "
        f"timestamp '2026-11-24' + interval {version} hour, [date '{day}'])"
    )


def receive(home: Home, *receipts: str) -> None:
    """Says what the build behind the next publish has seen."""
    spoil(home, f"{RECEIPTS}; insert into raw.receipts values {', '.join(receipts)}")


@pytest.fixture
def filled(home: Home) -> Home:
    """A home that has published one Monday with one site: the receipts of one delivery, and some money."""
    make_warehouse(home)
    spoil(home, """
        alter table capacity.fct_token_usage_hourly add column usage_date DATE;
        update capacity.fct_token_usage_hourly set usage_date = date '2026-11-16';
        create table finance.fct_revenue_daily as
            select date '2026-11-16' as usage_date, 'a' as serving_site_id, 't' as tenant_id,
                   1.000000001::DECIMAL(38, 9) as net_revenue_cny;
    """)
    receive(home, receipt("d1", "monday.jsonl"))
    warehouse.publish(home, "run-1")
    return home


def restated(home: Home, edition: str = "capacity") -> list[tuple]:
    """Every restatement that an edition lists, but for when, by whom and the gross change."""
    with warehouse.open_published(home.edition(edition)) as connection:
        return connection.execute(
            "select usage_date, is_closed_day, reason, mart, site_id, metric, before, after from quality.fct_restatements "
            "order by all"
        ).fetchall()


def add_tokens(home: Home, more: int = 1) -> None:
    """Changes Monday's tokens."""
    spoil(home, f"update capacity.fct_token_usage_hourly set input_tokens = input_tokens + {more}")


def moved_tokens(reason: str, before: int = HUGE, after: int = HUGE + 1) -> tuple:
    """The restatement that Monday's tokens make."""
    return (MONDAY, True, reason, "capacity.fct_token_usage_hourly", "a", "input_tokens", Decimal(before), Decimal(after))


def test_a_first_publish_restates_nothing(filled: Home) -> None:
    """The first figures that readers see can't be corrections."""
    assert restated(filled) == []
    assert restated(filled, "finance") == []


def test_a_late_delivery_restates_its_closed_day_to_the_last_token(filled: Home) -> None:
    """A closed day that changes without a row here is a report that contradicts the last one."""
    add_tokens(filled)
    receive(filled, receipt("d1", "monday.jsonl"), receipt("d2", "late.jsonl"))
    warehouse.publish(filled, "run-2")
    assert restated(filled) == [moved_tokens("late delivery: late.jsonl")]


def test_a_superseding_file_restates_what_it_replaced(filled: Home) -> None:
    """A correction under the same name takes old rows away; the reason must say so."""
    add_tokens(filled, -3)
    receive(filled, receipt("d1", "monday.jsonl", status="superseded", by="d2"), receipt("d2", "monday.jsonl"))
    warehouse.publish(filled, "run-2")
    assert restated(filled) == [moved_tokens("superseded: monday.jsonl", after=HUGE - 3)]


def test_a_backfill_gives_its_reason_and_a_later_one_does_not_take_it(filled: Home) -> None:
    """Why figures were replayed is known to one person on one day, and asked for years later."""
    record_backfill(filled, Backfill("token_usage", date(2026, 11, 17), date(2026, 11, 17), "meter was wrong", (MONDAY,)))
    add_tokens(filled)
    receive(filled, receipt("d1", "monday.jsonl", version=1))
    warehouse.publish(filled, "run-2")
    add_tokens(filled)
    receive(filled, receipt("d1", "monday.jsonl", version=2))
    warehouse.publish(filled, "run-3")
    assert restated(filled) == [
        moved_tokens("meter was wrong"), moved_tokens("replayed: monday.jsonl", before=HUGE + 1, after=HUGE + 2),
    ]


def test_a_reason_outlives_a_publish_that_the_audit_blocked(filled: Home) -> None:
    """A backfill whose publish is blocked is told by the publish that gets through, perhaps that night."""
    record_backfill(filled, Backfill("token_usage", MONDAY, MONDAY, "meter was wrong", (MONDAY,)))
    add_tokens(filled)
    spoil(filled, "update quality.fct_deliveries set loaded_count = 8")
    with pytest.raises(warehouse.AuditFailed):
        warehouse.publish(filled, "blocked")
    assert restated(filled) == []
    spoil(filled, "update quality.fct_deliveries set loaded_count = 7")
    warehouse.publish(filled, "run-2")
    assert restated(filled) == [moved_tokens("meter was wrong")]


def test_a_publish_that_changes_nothing_adds_nothing_and_forgets_nothing(
    filled: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that come twice double a correction; rows that go leave it unexplained."""
    monkeypatch.setattr(restatements, "WHOLE_EVERY", 3)
    add_tokens(filled)
    warehouse.publish(filled, "run-2")
    listed = restated(filled)
    assert len(listed) == 1
    hashes = warehouse.canonical_hash(filled.capacity)
    for run in range(3, 6):
        warehouse.publish(filled, f"run-{run}")
    assert restated(filled) == listed
    assert warehouse.canonical_hash(filled.capacity) == hashes


def test_history_survives_a_new_warehouse_and_published_files_that_were_deleted(filled: Home) -> None:
    """What readers were told can't be made again from landing."""
    add_tokens(filled)
    warehouse.publish(filled, "run-2")
    listed = restated(filled)
    shutil.rmtree(filled.published)
    add_tokens(filled)
    warehouse.publish(filled, "run-3")
    assert restated(filled) == [*listed, moved_tokens(listed[0][2], before=HUGE + 1, after=HUGE + 2)]


def test_reading_back_stays_exact_over_many_publishes(filled: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publish keeps only the days that changed; put together they must be what was published."""
    monkeypatch.setattr(restatements, "WHOLE_EVERY", 2)
    for run in range(2, 6):
        add_tokens(filled)
        warehouse.publish(filled, f"run-{run}")
    found = restatements.entries(filled, "capacity")
    assert [entry.is_whole for entry in found] == [True, False, True, False, True]
    values = [
        figure.value for entry in found for figure in figures_as_of(filled, entry.published_at).figures
        if figure.metric == "input_tokens"
    ]
    assert values == [Decimal(HUGE + more) for more in range(5)]


def test_figures_can_be_read_as_they_were_before_they_were_restated(filled: Home) -> None:
    """A decision taken on last week's figures can be judged only by them."""
    [first] = restatements.entries(filled, "capacity")
    add_tokens(filled)
    warehouse.publish(filled, "run-2")
    now = datetime.max
    for instant, value, run_id in ((first.published_at, HUGE, "run-1"), (now, HUGE + 1, "run-2")):
        found = figures_as_of(filled, instant, mart="fct_token_usage_hourly", by_site=True)
        assert [(f.usage_date, f.site_id, f.value) for f in found.figures if f.metric == "input_tokens"] == [(MONDAY, "a", value)]
        assert found.publishes[0].run_id == run_id
    assert figures_as_of(filled, now, first=date(2026, 11, 17)).figures == ()
    with pytest.raises(ValueError, match=r"no mart 'fct_nonsense' .* capacity\.fct_token_usage_hourly"):
        figures_as_of(filled, now, mart="fct_nonsense")
    with pytest.raises(NothingPublished, match="the first publish was at"):
        figures_as_of(filled, datetime(2026, 11, 1))


def test_nothing_published_is_said_as_that(home: Home) -> None:
    """An empty table could be read as figures of zero."""
    with pytest.raises(NothingPublished, match="nothing had been published by 2026-11-20 00:00:00 UTC, nor since"):
        figures_as_of(home, datetime(2026, 11, 20))


def test_a_day_that_is_still_open_is_told_apart(filled: Home) -> None:
    """The last day grows with every delivery; a reader must be able to leave it out."""
    spoil(filled, "update quality.fct_freshness set last_event_at = timestamp '2026-11-16 03:00'")
    warehouse.publish(filled, "run-2")
    add_tokens(filled)
    spoil(filled, "update quality.fct_freshness set last_event_at = timestamp '2026-11-16 16:00'")
    receive(filled, receipt("d1", "monday.jsonl"), receipt("d2", "evening.jsonl"))
    warehouse.publish(filled, "run-3")
    add_tokens(filled)
    receive(filled, receipt("d1", "monday.jsonl"), receipt("d2", "evening.jsonl"), receipt("d3", "late.jsonl"))
    warehouse.publish(filled, "run-4")
    # At 16:00 UTC the Tuesday of Shanghai has begun, so Monday is closed from then on.
    assert [row[1:3] for row in restated(filled)] == [(False, "delivery: evening.jsonl"), (True, "late delivery: late.jsonl")]


def test_money_is_restated_to_its_last_digit_in_the_finance_edition_only(filled: Home) -> None:
    """The capacity edition goes to readers who may not see money, also not in a metric, a file name or a reason."""
    add_tokens(filled)
    record_backfill(filled, Backfill("reference", date(1970, 1, 2), date(1970, 1, 2), "price was wrong", ()))
    spoil(filled, "update finance.fct_revenue_daily set net_revenue_cny = net_revenue_cny + 0.000000001")
    receive(filled, receipt("d1", "monday.jsonl"), receipt("d2", "late.jsonl"), receipt(
        "p1", "price_book.csv", date(1970, 1, 1), feed="reference", table="price_book"
    ))
    warehouse.publish(filled, "run-2")
    assert restated(filled) == [moved_tokens("late delivery: late.jsonl")]
    assert restated(filled, "finance") == [(
        MONDAY, True, "price was wrong; late delivery: late.jsonl; reference: price_book (price_book.csv)", "finance.fct_revenue_daily", "a",
        "net_revenue_cny", Decimal("1.000000001"), Decimal("1.000000002"),
    )]


def test_the_audit_blocks_a_money_metric_among_the_restatements_of_capacity(filled: Home) -> None:
    """A column name is not the only place where money can stand."""
    with warehouse.open_published(filled.capacity) as connection:
        connection.execute("attach ':memory:' as spoiled; create schema spoiled.quality; use spoiled")
        connection.execute("create table quality.fct_restatements as select * from edition.quality.fct_restatements")
        connection.execute("insert into quality.fct_restatements (mart, metric) values ('capacity.fct_x', 'unit_cost_cny')")
        [check] = [check for check in warehouse.audit(connection, "capacity") if "no price" in check.name]
    assert not check.passed
    assert "unit_cost_cny" in check.figure


@pytest.mark.parametrize("point", ["before_copy", "after_copy", "before_fsync", "before_replace", "after_replace"])
def test_a_killed_publish_restates_whole_or_not_at_all(filled: Home, point: str) -> None:
    """Half a restatement, or the same twice, would be worse than none: nobody would look again."""
    add_tokens(filled)
    receive(filled, receipt("d1", "monday.jsonl"), receipt("d2", "late.jsonl"))
    killed = subprocess.run(
        [sys.executable, "-c", ("from orchestration import warehouse; from orchestration.home import Home; "
                                "warehouse.publish(Home.from_environment(), 'killed')")],
        env={**os.environ, "TIDEGAUGE_HOME": str(filled.root), "TIDEGAUGE_FAULT": f"publish:{point}"},
        cwd=PROJECT, check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    became_live = point == "after_replace"
    assert len(restatements.entries(filled, "capacity")) == (2 if became_live else 1)
    assert len(restated(filled)) == (1 if became_live else 0)
    warehouse.publish(filled, "again")
    assert restated(filled) == [moved_tokens("late delivery: late.jsonl")]
    assert not [path for path in filled.history.rglob("*") if path.name.startswith(restatements.PENDING)]


def test_the_table_says_what_its_columns_are(filled: Home) -> None:
    """A table that dbt does not write has no other place for its descriptions."""
    with warehouse.open_published(filled.capacity) as connection:
        rows = connection.execute(
            "select column_name, data_type, comment from duckdb_columns() "
            "where table_name = 'fct_restatements' and database_name = 'edition' order by column_index"
        ).fetchall()
        [table] = connection.execute("select comment from duckdb_tables() where table_name = 'fct_restatements'").fetchall()
    assert [(name, sql_type) for name, sql_type, _ in rows] == [(name, sql_type) for name, sql_type, _ in restatements.COLUMNS]
    assert all(comment for _, _, comment in rows)
    assert table[0].startswith("Grain: ")


# --- with real deliveries ------------------------------------------------------------------------

DAYS = [FIRST_DAY + timedelta(days=offset) for offset in range(4)]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four days published, and published again after a late file and a corrected one. Read only."""
    home = Home(tmp_path_factory.mktemp("restated") / "home")
    for day in DAYS:
        deliver_usage(home, day + timedelta(days=1), f"usage-{day}.jsonl", usage(day, 100))
    assert materialize(home).success
    deliver_usage(home, DAYS[-1] + timedelta(days=2), "late.jsonl", usage(DAYS[0], 1, first=200))
    deliver_usage(home, DAYS[3], f"usage-{DAYS[2]}.jsonl", usage(DAYS[2], 90))
    outcome = materialize(home)
    assert outcome.success, outcome.error_message
    return home


def test_the_nightly_run_lists_what_late_and_corrected_files_moved(delivered: Home) -> None:
    """The everyday case: no operator, two files, and every figure that moved explained."""
    tokens = {
        (day, metric): (before, after, reason) for day, is_closed, reason, mart, _, metric, before, after in restated(delivered)
        if mart == "capacity.fct_token_usage_hourly" and is_closed
    }
    # A day of 100 requests holds 100 + 0..99 tokens: 14,950; the late one has 300, the ten that are gone 190 + ... + 199.
    late, corrected = "late delivery: late.jsonl", f"superseded: usage-{DAYS[2]}.jsonl"
    assert tokens == {
        (DAYS[0], "request_count"): (100, 101, late), (DAYS[0], "input_tokens"): (14_950, 15_250, late),
        (DAYS[0], "output_tokens"): (1_000, 1_010, late),
        (DAYS[2], "request_count"): (100, 90, corrected), (DAYS[2], "input_tokens"): (14_950, 13_005, corrected),
        (DAYS[2], "output_tokens"): (1_000, 900, corrected),
    }


def test_a_back_dated_reference_is_told_with_the_reason_of_its_backfill(delivered: Home, tmp_path: Path) -> None:
    """An operator's words must reach the ledger from the command line, and figures before them stay readable."""
    copy = Home(tmp_path / "home")
    shutil.copytree(delivered.root, copy.root)
    before = restatements.entries(copy, "finance")[-1]
    seeded = list(csv.DictReader(io.StringIO((DBT_PROJECT / "seeds" / "price_book.csv").read_text("utf-8"))))
    for row in seeded:
        if row["model_id"] == "kimi-k3" and row["token_type"] == "input":
            row["price_cny_per_million"] = str(2 * Decimal(row["price_cny_per_million"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, seeded[0].keys())
    writer.writeheader()
    writer.writerows(seeded)
    deliver_reference(copy, DAYS[-1] + timedelta(days=3), "price_book.csv", text.getvalue(), "price_book")
    day = (DAYS[-1] + timedelta(days=3)).isoformat()
    reason = "price of kimi-k3 was agreed in October"
    ran = succeed(copy, *closing_command("price-fix", first=day, last=day, reason=reason), "--json").json
    revenue = [row for row in ran["moved"] if row["metric"] == "list_revenue_cny"]
    assert {row["usage_date"] for row in revenue} >= {day.isoformat() for day in DAYS}
    assert all(row["reason"].startswith(reason) for row in ran["moved"])
    assert all(Decimal(str(row["after"])) > Decimal(str(row["before"])) for row in revenue)
    assert all(row["mart"].startswith("finance.") for row in ran["moved"])
    told = closing_command(
        "restatement", as_of=before.published_at.isoformat(), mart="fct_margin_daily", day=DAYS[0].isoformat()
    )
    read = succeed(copy, *told, "--by-site", "--json").json
    as_published = {
        (row["usage_date"], row["site_id"]): row["value"] for row in read["figures"] if row["metric"] == "list_revenue_cny"
    }
    for row in revenue:
        if row["usage_date"] == DAYS[0].isoformat():
            assert as_published[row["usage_date"], row["site_id"]] == row["before"]
