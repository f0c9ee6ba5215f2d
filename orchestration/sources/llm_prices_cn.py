"""The price list of llm-prices-cn (CC-BY-4.0, https://llmabacus.com): prices.json, one snapshot of it a file.

The file is one JSON document; each price in it is one record, numbered in the order of the file. Lists
until July 2026 name prices in dollars beside those in CNY, later ones in the currency of billing
(``_orig``), by context tier, and where each was read.

A snapshot's date is ``last_checked``, the day on which the list was compared with the vendors' pages; the
older lists have ``last_updated`` alone. The exchange rate's date says nothing about prices.

A model billed in dollars has a CNY figure that moves with the exchange rate, so the price in the currency of
billing is what is loaded; a Price keeps both. What model of ours a price is compared
with is our judgement (COMPARABLE), not the list's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from orchestration.contracts import COMPETITOR_PRICES, TOKEN_TYPES
from orchestration.sources.base import FormatError, Lines, Options, Reject, Row, RowFormat
from orchestration.sources.strict_json import NotStrict, document_of, text_is_clean

ATTRIBUTION = "github:szp2005/llm-prices-cn (CC-BY-4.0, https://llmabacus.com)"
LARGEST_PRICE = 10**9

VENDORS = {
    "alibaba": "Alibaba", "baichuan": "Baichuan", "baidu": "Baidu", "bytedance": "ByteDance", "deepseek": "DeepSeek",
    "minimax": "MiniMax", "moonshot": "Moonshot", "stepfun": "StepFun", "tencent": "Tencent", "xfyun": "iFlytek",
    "xiaomi": "Xiaomi", "zhipu": "Zhipu",
}
# assumption: the class a model competes in, and the model of ours that is the same one.
COMPARABLE: dict[str, tuple[str, str | None]] = {
    "qwen3-7-max": ("large", "qwen3.7-max"), "qwen3-5-plus": ("mid", "qwen3.5-plus"), "qwen3-5-flash": ("small", "qwen3.5-flash"),
    "qwen3-max": ("large", None), "deepseek-v4-pro": ("large", "deepseek-v4-pro"),
    "deepseek-v4-flash": ("mid", "deepseek-v4-flash"), "kimi-k3": ("reasoning", "kimi-k3"), "kimi-k2-6": ("large", "kimi-k2.6"),
    "glm-5-2": ("large", "glm-5.2"), "glm-5-1": ("large", None), "glm-4-7": ("mid", "glm-4.7"),
    "doubao-seed-2-1-pro": ("large", "doubao-seed-2.1-pro"), "doubao-1-6": ("mid", "doubao-1.6"), "doubao-1-5-pro": ("mid", None),
    "minimax-m3": ("large", "minimax-m3"), "ernie-5-1": ("large", None), "ernie-4-5-turbo": ("mid", None),
    "ernie-x1-turbo": ("reasoning", None), "hunyuan-hy3": ("mid", None), "hunyuan-t1": ("reasoning", None),
    "hunyuan-turbos": ("small", None), "step-3-7-flash": ("small", None), "mimo-v2-5": ("small", None),
    "spark-x2": ("mid", None),
}


@dataclass(frozen=True)
class Price:
    """One price of a snapshot, in CNY per million tokens and in the currency that the vendor bills in."""

    list_id: str
    vendor: str
    model_name: str
    token_type: str
    above_input_tokens: int
    price_cny: Decimal
    billing_currency: str
    billed_price: Decimal
    page: str | None
    verified: str | None


class FaultyModel(ValueError):
    """A model that isn't exactly right: a reason code, and what is wrong with it."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def snapshot_of(text: str) -> dict:
    """The document that a file's text holds. FormatError when it is no price list."""
    try:
        document = document_of(text)
    except NotStrict as error:
        raise FormatError("malformed_json", f"the file is not one JSON document: it {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("models"), list):
        raise FormatError("not_a_price_list", "the document needs models, a list")
    if document.get("pricing_unit") != "per_million_tokens":
        raise FormatError("unknown_unit", "pricing_unit must be per_million_tokens")
    return document


def date_of(document: dict) -> date:
    """The day that the snapshot's prices were read. FormatError when it names none."""
    name = "last_checked" if document.get("last_checked") is not None else "last_updated"
    try:
        return date.fromisoformat(document[name])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("bad_date", f"{name} must be a day like 2026-08-17") from error


def prices_of(model: object) -> list[Price]:
    """Every price of one model of a list: by context tier and token type; what has no price is left out.

    FaultyModel when anything in it isn't exactly right.
    """
    if not isinstance(model, dict):
        raise FaultyModel("not_an_object", "a model must be an object")
    names = {name: _text(model, name) for name in ("id", "name", "vendor_id", "vendor_name", "billing_currency")}
    for name in ("id", "name", "vendor_id", "billing_currency"):
        if names[name] is None:
            raise FaultyModel("missing", f"{name} is missing")
    vendor = VENDORS.get(names["vendor_id"], names["vendor_name"] or names["vendor_id"])
    prices = []
    for above, tier in _tiers(model):
        for token_type in TOKEN_TYPES:
            cny = _price(tier, f"{token_type}_price_cny_per_m")
            if cny is None:
                continue
            prices.append(Price(
                names["id"], vendor, names["name"], token_type, above, cny, names["billing_currency"],
                _billed(tier, token_type, names["billing_currency"], cny), _text(model, "source"), _text(model, "last_verified"),
            ))
    if not prices:
        raise FaultyModel("missing", f"{names['id']} has no price in CNY")
    return prices


def _tiers(model: dict) -> Iterator[tuple[int, dict]]:
    """Each tier with the input tokens that it begins above; a model without tiers is one."""
    tiers = model.get("price_tiers")
    if tiers is None:
        yield 0, model
        return
    if not isinstance(tiers, list) or not tiers or not all(isinstance(tier, dict) for tier in tiers):
        raise FaultyModel("bad_tiers", "price_tiers must be a list of objects")
    above = 0
    for number, tier in enumerate(tiers, 1):
        yield above, tier
        end = tier.get("up_to_input_tokens")
        is_last = number == len(tiers)
        if (end is None) is not is_last or (end is not None and (isinstance(end, bool) or not isinstance(end, int) or end <= above)):
            raise FaultyModel("bad_tiers", "up_to_input_tokens must rise from tier to tier, and be null in the last alone")
        above = end


def _billed(tier: dict, token_type: str, currency: str, cny: Decimal) -> Decimal:
    """The price in the currency of billing; older lists give it for dollars only."""
    price = _price(tier, f"{token_type}_price_orig_per_m")
    if price is None and currency == "USD":
        price = _price(tier, f"{token_type}_price_usd_per_m")
    if price is None and currency != "CNY":
        raise FaultyModel("missing", f"{token_type}_price_orig_per_m is missing, and the model is billed in {currency}")
    return cny if price is None else price


def _price(holder: dict, name: str) -> Decimal | None:
    value = holder.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultyModel("bad_number", f"{name} must be a number")
    if not 0 <= value <= LARGEST_PRICE:
        raise FaultyModel("out_of_range", f"{name} must be from 0 to {LARGEST_PRICE:,}")
    # The shortest text of a float is the number that was delivered.
    return Decimal(repr(value))


def _text(holder: dict, name: str) -> str | None:
    value = holder.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not text_is_clean(value):
        raise FaultyModel("bad_type", f"{name} must be text")
    return value


def _read(lines: Lines, _options: Options) -> Iterator[Row | Reject]:
    """One record a price; prices, not lines, are what is received and numbered. A faulty model counts one."""
    document = snapshot_of("\n".join(text for _, text in lines))
    day = date_of(document).isoformat()
    number = 0
    for model in document["models"]:
        try:
            prices = prices_of(model)
        except FaultyModel as error:
            number += 1
            yield Reject(number, error.reason, str(error))
            continue
        for price in prices:
            number += 1
            model_class, comparable = COMPARABLE.get(price.list_id, (None, None))
            yield Row(
                number,
                event_id=f"{price.vendor}|{price.model_name}|{price.token_type}|{price.above_input_tokens}|{day}",
                values={
                    "vendor": price.vendor, "model_name": price.model_name, "model_class": model_class,
                    "comparable_model_id": comparable, "token_type": price.token_type,
                    "above_input_tokens": str(price.above_input_tokens),
                    "list_price_per_million": f"{price.billed_price:f}", "currency": price.billing_currency,
                    "observed_date": day, "source": source_of(price), "confidence": "medium",
                },
            )


def source_of(price: Price) -> str:
    """Where a price comes from, in words."""
    verified = f", last verified {price.verified}" if price.verified else ""
    return f"{ATTRIBUTION}{f', from {price.page}' if price.page else ''}{verified}"


LLM_PRICES_CN = RowFormat(
    name="llm_prices_cn",
    table=COMPETITOR_PRICES,
    description="Price list of llm-prices-cn (prices.json): one snapshot of many vendors' prices in CNY.",
    matches=lambda _name, head: '"usd_to_cny_rate"' in head and '"pricing_unit"' in head,
    read=_read,
)
