"""Strict parsing in DuckDB: a delivery's text becomes typed rows, duplicates and faults.

One caster, generated from the contract, serves every format: text that is not exactly a value of its
column is a fault with a code, never a guess (1.5 tokens, true, "12" and 2^63 are faults). Formats say
only where a column's text is found. No receipts and no files of the store here: that is ``raw_store``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path

import duckdb
import polars as pl

from orchestration.contracts import Column, Table, duckdb_type
from orchestration.sources.base import (
    FormatError,
    Heading,
    Options,
    Reject,
    RowFormat,
    TabularFormat,
)
from orchestration.sources.reference_csv import records
from orchestration.spool import LONGEST_LINE, Spool, first_lines, piped, raw_lines
from orchestration.sql import count, identifier, literal

EARLIEST_EVENT = datetime(2000, 1, 1)
CLOCK_TOLERANCE = timedelta(minutes=5)
BATCH_ROWS = 20_000
# Longer lines are read with the spool: DuckDB's buffers grow with the longest.
LONGEST_QUICK_LINE = 2**20
MOST_LOOKED_AT_AGAIN = 10_000
# So many records tell which columns a file has and which of them are strings.
FIRST_RECORDS = 100
# A text column with no more distinct values than this in its first rows is stored by an ENUM.
SAMPLE_ROWS = 20_000
SAMPLE_CHOICES = 2_000
# Marks, in text from JSON, a value that is not a string where the column wants one.
NOT_A_STRING = "\x01"
# Text that another kind of JSON value could have given, or that begins like the mark.
NOT_SURELY_A_STRING = r"(?is)-?([0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|nan|inf(inity)?)|true|false|[\[{\x01].*"


@dataclass(frozen=True)
class Parsed:
    """What came of a delivery; its typed rows are in the connection's tables ``judged`` and ``surplus``.

    Counts are in lines (rows of Parquet). ``faults``: (line_number, line_count, reason, message).
    ``choices``: the ENUM of each text column of few distinct values. ``raw``: bytes of lines that were read by themselves.
    """

    received_count: int
    loaded_count: int
    duplicate_count: int
    faults: list[tuple[int, int, str, str]]
    warnings: tuple[str, ...]
    choices: dict[str, str]
    raw: dict[int, bytes] = field(default_factory=dict)


def parse(con: duckdb.DuckDBPyConnection, format, options: Options, spool: Spool, source: Path, now: datetime) -> Parsed:
    """Parses a spooled delivery; ``kept_rows`` gives its rows. FormatError when it isn't of its format."""
    if isinstance(format, RowFormat):
        return _parse_rows(con, format, options, spool, now)
    return _parse_table(con, format, options, spool, source, now)


def parse_whole(
    con: duckdb.DuckDBPyConnection, format, options: Options, source: Path, scratch: Path, now: datetime, *, vouched: bool = False
) -> tuple[Spool, Parsed] | None:
    """Parses JSON lines as they are decompressed, without a spool; None when the file needs a closer look.

    Strings are read as text, which is cheapest, unless some text could have been another kind of JSON
    (7, true): then every value keeps its kind. A line that has a fault is read once more, as ``parse`` reads it.
    Both ways and ``parse`` give the same rows and the same faults for the same line; a test holds them together.
    """
    if isinstance(format, RowFormat) or format.container not in ("any", "ndjson") or format.event_id is None:
        return None
    try:
        first = first_lines(source)[:FIRST_RECORDS]
    except FormatError:
        return None
    if not first or not first[0].lstrip().startswith(b"{"):
        return None
    sample = _records(first)
    warnings = _check_inputs(format, sorted(set(format.required).union(*sample)))
    as_text, vetted = _certain_strings(format, options, sample), False
    while True:
        try:
            with piped(source, scratch, vouched=vouched, vetted=vetted) as (spool, parts):
                received = 0
                for part in parts:
                    _read_ndjson(con, format, part, as_text, received)
                    _identify(con, format, options, list(format.inputs))
                    received += _cast_identified(con, format, options, now, first=not received)
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            # Some line is not a JSON object with each key once.
            if vetted:
                return None
            vetted = True
            continue
        if not spool.is_whole or received != spool.line_count:
            return None
        again = _look_again(con, format, options, spool, source, scratch, now, vouched)
        if again is None:
            return None
        faults, raw = again
        parsed = _finish(con, format.table, spool, received - len(spool.aside), faults, warnings)
        if not as_text or not _may_hide_a_kind(con, format.table, as_text, parsed):
            return spool, replace(parsed, raw=raw)
        as_text = ()


