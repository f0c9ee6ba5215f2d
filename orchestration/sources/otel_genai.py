"""OpenTelemetry GenAI spans and events as JSON lines: each model call is one usage record.

A line is either one flat record with its ``attributes`` as an object, or an OTLP/JSON export
(``resourceSpans`` or ``resourceLogs``) with any number of them. An export's line counts once: with its
first rejected record if it has one, else with its first row; its other records count no line.

By the conventions ``gen_ai.usage.input_tokens`` includes cached tokens and ``output_tokens`` includes
reasoning; ours are apart for input. Spans that wrap model calls (``invoke_agent``, ``execute_tool``, ...)
repeat their tokens and are passed over, as are an export's spans that aren't GenAI at all.

Where the rest comes from, first found wins, a record's own attributes before its resource's:
tenant: ``tidegauge.tenant_id``, ``tenant.id``, else a pseudonym of ``enduser.id`` or ``user.id``, which
name people; origin: ``tidegauge.origin_site_id``, ``cloud.region``; ``tidegauge.serving_site_id``;
``tidegauge.product``. Status: HTTP 429 or an ``error.type`` that says so is throttled, any other error
failed. No prompt, completion or address is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestration.contracts import LARGEST_BIGINT, TOKEN_USAGE
from orchestration.sources.base import Heading, Lines, Options, Reject, Row, RowFormat
from orchestration.sources.strict_json import NotStrict, document_of, text_is_clean

MODEL = ("gen_ai.request.model", "gen_ai.response.model")
# The current name first, then those it had before.
INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
CACHED = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
REASONING = ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")
FIRST_CHUNK = ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
TENANT = ("tidegauge.tenant_id", "tenant.id")
PERSON = ("enduser.id", "user.id")
ORIGIN = ("tidegauge.origin_site_id", "cloud.region")
SERVING = ("tidegauge.serving_site_id",)
PRODUCT = ("tidegauge.product",)
HTTP_STATUS = ("http.response.status_code", "http.status_code")
OPERATION = "gen_ai.operation.name"
MODEL_CALLS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})

START = ("startTimeUnixNano", "start_time_unix_nano", "timeUnixNano", "time_unix_nano", "start_time", "startTime", "timestamp")
END = ("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
TRACE, SPAN = ("traceId", "trace_id"), ("spanId", "span_id")

INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_YEAR = 2200
THROTTLED = re.compile(r"429|rate.?limit|throttl|too.?many.?requests", re.IGNORECASE)


class _Faulty(ValueError):
    """A record that isn't exactly right: a reason code, and what to do about it."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class _Wraps(Exception):
    """A record that wraps model calls which are records of their own."""


def _member(record: dict, names: tuple[str, ...]) -> tuple[str, object] | tuple[None, None]:
    """Name and value of the first member that is there and not null."""
    for name in names:
        if record.get(name) is not None:
            return name, record[name]
    return None, None


def _tokens(attributes: dict, names: tuple[str, ...]) -> int | None:
    name, value = _member(attributes, names)
    if name is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Faulty("bad_integer", f"{name} must be a whole number, as a JSON number (or intValue)")
    if not 0 <= value <= LARGEST_BIGINT:
        raise _Faulty("out_of_range", f"{name} must be from 0 to {LARGEST_BIGINT:,}")
    return value


def _text(name: str | None, value: object) -> str | None:
    if name is None or value == "":
        return None
    if not isinstance(value, str):
        raise _Faulty("bad_type", f"{name} must be a string")
    if not text_is_clean(value):
        raise _Faulty("bad_encoding", f"{name} holds a NUL or half of a surrogate pair")
    return value


def _attribute(attributes: dict, resource: dict, names: tuple[str, ...]) -> str | None:
    name, value = _member(attributes, names)
    if name is None:
        name, value = _member(resource, names)
    return _text(name, value)


