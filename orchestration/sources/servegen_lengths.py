"""ServeGen token-length histograms: chunk-N-dataset.json, one client's lengths by six-hour windows.

The values are strings holding Python dict literals {value: probability}; they are read with
``ast.literal_eval``, never evaluated. Only means are kept. What a client asked for is in the windows CSV
(``tabular``); dbt joins the two, since either may come late.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from zoneinfo import ZoneInfo

from orchestration.contracts import TOKEN_LENGTHS
from orchestration.sources.base import (
    FormatError,
    Lines,
    Options,
    Reject,
    Row,
    RowFormat,
    text_of_instant,
)
from orchestration.sources.strict_json import NotStrict, document_of

# The release counts seconds from a local midnight (its README treats 72000 as 20:00); the day is ours,
# chosen so that the ten days of the common subset end on a Sunday.
SERVEGEN_EPOCH = datetime(2026, 11, 13, tzinfo=ZoneInfo("Asia/Shanghai"))
WINDOW_SECONDS = 21_600
WINDOW_START = re.compile(r"\d{1,10}", re.ASCII)
SIX_PLACES = Decimal("0.000001")
# A value times a probability has at most 34 digits; sums of many keep room beyond.
DIGITS = 60


def client_of(name: str) -> tuple[str, str]:
    """(tenant_id, model_id) that a file's path tells: servegen/language/m-large/chunk-104-trace.csv.

    The last folder names the model and the chunk the client; a file in no folder of its own is of ``servegen``.
    """
    *folders, file = name.split("/")
    folder = folders[-1].lower() if folders else ""
    model = f"servegen-{folder}" if folder not in ("", "servegen") else "servegen"
    chunk = re.search(r"chunk-([A-Za-z0-9]+)-", file)
    return f"{model}-{chunk.group(1) if chunk else file.split('.')[0]}", model


class NotAHistogram(ValueError):
    """Text that isn't a dict literal of values and probabilities."""


def mean_of(literal: object) -> Decimal | None:
    """Mean of a histogram given as the text of a dict literal, to six places; None when it is empty.

    Probabilities that do not quite add up to one are divided by their sum. NotAHistogram when it is none.
    """
    if not isinstance(literal, str):
        raise NotAHistogram("is not the text of a dict")
    try:
        histogram = ast.literal_eval(literal)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise NotAHistogram("is not a dict literal") from error
    if not isinstance(histogram, dict):
        raise NotAHistogram("is not a dict literal")
    with localcontext(prec=DIGITS):
        total = weighted = Decimal(0)
        for value, weight in histogram.items():
            for number in (value, weight):
                if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e15:
                    raise NotAHistogram("holds what is no number from 0")
            # The shortest text of a float is the number that was delivered.
            share = Decimal(repr(weight))
            total += share
            weighted += Decimal(repr(value)) * share
        return (weighted / total).quantize(SIX_PLACES) if total else None


def _read(lines: Lines, options: Options) -> Iterator[Row | Reject]:
    """One record a window; windows, not lines, are what is received and numbered."""
    try:
        document = document_of("\n".join(text for _, text in lines))
    except NotStrict as error:
        raise FormatError("malformed_json", f"the file is not one JSON document: it {error}") from error
    if not isinstance(document, dict) or not all(isinstance(fields, dict) for fields in document.values()):
        raise FormatError("not_an_object", "the document must map window starts to fields")
    tenant, model = client_of(options.name)
    starts = sorted(int(key) for key in document if WINDOW_START.fullmatch(key))
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    window = min(gaps, default=WINDOW_SECONDS)
    epoch = options.epoch or SERVEGEN_EPOCH
    for number, (key, fields) in enumerate(document.items(), 1):
        if not WINDOW_START.fullmatch(key):
            yield Reject(number, "bad_timestamp", f"window start {key[:40]!r} must be whole seconds")
            continue
        try:
            means = {name: mean_of(literal) for name, literal in fields.items() if name.endswith(("_tokens", "_ratio"))}
        except NotAHistogram as error:
            yield Reject(number, "bad_histogram", f"a histogram of window {key} {error}")
            continue
        output = means.pop("output_tokens", None)
        reasoning = means.pop("reason_ratio", None)
        # Text alone, or the parts of a multimodal prompt, which add up.
        known = [mean for name, mean in means.items() if name.endswith("_tokens") and mean is not None]
        start = epoch + timedelta(seconds=int(key), days=options.shift_days)
        yield Row(number, event_id=f"{model}|{tenant}|{key}", values={
            "window_started_at": text_of_instant(start), "window_seconds": str(window),
            "tenant_id": tenant, "model_id": model,
            "mean_input_tokens": f"{sum(known):f}" if known else None,
            "mean_output_tokens": None if output is None else f"{output:f}",
            "mean_reasoning_ratio": None if reasoning is None else f"{reasoning:f}",
        })


SERVEGEN_LENGTHS = RowFormat(
    name="servegen_lengths",
    table=TOKEN_LENGTHS,
    description="ServeGen chunk-N-dataset.json: token-length histograms of one client by window.",
    matches=lambda name, head: "dataset" in name.lower() and bool(re.match(r'\s*\{\s*"\d+"\s*:\s*\{', head)),
    read=_read,
)
