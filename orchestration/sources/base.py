"""What a format is: how a delivery of one kind becomes rows of one raw table.

Two kinds. A ``RowFormat`` is a Python generator over lines, for formats that are not a table
(exporter text, sacct dialects). A ``TabularFormat`` is a projection in SQL over a CSV or NDJSON
file, for formats that are (DuckDB reads them at memory speed).

Both give every contract column as **text** (or null); one strict caster, generated from the
contract in ``raw_store``, turns text into typed values or a reason to quarantine. So no format
decides what a valid integer is, and 1.5 tokens never become 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestration.contracts import Table


class FormatError(ValueError):
    """The whole delivery is not of its format; it is quarantined whole, with this code and message."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Options:
    """What a delivery's manifest says beyond its bytes.

    ``epoch``: instant that relative times count from (a format with relative times has its own
    default). ``timezone``: zone of wall-clock times without one. ``shift_days``: days added to every
    event time, for replaying an old trace beside newer ones; identity never depends on it.
    """

    name: str
    source_id: str
    epoch: datetime | None = None
    timezone: str = "UTC"
    shift_days: int = 0

    def instant(self, naive: datetime) -> str:
        """A wall-clock time of the delivery's zone, as the text of a UTC instant, shifted."""
        aware = naive if naive.tzinfo else naive.replace(tzinfo=ZoneInfo(self.timezone))
        return text_of_instant(aware + timedelta(days=self.shift_days))


def text_of_instant(instant: datetime) -> str:
    """An aware datetime as the one text form the caster reads: 2026-11-22T16:00:00.000000Z."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class Row:
    """One record as text by contract column; columns left out are null.

    ``event_id``: the producer's id; None gives the hash of ``content`` (default: the line's text)
    and its occurrence number in the file. ``line_count``: lines of the file this record stands for.
    """

    line_number: int
    values: dict[str, str | None]
    event_id: str | None = None
    content: str | None = None
    line_count: int = 1


@dataclass(frozen=True, slots=True)
class Reject:
    """Lines that are not exactly right: where, why (a code), and what to do about it."""

    line_number: int
    reason: str
    message: str
    line_count: int = 1


@dataclass(frozen=True, slots=True)
class Heading:
    """A line that carries no data (heading, comment): known, and not counted as received."""

    line_number: int


Lines = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class RowFormat:
    """A format read line by line in Python.

    ``read(lines, options)`` gets (1-based line number, text without line end) for every line that is
    not blank and yields Row, Reject or Heading; their line_counts (a Heading counts one) must add up to
    the lines it was given.
    ``matches(name, head)`` says whether a file of that name beginning with that text is of this format.
    """

    name: str
    table: Table
    description: str
    matches: Callable[[str, str], bool]
    read: Callable[[Lines, Options], Iterator[Row | Reject | Heading]]


@dataclass(frozen=True)
class TabularFormat:
    """A format that is a table: a projection in SQL from its columns to the contract's.

    ``container``: csv, ndjson, parquet, or any (told apart by content). ``inputs``: the columns of a
    file, read as text; ``header``: whether a csv names them in its first line. ``required``: inputs a
    file can't do without. ``columns(options)``: contract column -> SQL over the inputs, giving text (or
    the contract's own type); it may use ``event_id``. ``event_id(options)``: SQL giving the record's id, or None for
    the hash of the line and its occurrence. ``checks``: (reason code, SQL over the inputs that must hold,
    message), for what the projection alone would hide.
    """

    name: str
    table: Table
    description: str
    matches: Callable[[str, str], bool]
    container: str
    inputs: tuple[str, ...]
    required: tuple[str, ...]
    columns: Callable[[Options], dict[str, str]]
    event_id: Callable[[Options], str] | None = None
    header: bool = True
    checks: tuple[tuple[str, str, str], ...] = ()


Format = RowFormat | TabularFormat


def local_instant_sql(text: str, options: Options) -> str:
    """SQL for the text of a UTC instant, from text like 2023-11-16 18:15:46.6805900 in the delivery's zone."""
    naive = f"try_cast(left(replace({text}, 'T', ' '), 26) as timestamp)"
    if options.timezone != "UTC":
        naive = f"timezone('UTC', timezone('{ZoneInfo(options.timezone).key}', {naive}))"
    return f"strftime({naive}, '%Y-%m-%dT%H:%M:%S.%fZ')"


def relative_instant_sql(microseconds: str, epoch: datetime) -> str:
    """SQL for the text of a UTC instant, from whole microseconds (as SQL) since an epoch."""
    start = epoch.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return (
        f"strftime(timestamp '{start}' + to_microseconds(try_cast({microseconds} as bigint)), "
        "'%Y-%m-%dT%H:%M:%S.%fZ')"
    )
