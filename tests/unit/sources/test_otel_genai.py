"""OpenTelemetry GenAI records: what counts as a call, how tokens split, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import accounted, read, rejects, rows

from orchestration.sources.base import Heading
from orchestration.sources.otel_genai import OTEL_GENAI

START_NS = 1_795_100_400_123_456_789
USAGE = {
    "gen_ai.operation.name": "chat", "gen_ai.request.model": "qwen3.7-max", "gen_ai.response.model": "qwen3.7-max-2026-09",
    "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.output_tokens": 300,
    "gen_ai.usage.reasoning.output_tokens": 200,
}


def span(attributes: dict | None = None, **fields) -> dict:
    """A flat record."""
    return {
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 2_500_000_000), "attributes": USAGE if attributes is None else attributes,
    } | fields


def otlp_value(value: object) -> dict:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def otlp_attributes(attributes: dict) -> list[dict]:
    return [{"key": key, "value": otlp_value(value)} for key, value in attributes.items()]


def export(*spans: dict, resource: dict | None = None) -> str:
    """A line of an OTLP/JSON export."""
    otlp = [record | {"attributes": otlp_attributes(record["attributes"])} for record in spans]
    return json.dumps({"resourceSpans": [
        {"resource": {"attributes": otlp_attributes(resource or {})}, "scopeSpans": [{"spans": otlp}]},
    ]})


def values_of(record: dict) -> dict:
    (row,) = rows(read(OTEL_GENAI, json.dumps(record)))
    return row.values


def reason_of(record: dict | str) -> str:
    items = read(OTEL_GENAI, record if isinstance(record, str) else json.dumps(record))
    (reject,) = items
    assert reject.message
    return reject.reason


def test_a_call_gives_every_field(load):
    """Input includes cached and output includes reasoning; kept so, cached tokens would be paid twice."""
    record = span(USAGE | {
        "tenant.id": "t-7", "tidegauge.origin_site_id": "guangdong", "tidegauge.serving_site_id": "shaoguan",
        "tidegauge.product": "package", "gen_ai.response.time_to_first_chunk": 0.25,
    })
    parsed, (found,) = load(OTEL_GENAI, json.dumps(record))
    assert (parsed.received_count, parsed.loaded_count, parsed.faults) == (1, 1, [])
    assert found["input_tokens"] == 400
    assert found["cached_input_tokens"] == 600
    assert (found["output_tokens"], found["reasoning_tokens"]) == (300, 200)
    assert found["occurred_at"] == datetime(2026, 11, 19, 15, 0, 0, 123456)
    assert (found["duration_us"], found["time_to_first_token_us"]) == (2_500_000, 250_000)
    assert (found["tenant_id"], found["model_id"], found["product"]) == ("t-7", "qwen3.7-max", "package")
    assert (found["origin_site_id"], found["serving_site_id"]) == ("guangdong", "shaoguan")
    assert (found["status"], found["request_count"]) == ("ok", 1)
    assert found["event_id"] == "5b8efff798038103d269b633813fc60c:eee19b7ec3c1b174"


def test_an_export_holds_many_calls_and_its_line_counts_once(load):
    """Three calls of one line are three rows of one received line."""
    calls = [span(spanId=f"{number:016x}") for number in (1, 2, 3)]
    parsed, found = load(OTEL_GENAI, export(*calls, resource={"tenant.id": "t-9", "cloud.region": "zhejiang"}))
    assert (parsed.received_count, parsed.loaded_count, parsed.duplicate_count) == (1, 1, 0)
    assert sum(row["input_tokens"] for row in found) == 1_200
    assert [row["line_count"] for row in found] == [1, 0, 0]
    assert {(row["tenant_id"], row["origin_site_id"]) for row in found} == {("t-9", "zhejiang")}


def test_flat_and_exported_records_of_one_call_are_one_event():
    """A collector's file and an export of the same spans must not count twice."""
    (flat,), (exported,) = rows(read(OTEL_GENAI, json.dumps(span()))), rows(read(OTEL_GENAI, export(span())))
    assert flat.event_id == exported.event_id
    assert flat.values == exported.values


def test_log_events_are_read_like_spans():
    """Newer instrumentation emits the usage as an event."""
    record = {"timeUnixNano": str(START_NS), "traceId": "ab", "spanId": "cd", "attributes": otlp_attributes(USAGE)}
    text = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    (found,) = rows(read(OTEL_GENAI, text))
    assert (found.event_id, found.values["output_tokens"], found.values["duration_us"]) == ("ab:cd", "300", None)


def test_the_console_exporters_shape_is_read():
    """Ids with 0x in a context, and times as text."""
    record = {
        "name": "chat", "context": {"trace_id": "0xAB", "span_id": "0xCD"}, "start_time": "2026-11-20T09:00:00.5+08:00",
        "end_time": "2026-11-20T01:00:02Z", "attributes": USAGE, "status": {"status_code": "UNSET"},
        "resource": {"attributes": {"tenant.id": "t-1"}},
    }
    (row,) = rows(read(OTEL_GENAI, json.dumps(record)))
    assert row.event_id == "ab:cd"
    assert (row.values["occurred_at"], row.values["duration_us"]) == ("2026-11-20T01:00:00.500000Z", "1500000")
    assert row.values["tenant_id"] == "t-1"


