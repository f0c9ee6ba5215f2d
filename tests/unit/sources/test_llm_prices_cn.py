"""The dated price lists of llm-prices-cn."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read, rejects, rows, text_of

from orchestration.sources.base import FormatError
from orchestration.sources.llm_prices_cn import (
    LLM_PRICES_CN,
    FaultyModel,
    date_of,
    prices_of,
    snapshot_of,
)
from orchestration.sources.registry import detect

KIMI = {
    "id": "kimi-k2-6", "name": "Kimi K2.6", "vendor_id": "moonshot", "vendor_name": "Moonshot / Kimi", "billing_currency": "CNY",
    "input_price_cny_per_m": 6.5, "output_price_cny_per_m": 27, "cached_input_price_cny_per_m": None,
    "input_price_orig_per_m": 6.5, "output_price_orig_per_m": 27, "cached_input_price_orig_per_m": None,
    "source": "https://platform.moonshot.cn/docs/pricing/chat", "last_verified": "2026-08-17",
}
DOLLARS = {
    "id": "gpt-5-5", "name": "GPT-5.5", "vendor_id": "openai", "vendor_name": "OpenAI", "billing_currency": "USD",
    "input_price_cny_per_m": 33.7435, "output_price_cny_per_m": 202.461, "input_price_orig_per_m": 5, "output_price_orig_per_m": 30,
}
TIERS = [
    {"up_to_input_tokens": 32000, "input_price_cny_per_m": 0.8, "output_price_cny_per_m": 8},
    {"up_to_input_tokens": 128000, "input_price_cny_per_m": 1.2, "output_price_cny_per_m": 16},
    {"up_to_input_tokens": None, "input_price_cny_per_m": 2.4, "output_price_cny_per_m": 24},
]


def price_list(*models: object, **more: object) -> dict:
    """A document as the source writes it."""
    return {
        "last_checked": "2026-08-17", "last_updated": "2026-08-01", "usd_to_cny_rate": 6.7487,
        "pricing_unit": "per_million_tokens", "models": list(models), **more,
    }


def parsed(*models: object, **more: object):
    """What the format makes of such a document."""
    return read(LLM_PRICES_CN, json.dumps(price_list(*models, **more)))


def test_each_price_is_one_record(load):
    """A cached price of null is no price; taken for 0 it would give prompts away."""
    counts, found = load(LLM_PRICES_CN, json.dumps(price_list(KIMI), ensure_ascii=False))
    assert (counts.received_count, counts.loaded_count, counts.faults) == (2, 2, [])
    assert [(row["token_type"], row["list_price_per_million"]) for row in found] == [
        ("input", Decimal("6.5")), ("output", Decimal(27)),
    ]
    assert {(row["vendor"], row["model_name"], row["model_class"], row["comparable_model_id"]) for row in found} == {
        ("Moonshot", "Kimi K2.6", "large", "kimi-k2.6"),
    }
    assert {row["observed_date"] for row in found} == {date(2026, 8, 17)}
    assert "https://llmabacus.com" in found[0]["source"]
    assert "last verified 2026-08-17" in found[0]["source"]


def test_tiers_begin_above_the_end_of_the_one_before():
    """A tier read one step off would price every long prompt at the short prompts' price."""
    found = rows(parsed({**KIMI, "price_tiers": TIERS}))
    assert [(row.values["above_input_tokens"], row.values["token_type"], row.values["list_price_per_million"]) for row in found] == [
        ("0", "input", "0.8"), ("0", "output", "8"), ("32000", "input", "1.2"), ("32000", "output", "16"),
        ("128000", "input", "2.4"), ("128000", "output", "24"),
    ]


def test_the_date_is_when_the_list_was_checked():
    """last_updated stays for weeks while prices are checked daily; the older lists have nothing else."""
    assert date_of(price_list()) == date(2026, 8, 17)
    assert date_of({"last_updated": "2026-07-03", "usd_to_cny_updated": "2026-07-06"}) == date(2026, 7, 3)