def _look_again(
    con, format: TabularFormat, options: Options, spool: Spool, source: Path, scratch: Path, now: datetime, vouched: bool
) -> tuple[list, dict[int, bytes]] | None:
    """Reads every line that has a fault by itself, as it was before it was vetted. Faults and lines; None if too many."""
    con.execute(f"delete from judged where line_number in ({', '.join(map(str, spool.aside)) or 'null'})")
    numbers = [number for number, in con.execute("select line_number from judged where fault is not null").fetchall()]
    if not numbers or len(numbers) > MOST_LOOKED_AT_AGAIN:
        return None if numbers else ([], {})
    raw = raw_lines(source, set(numbers), vouched=vouched)
    text = scratch / "again"
    with text.open("w", encoding="utf-8") as stream:
        for number, line in raw.items():
            stream.write(json.dumps({"line_number": number, "line": line.decode()}) + "\n")
    con.execute(f"""
        create or replace temp table text_line as from read_ndjson({literal(str(text))},
            columns = {{line_number: 'bigint', line: 'varchar'}}, maximum_object_size = {3 * LONGEST_LINE})
    """)
    con.execute("delete from judged where fault is not null")
    faults = _by_line(con, format)
    _identify(con, format, options, list(format.inputs))
    _cast_identified(con, format, options, now, first=False)
    return faults + _faults(con, format.table, format.checks), raw


# --- rows read in Python -----------------------------------------------------------------------


def _parse_rows(con, format: RowFormat, options: Options, spool: Spool, now: datetime) -> Parsed:
    names = [column.name for column in format.table.columns]
    _make_arrived(con, ["event_id", "content", *names])
    faults: list[tuple[int, int, str, str]] = []
    received = 0

    def accepted() -> Iterator[tuple]:
        nonlocal received
        for item in format.read(spool.lines(), options):
            if isinstance(item, Heading):
                continue
            received += item.line_count
            if isinstance(item, Reject):
                faults.append((item.line_number, item.line_count, item.reason, item.message))
            else:
                content = item.content if item.content is not None or item.event_id is not None else repr(item.values)
                yield (item.line_number, item.line_count, item.event_id, content, *(item.values.get(name) for name in names))

    _insert_batches(con, accepted())
    con.execute("""
        create or replace temp view identified as
        select * replace (coalesce(
            event_id, md5(content) || '-' || row_number() over (partition by event_id, content order by line_number)
        ) as event_id) from arrived
    """)
    texts = {column.name: identifier(column.name) for column in format.table.columns}
    _cast(con, format.table, texts, "identified", now=now, first=True)
    faults += _faults(con, format.table)
    return _finish(con, format.table, spool, received, faults, ())


def _make_arrived(con, texts: list[str]) -> None:
    """Makes the empty table ``arrived``: line_number, line_count, and these columns of text."""
    columns = ", ".join(f"{identifier(name)} varchar" for name in texts)
    con.execute(f"create or replace temp table arrived (line_number bigint, line_count bigint, {columns})")


def _insert_batches(con, rows: Iterator[tuple]) -> None:
    """Appends rows to ``arrived`` in bounded batches."""
    # Imported here: it costs as much as 50,000 rows do, and most formats have no use for it.
    import pyarrow as pa

    while batch := list(islice(rows, BATCH_ROWS)):
        kinds = [pa.int64(), pa.int64(), *[pa.string()] * (len(batch[0]) - 2)]
        columns = [pa.array(values, kind) for values, kind in zip(zip(*batch, strict=True), kinds, strict=True)]
        con.register("batch", pa.Table.from_arrays(columns, names=[f"field_{n}" for n in range(len(columns))]))
        con.execute("insert into arrived select * from batch")
        con.unregister("batch")


