"""Great Expectations at raw: what blocks, what warns, and that it looks at a bounded sample."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import duckdb
import pytest

from orchestration import expectations, raw_store
from orchestration.contracts import TABLES, TOKEN_USAGE
from orchestration.home import Home
from tests.integration.deliveries import FIRST_DAY, deliver_reference, deliver_usage, load, usage

DAY = FIRST_DAY


def corrupt(home: Home, receipt: raw_store.Receipt, change: str) -> None:
    """Rewrites a delivery's Parquet with one column changed, as a faulty parser would have written it."""
    for name in receipt.files:
        path = home.raw / name
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"create table t as select * replace ({change}) from read_parquet('{path}', hive_partitioning = false)")
            connection.execute(f"copy t to '{path}' (format parquet)")


@pytest.fixture
def loaded(home: Home) -> tuple[Home, list[raw_store.Receipt]]:
    """A home with one sound delivery of usage."""
    deliver_usage(home, DAY, "usage-1.jsonl", usage(DAY, 50))
    return home, load(home)


def test_a_sound_delivery_passes(loaded) -> None:
    """A check that fails on sound data is switched off within a week."""
    home, receipts = loaded
    outcome = expectations.validate(home, TOKEN_USAGE, receipts)
    assert (outcome.failures, outcome.warnings) == ((), ())
    assert (outcome.row_count, outcome.sampled_count) == (50, 50)
    assert outcome.expectation_count > 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("-1::bigint as input_tokens", "token_usage.input_tokens"),
        ("'lost' as status", "token_usage.status"),
        ("null::varchar as source_id", "token_usage.source_id"),
        ("'same' as event_id", "token_usage: compound columns to be unique"),
        ("output_tokens + 1 as reasoning_tokens", "reasoning_tokens is part of output_tokens"),
    ],
)
def test_a_broken_contract_blocks_and_says_where(loaded, change: str, said: str) -> None:
    """What a parser lets through must not reach the marts unseen."""
    home, receipts = loaded
    corrupt(home, receipts[0], change)
    outcome = expectations.validate(home, TOKEN_USAGE, receipts)
    assert len(outcome.failures) == 1
    assert said in outcome.failures[0]
    assert "50" in outcome.failures[0]


def test_a_delivery_whose_lines_were_all_rejected_fails_the_row_count(home: Home) -> None:
    """An empty batch passes every expectation but this one."""
    deliver_usage(home, DAY, "usage-1.jsonl", usage(DAY, 3, input_tokens=-5))
    outcome = expectations.validate(home, TOKEN_USAGE, load(home))
    assert outcome.row_count == 0
    assert ["row count" in line for line in outcome.failures] == [True]


def test_a_delivery_of_nothing_but_duplicates_has_nothing_to_judge(loaded) -> None:
    """The same records under another name are no news, and no fault."""
    _, (receipt,) = loaded
    again = replace(receipt, loaded_count=0, duplicate_count=50, files=(), file_sizes=())
    outcome = expectations.validate(loaded[0], TOKEN_USAGE, [again])
    assert (outcome.failures, outcome.expectation_count) == ((), 0)


def test_every_table_has_a_suite_that_its_own_empty_shape_fits(home: Home) -> None:
    """A contract that can't be turned into a suite would fail on the first delivery of its table."""
    for table in TABLES.values():
        batch = expectations.sample(home, table, [], 10)
        _, failures = expectations.run_suite(table, batch)
        assert ["row count" in line for line in failures] == [True], (table.name, failures)


def test_the_sample_is_bounded_and_the_same_every_time(loaded) -> None:
    """A sample that grows with the delivery costs hours; one that changes makes a failure come and go."""
    home, receipts = loaded
    one, two = (expectations.sample(home, TOKEN_USAGE, receipts, 20) for _ in range(2))
    assert 0 < len(one) <= 20
    assert one["event_id"].tolist() == two["event_id"].tolist()


