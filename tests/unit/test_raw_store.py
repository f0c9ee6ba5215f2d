"""The raw store: what each kind of delivery becomes, and that nothing is lost on the way."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import string
import threading
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration import raw_store, strict_parse
from orchestration import spool as spool_module
from orchestration.home import Home
from orchestration.landing import MANIFEST_SUFFIX, scan
from orchestration.raw_store import Receipt, ingest, receipts
from orchestration.sources.base import Options
from orchestration.sources.registry import FORMATS
from orchestration.spool import spool
from orchestration.strict_parse import parse, parse_whole

DAY = date(2026, 11, 20)
GOOD = '{"event_id":"%s","occurred_at":"2026-11-20T01:00:00Z","tenant_id":"t","input_tokens":%d,"output_tokens":2}'
Deliver = Callable[..., Receipt]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home")


def land_bytes(home: Home, name: str, content: bytes, *, feed: str = "token_usage", day: date = DAY, **manifest) -> Path:
    """Puts a file into landing as a producer would, with a manifest that says its format."""
    path = home.landing / feed / day.isoformat() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    manifest = {"format": "canonical_token_usage"} | manifest
    path.with_name(path.name + MANIFEST_SUFFIX).write_text(json.dumps(manifest))
    return path


@pytest.fixture
def deliver(home: Home) -> Deliver:
    """Lands some bytes and loads them; gives the one receipt."""

    def delivered(content: bytes, name: str = "usage.jsonl", **manifest) -> Receipt:
        land_bytes(home, name, content, **manifest)
        (receipt,) = ingest(home)
        assert receipt.received_count == receipt.loaded_count + receipt.duplicate_count + receipt.quarantined_count
        return receipt

    return delivered


def rows_of(home: Home, table: str = "token_usage") -> list[tuple]:
    """(event_id, input_tokens) of the live deliveries, ordered."""
    files = [str(home.raw / name) for r in receipts(home) if r.status == "loaded" and r.table_name == table for name in r.files]
    if not files:
        return []
    return duckdb.sql(f"select event_id, input_tokens from read_parquet({files}) order by all").fetchall()


def lines(*records: str) -> bytes:
    """Records as the bytes of JSON lines."""
    return "".join(record + "\n" for record in records).encode()


BAD_LINES = {
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":1.5}': "bad_integer",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":true}': "bad_integer",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":"12"}': "bad_integer",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":9223372036854775808}': "bad_integer",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":1e400}': "bad_integer",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":NaN}': "bad_integer",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","input_tokens":-1}': "out_of_range",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","output_tokens":1,"reasoning_tokens":2}': "reasoning_above_output",
    '{"event_id":"x","occurred_at":"2262-01-01T00:00:00Z"}': "clock_skew",
    '{"event_id":"x","occurred_at":"1970-01-01T00:00:00Z"}': "clock_skew",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00"}': "naive_timestamp",
    '{"event_id":"x","occurred_at":1730000000}': "bad_type",
    '{"event_id":"x","occurred_at":"2026-02-30T01:00:00Z"}': "bad_timestamp",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","status":"fine"}': "not_allowed",
    '{"event_id":"x","occurred_at":"2026-11-20T01:00:00Z","tenant_id":7}': "bad_type",
    '{"occurred_at":"2026-11-20T01:00:00Z"}': "missing",
    '{"event_id":"x","event_id":"y","occurred_at":"2026-11-20T01:00:00Z"}': "duplicate_key",
    '{"event_id":"x"': "malformed_json",
    '{"event_id":"x"} trailing': "malformed_json",
    '["x"]': "not_an_object",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items())
def test_a_line_that_is_not_exactly_right_is_quarantined_and_the_rest_loads(home, deliver, line, reason):
    """Prevents 1.5 tokens from becoming 2, and a bad line from taking its neighbours with it."""
    receipt = deliver(lines(GOOD % ("a", 1), line, GOOD % ("b", 2)))
    assert receipt.quarantined_by_reason == {reason: 1}
    assert rows_of(home) == [("a", 1), ("b", 2)]
    kept = duckdb.sql(f"select line_number, reason_code, raw_bytes from read_parquet('{home.quarantine}/*/*.parquet')").fetchall()
    assert kept == [(2, reason, line.encode())]


def test_every_bad_line_of_a_large_file_is_accounted(home, deliver):
    """Prevents a fourth bucket: 20,000 lines, a tenth of them bad in every known way."""
    chosen = random.Random(7)
    bad = list(BAD_LINES)
    planted = [chosen.choice(bad) if n % 10 == 0 else GOOD % (f"e{n}", n) for n in range(20_000)]
    receipt = deliver(lines(*planted))
    assert (receipt.received_count, receipt.loaded_count, receipt.quarantined_count) == (20_000, 18_000, 2_000)


def test_null_in_json_is_null_whether_or_not_another_line_is_broken(home, deliver):
    """Prevents a throttled record without tokens from being quarantined because its neighbour is bad."""
    null = '{"event_id":"n","occurred_at":"2026-11-20T01:00:00Z","input_tokens":null,"tenant_id":null}'
    receipt = deliver(lines(null, "{"))
    assert receipt.quarantined_by_reason == {"malformed_json": 1}
    assert rows_of(home) == [("n", None)]


@pytest.mark.parametrize(("line", "reason"), [
    ('{"event_id":"é"}'.encode("gbk"), "bad_encoding"), (b'{"event_id":"\xff"}', "bad_encoding"),
    (b'{"event_id":"\x00"}', "control_character"), (b'{"event_id":"a"}\r{"event_id":"b"}', "control_character"),
])
def test_bytes_that_are_no_text_are_quarantined_by_line(deliver, line, reason):
    """Prevents a GBK or binary line from giving zero rows and no error."""
    receipt = deliver(lines(GOOD % ("a", 1)) + line + b"\n")
    assert (receipt.loaded_count, receipt.quarantined_by_reason) == (1, {reason: 1})


@pytest.mark.parametrize("change", [
    pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte order mark"),
    pytest.param(lambda data: data.replace(b"\n", b"\r\n"), id="CRLF"),
    pytest.param(lambda data: data.replace(b"\n", b"\n\n  \n"), id="blank lines"),
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(lambda data: gzip.compress(data[:80]) + gzip.compress(data[80:]), id="gzip in two members"),
    pytest.param(lambda data: zstandard.compress(data), id="zstd"),
])
def test_the_same_records_in_another_wrapping_are_the_same_rows(home, deliver, change):
    """Prevents a harmless difference of editors and compressors from costing lines."""
    receipt = deliver(change(lines(GOOD % ("a", 1), GOOD % ("b", 2))))
    assert (receipt.received_count, receipt.quarantined_count) == (2, 0)
    assert rows_of(home) == [("a", 1), ("b", 2)]


WHOLE = lines(*(GOOD % (f"e{n}", n) for n in range(500)))


@pytest.mark.parametrize(("content", "reason"), [
    pytest.param(gzip.compress(WHOLE)[:-200], "truncated", id="gzip cut in the middle"),
    pytest.param(gzip.compress(WHOLE)[:-1], "truncated", id="gzip cut in its trailer"),
    pytest.param(gzip.compress(WHOLE)[:-8] + b"\0\0\0\0" + gzip.compress(WHOLE)[-4:], "corrupt", id="gzip with a wrong CRC"),
    pytest.param(zstandard.compress(WHOLE)[:-20], "truncated", id="zstd cut"),
    pytest.param(b"", "empty_file", id="empty"),
    pytest.param(WHOLE.decode().encode("utf-16"), "bad_encoding", id="UTF-16"),
    pytest.param(b"PAR1 and no more", "corrupt", id="Parquet that is none"),
    pytest.param(b"event_id,tenant_id\na,t\n", "missing_column", id="CSV without a required column"),
    pytest.param(gzip.compress(b"0" * 2**27), "decompression_bomb", id="a bomb"),
])
def test_a_delivery_that_is_not_whole_is_quarantined_whole(home, deliver, content, reason):
    """Prevents half a file from loading: DuckDB alone accepts a wrong CRC and a cut number."""
    receipt = deliver(content, "usage.gz")
    assert (receipt.status, receipt.quarantined_by_reason, receipt.loaded_count) == ("quarantined", {reason: 1}, 0)
    assert receipt.message
    assert rows_of(home) == []


def test_a_file_other_than_its_manifest_says_is_quarantined_whole(home, deliver):
    """Prevents a corrupted upload from loading because it still parses."""
    receipt = deliver(WHOLE, sha256="0" * 64)
    assert receipt.quarantined_by_reason == {"manifest_mismatch": 1}


def test_a_file_short_of_its_manifest_waits(home):
    """Prevents an upload in progress from being read."""
    land_bytes(home, "usage.jsonl", WHOLE[:100], size=len(WHOLE))
    assert ingest(home) == []
    assert [skipped.reason for skipped in scan(home)[1]] == ["short"]


def test_a_csv_cut_inside_its_last_number_does_not_load_a_shorter_number(home, deliver):
    """Prevents 1234 from becoming 12 when a CSV is cut without a trace."""
    receipt = deliver(b"event_id,occurred_at,input_tokens\na,2026-11-20T01:00:00Z,5\nb,2026-11-20T01:00:00Z,12", "usage.csv")
    assert receipt.quarantined_by_reason == {"unterminated_line": 1}
    assert rows_of(home) == [("a", 5)]


def test_a_column_the_contract_does_not_have_is_warned_of_and_changes_nothing(home, deliver):
    """Prevents a producer's new column from stopping the pipeline or moving a figure."""
    receipt = deliver(lines('{"event_id":"a","occurred_at":"2026-11-20T01:00:00Z","input_tokens":1,"colour":"red"}'))
    assert "colour" in receipt.warnings[0]
    assert rows_of(home) == [("a", 1)]