def test_spans_that_wrap_calls_do_not_count_their_tokens_again():
    """An agent's span sums the calls inside it: with both, every token counts twice."""
    agent = span(USAGE | {"gen_ai.operation.name": "invoke_agent"}, spanId="01")
    items = read(OTEL_GENAI, export(agent, span()))
    assert [row.event_id.split(":")[1] for row in rows(items)] == ["eee19b7ec3c1b174"]
    (alone,) = read(OTEL_GENAI, json.dumps(agent))
    assert isinstance(alone, Heading)


def test_an_exports_other_spans_are_passed_over_and_a_line_without_any_call_is_rejected():
    """HTTP spans beside GenAI ones are no fault; a file of nothing else is not of this format."""
    http = span({"http.request.method": "POST"}, spanId="02")
    items = read(OTEL_GENAI, export(http, span()))
    assert len(rows(items)) == accounted(items) == 1
    assert reason_of(export(http)) == reason_of(http) == "not_genai"


def test_unknown_counts_are_null_and_not_nothing():
    """A call without usage is unmetered; as 0 it would be a free one."""
    values = values_of(span({"gen_ai.request.model": "m"}))
    assert [values[name] for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")] == [None] * 4


def test_names_of_earlier_conventions_are_read():
    """Instrumentation in the field lags the conventions by years."""
    values = values_of(span({
        "gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.completion_tokens": 5,
        "gen_ai.usage.cache_read_input_tokens": 4, "gen_ai.usage.reasoning_tokens": 3,
    }))
    assert (values["input_tokens"], values["cached_input_tokens"]) == ("6", "4")
    assert (values["output_tokens"], values["reasoning_tokens"]) == ("5", "3")


def test_an_end_user_becomes_a_pseudonym():
    """enduser.id is a person's name or mail."""
    values = values_of(span(USAGE | {"enduser.id": "ada"}))
    assert values["tenant_id"] == "user-fdee430d40bd"


@pytest.mark.parametrize(
    ("fields", "attributes", "status"),
    [
        ({}, {}, "ok"), ({}, {"http.response.status_code": 200}, "ok"), ({}, {"http.response.status_code": 429}, "throttled"),
        ({}, {"error.type": "429"}, "throttled"), ({}, {"error.type": "RateLimitError"}, "throttled"),
        ({}, {"error.type": "timeout"}, "failed"), ({}, {"http.response.status_code": 503}, "failed"),
        ({"status": {"code": 2}}, {}, "failed"), ({"status": {"code": "STATUS_CODE_ERROR"}}, {}, "failed"),
        ({"status": {"code": 1}}, {}, "ok"), ({"status": {"code": 2}}, {"http.response.status_code": 429}, "throttled"),
    ],
)
def test_throttled_is_told_from_failed(fields, attributes, status):
    """Throttled demand is added back; a failure is not demand that capacity could serve."""
    assert values_of(span(USAGE | attributes, **fields))["status"] == status


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"gen_ai.usage.output_tokens": 1.5}, "bad_integer"), ({"gen_ai.usage.output_tokens": True}, "bad_integer"),
        ({"gen_ai.usage.output_tokens": "300"}, "bad_integer"), ({"gen_ai.usage.output_tokens": 1.0}, "bad_integer"),
        ({"gen_ai.usage.output_tokens": -1}, "out_of_range"), ({"gen_ai.usage.output_tokens": 2**63}, "out_of_range"),
        ({"gen_ai.usage.cache_read.input_tokens": 1001}, "cached_above_input"),
        ({"gen_ai.request.model": 7}, "bad_type"), ({"gen_ai.operation.name": []}, "bad_type"), ({"tenant.id": "a\ud800"}, "bad_encoding"), ({"tenant.id": "a\x00"}, "bad_encoding"),
        ({"gen_ai.response.time_to_first_chunk": "soon"}, "bad_number"),
    ],
)
def test_a_wrong_attribute_is_rejected_with_a_code(attributes, reason):
    """1.5 tokens never become 2, and true is not 1."""
    assert reason_of(span(USAGE | attributes)) == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"startTimeUnixNano": None}, "missing"), ({"startTimeUnixNano": "0"}, "missing"), ({"startTimeUnixNano": "noon"}, "bad_timestamp"),
        ({"startTimeUnixNano": 1.5e18}, "bad_timestamp"), ({"startTimeUnixNano": "9" * 19}, "bad_timestamp"),
        ({"startTimeUnixNano": None, "start_time": "2026-11-20T01:00:00"}, "naive_timestamp"),
        ({"startTimeUnixNano": None, "start_time": "2026-13-20T01:00:00Z"}, "bad_timestamp"),
        ({"endTimeUnixNano": "1"}, "end_before_start"), ({"attributes": "x"}, "bad_attributes"), ({"traceId": 7}, "bad_type"),
    ],
)
def test_a_wrong_record_is_rejected_with_a_code(fields, reason):
    """A guessed time is usage of another day."""
    assert reason_of(span(**fields)) == reason