def _finish(con, table: Table, spool: Spool, received: int, faults: list, warnings: tuple[str, ...]) -> Parsed:
    """Counts what came of every line; adds the lines that never reached the parser."""
    for number, line in spool.aside.items():
        faults.append((number, 1, line.reason, line.message))
        received += 1
    duplicates, conflicts = _set_surplus_apart(con, table)
    faults += conflicts
    loaded = con.execute(
        "select coalesce(sum(line_count), 0) from judged where fault is null and rowid not in (select row_id from surplus)"
    ).fetchone()[0]
    return Parsed(received, int(loaded), duplicates, sorted(faults), warnings, _make_choices(con, table))


# --- tables read in SQL ------------------------------------------------------------------------


def _parse_table(con, format: TabularFormat, options: Options, spool: Spool, source: Path, now: datetime) -> Parsed:
    container = _container(format, spool, source)
    faults: list[tuple[int, int, str, str]] = []
    if container == "parquet":
        inputs, warnings = _read_parquet(con, format, source)
    elif container == "ndjson":
        sample = _records(line for _, line in islice(spool.lines(), FIRST_RECORDS))
        inputs, warnings = list(format.inputs), _check_inputs(format, sorted(set(format.required).union(*sample)))
        _read_lines(con, spool)
        faults += _by_line(con, format)
    else:
        inputs, warnings = _read_csv(con, format, spool, faults)
    return _judge(con, format, options, spool, inputs, faults, warnings, now)


def _judge(con, format: TabularFormat, options: Options, spool: Spool, inputs, faults, warnings, now) -> Parsed:
    """Identifies and casts what arrived, and counts what came of it."""
    _identify(con, format, options, inputs)
    _cast_identified(con, format, options, now, first=True)
    received = sum(lines for _, lines, *_ in faults) + count(con, "select coalesce(sum(line_count), 0) from judged")
    faults += _faults(con, format.table, format.checks)
    return _finish(con, format.table, spool, received, faults, warnings)


def _cast_identified(con, format: TabularFormat, options: Options, now: datetime, *, first: bool) -> int:
    return _cast(con, format.table, format.columns(options), "identified", now=now, first=first,
                 shift_days=options.shift_days, checks=format.checks)


def _container(format: TabularFormat, spool: Spool, source: Path) -> str:
    if format.container != "any":
        return format.container
    with source.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    first = next(spool.lines(), (0, ""))[1]
    return "ndjson" if first.lstrip().startswith("{") else "csv"


def _check_inputs(format: TabularFormat, present: list[str]) -> tuple[str, ...]:
    """Warnings about columns that are not known; FormatError for one that is missing."""
    missing = [name for name in format.required if name not in present]
    if missing:
        raise FormatError("missing_column", f"lacks {', '.join(missing)}; {format.name} needs {', '.join(format.required)}")
    if len(set(present)) != len(present):
        raise FormatError("duplicate_column", "the heading names a column twice")
    unknown = [name for name in present if name not in format.inputs]
    if unknown and format.name.startswith("canonical"):
        return (f"columns not in the contract are kept in landing only: {', '.join(unknown)}",)
    return ()


def _read_parquet(con, format: TabularFormat, source: Path):
    try:
        described = con.execute(f"describe select * from read_parquet({literal(str(source))}, hive_partitioning = false)").fetchall()
        warnings = _check_inputs(format, [row[0] for row in described])
        wanted = [row for row in described if row[0] in format.inputs]
        columns = ", ".join(_parquet_column(format.table, name, kind) for name, kind, *_ in wanted)
        con.execute(
            f"create or replace temp table arrived as select row_number() over () as line_number, 1::bigint as line_count, "
            f"null::varchar as content, {columns} from read_parquet({literal(str(source))}, hive_partitioning = false)"
        )
    except duckdb.Error as error:
        if isinstance(error, duckdb.OutOfMemoryException):
            raise
        raise FormatError("corrupt", f"the Parquet file can't be read: {str(error).splitlines()[0]}") from error
    return [row[0] for row in wanted], warnings


