"""A price book for traces: which dated public price stands for each model that a trace names.

Traces record tokens and no prices, and their models have no public name or are no longer sold. Each is
priced as a model of the public list that stands for it (STAND_INS: our judgement, said in every row's
``source``). Only prices billed in CNY are taken, since a CNY figure that moves with the exchange rate is
no price change.

A price holds from the first list that shows it to the first list that shows another; before the first
list nothing is known, and what was used then stays unpriced.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from orchestration.contracts import PRICE_BOOK, TOKEN_TYPES
from orchestration.sources.llm_prices_cn import (
    COMPARABLE,
    FaultyModel,
    Price,
    date_of,
    prices_of,
    snapshot_of,
    source_of,
)

# Model of a trace: (model of the list that stands for it, why).
STAND_INS = {
    "mooncake": ("kimi-k2-6", "Mooncake is the platform that serves Kimi"),
    "servegen-deepseek-r1": ("deepseek-v4-pro", "DeepSeek sells V4 Pro where it sold R1"),
    "servegen-m-large": ("qwen3-max", "the large language model of the same platform, Alibaba Cloud Model Studio"),
    "servegen-m-mid": ("qwen3-5-plus", "the middle language model of the same platform, Alibaba Cloud Model Studio"),
    "servegen-m-small": ("qwen3-5-flash", "the small language model of the same platform, Alibaba Cloud Model Studio"),
    "azure-code": ("qwen3-5-plus", "comparable only: a general model of the middle class, billed in CNY"),
    "azure-conv": ("qwen3-5-plus", "comparable only: a general model of the middle class, billed in CNY"),
    "azure-llm": ("qwen3-5-plus", "comparable only: a general model of the middle class, billed in CNY"),
}
# assumption: what most vendors of the list charge for input read from the cache, where one lists no price for it.
CACHED_OVER_INPUT = Decimal("0.2")


@dataclass(frozen=True)
class _Dated:
    """A price of one list model, with the days on which it holds."""

    token_type: str
    above_input_tokens: int
    price: Decimal
    source: str
    valid_from: date
    valid_to: date | None


def price_book(texts: Iterable[str], seed: Sequence[Mapping[str, str]]) -> bytes:
    """The price book that dated lists amount to, as CSV; the same bytes in whatever order they come.

    ``seed``: rows of the seed's book, which a delivery stands instead of: they are kept. Where the seed knows
    a later price of the model that stands in than the last list does, it follows.
    """
    lists = sorted(((date_of(document), document) for document in map(snapshot_of, texts)), key=lambda dated: dated[0])
    rows: list[dict[str, object]] = [dict(row) for row in seed]
    for model, (list_id, reason) in sorted(STAND_INS.items()):
        _, ours = COMPARABLE[list_id]
        later = [row for row in seed if row["model_id"] == ours and row["valid_from"] > lists[-1][0].isoformat()]
        ends = min((row["valid_from"] for row in later), default="")
        because = f"assumption: priced as {list_id}, since {reason}; "
        for held in _history(lists, list_id):
            rows.append({
                "model_id": model, "token_type": held.token_type, "above_input_tokens": held.above_input_tokens,
                "time_band": "all", "hour_from": 0, "hour_to": 24, "price_cny_per_million": f"{held.price:f}", "currency": "CNY",
                "valid_from": held.valid_from, "valid_to": held.valid_to or ends, "source": because + held.source,
                "confidence": "assumption",
            })
        rows += [{**row, "model_id": model, "source": because + row["source"], "confidence": "assumption"} for row in later]
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in PRICE_BOOK.columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _history(lists: list[tuple[date, dict]], list_id: str) -> list[_Dated]:
    """Every price that a model of the list ever had, oldest first within a token type and tier."""
    seen = [(day, _listed(document, list_id)) for day, document in lists]
    rows = []
    for key in sorted({key for _, prices in seen for key in prices}, key=lambda key: (key[1], TOKEN_TYPES.index(key[0]))):
        for number, (day, prices) in enumerate(seen):
            held = prices.get(key)
            if held is None or (number and seen[number - 1][1].get(key, (None,))[0] == held[0]):
                continue
            price, source = held
            ends = next(
                (later for later, others in seen[number + 1:] if others.get(key, (None,))[0] != price), None
            )
            rows.append(_Dated(*key, price, source, day, ends))
    return rows


def _listed(document: dict, list_id: str) -> dict[tuple[str, int], tuple[Decimal, str]]:
    """(token type, context tier) -> price and source of one model in one list."""
    found: list[Price] = []
    for model in document["models"]:
        try:
            prices = prices_of(model)
        except FaultyModel:
            # The delivery of the list itself quarantines it, with its reason.
            continue
        found += [price for price in prices if price.list_id == list_id and price.billing_currency == "CNY"]
    listed = {
        (price.token_type, price.above_input_tokens): (price.billed_price, source_of(price)) for price in found
    }
    for price in found:
        if price.token_type == "input" and ("cached_input", price.above_input_tokens) not in listed:
            listed["cached_input", price.above_input_tokens] = (
                price.billed_price * CACHED_OVER_INPUT,
                f"assumption: a fifth of the input price, as no cached price is listed; {source_of(price)}",
            )
    return listed
