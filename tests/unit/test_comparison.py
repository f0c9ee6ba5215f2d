"""Which figures count as moved, and the words that say why; no files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from orchestration.comparison import Measure, daily_marts, figures, moved, pair, shared_measures
from orchestration.restatements import Cause, business_days, reason_for

MONDAY, TUESDAY = date(2026, 11, 16), date(2026, 11, 17)
DAYS = "date '2026-11-16', date '2026-11-17'"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """One mart with an exact and an inexact sum, a ratio, and columns that are no figures."""
    with duckdb.connect() as open_connection:
        open_connection.execute("create schema capacity")
        open_connection.execute(
            "create table capacity.fct_usage (usage_date DATE, usage_hour TIMESTAMP, serving_site_id VARCHAR, "
            "tenant_id VARCHAR, is_open BOOLEAN, input_tokens HUGEINT, run_seconds DOUBLE, p95_utilization_ratio DOUBLE)"
        )
        yield open_connection


def moved_between(connection: duckdb.DuckDBPyConnection, before: str, after: str) -> list[tuple]:
    """What moved from one content of the mart to another: day, site, metric, before, after, gross change."""
    [mart] = daily_marts(connection, ["capacity"])
    for name, rows in (("before", before), ("after", after)):
        connection.execute("delete from capacity.fct_usage")
        if rows:
            connection.execute(f"insert into capacity.fct_usage values {rows}")
        connection.execute(f"create table {name}_figures as {figures(mart, DAYS)}")
    connection.execute(f"create table pairs as {pair(mart, 'after_figures', 'before_figures', mart.columns)}")
    return connection.execute(
        f"select usage_date, site_id, metric, before, after, gross_change from ({moved(mart, 'pairs', mart.measures)}) order by all"
    ).fetchall()


def row(tokens: object, tenant: str = "a", day: date = MONDAY, site: str = "cn-bj", seconds: float = 1.5, ratio: float = 0.5) -> str:
    """One row of the mart, in SQL."""
    return f"('{day}', '{day} 01:00', '{site}', '{tenant}', true, {tokens}, {seconds}, {ratio})"


def test_the_same_rows_in_another_order_move_nothing(connection) -> None:
    """A restatement that comes from the order of addition would be noise on every publish."""
    rows = [row(1, "a", seconds=0.1), row(2, "a", seconds=0.2), row(3, "a", seconds=0.3)]
    assert moved_between(connection, ", ".join(rows), ", ".join(reversed(rows))) == []


def test_one_token_in_a_total_beyond_doubles_is_told_exactly(connection) -> None:
    """A comparison in doubles loses the last tokens of a large day."""
    assert moved_between(connection, row(9007199254740993), row(9007199254740994)) == [
        (MONDAY, "cn-bj", "input_tokens", Decimal(9007199254740993), Decimal(9007199254740994), Decimal(1))
    ]


def test_tokens_that_move_from_one_tenant_to_another_are_told_although_the_site_keeps_its_sum(connection) -> None:
    """A correction of who used what changes bills, and no total."""
    before, after = row(60, "a") + ", " + row(40, "b"), row(50, "a") + ", " + row(50, "b")
    assert moved_between(connection, before, after) == [
        (MONDAY, "cn-bj", "input_tokens", Decimal(100), Decimal(100), Decimal(20))
    ]


def test_a_new_tenant_with_nothing_moves_nothing(connection) -> None:
    """A late request without reasoning tokens would list a change of reasoning tokens from n to n."""
    assert moved_between(connection, row(60, "a"), row(60, "a") + ", " + row(0, "b", seconds=0, ratio=0)) == []


def test_a_new_day_is_no_restatement_but_a_new_site_on_an_old_day_is(connection) -> None:
    """Every nightly run adds a day; listing it would hide what really changed."""
    after = ", ".join((row(1), row(7, site="cn-gd", ratio=0.25), row(5, day=TUESDAY)))
    assert moved_between(connection, row(1), after) == [
        (MONDAY, "cn-gd", "input_tokens", None, Decimal(7), Decimal(7)),
        (MONDAY, "cn-gd", "p95_utilization_ratio", None, Decimal("0.25"), Decimal("0.25")),
        (MONDAY, "cn-gd", "run_seconds", None, Decimal("1.5"), Decimal("1.5")),
    ]


def test_a_day_that_is_gone_is_told_as_gone(connection) -> None:
    """A withdrawn file must not take its figures away in silence."""
    found = moved_between(connection, row(1), "")
    assert [(metric, before, after) for _, _, metric, before, after, _ in found] == [
        ("input_tokens", Decimal(1), None), ("p95_utilization_ratio", Decimal("0.5"), None), ("run_seconds", Decimal("1.5"), None),
    ]


def test_ratios_and_unit_prices_are_not_added_up() -> None:
    """A sum of ratios is no figure that anybody published."""
    aggregates = {
        name: Measure(name, True).aggregate
        for name in ("input_tokens", "cost_cny", "energy_kwh", "p95_utilization_ratio", "cost_cny_per_million_tokens")
    }
    assert aggregates == {
        "input_tokens": "sum", "cost_cny": "sum", "energy_kwh": "sum", "p95_utilization_ratio": "max",
        "cost_cny_per_million_tokens": "max",
    }


def test_a_measure_that_is_new_has_nothing_to_differ_from(connection) -> None:
    """A new column would restate every day of history."""
    [mart] = daily_marts(connection, ["capacity"])
    known = [column for column in mart.columns if column != "run_seconds"]
    assert [measure.name for measure in shared_measures(mart, known)] == ["input_tokens", "p95_utilization_ratio"]


def test_a_utc_day_touches_two_business_days() -> None:
    """An event at 17:00 UTC is of the next day in Shanghai; its cause must be found there."""
    assert business_days([MONDAY]) == {MONDAY, TUESDAY}


REASONS = [
    ("a backfill's own words come first",
     [Cause("", "price of 3 November corrected"), Cause("reference", "price_book (prices.csv)")], True,
     "price of 3 November corrected; reference: price_book (prices.csv)"),
    ("a delivery for a closed day is late", [Cause("delivery", "a.jsonl", frozenset({MONDAY}))], True, "late delivery: a.jsonl"),
    ("one for an open day is not", [Cause("delivery", "a.jsonl", frozenset({MONDAY}))], False, "delivery: a.jsonl"),
    ("what touches only another day is left out",
     [Cause("delivery", "a.jsonl", frozenset({TUESDAY})), Cause("superseded", "b.jsonl", frozenset({MONDAY}))], True, "superseded: b.jsonl"),
    ("what spreads to days it does not hold is better than nothing",
     [Cause("delivery", "jobs.txt", frozenset({TUESDAY}))], True, "late delivery: jobs.txt"),
    ("many names are counted", [Cause("delivery", f"{n}.jsonl") for n in range(5)], True,
     "late delivery: 0.jsonl, 1.jsonl, 2.jsonl and 2 more"),
    ("a change of code has no name", [Cause("code change", "")], True, "code change"),
    ("no cause is said to be none", [], True, "not known: nothing was delivered, replayed or changed"),
]


@pytest.mark.parametrize(("causes", "is_closed", "expected"), [case[1:] for case in REASONS], ids=[case[0] for case in REASONS])
def test_a_reason_names_what_touched_the_day(causes: list[Cause], is_closed: bool, expected: str) -> None:
    """A restatement without its reason is a figure that changed by itself."""
    assert reason_for(MONDAY, is_closed, causes) == expected