def _parquet_column(table: Table, name: str, kind: str) -> str:
    """A column in its own type when that is the contract's (or fits in it), else as text for the caster."""
    quoted = identifier(name)
    wanted = next((duckdb_type(c.dtype) for c in table.columns if c.name == name), "VARCHAR")
    if wanted == "TIMESTAMP" and kind == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {quoted}) as {quoted}"
    fits = {
        "BIGINT": ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UINTEGER", "USMALLINT", "UTINYINT"),
        "UBIGINT": ("UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT"),
        "DOUBLE": ("DOUBLE", "FLOAT"),
    }.get(wanted, (wanted,))
    if kind in fits:
        return f"{quoted}::{wanted} as {quoted}"
    return f"{quoted}::varchar as {quoted}"


def _read_lines(con, spool: Spool) -> None:
    """Makes the table ``text_line`` (line_number, line) of the lines that are data, whatever they hold.

    DuckDB must have seen as many lines as the spool counted: a reader that drops one says nothing of it.
    """
    con.execute(f"""
        create or replace temp table text_line as
        select row_number() over () as line_number, line from read_csv({literal(str(spool.path))},
            columns = {{'line': 'varchar'}}, delim = '\x01', quote = '', escape = '', header = false, auto_detect = false,
            new_line = '\\n', max_line_size = {LONGEST_LINE + 1024})
    """)
    found = count(con, "select count(*) from text_line")
    if found != spool.line_count:
        raise RuntimeError(f"{spool.line_count} lines were received and {found} were read; nothing was committed")
    aside = ", ".join(map(str, spool.aside)) or "null"
    con.execute(f"delete from text_line where coalesce(trim(line), '') = '' or line_number in ({aside})")


def _certain_strings(format: TabularFormat, options: Options, sample: list[dict]) -> tuple[str, ...]:
    """Inputs that go unchanged into a column whose value is a JSON string, and are one in the first records."""
    projected = format.columns(options) | {"event_id": format.event_id(options)}
    wanted = {"event_id"} | {c.name for c in format.table.columns if duckdb_type(c.dtype) in ("VARCHAR", "TIMESTAMP", "DATE")}
    values = {name: [record[name] for record in sample if record.get(name) is not None] for name in format.inputs}
    return tuple(
        name for name in format.inputs
        if name in wanted and projected.get(name) in (name, identifier(name))
        and all(isinstance(value, str) and not re.fullmatch(NOT_SURELY_A_STRING, value) for value in values[name])
    )


def _may_hide_a_kind(con, table: Table, as_text: tuple[str, ...], parsed: Parsed) -> bool:
    """Whether a value read as text may have been no JSON string, which is a fault that text can't show."""
    for name in as_text:
        if name in parsed.choices:
            source = f"(select unnest(enum_range(null::{parsed.choices[name]})) as value)"
        elif name == "event_id" or duckdb_type(table.column(name).dtype) == "VARCHAR":
            source = f"(select {identifier(name)} as value from judged)"
        else:
            continue
        if count(con, f"select count(*) from {source} where regexp_full_match(value, {literal(NOT_SURELY_A_STRING)})"):
            return True
    return False


def _read_ndjson(con, format: TabularFormat, part: Path, as_text: tuple[str, ...], lines_before: int) -> None:
    columns = ", ".join(f"{literal(name)}: '{'VARCHAR' if name in as_text else 'JSON'}'" for name in format.inputs)
    texts = ", ".join(identifier(name) if name in as_text else _json_text(format.table, name) for name in format.inputs)
    con.execute(f"""
        create or replace temp view arrived as
        select {lines_before} + row_number() over () as line_number, 1::bigint as line_count, null::varchar as content, {texts}
        from read_ndjson({literal(str(part))}, columns = {{{columns}}}, maximum_object_size = {LONGEST_QUICK_LINE})
    """)


