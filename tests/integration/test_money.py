"""Money end to end on the simulated network: priced again by hand, closed to zero, and kept where it belongs."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

import pytest

from orchestration import warehouse
from orchestration.audit import MONEY_NAME_PARTS
from orchestration.home import DBT_PROJECT

MILLION = Decimal(1_000_000)


def price_rows() -> list[dict[str, str]]:
    """The price book as a person reads it."""
    with (DBT_PROJECT / "seeds" / "price_book.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def list_price(rows: list[dict[str, str]], model: str, token_type: str, mean_input: Decimal, day: date, hour: int):
    """The price in force, searched row by row; None in a gap."""
    best = None
    for row in rows:
        if (
            row["model_id"] == model and row["token_type"] == token_type
            and int(row["hour_from"]) <= hour < int(row["hour_to"])
            and (not row["valid_from"] or date.fromisoformat(row["valid_from"]) <= day)
            and (not row["valid_to"] or day < date.fromisoformat(row["valid_to"]))
            and (int(row["above_input_tokens"]) == 0 or mean_input > int(row["above_input_tokens"]))
            and (best is None or int(row["above_input_tokens"]) > int(best["above_input_tokens"]))
        ):
            best = row
    return None if best is None else Decimal(best["price_cny_per_million"])


def test_list_revenue_is_what_whole_numbers_and_decimals_say(simulated_home, query):
    """A wrong tier, time band, day or rounding moves money; here every event is priced alone, in plain Python.

    Customers without a grant, so that all they used is sold at list price.
    """
    with warehouse.connect(simulated_home, read_only=True) as connection:
        events = connection.execute("""
            select tenant_id, model_id, occurred_at, request_count, input_tokens, cached_input_tokens, output_tokens
            from staging.stg_token_usage__events
            where tenant_id not in (select tenant_id from staging.stg_reference__subscriptions)
        """).fetchall()
    rows, by_model = price_rows(), defaultdict(list)
    for row in rows:
        by_model[row["model_id"]].append(row)
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for tenant, model, occurred_at, requests, *tokens in events:
        counts = [count or 0 for count in tokens]
        local = occurred_at + timedelta(hours=8)
        mean_input = Decimal(counts[0] + counts[1]) / requests if requests else Decimal(0)
        for token_type, count in zip(("input", "cached_input", "output"), counts, strict=True):
            price = list_price(by_model[model], model, token_type, mean_input, local.date(), local.hour)
            if count and price is not None:
                expected[tenant] += count * price / MILLION
    found = dict(query(simulated_home.finance, """
        select tenant_id, sum(list_revenue_cny) from finance.fct_margin_daily
        where product <> 'training' group by 1 having sum(list_revenue_cny) <> 0
    """))
    assert len(expected) > 20
    assert {tenant: found.get(tenant) for tenant in expected} == dict(expected)


def test_tokens_and_costs_close_to_zero(simulated_home, query):
    """A token settled twice, or a cost that nobody bears, makes every margin a guess."""
    rows = query(simulated_home.finance, "select metric, expected, difference from finance.fct_money_reconciliation")
    assert len(rows) == 7
    assert [row for row in rows if row[2] != 0] == []
    assert min(row[1] for row in rows) > 0


def test_every_drill_down_adds_up_to_the_total(simulated_home, query):
    """Two pages that show another total for the same week can't both be believed."""
    measures = ("list_revenue_cny", "net_revenue_cny", "cost_cny", "idle_cny", "gross_margin_cny")
    sums = ", ".join(f"sum({name})" for name in measures)
    (total,) = query(simulated_home.finance, f"select {sums} from finance.fct_margin_daily")
    for level in ("usage_date", "serving_site_id", "tenant_id", "model_id", "product", "serving_site_id, model_id"):
        parts = query(simulated_home.finance, f"select {sums} from finance.fct_margin_daily group by {level}")
        assert tuple(sum(column, Decimal(0)) for column in zip(*parts, strict=True)) == total, level


def test_at_least_9999_of_10000_tokens_are_priced(simulated_home, query):
    """A model that nobody priced would be given away; what is unpriced is shown."""
    (tokens, unpriced), = query(simulated_home.finance, "select sum(tokens), sum(unpriced_tokens) from finance.fct_margin_daily")
    assert unpriced <= tokens / 10_000


def test_the_capacity_edition_holds_no_money(simulated_home, query):
    """A price or a margin in the file of those who may not see it can't be taken back."""
    columns = query(simulated_home.capacity, """
        select schema_name || '.' || table_name, column_name, data_type from duckdb_columns()
        where database_name = current_database()
    """)
    assert len(columns) > 150
    assert [
        column for column in columns if any(part in column[1].lower().split("_") for part in MONEY_NAME_PARTS)
    ] == []
    money = re.compile(r"(?i)\bcny\b|[¥￥]|元|\d+\.\d{9}\b|margin|revenue|_cny")
    found = set()
    for table, column, data_type in columns:
        if data_type != "VARCHAR" or not table.startswith(("capacity.", "quality.")):
            continue
        for (value,) in query(simulated_home.capacity, f'select distinct "{column}" from {table} limit 500'):
            if value is not None and money.search(value):
                found.add((table, column, value[:60]))
    assert found == set()


def test_the_bridge_meets_both_ends(simulated_home, tidegauge, query):
    """An explanation that leaves a rest explains something else."""
    (first, last), = query(simulated_home.finance, "select min(usage_date), max(usage_date) from finance.fct_margin_daily")
    middle = first + (last - first) / 2
    before, after = f"{first}..{middle}", f"{middle + timedelta(days=1)}..{last}"
    said = json.loads(tidegauge(simulated_home, "bridge", before, after, "--json").stdout, parse_float=Decimal)
    terms = {name: Decimal(str(amount)) for name, amount in said["terms"].items()}
    margins = [Decimal(str(said[side]["gross_margin_cny"])) for side in ("before", "after")]
    assert sum(terms.values()) == margins[1] - margins[0] != 0
    (margin,) = query(
        simulated_home.finance,
        f"select sum(gross_margin_cny) from finance.fct_margin_daily where usage_date <= '{middle}'",
    )[0]
    assert margin == margins[0]


@pytest.mark.parametrize("period", ["2031-W01", "last week"])
def test_a_bridge_without_data_says_what_to_write(simulated_home, tidegauge, period):
    """Zero terms for a period that was never published look like a quiet week."""
    ran = tidegauge(simulated_home, "bridge", period, "2026-W47")
    assert ran.exit_code != 0
    assert "2026-W47" in ran.stderr or "status" in ran.stderr
