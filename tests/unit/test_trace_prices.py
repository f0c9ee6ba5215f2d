"""The price book of the traces: dated prices of the model that stands for each."""

from __future__ import annotations

import csv
import io
import json

from orchestration import trace_prices, traces
from orchestration.contracts import PRICE_BOOK
from orchestration.home import Home
from orchestration.sources.llm_prices_cn import COMPARABLE


def price_list(day: str, **prices: tuple[float, float | None, float]) -> str:
    """A list of that day: (input, cached input, output) by model, in CNY."""
    return json.dumps({"last_checked": day, "usd_to_cny_rate": 6.7, "pricing_unit": "per_million_tokens", "models": [
        {
            "id": list_id, "name": list_id, "vendor_id": "v", "vendor_name": "V", "billing_currency": "CNY",
            "input_price_cny_per_m": into, "cached_input_price_cny_per_m": cached, "output_price_cny_per_m": out,
        }
        for name, (into, cached, out) in prices.items()
        for list_id in [name.replace("_", "-")]
    ]})


def book(*texts: str, seed: list[dict[str, str]] | None = None) -> list[dict[str, str]]:
    """Rows of the book that the lists amount to."""
    return list(csv.DictReader(io.StringIO(trace_prices.price_book(texts, seed or []).decode())))


def held(rows: list[dict[str, str]], model: str, token_type: str) -> list[tuple[str, str, str]]:
    """(price, first day, last day) of a model and token type."""
    return [
        (row["price_cny_per_million"], row["valid_from"], row["valid_to"])
        for row in rows if (row["model_id"], row["token_type"]) == (model, token_type)
    ]


FIRST = price_list("2026-08-01", kimi_k2_6=(6.5, 1.1, 27))
SAME = price_list("2026-08-10", kimi_k2_6=(6.5, 1.1, 27))
RISEN = price_list("2026-08-17", kimi_k2_6=(7.5, 1.1, 30))


def test_a_price_holds_until_a_list_shows_another():
    """A row for every list would be a change of price every few days."""
    rows = book(FIRST, SAME, RISEN)
    assert held(rows, "mooncake", "input") == [("6.5", "2026-08-01", "2026-08-17"), ("7.5", "2026-08-17", "")]
    assert held(rows, "mooncake", "cached_input") == [("1.1", "2026-08-01", "")]
    assert all("priced as kimi-k2-6, since" in row["source"] for row in rows)


def test_the_order_of_the_lists_does_not_matter():
    """Folders are read in whatever order the file system gives."""
    assert trace_prices.price_book([RISEN, FIRST, SAME], []) == trace_prices.price_book([FIRST, SAME, RISEN], [])


def test_a_model_that_leaves_the_list_has_no_price_from_then_on():
    """A price nobody asks any more must not price what is used later."""
    rows = book(FIRST, price_list("2026-08-10", deepseek_v4_pro=(3, 0.025, 6)))
    assert held(rows, "mooncake", "output") == [("27", "2026-08-01", "2026-08-10")]


def test_a_missing_cached_price_is_a_fifth_of_the_input_price_and_says_so():
    """Without one, a prompt read from the cache would be unpriced, which most of a prompt is."""
    rows = book(price_list("2026-08-01", kimi_k2_6=(6.5, None, 27)))
    assert held(rows, "mooncake", "cached_input") == [("1.30", "2026-08-01", "")]
    assert [row["source"].count("a fifth of the input price") for row in rows if row["token_type"] == "cached_input"] == [1]


def test_the_seeds_rows_stay_and_its_later_prices_follow():
    """A delivery replaces the seed wholly; and the lists end before the last change that is known."""
    row = dict.fromkeys((column.name for column in PRICE_BOOK.columns), "")
    later = {**row, "model_id": "kimi-k2.6", "token_type": "input", "price_cny_per_million": "9", "valid_from": "2026-08-21"}
    rows = book(FIRST, seed=[later])
    assert held(rows, "kimi-k2.6", "input") == [("9", "2026-08-21", "")]
    assert held(rows, "mooncake", "input") == [("6.5", "2026-08-01", "2026-08-21"), ("9", "2026-08-21", "")]


def test_every_stand_in_is_a_model_that_the_format_knows():
    """A misspelt one would leave a trace unpriced without a word."""
    assert {list_id for list_id, _ in trace_prices.STAND_INS.values()} <= set(COMPARABLE)


def test_the_real_lists_are_landed_with_the_book_made_of_them(shared_data, tmp_path):
    """DeepSeek rose on the 17th and the 21st of August: the trace of R1 shows both."""
    home = Home(tmp_path / "home")
    found, _ = traces.discover(shared_data / "llm_prices_cn")
    landed = traces.land(home, found)
    assert sorted(file.path.name.split(".")[0] for file in landed) == ["price_book", *["prices"] * 7]
    path = next(file.path for file in landed if file.path.name == "price_book.csv")
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    r1 = [
        (row["price_cny_per_million"], row["time_band"], row["valid_from"], row["valid_to"])
        for row in rows if (row["model_id"], row["token_type"]) == ("servegen-deepseek-r1", "output")
    ]
    assert r1[:2] == [("6.0", "all", "2026-07-03", "2026-08-17"), ("13.5", "all", "2026-08-17", "2026-08-21")]
    assert {(price, band, begins) for price, band, begins, _ in r1[2:]} == {
        ("13.5", "off_peak", "2026-08-21"), ("27", "peak", "2026-08-21"),
    }