def test_otlp_integers_are_text_of_digits_and_other_texts_are_not_counts():
    """OTLP/JSON writes 64-bit integers as strings, which is no licence for strings elsewhere."""
    for value, reason in (({"stringValue": "300"}, "bad_integer"), ({"doubleValue": 300.0}, "bad_integer"), ({"intValue": "3e2"}, "bad_integer"),
                          ({"intValue": 1.5}, "bad_integer"), ("300", "bad_attributes")):
        record = span() | {"attributes": [{"key": "gen_ai.usage.output_tokens", "value": value}]}
        assert reason_of(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [record]}]}]})) == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "bad_json"), ("nonsense", "bad_json"), ("[]", "not_an_object"), ("7", "not_an_object"), ('"x"', "not_an_object"),
        ('{"attributes":{},"attributes":{}}', "duplicate_key"), ('{"attributes":{"gen_ai.a":NaN}}', "not_finite"),
        ('{"attributes":{"gen_ai.a":-Infinity}}', "not_finite"), ('{"attributes":{}} {}', "trailing_garbage"),
        ('{"a":' * 100_000, "too_deep"), ("[" * 100_000, "too_deep"), ('{"a":' + "9" * 5_000 + "}", "out_of_range"),
        ("{}", "missing"), ('{"resourceSpans":[7]}', "bad_structure"), ('{"resourceSpans":"x"}', "bad_structure"),
        ('{"resourceSpans":[]}', "not_genai"), ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[7]}]}]}]}', "bad_attributes"),
    ],
)
def test_what_is_not_strict_json_of_a_record_is_rejected_with_a_code(line, reason):
    """Python's reader lets NaN, repeated keys and lone surrogates pass, and dies of deep nesting."""
    assert reason_of(line) == reason


def test_a_bad_span_counts_its_line_and_the_good_ones_still_load():
    """A line with a fault must show in quarantine, without costing the tokens of its other calls."""
    items = read(OTEL_GENAI, export(span(), span(USAGE | {"gen_ai.usage.output_tokens": -1}, spanId="02"), span(spanId="03")))
    assert [reject.line_count for reject in rejects(items)] == [1]
    assert [row.line_count for row in rows(items)] == [0, 0]


def test_records_without_ids_are_told_apart_by_content_and_place(load):
    """Two equal calls in one export are two calls."""
    record = span(traceId=None)
    parsed, found = load(OTEL_GENAI, export(record, record))
    assert len(found) == 2
    assert parsed.duplicate_count == 0


def test_replayed_records_move_and_keep_their_ids():
    """An id that moved would load the same calls twice."""
    (plain,), (moved,) = (rows(read(OTEL_GENAI, json.dumps(span(traceId=None)), shift_days=days)) for days in (0, 7))
    assert (moved.event_id, moved.content) == (plain.event_id, plain.content)
    assert moved.values["occurred_at"].startswith("2026-11-26")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["attributes", "resourceSpans", "scopeSpans", "spans", "resource", "key", "value", "intValue", "context", "status", "code",
         "traceId", "spanId", "startTimeUnixNano", "start_time", *USAGE]), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.one_of(JSON.map(json.dumps), JSON.map(lambda fields: json.dumps(span() | (fields if isinstance(fields, dict) else {}))),
                          st.text(max_size=30).map(lambda text: text.replace("\n", " "))), max_size=5))
def test_every_line_is_accounted_for_whatever_it_holds(lines):
    """received = loaded + duplicate + quarantined needs a parser that loses none, and never dies."""
    text = "\n".join(lines)
    items = read(OTEL_GENAI, text)
    assert accounted(items) == sum(1 for line in text.split("\n") if line.strip())


@given(st.integers(0, 2**62), st.integers(0, 2**62 - 1), st.integers(0, 2**63 - 1))
def test_no_token_is_lost_between_cached_and_uncached(uncached, cached, output):
    """input = uncached + cached, exactly, at any size."""
    tokens = {"gen_ai.usage.input_tokens": uncached + cached, "gen_ai.usage.cache_read.input_tokens": cached, "gen_ai.usage.output_tokens": output}
    values = values_of(span(tokens))
    assert (values["input_tokens"], values["cached_input_tokens"], values["output_tokens"]) == (str(uncached), str(cached), str(output))


def test_the_format_is_told_from_its_first_line():
    """Other JSON lines with attributes are not ours."""
    assert OTEL_GENAI.matches("spans.jsonl", json.dumps(span()) + "\n")
    assert OTEL_GENAI.matches("traces.json", export(span()))
    assert not OTEL_GENAI.matches("spans.jsonl", json.dumps(span({"http.method": "GET"})))
    assert not OTEL_GENAI.matches("trace.jsonl", '{"timestamp": 0, "input_length": 1, "hash_ids": []}')
