"""ServeGen token-length histograms."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read, rejects, rows, text_of

from orchestration.sources.base import FormatError
from orchestration.sources.servegen_lengths import (
    SERVEGEN_LENGTHS,
    NotAHistogram,
    client_of,
    mean_of,
)

NAME = "servegen/language/m-large/chunk-104-dataset.json.gz"
WINDOWS = {
    "0": {"input_tokens": "{}", "output_tokens": "{}"},
    "21600": {"input_tokens": "{100: 0.25, 300: 0.75}", "output_tokens": "{10: 0.5, 21: 0.5}"},
    "43200": {"input_tokens": "{7: 1.0}", "output_tokens": "{8: 1.0}", "reason_ratio": "{0.25: 0.5, 0.75: 0.5}"},
}


def lengths(document: object, **options):
    return read(SERVEGEN_LENGTHS, json.dumps(document), name=NAME, **options)


def test_each_window_is_one_record_with_its_means(load):
    """Mean lengths times requests are the tokens of a client that records none."""
    parsed, found = load(SERVEGEN_LENGTHS, json.dumps(WINDOWS), name=NAME)
    assert (parsed.received_count, parsed.loaded_count, parsed.faults) == (3, 3, [])
    assert [row["mean_input_tokens"] for row in found] == [None, Decimal(250), Decimal(7)]
    assert [row["mean_output_tokens"] for row in found] == [None, Decimal("15.5"), Decimal(8)]
    assert [row["mean_reasoning_ratio"] for row in found] == [None, None, Decimal("0.5")]
    # 0 is midnight in Shanghai.
    assert [row["window_started_at"] for row in found] == [
        datetime(2026, 11, 12, 16), datetime(2026, 11, 12, 22), datetime(2026, 11, 13, 4),
    ]
    assert {(row["tenant_id"], row["model_id"], row["window_seconds"]) for row in found} == {
        ("servegen-m-large-104", "servegen-m-large", 21_600),
    }


def test_an_empty_histogram_is_null_and_not_nothing():
    """An idle window's mean of 0 would price the window before the next histogram at no tokens."""
    assert mean_of("{}") is None


def test_probabilities_that_do_not_add_up_are_divided_by_their_sum():
    """Rounded probabilities of 0.999 would lose a thousandth of all tokens."""
    assert mean_of("{100: 0.3, 200: 0.3}") == Decimal(150)


def test_parts_of_a_multimodal_prompt_add_up():
    """Text alone would leave out the images, which are most of the tokens."""
    fields = {"text_tokens": "{10: 1}", "image_tokens": "{200: 1}", "image_count": "{2: 1}", "audio_tokens": "{}", "output_tokens": "{5: 1}"}
    (found,) = rows(lengths({"0": fields}))
    assert found.values["mean_input_tokens"] == "210.000000"


@pytest.mark.parametrize(
    "literal",
    ["", "7", "[1]", "{1: 2", "{1: 'a'}", "{'a': 1}", "{[]: 1}", "{1: -1}", "{-1: 1}", "{True: 1}", "{1: 1e400}", "{1: 1j}",
     "__import__('os').system('true')", "{1: __import__('os')}", "(" * 5_000, "\x00", {"1": 1}, None, 3],
)
def test_what_is_no_histogram_is_refused_and_never_run(literal):
    """The values are Python text from outside; eval would run it."""
    with pytest.raises(NotAHistogram):
        mean_of(literal)