def test_symlinks_and_odd_files_in_landing_are_passed_over_with_a_reason(home, tmp_path):
    """Prevents landing from being a way to read any file of the machine."""
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(WHOLE)
    folder = home.landing / "token_usage" / DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "link.jsonl").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert ingest(home) == []
    assert sorted(skipped.reason for skipped in scan(home)[1]) == ["not_a_file", "symlink", "symlink"]


@pytest.mark.parametrize("name", ["-rf.jsonl", "a'b;drop.jsonl", "g[l]ob*?.jsonl", "new\nline.jsonl", "中文 名.jsonl", "x" * 200])
def test_a_file_may_be_named_anything(home, deliver, name):
    """Prevents a name from reaching SQL or a glob as anything but a name."""
    receipt = deliver(WHOLE, name)
    assert (receipt.loaded_count, receipt.delivery_name) == (500, name)


def test_the_same_bytes_loaded_at_once_under_two_names_count_from_the_earlier(home, monkeypatch):
    """Prevents a file and its resending, parsed side by side, from leaving one name that nobody has seen.

    The later day would then be when the bytes came, and of two records with one id the wrong one counts as first.
    """
    both_parsed = threading.Barrier(2)
    check_lines = raw_store._check_lines

    def wait(file, spooled):
        check_lines(file, spooled)
        both_parsed.wait(timeout=20)

    monkeypatch.setattr(raw_store, "_check_lines", wait)
    content = lines(GOOD % ("a", 1), GOOD % ("b", 2))
    land_bytes(home, "first.jsonl", content, day=date(2026, 11, 20))
    land_bytes(home, "again.jsonl", content, day=date(2026, 11, 23))
    for files in (scan(home)[0], scan(home)[0][::-1]):
        shutil.rmtree(home.raw, ignore_errors=True)
        threads = [threading.Thread(target=raw_store.load, args=(home, file)) for file in files]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert raw_store.pending(home) == []
        (receipt,) = receipts(home)
        assert (receipt.delivery_name, receipt.delivered_date) == ("first.jsonl", date(2026, 11, 20))