def test_a_price_in_dollars_keeps_what_is_billed():
    """Its CNY figure moves with the exchange rate, which is no change of price."""
    later = {**DOLLARS, "input_price_cny_per_m": 33.6995, "output_price_cny_per_m": 202.197}
    before, after = prices_of(DOLLARS), prices_of(later)
    assert [price.price_cny for price in before] != [price.price_cny for price in after]
    assert [price.billed_price for price in before] == [price.billed_price for price in after] == [5, 30]
    (first, *_) = rows(parsed(DOLLARS))
    assert (first.values["list_price_per_million"], first.values["currency"]) == ("5", "USD")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input_price_cny_per_m": "6.5"}, "bad_number"), ({"input_price_cny_per_m": True}, "bad_number"),
        ({"input_price_cny_per_m": -1}, "out_of_range"), ({"name": None}, "missing"), ({"id": 7}, "bad_type"),
        ({"input_price_cny_per_m": None, "output_price_cny_per_m": None}, "missing"),
        ({"billing_currency": "EUR", "input_price_orig_per_m": None}, "missing"), ({"name": "a\x00"}, "bad_type"),
        ({"price_tiers": []}, "bad_tiers"), ({"price_tiers": TIERS[:2]}, "bad_tiers"),
        ({"price_tiers": [TIERS[1], TIERS[0], TIERS[2]]}, "bad_tiers"), ({"price_tiers": [TIERS[2], TIERS[2]]}, "bad_tiers"),
    ],
)
def test_a_faulty_model_is_rejected_and_the_others_load(change, reason):
    """One wrong price of fifty is no reason to lose the list."""
    items = parsed({**KIMI, **change}, DOLLARS)
    assert [(item.line_number, item.reason) for item in rejects(items)] == [(1, reason)]
    assert [row.line_number for row in rows(items)] == [2, 3]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"models": 7}', '{"models": []}', '{"models": [], "pricing_unit": "per_token", "last_checked": "2026-08-17"}',
     '{"models": [], "pricing_unit": "per_million_tokens"}', '{"models": [], "pricing_unit": "per_million_tokens", "last_checked": 7}',
     '{"models": [], "pricing_unit": "per_million_tokens", "last_checked": "17 August"}'],
)
def test_what_is_no_price_list_is_refused_whole(text):
    """Prices without a day or a unit can't be compared with anything."""
    with pytest.raises(FormatError) as refusal:
        read(LLM_PRICES_CN, text)
    assert refusal.value.message


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5), st.lists, max_leaves=5),
    st.sampled_from([*KIMI, "price_tiers"]),
)
def test_no_value_breaks_the_reading_of_a_model(value, name):
    """An unhandled exception would stop the delivery and all behind it."""
    try:
        assert prices_of({**KIMI, name: value})
    except FaultyModel as error:
        assert str(error)


def test_the_format_is_told_from_its_head():
    """Other price lists are JSON too, and in other units."""
    head = json.dumps(price_list(KIMI))[:4096]
    assert detect("prices.json", head) is LLM_PRICES_CN
    assert not LLM_PRICES_CN.matches("prices.json", '{"models": [], "currency": "USD"}')


def test_every_snapshot_loads_whole(shared_data, load):
    """Seven real lists: 44 models, then 55; none of their prices is lost."""
    found = {}
    for path in sorted((shared_data / "llm_prices_cn").glob("2026*/prices.json*")):
        assert detect("llm_prices_cn/" + path.parent.name + "/prices.json", text_of(path)[:4096]) is LLM_PRICES_CN
        counts, loaded = load(LLM_PRICES_CN, text_of(path))
        assert (counts.faults, counts.loaded_count) == ([], counts.received_count)
        found[path.parent.name] = (counts.loaded_count, loaded[0]["observed_date"].isoformat(), len({row["model_name"] for row in loaded}))
    assert [(day, models) for _, day, models in found.values()] == [
        ("2026-07-03", 44), ("2026-08-01", 55), ("2026-08-03", 55), ("2026-08-10", 55), ("2026-08-15", 55), ("2026-08-16", 55),
        ("2026-08-17", 55),
    ]


def test_between_two_real_lists_only_exchange_rates_moved_and_then_deepseek_rose(shared_data):
    """Compared in CNY, 22 models change price every day; compared as billed, two did in the week."""

    def billed(day: str) -> tuple[dict, dict]:
        document = snapshot_of(text_of(shared_data / "llm_prices_cn" / day / "prices.json.gz"))
        prices = [price for model in document["models"] for price in prices_of(model)]
        keys = [(price.list_id, price.token_type, price.above_input_tokens) for price in prices]
        return (
            dict(zip(keys, [price.billed_price for price in prices], strict=True)),
            dict(zip(keys, [price.price_cny for price in prices], strict=True)),
        )

    (first, first_cny), (second, second_cny), (third, _) = billed("2026-08-10"), billed("2026-08-16"), billed("2026-08-17")
    assert first == second
    assert len({key[0] for key in first if first_cny[key] != second_cny[key]}) == 22
    changed = {key for key in second if second[key] != third.get(key)}
    assert {key[0] for key in changed} == {"deepseek-v4-flash", "deepseek-v4-pro"}
    assert (second["deepseek-v4-flash", "output", 0], third["deepseek-v4-flash", "output", 0]) == (2, Decimal("4.5"))