def _instant(record: dict, names: tuple[str, ...]) -> datetime | None:
    name, value = _member(record, names)
    if name is None:
        return None
    if name.lower().replace("_", "").endswith("unixnano"):
        digits = str(value) if not isinstance(value, bool | float) else ""
        if not re.fullmatch(r"\d{1,19}", digits, re.ASCII):
            raise _Faulty("bad_timestamp", f"{name} must be nanoseconds since 1970")
        # OTLP writes 0 for a time that is not known.
        instant = UNIX_EPOCH + timedelta(microseconds=int(digits) // 1000) if int(digits) else None
    else:
        match = INSTANT.fullmatch(value) if isinstance(value, str) else None
        if not match:
            raise _Faulty("bad_timestamp", f"{name} must be like 2026-11-22T16:00:00Z")
        day, time, fraction, zone = match.groups()
        if zone is None:
            raise _Faulty("naive_timestamp", f"{name} has no time zone; end it with Z or an offset")
        try:
            instant = datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]:0<6}{zone.upper()}")
        except ValueError as error:
            raise _Faulty("bad_timestamp", f"{name} {value!r} is no instant") from error
    if instant is not None and not UNIX_EPOCH.year <= instant.year <= LAST_YEAR:
        raise _Faulty("bad_timestamp", f"{name} is outside {UNIX_EPOCH.year} to {LAST_YEAR}")
    return instant


def _microseconds(attributes: dict, names: tuple[str, ...]) -> str | None:
    """A duration in seconds, as whole microseconds."""
    name, value = _member(attributes, names)
    if name is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise _Faulty("bad_number", f"{name} must be seconds from 0")
    return str(round(value * 1_000_000))


def _status(record: dict, attributes: dict) -> str:
    _, code = _member(attributes, HTTP_STATUS)
    if isinstance(code, str) and re.fullmatch(r"\d{3}", code, re.ASCII):
        code = int(code)
    kind = attributes.get("error.type")
    if code == 429 or (isinstance(kind, str) and THROTTLED.search(kind)):
        return "throttled"
    status = record.get("status")
    marked = status.get("code", status.get("status_code")) if isinstance(status, dict) else status
    is_error = marked in (2, "2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR")
    return "failed" if kind or is_error or (isinstance(code, int) and code >= 400) else "ok"


def _identity(record: dict) -> str | None:
    """traceId:spanId where both are there."""
    context = record.get("context") if isinstance(record.get("context"), dict) else {}
    parts = []
    for names in (TRACE, SPAN):
        name, value = _member(record, names)
        if name is None:
            name, value = _member(context, names)
        text = _text(name, value)
        if not text:
            return None
        parts.append(text.lower().removeprefix("0x"))
    return ":".join(parts)


def _values(record: dict, attributes: dict, resource: dict, options: Options) -> dict[str, str | None]:
    """Contract values of one model call. _Faulty, or _Wraps when it is none of its own."""
    operation = _attribute(attributes, {}, (OPERATION,))
    if operation is not None and operation not in MODEL_CALLS:
        raise _Wraps
    started, ended = _instant(record, START), _instant(record, END)
    if started is None:
        raise _Faulty("missing", f"the start is missing; name it {START[0]} or start_time")
    if ended is not None and ended < started:
        raise _Faulty("end_before_start", "the span ends before it starts")
    tokens, cached = _tokens(attributes, INPUT), _tokens(attributes, CACHED)
    if tokens is not None and cached is not None:
        if cached > tokens:
            raise _Faulty("cached_above_input", f"{CACHED[0]} is part of {INPUT[0]} and can't be larger")
        tokens -= cached
    output, reasoning = _tokens(attributes, OUTPUT), _tokens(attributes, REASONING)
    tenant = _attribute(attributes, resource, TENANT)
    person = _attribute(attributes, resource, PERSON)
    if tenant is None and person is not None:
        tenant = "user-" + hashlib.sha256(person.encode()).hexdigest()[:12]
    return {
        "occurred_at": options.instant(started),
        "origin_site_id": _attribute(attributes, resource, ORIGIN),
        "serving_site_id": _attribute(attributes, resource, SERVING),
        "tenant_id": tenant,
        "model_id": _attribute(attributes, {}, MODEL),
        "product": _attribute(attributes, resource, PRODUCT),
        "status": _status(record, attributes),
        "request_count": "1",
        **{
            name: None if count is None else str(count)
            for name, count in (
                ("input_tokens", tokens), ("cached_input_tokens", cached),
                ("output_tokens", output), ("reasoning_tokens", reasoning),
            )
        },
        "time_to_first_token_us": _microseconds(attributes, FIRST_CHUNK),
        "duration_us": None if ended is None else str((ended - started) // timedelta(microseconds=1)),
    }


def _plain(any_value: object) -> object:
    """A JSON value of an OTLP AnyValue; what isn't a scalar is of no use here and null."""
    if not isinstance(any_value, dict):
        raise _Faulty("bad_attributes", "an attribute's value must be an OTLP value like {\"intValue\": \"1\"}")
    if "intValue" in any_value:
        value = any_value["intValue"]
        # OTLP/JSON writes 64-bit integers as strings of digits.
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value, re.ASCII):
            return int(value)
        return value
    for kind in ("stringValue", "doubleValue", "boolValue"):
        if kind in any_value:
            return any_value[kind]
    return None