def _by_line(con, format: TabularFormat) -> list[tuple[int, int, str, str]]:
    """Makes the view ``arrived`` of the lines in ``text_line`` that are JSON objects; the faults of those that are none."""
    messages = {
        "malformed_json": "is not valid JSON",
        "not_an_object": "is JSON and not an object",
        "duplicate_key": "names a key twice",
    }
    # A key that nothing reads may come twice.
    known = ", ".join(literal(name) for name in format.inputs)
    con.execute(f"""
        create or replace temp table by_line as
        select line_number, line, case
            when kind is null then 'malformed_json'
            when kind <> 'OBJECT' then 'not_an_object'
            when len(keys) <> len(list_distinct(keys)) then 'duplicate_key'
        end as fault
        from (select *, case when kind = 'OBJECT' then list_filter(json_keys(line), lambda key: key in ({known})) end as keys
              from (select line_number, line, case when json_valid(line) then json_type(line) end as kind from text_line))
    """)
    found = con.execute("select line_number, fault from by_line where fault is not null order by 1").fetchall()
    # One look into a line for all of its fields; each json_extract would parse it again.
    paths = ", ".join(literal(_json_path(name)) for name in format.inputs)
    fields = ", ".join(f"nullif(field[{n}], 'null'::json) as {identifier(name)}" for n, name in enumerate(format.inputs, 1))
    texts = ", ".join(_json_text(format.table, name) for name in format.inputs)
    con.execute(f"""
        create or replace temp view arrived as
        select line_number, 1::bigint as line_count, line as content, {texts}
        from (select line_number, line, {fields}
              from (select line_number, line, json_extract(line, [{paths}]) as field from by_line where fault is null))
    """)
    return [(number, 1, code, messages[code]) for number, code in found]


def _json_path(name: str) -> str:
    return '$."' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _records(lines: Iterable[str | bytes]) -> list[dict]:
    """Those lines that are records: enough of them to notice a column that the contract does not have."""
    import orjson

    found = []
    for line in lines:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _json_text(table: Table, name: str) -> str:
    """A JSON value as text for the caster: a string without its quotes where the contract wants text.

    Where it does and the value is no string, the text is marked; where it wants a number, a quoted one
    keeps its quotes, and so is no number.
    """
    quoted = identifier(name)
    column = next((c for c in table.columns if c.name == name), None)
    if column is not None and duckdb_type(column.dtype) not in ("VARCHAR", "TIMESTAMP", "DATE"):
        return f"{quoted}::varchar as {quoted}"
    if column is None and name != "event_id":
        return f"{quoted}::varchar as {quoted}"
    plain = f"case when contains({quoted}::varchar, '\\') then {quoted} ->> '$' else ({quoted}::varchar)[2:-2] end"
    return f"case when left({quoted}::varchar, 1) = '\"' then {plain} else '{NOT_A_STRING}' || {quoted}::varchar end as {quoted}"


def _read_csv(con, format: TabularFormat, spool: Spool, faults: list):
    """Machine CSV: lines cut at every comma. A file with quotes goes through the RFC 4180 reader."""
    lines = spool.lines()
    header_line = 0
    present = list(format.inputs)
    if format.header:
        header_line, heading = next(lines, (0, ""))
        present = [name.strip().strip('"') for name in heading.split(",")]
        warnings = _check_inputs(format, present)
    else:
        warnings = ()
    picked = [name for name in present if name in format.inputs]
    if spool.has_quote:
        _read_quoted_csv(con, present, spool, header_line, faults)
    else:
        _read_lines(con, spool)
        con.execute(f"""
            create or replace temp table split as
            select line_number, line, string_split(line, ',') as field from text_line where line_number > {header_line}
        """)
        wrong = f"select line_number, len(field) from split where len(field) <> {len(present)} order by 1"
        for number, width in con.execute(wrong).fetchall():
            faults.append((number, 1, "wrong_column_count", f"{width} fields where {len(present)} are expected"))
        columns = ", ".join(f"field[{present.index(name) + 1}] as {identifier(name)}" for name in picked)
        con.execute(f"create or replace temp table arrived as select line_number, 1::bigint as line_count, line as content, {columns} "
                    f"from split where len(field) = {len(present)}")
        con.execute("drop table split")
    return picked, warnings


def _read_quoted_csv(con, present: list[str], spool: Spool, header_line: int, faults: list) -> None:
    _make_arrived(con, ["content", *present])

    def accepted() -> Iterator[tuple]:
        for number, span, fields, raw in records(spool.lines()):
            if number == header_line:
                continue
            if fields is None:
                faults.append((number, span, "malformed_csv", "a quote is not closed or stands inside a field"))
            elif len(fields) != len(present):
                faults.append((number, span, "wrong_column_count", f"{len(fields)} fields where {len(present)} are expected"))
            else:
                yield (number, span, raw, *fields)

    _insert_batches(con, accepted())


