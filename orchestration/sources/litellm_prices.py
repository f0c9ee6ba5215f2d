"""LiteLLM's price file (MIT): model_prices_and_context_window.json, one snapshot of it a file.

One JSON document, model by model, in dollars per **token** as floats (1.4e-07); each price that a token
is billed at is one record, in dollars per million, numbered in the order of the file. What is billed by
image, second or page is no record, nor is a price of 0, which the file gives where none is published.

The document names no day. Snapshots are kept in folders named after theirs (2026-06-10_eab9375), so the
day is that of the delivery's name; a file without one isn't recognised. Several snapshots of a day
are told apart by their folder, and the one whose name sorts last counts.

Which class a model competes in is our judgement (COMPARABLE); a model without one is kept and not compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from orchestration.contracts import COMPETITOR_PRICES
from orchestration.sources.base import FormatError, Lines, Options, Reject, Row, RowFormat
from orchestration.sources.strict_json import NotStrict, document_of, text_is_clean

ATTRIBUTION = "LiteLLM model_prices_and_context_window.json (MIT, https://github.com/BerriAI/litellm)"
MILLION = 10**6
LARGEST_PRICE_PER_TOKEN = 1000
# The first entry documents the others; its values are text.
SPECIFICATION = "sample_spec"
VENDORS = {
    "anthropic": "Anthropic", "dashscope": "Alibaba", "deepseek": "DeepSeek", "gemini": "Google", "minimax": "MiniMax",
    "moonshot": "Moonshot", "openai": "OpenAI", "vertex_ai-language-models": "Google", "volcengine": "ByteDance",
    "zai": "Zhipu", "zhipu": "Zhipu",
}
# assumption: the class a model competes in, and the model of ours that is the same one.
COMPARABLE: dict[str, tuple[str, str | None]] = {
    "claude-haiku-4-5": ("small", None), "claude-opus-4-8": ("large", None), "claude-sonnet-4-6": ("mid", None),
    "deepseek-chat": ("mid", None), "deepseek-reasoner": ("reasoning", None), "gemini-2.5-flash-lite": ("small", None),
    "gemini-3-flash": ("mid", None), "gemini-3.1-pro-preview": ("large", None), "glm-5.1": ("large", None),
    "gpt-5.4-mini": ("mid", None), "gpt-5.4-nano": ("small", None), "gpt-5.5": ("large", None), "kimi-k2.5": ("large", None),
    "kimi-k2.6": ("large", "kimi-k2.6"), "minimax-m2.7": ("mid", None), "o3": ("reasoning", None),
}
TOKEN_PRICES = {
    "input": "input_cost_per_token", "cached_input": "cache_read_input_token_cost", "output": "output_cost_per_token",
}
_TIER = re.compile(r"_above_(\d{1,6})k_tokens$")
_DATED = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)[^/]*")


def snapshot_of(name: str) -> tuple[date, str]:
    """The day that a delivery's name carries, and the part of the name that does. FormatError when none does."""
    for part in _DATED.findall(name)[::-1]:
        try:
            return date.fromisoformat(part[:10]), part
        except ValueError:
            continue
    raise FormatError("no_date", "the file names no day: put it in a folder named after it, like 2026-06-10/")


def tiers_of(entry: dict) -> dict[tuple[str, int], object]:
    """What an entry says of each (token type, input tokens that its tier begins above); null is left out."""
    found: dict[tuple[str, int], object] = {}
    for token_type, name in TOKEN_PRICES.items():
        for key, value in entry.items():
            tier = _TIER.search(key)
            if value is not None and (key == name or (tier and key[: tier.start()] == name)):
                found[token_type, int(tier[1]) * 1000 if tier else 0] = value
    return found


def _read(lines: Lines, options: Options) -> Iterator[Row | Reject]:
    """One record a price; prices, not lines, are what is received and numbered."""
    day, snapshot = snapshot_of(options.name)
    try:
        document = document_of("\n".join(text for _, text in lines))
    except NotStrict as error:
        raise FormatError("malformed_json", f"the file is not one JSON document: it {error}") from error
    if not isinstance(document, dict):
        raise FormatError("not_a_price_list", "the document must be an object: model name to prices")
    number = 0
    for name, entry in document.items():
        if name == SPECIFICATION:
            continue
        if not isinstance(entry, dict) or not text_is_clean(name) or not name:
            number += 1
            yield Reject(number, "not_an_object", f"{name[:80]!r} must be the name of an object")
            continue
        provider = entry.get("litellm_provider")
        for (token_type, above), value in tiers_of(entry).items():
            if value == 0 and not isinstance(value, bool):
                continue
            number += 1
            fault = _fault(provider, value)
            if fault:
                yield Reject(number, fault[0], f"{name}: {token_type} {fault[1]}")
                continue
            model_class, comparable = COMPARABLE.get(name, (None, None))
            vendor = VENDORS.get(provider, provider)
            yield Row(
                number,
                event_id=f"{vendor}|{provider}|{name}|{token_type}|{above}|{snapshot}",
                values={
                    "vendor": vendor, "model_name": name, "model_class": model_class, "comparable_model_id": comparable,
                    "token_type": token_type, "above_input_tokens": str(above),
                    "list_price_per_million": f"{price_per_million(value):f}", "currency": "USD",
                    "observed_date": day.isoformat(), "source": f"{ATTRIBUTION}, snapshot {snapshot}", "confidence": "medium",
                },
            )


def _fault(provider: object, value: object) -> tuple[str, str] | None:
    """(reason code, what is wrong) with a price or who sells it; None when both are right."""
    if not isinstance(provider, str) or not provider or not text_is_clean(provider):
        return "missing", "needs litellm_provider, a text"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "bad_number", "must be priced by a number"
    if not 0 < value <= LARGEST_PRICE_PER_TOKEN:
        return "out_of_range", f"must cost from 0 to {LARGEST_PRICE_PER_TOKEN} dollars a token"
    return None


def price_per_million(price_per_token: float) -> Decimal:
    """Dollars per million tokens, from the shortest text of the float; beyond nine decimals is the float's noise."""
    return (Decimal(repr(price_per_token)) * MILLION).quantize(Decimal("1e-9")).normalize()


LITELLM_PRICES = RowFormat(
    name="litellm_prices",
    table=COMPETITOR_PRICES,
    description="Price file of LiteLLM (model_prices_and_context_window.json) in a folder named after its day: prices in USD.",
    matches=lambda name, head: (
        '"litellm_provider"' in head and '"input_cost_per_token"' in head and _DATED.search(name) is not None
    ),
    read=_read,
)
