"""The reference seeds, and the ways to break a line: what others take for granted of them."""

from __future__ import annotations

import csv
from datetime import date

import pytest

from orchestration.contracts import REFERENCE_TABLES, TABLES, TOKEN_TYPES
from orchestration.sources.simulate.network import SEEDS, read_seed
from orchestration.sources.simulate.usage import BROKEN_KINDS, broken

CONFIDENCES = {"high", "medium", "low", "assumption"}
each_reference_table = pytest.mark.parametrize(
    "table", REFERENCE_TABLES, ids=lambda table: table.name
)


@each_reference_table
def test_a_seed_has_exactly_the_columns_of_its_contract(table):
    """A delivery replaces the seed, so both must have the same columns in the same order."""
    with (SEEDS / f"{table.name}.csv").open(encoding="utf-8", newline="") as stream:
        assert next(csv.reader(stream)) == [column.name for column in table.columns]


@each_reference_table
def test_a_seed_holds_only_values_its_contract_allows(table):
    """A seed is not parsed like a delivery, so nothing else would catch a value out of range."""
    rows = read_seed(table.name)
    keys = [tuple(row[name] for name in table.grain) for row in rows]
    assert len(set(keys)) == len(keys)
    for row in rows:
        assert row["source"]
        assert row["confidence"] in CONFIDENCES
        for column in table.columns:
            text = row[column.name]
            assert text or not column.required, column.name
            if text and column.allowed:
                assert text in column.allowed
            if text and column.minimum is not None:
                assert float(text) >= column.minimum
            if text and column.name.endswith("_date"):
                date.fromisoformat(text)


def test_links_sites_and_throughput_name_things_that_exist():
    """A link to nowhere, or throughput of an unknown accelerator, is dropped silently by a join."""
    sites = {row["site_id"] for row in read_seed("sites")}
    accelerators = {row["accelerator_id"] for row in read_seed("accelerators")}
    assert {row["nearest_hub_site_id"] for row in read_seed("sites")} - {""} <= sites
    assert all({row["a_site_id"], row["b_site_id"]} <= sites for row in read_seed("links"))
    assert {row["accelerator_id"] for row in read_seed("throughput")} <= accelerators
    assert {row["model_class"] for row in read_seed("models")} <= set(
        TABLES["models"].column("model_class").allowed
    )


def test_the_seeds_are_as_broad_as_promised():
    """Ten clusters, 31 hotspots, 132 links, many accelerators and models, two years of holidays."""
    kinds = [row["site_kind"] for row in read_seed("sites")]
    assert (kinds.count("hub"), kinds.count("hotspot"), len(read_seed("links"))) == (10, 31, 132)
    assert len(read_seed("accelerators")) >= 10
    assert len(read_seed("models")) >= 14
    assert {row["holiday_date"][:4] for row in read_seed("holidays")} == {"2025", "2026"}


def test_population_is_the_census():
    """Traces are placed by population: the 31 values add up to the published total."""
    assert sum(int(row["population"] or 0) for row in read_seed("sites")) == 1_409_778_724


@pytest.mark.parametrize("kind", BROKEN_KINDS)
def test_a_broken_line_stays_one_line_and_differs(kind):
    """A line break inside a broken line would make two lines of it, and the counts wrong."""
    line = '{"event_id":"e","occurred_at":"2026-11-20T01:00:00.000000Z","tenant_id":"t","status":"ok","input_tokens":1}'
    spoiled = broken(line, kind)
    assert spoiled != line
    assert "\n" not in spoiled


HOURS = range(24)
LONG_AGO, FAR_OFF = "0001-01-01", "9999-12-31"


def held_on(rows: list[dict[str, str]], day: str) -> list[dict[str, str]]:
    """Rows that hold on a business day."""
    return [row for row in rows if (row["valid_from"] or LONG_AGO) <= day < (row["valid_to"] or FAR_OFF)]