def _identify(con, format: TabularFormat, options: Options, inputs: list[str]) -> None:
    """Adds event_id to what arrived: the producer's, or the hash of the line and its occurrence.

    Inputs that the file does not have are null, so that a projection may name them.
    """
    absent = "".join(f", null::varchar as {identifier(name)}" for name in format.inputs if name not in inputs and name != "event_id")
    if format.event_id is None:
        con.execute(f"""
            create or replace temp view identified as
            select * exclude (content), content || '-' || row_number() over (partition by content order by line_number) as event_id
            from (select * replace (md5(content) as content) {absent} from arrived)
        """)
        return
    source = f"(select * {absent} from arrived)"
    if format.event_id(options) == "event_id":
        con.execute(f"create or replace temp view identified as select * from {source}")
        return
    con.execute(f"create or replace temp view identified as select *, {format.event_id(options)} as event_id from {source}")


# --- the one caster ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cast:
    """SQL for one column: the value of its text, and the conditions over both under which the text is a fault."""

    value: str
    faults: tuple[tuple[str, str], ...] = ()


def _cast_text(column: Column, text: str, value: str) -> _Cast:
    """How one column's text becomes its value; ``text`` (null for none) and ``value`` are names of columns."""
    kind = duckdb_type(column.dtype)
    wrong_type = ("bad_type", f"starts_with({text}, '{NOT_A_STRING}')")
    if kind == "VARCHAR":
        return _Cast(text, (wrong_type,))
    if kind in ("BIGINT", "UBIGINT"):
        # Casting back tells 1.5, 1e3, 007, +5, 1_000 and quoted numbers from the integer they would become.
        return _Cast(f"try_cast({text} as {kind})", (("bad_integer", f"{value}::varchar is distinct from {text}"),))
    if kind == "TIMESTAMP":
        zoned = r"'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?[+-]\d\d:?\d\d'"
        naive = r"'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?'"
        instant = (
            f"case when ends_with({text}, 'Z') and length({text}) >= 20 then try_cast({text} as timestamp) "
            f"when regexp_full_match({text}, {zoned}) then timezone('UTC', try_cast({text} as timestamptz)) end"
        )
        absent = f"{value} is null and {text} is not null"
        return _Cast(instant, (
            ("bad_type", f"{absent} and {wrong_type[1]}"),
            ("naive_timestamp", f"{absent} and regexp_full_match({text}, {naive})"),
            ("bad_timestamp", absent),
        ))
    if kind == "DATE":
        day = f"case when length({text}) = 10 then cast(try_strptime({text}, '%Y-%m-%d') as date) end"
        return _Cast(day, (wrong_type, ("bad_date", f"{text} is not null and {value} is null")))
    pattern = r"'-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?'"
    if kind.startswith("DECIMAL"):
        pattern = rf"'-?[0-9]+(\.[0-9]{{1,{column.dtype.scale}}})?'"
    finite = f" or not isfinite({value})" if kind == "DOUBLE" else ""
    return _Cast(f"try_cast({text} as {kind})", (
        ("bad_number", f"{text} is not null and (not regexp_full_match({text}, {pattern}) or {value} is null{finite})"),
    ))