def _attributes(given: object) -> dict:
    """Attributes as an object, from an object or OTLP's list of key and value."""
    if given is None:
        return {}
    if isinstance(given, dict):
        return given
    if not isinstance(given, list):
        raise _Faulty("bad_attributes", "attributes must be an object or an OTLP list of key and value")
    attributes: dict[str, object] = {}
    for pair in given:
        if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
            raise _Faulty("bad_attributes", "an attribute must have a key")
        if pair["key"] in attributes:
            raise _Faulty("duplicate_key", f"attribute {pair['key'][:80]!r} is given twice")
        attributes[pair["key"]] = _plain(pair.get("value"))
    return attributes


def _objects(given: object, name: str) -> Iterator[dict]:
    """The objects of a list that may be left out."""
    for item in given if isinstance(given, list) else [given] if given is not None else []:
        if not isinstance(item, dict):
            raise _Faulty("bad_structure", f"{name} must be a list of objects")
        yield item


def _exported(envelope: dict) -> Iterator[tuple[dict, object]]:
    """(record, its resource's attributes) of an OTLP export."""
    for whole, scope, leaf in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")):
        for group in _objects(envelope.get(whole), whole):
            resource = group.get("resource")
            described = resource.get("attributes") if isinstance(resource, dict) else None
            for inner in _objects(group.get(scope), scope):
                for record in _objects(inner.get(leaf), leaf):
                    yield record, described


def _records(number: int, text: str, options: Options) -> Iterator[Row | Reject | Heading]:
    """What the GenAI records of one line come to; their line counts are not set yet."""
    document = document_of(text)
    if not isinstance(document, dict):
        raise NotStrict("not_an_object", "must be one JSON object")
    if "resourceSpans" in document or "resourceLogs" in document:
        found = list(_exported(document))
    elif "attributes" in document:
        resource = document.get("resource")
        found = [(document, resource.get("attributes", resource) if isinstance(resource, dict) else None)]
    else:
        raise NotStrict("missing", "has neither attributes nor resourceSpans")
    is_genai = False
    for position, (record, resource) in enumerate(found):
        try:
            attributes = _attributes(record.get("attributes"))
            if not any(name.startswith("gen_ai.") for name in attributes):
                continue
            is_genai = True
            values = _values(record, attributes, _attributes(resource), options)
            yield Row(number, values, event_id=_identity(record), content=f"{position}|{text}")
        except _Wraps:
            yield Heading(number)
        except _Faulty as fault:
            is_genai = True
            yield Reject(number, fault.reason, str(fault))
    if not is_genai:
        raise NotStrict("not_genai", "has no gen_ai attributes; deliver GenAI spans or events")


def _counted(items: list[Row | Reject]) -> Iterator[Row | Reject]:
    """The items of one line, of which one counts it: the first that is rejected, else the first."""
    counting = next((item for item in items if isinstance(item, Reject)), items[0])
    for item in items:
        yield replace(item, line_count=int(item is counting))


def _read(lines: Lines, options: Options) -> Iterator[Row | Reject | Heading]:
    for number, text in lines:
        try:
            found = list(_records(number, text, options))
        except (NotStrict, _Faulty) as fault:
            yield Reject(number, fault.reason, f"the line {fault}" if isinstance(fault, NotStrict) else str(fault))
            continue
        items = [item for item in found if not isinstance(item, Heading)]
        if items:
            yield from _counted(items)
        else:
            yield Heading(number)


def _matches(_name: str, head: str) -> bool:
    first = head.lstrip("\ufeff \n").split("\n", 1)[0]
    if not first.startswith("{"):
        return False
    is_export = re.match(r'\{\s*"resource(Spans|Logs)"\s*:', first) is not None
    return is_export or ('"attributes"' in first and '"gen_ai.' in head)


OTEL_GENAI = RowFormat(
    name="otel_genai",
    table=TOKEN_USAGE,
    description="OpenTelemetry GenAI spans or events: JSON lines, flat or OTLP exports.",
    matches=_matches,
    read=_read,
)