def test_only_as_many_files_are_read_as_the_limit_needs(loaded, monkeypatch) -> None:
    """A year of deliveries must not be scanned for 200,000 rows."""
    _, (receipt,) = loaded
    many = [replace(receipt, delivered_date=DAY + timedelta(days=index)) for index in range(100)]
    monkeypatch.setattr(expectations, "SCANNED_ROWS", 500)
    chosen = expectations._spread(many)
    assert sum(each.loaded_count for each in chosen) == 500
    assert (chosen[0].delivered_date, chosen[-1].delivered_date) == (DAY, DAY + timedelta(days=90))


def receipt_of(receipt: raw_store.Receipt, day: date, loaded: int, quarantined: int = 0, name: str = "usage-{}.jsonl"):
    """A receipt like the given one, of another day and size."""
    return replace(
        receipt, delivered_date=day, delivery_name=name.format(day), received_count=loaded + quarantined,
        loaded_count=loaded, quarantined_count=quarantined, event_days=(day,),
    )


def test_a_delivery_far_from_its_sources_median_warns(loaded) -> None:
    """Half a day missing is no broken contract, and nobody notices it in a table of millions."""
    _, (receipt,) = loaded
    earlier = [receipt_of(receipt, DAY + timedelta(days=index), size) for index, size in enumerate((900, 1000, 1100))]
    day = DAY + timedelta(days=3)
    assert expectations.profile_warnings([receipt_of(receipt, day, 1500)], earlier) == []
    (warning,) = expectations.profile_warnings([receipt_of(receipt, day, 100)], earlier)
    # 100 rows over 24 hours, where the median of three days is 1,000.
    assert "4.2 rows an hour" in warning
    assert "41.7" in warning


def test_late_files_are_compared_with_late_files(loaded) -> None:
    """A source's small file of late records is not a short hour."""
    _, (receipt,) = loaded
    earlier = [receipt_of(receipt, DAY + timedelta(days=index), 1000) for index in range(5)]
    late = [receipt_of(receipt, DAY + timedelta(days=index), 10, name="late-{}.jsonl") for index in range(5)]
    assert expectations.profile_warnings(late, earlier) == []


def test_many_quarantined_lines_warn_and_name_the_command_that_shows_them(loaded) -> None:
    """One bad line in twenty is a producer's fault that someone should hear of."""
    _, (receipt,) = loaded
    (warning,) = expectations.profile_warnings([receipt_of(receipt, DAY, 94, quarantined=6)], [])
    assert "6.0%" in warning
    assert "tidegauge quarantine show" in warning
    assert expectations.profile_warnings([receipt_of(receipt, DAY, 95, quarantined=5)], []) == []


def test_a_measure_that_lost_a_factor_of_a_million_warns(home: Home) -> None:
    """Milliseconds sent as seconds pass every range and every schema."""
    week = timedelta(days=7)
    deliver_usage(home, DAY, "usage-1.jsonl", usage(DAY, 30, duration_us=2_000_000))
    (before,) = load(home)
    deliver_usage(home, DAY + week, "usage-2.jsonl", usage(DAY + week, 30, duration_us=2))
    (now,) = load(home)
    outcome = expectations.validate(home, TOKEN_USAGE, [now], [before])
    assert outcome.passed
    assert [line for line in outcome.warnings if "duration_us" in line and "2e+06" in line]


def test_reference_tables_are_judged_too(home: Home) -> None:
    """A site kind that nobody knows would vanish from every figure by kind."""
    deliver_reference(home, DAY, "sites.csv", "site_id,site_name,site_kind\ncn-bj,Beijing,hotspot\n", "sites")
    (receipt,) = load(home)
    assert expectations.validate(home, TABLES["sites"], [receipt]).passed
    corrupt(home, receipt, "'castle' as site_kind")
    assert not expectations.validate(home, TABLES["sites"], [receipt]).passed