def _value_faults(column: Column, event_time: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Conditions under which a typed value is a fault: missing, out of range, not allowed, clock skew."""
    name = identifier(column.name)
    if column.required:
        yield "missing", f"{name} is null"
    if column.dtype == pl.Float64:
        yield "bad_number", f"not isfinite({name})"
    if column.minimum is not None and column.dtype != pl.UInt64:
        yield "out_of_range", f"{name} < {column.minimum:g}"
    if column.maximum is not None and column.maximum < 2**62:
        yield "out_of_range", f"{name} > {column.maximum:g}"
    if column.allowed:
        yield "not_allowed", f"{name} not in ({', '.join(literal(choice) for choice in column.allowed)})"
    if column.name == event_time:
        latest = now + CLOCK_TOLERANCE
        yield "clock_skew", f"{name} < timestamp '{EARLIEST_EVENT}' or {name} > timestamp '{latest}'"


def _messages(table: Table, checks) -> dict[str, str]:
    """What each fault means, by code|column."""
    said = {
        "missing|event_id": "event_id is missing",
        "bad_type|event_id": "event_id must be a JSON string",
        "conflict|event_id": "an earlier line of this delivery has the same id and other content; the first is kept",
    }
    for column in table.columns:
        low, high = column.minimum, column.maximum
        span = f" from {low:g}" if low is not None else ""
        if high is not None:
            span += f" to {int(high):,}" if high > 1e6 else f" to {high:g}"
        for code, meaning in (
            ("missing", "is missing"),
            ("bad_type", "must be a JSON string"),
            ("bad_integer", f"must be a whole number{span}"),
            ("bad_number", f"must be a decimal number{span}"),
            ("bad_date", "must be a date like 2026-11-22"),
            ("bad_timestamp", "must be an instant like 2026-11-22T16:00:00Z"),
            ("naive_timestamp", "has no time zone; end it with Z or an offset"),
            ("out_of_range", f"must be{span}"),
            ("not_allowed", f"must be one of {', '.join(column.allowed)}"),
            ("clock_skew", f"is before {EARLIEST_EVENT:%Y} or in the future; check the producer's clock and unit"),
        ):
            said[f"{code}|{column.name}"] = f"{column.name} {meaning}"
    for code, _sql, message in (*checks, *table.rules):
        said[f"{code}|"] = message
    return said


def _first_fault(conditions: list[tuple[str, str]]) -> str:
    """SQL giving the code|column of the first condition that is true, else null."""
    if not conditions:
        return "null::varchar"
    return "case " + " ".join(f"when {sql} then {literal(code)}" for code, sql in conditions) + " end"


def _cast(con, table: Table, texts: dict[str, str], relation: str, *, now: datetime, first: bool,
          shift_days: int = 0, checks=()) -> int:
    """Casts and judges ``relation`` into the table ``judged`` (new, when it is the first); returns how many rows.

    ``judged`` has line_number, line_count, event_id, the contract's columns and fault (null: the row is right).
    """
    described = {
        row[0]: row[1]
        for row in con.execute(
            f"describe select {', '.join(f'({sql}) as {identifier(name)}' for name, sql in texts.items())} from {relation}"
        ).fetchall()
    }
    plain, values, judged, text_faults = [], [], [], []
    for column in table.columns:
        kind = duckdb_type(column.dtype)
        text, value = identifier(f"text of {column.name}"), identifier(f"value of {column.name}")
        if column.name not in texts:
            cast = _Cast("null")
        elif described[column.name] == kind != "VARCHAR":
            cast = _Cast(f"({texts[column.name]})")
        else:
            plain.append(f"nullif(({texts[column.name]}), '') as {text}")
            cast = _cast_text(column, text, value)
        text_faults += [(f"{code}|{column.name}", sql) for code, sql in cast.faults]
        values.append(f"{cast.value} as {value}")
        if column.default is not None:
            value = f"coalesce({value}, {literal(column.default)})"
        if kind == "TIMESTAMP" and shift_days:
            value = f"{value}::timestamp + interval '{shift_days} days'"
        judged.append(f"({value})::{kind} as {identifier(column.name)}")
    input_faults = [(f"{code}|", f"not coalesce(({sql}), false)") for code, sql, _ in checks]
    value_faults = [("missing|event_id", "event_id is null or event_id = ''"),
                    ("bad_type|event_id", f"starts_with(event_id, '{NOT_A_STRING}')")]
    for column in table.columns:
        value_faults += [(f"{code}|{column.name}", sql) for code, sql in _value_faults(column, table.event_time, now)]
    value_faults += [(f"{code}|", f"not ({sql})") for code, sql, _ in table.rules]
    names = ", ".join(identifier(column.name) for column in table.columns)
    # Each step names what the next one uses more than once: DuckDB evaluates an expression as often as it is written.
    return con.execute(f"""
        {"create or replace temp table judged as" if first else "insert into judged"}
        select line_number, line_count, event_id, {names}, coalesce(fault, {_first_fault(value_faults)}) as fault
        from (select line_number, line_count, event_id, {", ".join(judged)},
                     coalesce("fault of input", {_first_fault(text_faults)}) as fault
              from (select *, {", ".join(values)}
                    from (select *, {", ".join([*plain, f'{_first_fault(input_faults)} as "fault of input"'])} from {relation})))
    """).fetchone()[0]


def _faults(con, table: Table, checks=()) -> list[tuple[int, int, str, str]]:
    """The faults of ``judged``, in order of their lines."""
    said = _messages(table, checks)
    rows = con.execute("select line_number, line_count, fault from judged where fault is not null order by 1").fetchall()
    return [(number, count, fault.split("|")[0], said[fault]) for number, count, fault in rows]


def _set_surplus_apart(con, table: Table) -> tuple[int, list[tuple[int, int, str, str]]]:
    """Makes the table ``surplus`` (rowid of judged): later rows of an id. Returns duplicates and conflicts.

    Only the ids that occur more than once are compared; the first line of an id is kept.
    """
    payload = f"hash({', '.join(identifier(column.name) for column in table.columns)})"
    con.execute("create or replace temp table surplus (row_id bigint, line_number bigint, line_count bigint, is_conflict boolean)")
    con.execute(f"""
        insert into surplus
        with repeated as (select event_id from judged where fault is null group by event_id having count(*) > 1),
        ranked as (
            select judged.rowid as row_id, line_number, line_count, {payload} as payload_hash,
                first_value({payload}) over first_seen as first_payload_hash, row_number() over first_seen as occurrence
            from judged join repeated using (event_id) where fault is null
            window first_seen as (partition by event_id order by line_number, judged.rowid)
        )
        select row_id, line_number, line_count, payload_hash <> first_payload_hash from ranked where occurrence > 1
    """)
    duplicates = con.execute("select coalesce(sum(line_count), 0) from surplus where not is_conflict").fetchone()[0]
    message = _messages(table, ())["conflict|event_id"]
    conflicts = con.execute("select line_number, line_count from surplus where is_conflict order by 1").fetchall()
    return int(duplicates), [(number, count, "conflict", message) for number, count in conflicts]


def kept_rows(con, table: Table, choices: dict[str, str], source_id: str, delivery_id: str) -> Iterator[tuple[date, str]]:
    """(event day, SQL for its rows): system columns and the contract's columns, in the contract's order.

    What is the same in every row, or follows from the others, is added above the sort, which then moves less.
    """
    names = [column.name for column in table.columns]
    event_day = f"cast({identifier(table.event_time)} as date)" if table.event_time else "date '1970-01-01'"
    kept = "fault is null and rowid not in (select row_id from surplus)"
    sorted_columns = ", ".join(
        f"{identifier(name)}::{choices[name]} as {identifier(name)}" if name in choices else identifier(name) for name in names
    )
    # The hash is of the text, whichever columns happen to be ENUMs in this delivery.
    hashed = ", ".join(f"{identifier(name)}::varchar" if name in choices else identifier(name) for name in names)
    order = ", ".join([*(f"{identifier(name)} nulls first" for name in table.sort), "line_number"])
    for (day,) in con.execute(f"select distinct {event_day} from judged where {kept} order by 1").fetchall():
        yield day, f"""
            select {literal(source_id)} as source_id, event_id, hash({hashed}) as payload_hash,
                {literal(delivery_id)} as delivery_id, line_number, line_count, {", ".join(map(identifier, names))}
            from (
                select event_id, line_number, line_count, {sorted_columns} from judged
                where {kept} and {event_day} = date '{day}' order by {order}
            )
        """


def _make_choices(con, table: Table) -> dict[str, str]:
    """Makes an ENUM of every text column with few distinct values: those sort and are written at half the cost.

    Gives the ENUM of each such column. Its values are in order of their text, so that rows sort alike.
    """
    names = [column.name for column in table.columns if duckdb_type(column.dtype) == "VARCHAR"]
    if not names:
        return {}
    counts = ", ".join(f"count(distinct {identifier(name)})" for name in names)
    found = con.execute(f"select {counts} from (from judged limit {SAMPLE_ROWS})").fetchone()
    choices = {name: identifier(f"choice of {name}") for name, n in zip(names, found, strict=True) if 0 < n <= SAMPLE_CHOICES}
    for name, choice in choices.items():
        column = identifier(name)
        con.execute(f"drop type if exists {choice}")
        con.execute(f"create type {choice} as enum (select distinct {column} from judged where {column} is not null order by 1)")
    return choices