@pytest.mark.parametrize("day", ["2025-11-01", "2026-08-16", "2026-08-17", "2026-08-21", "2026-11-22"])
def test_every_model_has_one_price_for_every_hour_of_every_day(day):
    """A gap leaves tokens unpriced; two prices for one instant fail the build."""
    prices = held_on(read_seed("price_book"), day)
    for model in read_seed("models"):
        for token_type in TOKEN_TYPES:
            mine = [row for row in prices if (row["model_id"], row["token_type"]) == (model["model_id"], token_type)]
            tiers = {row["above_input_tokens"] for row in mine}
            assert "0" in tiers, (model["model_id"], token_type)
            for tier in tiers:
                hours = sorted(
                    hour for row in mine if row["above_input_tokens"] == tier
                    for hour in range(int(row["hour_from"]), int(row["hour_to"]))
                )
                assert hours == list(HOURS), (model["model_id"], token_type, tier)


def test_prices_have_at_most_three_decimals():
    """A fourth would make a token cost less than the last digit of money, and money would be rounded."""
    for name in ("price_book", "rental_prices"):
        for row in read_seed(name):
            price = row.get("price_cny_per_million") or row["price_cny_per_accelerator_hour"]
            assert len(price.partition(".")[2]) <= 3, row


def test_the_price_book_holds_rises_and_cuts_on_their_days():
    """Prices that only fall, or never change, would leave half of the margin bridge untested."""
    def output(model: str, day: str, hour: int) -> list[str]:
        return [
            row["price_cny_per_million"] for row in held_on(read_seed("price_book"), day)
            if (row["model_id"], row["token_type"], row["above_input_tokens"]) == (model, "output", "0")
            and int(row["hour_from"]) <= hour < int(row["hour_to"])
        ]

    assert [output("deepseek-v4-flash", day, 10) for day in ("2026-08-16", "2026-08-17", "2026-08-21")] == [["2"], ["4.5"], ["9"]]
    assert output("deepseek-v4-flash", "2026-08-21", 20) == ["4.5"]
    assert [output("minimax-m3", day, 10) for day in ("2026-08-20", "2026-08-21")] == [["16.8"], ["8.4"]]


def test_money_is_known_for_everything_that_is_simulated():
    """An accelerator without a price has no depreciation, and a site without a tariff no energy cost."""
    accelerators = {row["accelerator_id"] for row in read_seed("accelerators")}
    for name in ("rental_prices", "accelerator_prices", "operations_costs"):
        assert accelerators <= {row["accelerator_id"] for row in read_seed(name)}, name
    hubs = {row["site_id"] for row in read_seed("sites") if row["site_kind"] == "hub"}
    for name in ("power_tariffs", "site_power"):
        assert hubs | {"*"} == {row["site_id"] for row in read_seed(name)}, name
    for site in hubs | {"*"}:
        rows = [row for row in read_seed("power_tariffs") if row["site_id"] == site]
        assert sorted(hour for row in rows for hour in range(int(row["hour_from"]), int(row["hour_to"]))) == list(HOURS)
    assert {row["link_class"] for row in read_seed("links")} <= {row["link_class"] for row in read_seed("link_costs")}


def test_packages_weights_and_tax_fit_together():
    """A package whose models have no weight can never be used; a second tax rate would tax twice."""
    packages = read_seed("packages")
    ids = {row["package_id"] for row in packages}
    assert {row["package_id"] for row in read_seed("package_weights")} == ids
    assert {row["add_on_package_id"] for row in packages} - {""} <= ids
    assert {row["programme_quota_tokens"] for row in packages if row["programme_id"] == "trillion-token"} == {str(10**12)}
    assert [[row["rate_ratio"] for row in held_on(read_seed("tax_rates"), day)] for day in ("2025-12-31", "2026-01-01")] == [
        ["0.06"], ["0.09"],
    ]
    models = {row["model_id"] for row in read_seed("models")}
    assert {row["model_id"] for row in read_seed("package_weights")} <= models | {"*"}
    assert {row["model_id"] for row in read_seed("price_book")} == models


def test_competitors_prices_carry_their_attribution():
    """The list is CC-BY: whoever shows its prices must link to it."""
    rows = read_seed("competitor_prices")
    assert all("https://llmabacus.com" in row["source"] for row in rows)
    assert len({row["vendor"] for row in rows}) >= 8
    assert {row["comparable_model_id"] for row in rows} - {""} <= {row["model_id"] for row in read_seed("models")}