def test_the_same_bytes_count_once_however_often_and_under_whatever_name(home):
    """Prevents double counting of re-sent, renamed and re-compressed files."""
    land_bytes(home, "a.jsonl", WHOLE)
    land_bytes(home, "b.jsonl.gz", gzip.compress(WHOLE))
    land_bytes(home, "a.jsonl", WHOLE, day=date(2026, 11, 21))
    assert sum(receipt.loaded_count for receipt in ingest(home)) == 500
    assert ingest(home) == []
    assert len(rows_of(home)) == 500
    assert [receipt.delivered_date for receipt in receipts(home)] == [DAY]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_new_bytes_under_a_name_supersede_the_old_whatever_is_loaded_first(home, order):
    """Prevents a correction from adding to what it corrects, or losing to it."""
    old, new = lines(GOOD % ("a", 1), GOOD % ("b", 2)), lines(GOOD % ("a", 7))
    for version in order:
        content, day = ((old, DAY), (new, date(2026, 11, 21)))[version]
        land_bytes(home, "usage.jsonl", content, day=day)
        ingest(home)
    assert rows_of(home) == [("a", 7)]
    assert [receipt.status for receipt in receipts(home)] == ["superseded", "loaded"]


def test_equal_ids_in_a_delivery_count_once_and_conflicts_are_quarantined(home, deliver):
    """Prevents a retried record from counting twice, and a changed one from replacing what was counted."""
    receipt = deliver(lines(GOOD % ("a", 1), GOOD % ("a", 1), GOOD % ("a", 9)))
    assert (receipt.loaded_count, receipt.duplicate_count, receipt.quarantined_by_reason) == (1, 1, {"conflict": 1})
    assert rows_of(home) == [("a", 1)]