def test_a_bad_window_is_rejected_and_the_others_load():
    """One broken histogram of forty is no reason to lose the client."""
    items = lengths(WINDOWS | {"64800": {"input_tokens": "{1: x}"}, "soon": {}})
    assert [(reject.reason, reject.line_number) for reject in rejects(items)] == [("bad_histogram", 4), ("bad_timestamp", 5)]
    assert len(rows(items)) == 3


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{", '{"0": 7}', '{"0": {}, "0": {}}', '{"0": {}} x', "[" * 100_000])
def test_what_is_no_document_of_windows_is_refused_whole(text):
    """Half a JSON document has no windows that can be trusted."""
    with pytest.raises(FormatError) as refusal:
        read(SERVEGEN_LENGTHS, text, name=NAME)
    assert refusal.value.message


def test_a_documents_lines_do_not_matter():
    """The same document on one line or many is the same delivery of windows."""
    spread = read(SERVEGEN_LENGTHS, json.dumps(WINDOWS, indent=2), name=NAME)
    assert spread == lengths(WINDOWS)


def test_an_epoch_and_a_replay_move_the_windows_and_not_their_ids():
    """An id that moved would load a client twice."""
    (plain, *_), (moved, *_) = lengths(WINDOWS), lengths(WINDOWS, epoch=datetime.fromisoformat("2026-11-06T00:00:00+08:00"), shift_days=1)
    assert moved.event_id == plain.event_id == "servegen-m-large|servegen-m-large-104|0"
    assert moved.values["window_started_at"] == "2026-11-06T16:00:00.000000Z"


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("servegen/language/m-large/chunk-104-dataset.json.gz", ("servegen-m-large-104", "servegen-m-large")),
        ("servegen/language/m-large/chunk-104-trace.csv", ("servegen-m-large-104", "servegen-m-large")),
        ("servegen/reason/deepseek-r1/chunk-2-dataset.json", ("servegen-deepseek-r1-2", "servegen-deepseek-r1")),
        ("m-small/chunk-0-trace.csv.gz", ("servegen-m-small-0", "servegen-m-small")),
        ("chunk-7-trace.csv", ("servegen-7", "servegen")),
        ("servegen/chunk-7-trace.csv", ("servegen-7", "servegen")),
        ("lengths.json", ("servegen-lengths", "servegen")),
    ],
)
def test_the_path_names_the_client_and_the_model(name, client):
    """Windows and lengths meet by these ids; chunk 7 of two models are two clients."""
    assert client_of(name) == client


@given(st.dictionaries(st.integers(0, 200_000), st.floats(1e-9, 1), min_size=1, max_size=30))
def test_a_mean_is_exact_to_six_places(histogram):
    """Sums of floats depend on their order; a mean must not."""
    shares = {value: Fraction(repr(weight)) for value, weight in histogram.items()}
    exact = sum(value * share for value, share in shares.items()) / sum(shares.values())
    assert abs(Fraction(mean_of(repr(histogram))) - exact) <= Fraction(1, 2_000_000)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_a_histogram(text):
    """An unhandled exception would stop the delivery and all behind it."""
    try:
        mean_of(text)
    except NotAHistogram as error:
        assert str(error)


def test_the_format_is_told_from_name_and_head():
    """Any JSON object might begin like a window."""
    assert SERVEGEN_LENGTHS.matches(NAME, '{"0": {"input_tokens": "{}"')
    assert SERVEGEN_LENGTHS.matches("chunk-2-dataset.json", '{\n  "0": {\n')
    assert not SERVEGEN_LENGTHS.matches("chunk-2-trace.csv", "0,1.5,1.0,Gamma,1,2")
    assert not SERVEGEN_LENGTHS.matches("usage.jsonl", '{"event_id": "a"}')


@pytest.mark.parametrize(
    ("file", "windows", "empty"),
    [("reason/deepseek-r1/chunk-2-dataset.json", 4, 3), ("language/m-large/chunk-28-dataset.json", 40, None)],
)
def test_the_traces_histograms(shared_data, file, windows, empty):
    """Sparse keys, empty windows, and six hours between windows, as the trace's notes say."""
    items = read(SERVEGEN_LENGTHS, text_of(shared_data / "servegen" / file), name=f"servegen/{file}")
    found = rows(items)
    assert not rejects(items)
    assert len(found) == windows
    assert {row.values["window_seconds"] for row in found} == {"21600"}
    assert empty is None or sum(row.values["mean_input_tokens"] is None for row in found) == empty
    for row in found:
        assert (row.values["mean_input_tokens"] is None) == (row.values["mean_output_tokens"] is None)


def test_every_clients_file_of_a_folder_is_of_the_format(shared_data):
    """37 clients of the reasoning model, four windows each; an idle client's are empty."""
    paths = sorted((shared_data / "servegen" / "reason" / "deepseek-r1").glob("*dataset*"))
    items = [item for path in paths for item in read(SERVEGEN_LENGTHS, text_of(path), name=f"servegen/reason/deepseek-r1/{path.name}")]
    assert not rejects(items)
    assert len(items) == 148
    assert sum(row.values["mean_reasoning_ratio"] is None for row in rows(items)) == 53
    ratios = [Decimal(row.values["mean_reasoning_ratio"]) for row in rows(items) if row.values["mean_reasoning_ratio"]]
    assert all(0 <= ratio <= 1 for ratio in ratios)
