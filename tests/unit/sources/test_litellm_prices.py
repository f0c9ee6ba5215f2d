"""LiteLLM's price files: dollars a token, one snapshot a file."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read, rejects, rows, text_of

from orchestration.sources.base import FormatError
from orchestration.sources.litellm_prices import LITELLM_PRICES, price_per_million, snapshot_of
from orchestration.sources.registry import UnknownFormat, detect

NAME = "model_price_repo/2026-06-10_eab9375/model_prices_and_context_window.json"
OPUS = {
    "litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 2.5e-05,
    "cache_read_input_token_cost": 5e-07, "cache_creation_input_token_cost": 6.25e-06, "max_input_tokens": 200000,
}


def parsed(document: object, name: str = NAME) -> list:
    """What the format makes of a document that lies where its name says."""
    return read(LITELLM_PRICES, json.dumps(document), name)


def test_a_price_a_token_becomes_one_a_million_without_the_floats_noise():
    """Through a float, 1.4e-07 a token is 0.13999999999999999 dollars a million."""
    assert price_per_million(1.4e-07) == Decimal("0.14")
    assert price_per_million(2.9999900000000002e-06) == Decimal("2.99999")
    assert price_per_million(4.6875e-09) == Decimal("0.0046875")


def test_each_price_of_a_token_is_one_record():
    """What writing to the cache costs is no price of a token served, and 0 is no price at all."""
    found = rows(parsed({"sample_spec": {"input_cost_per_token": "text"}, "claude-opus-4-8": OPUS, "free": {
        **OPUS, "input_cost_per_token": 0.0, "output_cost_per_token": 0, "cache_read_input_token_cost": None,
    }}))
    assert [(row.values["token_type"], row.values["list_price_per_million"], row.values["currency"]) for row in found] == [
        ("input", "5", "USD"), ("cached_input", "0.5", "USD"), ("output", "25", "USD"),
    ]
    assert {(row.values["vendor"], row.values["model_name"], row.values["model_class"], row.values["observed_date"]) for row in found} == {
        ("Anthropic", "claude-opus-4-8", "large", "2026-06-10"),
    }


def test_a_tier_begins_above_the_tokens_in_its_name():
    """Long prompts cost twice as much with some vendors; at the short prompts' price they look cheap."""
    found = rows(parsed({"m": {**OPUS, "input_cost_per_token_above_200k_tokens": 1e-05, "input_cost_per_audio_per_second_above_128k_tokens": 1}}))
    assert {(row.values["token_type"], row.values["above_input_tokens"], row.values["list_price_per_million"]) for row in found} >= {
        ("input", "0", "5"), ("input", "200000", "10"),
    }
    assert len(found) == 4


def test_two_snapshots_of_a_day_are_two_observations():
    """With the day alone as identity, the second would be quarantined as a conflict and stop the build."""
    first, second = (rows(parsed({"m": OPUS}, f"repo/2026-06-10_{commit}/prices.json"))[0] for commit in ("26efb8b", "eab9375"))
    assert first.event_id != second.event_id
    assert first.values["observed_date"] == second.values["observed_date"]


def test_the_day_is_that_of_the_name_and_without_one_the_file_is_not_taken():
    """Undated prices would all be of the day they were delivered on."""
    assert snapshot_of(NAME) == (date(2026, 6, 10), "2026-06-10_eab9375")
    head = json.dumps({"m": OPUS})
    assert detect(NAME, head) is LITELLM_PRICES
    with pytest.raises(UnknownFormat):
        detect("litellm/1.80.0/prices.json", head)
    for name in ("litellm/1.80.0/prices.json", "2026-13-45/prices.json"):
        with pytest.raises(FormatError, match="no day"):
            snapshot_of(name)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (7, "not_an_object"), ({**OPUS, "input_cost_per_token": "5"}, "bad_number"), ({**OPUS, "input_cost_per_token": True}, "bad_number"),
        ({**OPUS, "input_cost_per_token": -1e-06}, "out_of_range"), ({**OPUS, "litellm_provider": None}, "missing"),
    ],
)
def test_a_faulty_price_is_rejected_and_the_others_load(entry, reason):
    """One wrong price of thousands is no reason to lose the file."""
    items = parsed({"bad": entry, "good": OPUS})
    assert rejects(items)[0].reason == reason
    assert {row.values["model_name"] for row in rows(items)} >= {"good"}
    assert sorted(item.line_number for item in items) == list(range(1, len(items) + 1))


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5), st.lists, max_leaves=5),
    st.sampled_from(sorted(OPUS)),
)
def test_no_value_breaks_the_reading_of_an_entry(value, name):
    """An unhandled exception would stop the delivery and all behind it."""
    assert rows(parsed({"m": {**OPUS, name: value}, "good": OPUS}))


def test_every_snapshot_loads_whole_and_prices_change_between_them(shared_data, load):
    """32 real snapshots of four months; a change that is lost here never reaches the price position."""
    prices: dict[str, set[Decimal]] = {}
    paths = sorted((shared_data / "model_price_repo").glob("2026*/*.json.gz"))
    for path in paths:
        name = path.relative_to(shared_data).as_posix()
        text = text_of(path)
        assert detect(name, text[:4096]) is LITELLM_PRICES
        counts, found = load(LITELLM_PRICES, text, name)
        assert (counts.faults, counts.loaded_count) == ([], counts.received_count)
        for row in found:
            if row["token_type"] == "output" and row["above_input_tokens"] == 0:
                prices.setdefault(row["model_name"], set()).add(row["list_price_per_million"])
    assert len(paths) == 32
    assert prices["claude-opus-4-8"] == {Decimal(25)}
    assert {name for name, seen in prices.items() if len(seen) > 1} == {
        "gpt-5.4-pro", "gpt-5.4-pro-2026-03-05", "gpt-5.5-pro", "gpt-5.5-pro-2026-04-23",
    }