def test_equal_rows_without_ids_are_distinct_and_a_longer_file_adds_only_what_is_new(home):
    """Prevents both errors of hashing rows: losing rows that repeat, and counting a re-delivery again."""
    head = b"timestamp,duration,num_gpus,gpu_time,cluster\n"
    row = b"2017-10-09 07:01:55,66.0,1,66.0,11cb48\n"
    land_bytes(home, "short.csv", head + row * 2, feed="job_logs", format="philly")
    land_bytes(home, "long.csv", head + row * 3, feed="job_logs", format="philly")
    ingest(home)
    files = [str(home.raw / name) for receipt in receipts(home) for name in receipt.files]
    assert duckdb.sql(f"select count(*), count(distinct event_id) from read_parquet({files})").fetchone() == (5, 3)


def test_a_receipt_whose_rows_are_gone_is_loaded_again(home, deliver):
    """Prevents a lost Parquet file from being a silent hole."""
    receipt = deliver(WHOLE)
    (home.raw / receipt.files[0]).unlink()
    (again,) = ingest(home)
    assert again.loaded_count == 500
    assert len(rows_of(home)) == 500


def test_loading_in_processes_gives_the_same_rows_as_one_after_the_other(tmp_path, monkeypatch):
    """Prevents parallel loading from losing a delivery or mixing two."""
    monkeypatch.setattr(raw_store, "PARALLEL_BYTES", 0)
    found = []
    for workers in (1, 2):
        home = Home(tmp_path / str(workers))
        for part in range(4):
            land_bytes(home, f"{part}.jsonl", lines(*(GOOD % (f"{part}-{n}", n) for n in range(50))))
        assert len(ingest(home, workers=workers)) == 4
        found.append(rows_of(home))
    assert found[0] == found[1]
    assert len(found[0]) == 200


JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6),
    st.lists(st.integers(), max_size=2), st.sampled_from(["ok", "2026-11-20T01:00:00Z", "2026-11-20T09:00:00+08:00"]),
)
RECORDS = st.dictionaries(
    st.sampled_from(["event_id", "occurred_at", "tenant_id", "input_tokens", "output_tokens", "status", "request_count"]),
    JSON_VALUES, max_size=7,
)


BROKEN_LINES = st.sampled_from([
    "{", "{}", "null", "7", '"text"', "[1]", '{"event_id": "a"} {}', '{"event_id": "a", "event_id": "b"}', "\u00e9\\", "a\0b",
    '{"event_id": "a", "occurred_at": "2026-11-20T01:00:00Z", "unknown": 1, "unknown": 2}',
])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.one_of(RECORDS, BROKEN_LINES), max_size=5))
def test_a_line_has_one_outcome_however_its_file_is_read(tmp_path, records):
    """Prevents a bad neighbour from changing what a line means: every way of reading must judge it alike."""
    text = [
        record if isinstance(record, str)
        else json.dumps({"event_id": f"e{n}", "occurred_at": "2026-11-20T01:00:00Z"} | record)
        for n, record in enumerate([{}, *records])
    ]
    source = tmp_path / "source"
    source.write_bytes(lines(*text))
    canonical, options, now = FORMATS["canonical_token_usage"], Options("n", "s"), datetime(2026, 11, 24)

    def outcome(read) -> tuple[list, list] | None:
        with duckdb.connect() as con:
            parsed = read(con)
            return parsed and (con.execute(
                "select * from judged where fault is null and rowid not in (select row_id from surplus) order by line_number"
            ).fetchall(), parsed.faults)

    def whole(con):
        found = parse_whole(con, canonical, options, source, tmp_path, now)
        return found and found[1]

    expected = outcome(lambda con: parse(con, canonical, options, spool(source, tmp_path / "text"), source, now))
    with pytest.MonkeyPatch.context() as patch:
        assert outcome(whole) == expected
        # Without a look at the first records, every string is read as text, whatever other kind it may be.
        patch.setattr(strict_parse, "_records", lambda _lines: [])
        # A part for every few lines.
        patch.setattr(spool_module, "PART_BYTES", 1)
        patch.setattr(spool_module, "BLOCK_BYTES", max(len(line.encode()) for line in text) + 1)
        assert outcome(whole) == expected


@pytest.mark.parametrize("value", ["7", "true", "1e30", "-0.5", "NaN", "-Infinity", "[1]", '{"a":"b"}'])
@pytest.mark.parametrize(("name", "others"), [("tenant_id", ""), ("tenant_id", ',"input_tokens":1.5'), ("event_id", ""), ("occurred_at", "")])
def test_a_value_that_is_no_string_is_found_far_behind_the_first_records(deliver, name, others, value):
    """Prevents 7 from becoming the tenant "7" because the first records were right."""
    record = {"event_id": '"x"', "occurred_at": '"2026-11-20T01:00:00Z"', "tenant_id": '"t"'} | {name: value}
    bad = "{" + ",".join(f'"{key}":{text}' for key, text in record.items()) + others + "}"
    receipt = deliver(lines(*(GOOD % (f"e{n}", n) for n in range(200)), bad))
    assert receipt.quarantined_by_reason == {"bad_type": 1}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(st.one_of(st.binary(max_size=40), st.text(string.printable, max_size=40).map(str.encode)), max_size=8))
def test_any_bytes_are_accounted_line_by_line(tmp_path, content):
    """Prevents a crash, or a lost line, on bytes that nobody expected."""
    home = Home(tmp_path / f"home-{random.randrange(10**12)}")
    land_bytes(home, "usage.jsonl", b"".join(line + b"\n" for line in content))
    for receipt in ingest(home):
        assert receipt.received_count == receipt.loaded_count + receipt.duplicate_count + receipt.quarantined_count


def test_a_line_that_the_reader_would_drop_stops_the_load(tmp_path):
    """Prevents lines from vanishing between the text and the parser: the two counts come from two readers."""
    source = tmp_path / "usage.csv"
    source.write_bytes(b"event_id,occurred_at\na,2026-11-20T01:00:00Z\n")
    spooled = spool(source, tmp_path / "text")
    spooled.line_count += 1
    with duckdb.connect() as con, pytest.raises(RuntimeError, match="3 lines were received and 2 were read"):
        parse(con, FORMATS["canonical_token_usage"], Options("n", "s"), spooled, source, datetime(2026, 11, 24))
