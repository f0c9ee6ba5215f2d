"""Prometheus text exposition as accelerator exporters write it: sample lines become one row a device.

What belongs here: the grammar of a line, the instant of a sample, and the gathering of a device's lines
into one wide row. What a metric means is the dialect's (``dcgm``, ``ascend``).

Exporters write no time of their own, so the instant of a sample is, in this order: the sample's own
timestamp (milliseconds, as a federating Prometheus or the Ascend exporter adds), the nearest comment line
``# scraped_at 2026-11-22T16:00:00Z`` above it, or the epoch that the delivery's manifest names. A file may
hold many scrapes, one after the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from orchestration.sources.base import (
    FormatError,
    Heading,
    Lines,
    Options,
    Reject,
    Row,
    text_of_instant,
)

SCRAPED_AT = re.compile(r"#\s*scraped_at\s+(\S+)\s*")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# Real exporters put a space after the comma, and some a comma after the last label.
LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,?)')
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|infinity)|nan", re.IGNORECASE | re.ASCII)
OPENING = re.compile(r"\s*\{")
CLOSING = re.compile(r"\s*\}")
# A microsecond or nanosecond stamp is longer, and no millisecond one.
TIMESTAMP = re.compile(r"\d{1,14}", re.ASCII)
ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR, LAST_YEAR = 1970, 2200
# Rows are held open until all lines of their instant have come; more than these are closed, oldest first.
MOST_OPEN_ROWS = 50_000

NO_TIME = (
    "no sample has a time: put a line '# scraped_at 2026-11-22T16:00:00Z' above each scrape, give each "
    "sample a timestamp in milliseconds, or name the instant as the delivery's epoch (--epoch)"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample line."""

    name: str
    labels: Mapping[str, str]
    value: float
    at: datetime | None


def sample_of(line: str) -> Sample:
    """The sample that a line holds. ValueError says what is wrong with it."""
    # Neither a value nor a timestamp holds a brace, so the last one ends the labels.
    series, brace, rest = line.rpartition("}")
    if not brace:
        series, _, rest = line.replace("\t", " ").partition(" ")
    name, labels = _series_of(series + brace)
    parts = rest.split()
    if not 1 <= len(parts) <= 2:
        raise ValueError("must end with a value and at most a timestamp")
    if not NUMBER.fullmatch(parts[0]):
        raise ValueError(f"has the value {parts[0][:40]!r}, which is no number")
    at = None
    if len(parts) == 2:
        if not TIMESTAMP.fullmatch(parts[1]):
            raise ValueError(f"has the timestamp {parts[1][:40]!r}, which is no whole number of milliseconds")
        at = _bounded(UNIX_EPOCH + timedelta(milliseconds=int(parts[1])))
    return Sample(name, labels, float(parts[0]), at)


@lru_cache(maxsize=2**14)
def _series_of(text: str) -> tuple[str, Mapping[str, str]]:
    """Name and labels of name{label="value",...}; the same series comes again with every scrape."""
    name = NAME.match(text)
    if not name:
        raise ValueError("does not begin with a metric's name")
    position = name.end()
    labels: dict[str, str] = {}
    if position == len(text):
        return name.group(), labels
    opening = OPENING.match(text, position)
    if not opening:
        raise ValueError("has something else than labels in {} after the metric's name")
    position = opening.end()
    while not (closing := CLOSING.match(text, position)):
        label = LABEL.match(text, position)
        if not label:
            raise ValueError("has labels that are not name=\"value\", separated by commas, within {}")
        key, value, comma = label.groups()
        if key in labels:
            raise ValueError(f"names label {key} twice")
        labels[key] = re.sub(r"\\.", lambda escape: ESCAPES.get(escape.group(), escape.group()), value)
        position = label.end()
        if not comma and not CLOSING.match(text, position):
            raise ValueError("has no comma between two labels")
    if closing.end() != len(text):
        raise ValueError("has text between its labels and its value")
    return name.group(), labels


def _bounded(instant: datetime) -> datetime:
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ValueError(f"has a time outside {FIRST_YEAR} to {LAST_YEAR}")
    return instant


def _scrape_instant(text: str) -> datetime:
    if not RFC3339.fullmatch(text):
        raise ValueError("is no RFC 3339 instant")
    return _bounded(datetime.fromisoformat(text.upper()))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample belongs: the key of its device within the file, and what its labels say of it.

    ``job_id`` is one holder of the device; a device with several holders has none.
    """

    key: str
    device_id: str | None = None
    node_id: str | None = None
    accelerator_id: str | None = None
    job_id: str | None = None


@dataclass(slots=True)
class Device:
    """The lines of one device and instant, as far as they have come.

    ``series``: when each series was last sampled, kept where that tells one scrape from the next.
    """

    at: datetime
    first_line: int = 0
    line_count: int = 0
    series: dict[tuple, datetime] = field(default_factory=dict)
    device_id: str | None = None
    node_id: str | None = None
    accelerator_id: str | None = None
    jobs: set[str] = field(default_factory=set)
    numbers: dict[str, float | None] = field(default_factory=dict)

    def learn(self, place: Place) -> None:
        """Takes what a line's labels say of the device."""
        self.device_id = self.device_id or place.device_id
        self.node_id = self.node_id or place.node_id
        self.accelerator_id = self.accelerator_id or place.accelerator_id
        if place.job_id:
            self.jobs.add(place.job_id)


@dataclass(frozen=True)
class Dialect:
    """One exporter's metrics.

    ``prefixes``: how its metrics' names begin; any other line is rejected. ``about_itself``: beginnings of
    names that tell of the exporter or the node, not of a device: known, no data. ``place(sample, options)``:
    where a sample belongs; None when its labels name no device. ``is_other_entity(sample)``: whether it
    tells of something that is no accelerator. ``number(sample)``: the value of a metric that is kept, None
    for a blank; LookupError when the metric isn't kept. ``values(device)``: contract columns from the
    numbers. ``one_instant_per_scrape``: samples of a scrape bear the times of the exporter's caches, so a
    device's row takes the latest of them.
    """

    prefixes: tuple[str, ...]
    about_itself: tuple[str, ...]
    place: Callable[[Sample, Options], Place | None]
    is_other_entity: Callable[[Sample], bool]
    number: Callable[[Sample], float | None]
    values: Callable[[Device], dict[str, str | None]]
    one_instant_per_scrape: bool = False


def reader(dialect: Dialect):
    """A read function for a dialect's exposition text."""
    return lambda lines, options: _Reading(dialect, options).rows(lines)


class _Reading:
    """One pass over a file: the open rows, and the instant of the scrape it is in."""

    def __init__(self, dialect: Dialect, options: Options):
        self.dialect = dialect
        self.options = options
        self.scraped_at = options.epoch
        self.has_time = options.epoch is not None
        self.open: dict[tuple, Device] = {}
        self.closed_until: dict[str, datetime] = {}

    def rows(self, lines: Lines) -> Iterator[Row | Reject | Heading]:
        for number, text in lines:
            line = text.strip()
            if line.startswith("#"):
                yield from self._comment(number, line)
            else:
                yield from self._sample(number, line)
        yield from self._close()

    def _comment(self, number: int, line: str) -> Iterator[Row | Reject | Heading]:
        stamp = SCRAPED_AT.fullmatch(line)
        if not stamp:
            yield Heading(number)
            return
        yield from self._close()
        self.has_time = True
        try:
            self.scraped_at = _scrape_instant(stamp.group(1))
        except ValueError as error:
            # The scrape below has no time then; it must not take that of the one above.
            self.scraped_at = None
            yield Reject(number, "bad_timestamp", f"scraped_at {error}")
            return
        yield Heading(number)

    def _sample(self, number: int, line: str) -> Iterator[Row | Reject | Heading]:
        try:
            sample = sample_of(line)
        except ValueError as error:
            yield Reject(number, "malformed_sample", f"the line {error}")
            return
        if sample.name.startswith(self.dialect.about_itself):
            yield Heading(number)
            return
        if not sample.name.startswith(self.dialect.prefixes):
            yield Reject(number, "foreign_metric", f"{sample.name[:80]} is no metric of this exporter")
            return
        if self.dialect.is_other_entity(sample):
            yield Heading(number)
            return
        place = self.dialect.place(sample, self.options)
        if place is None:
            yield Reject(number, "no_device", "no label names the device")
            return
        at = sample.at or self.scraped_at
        if at is None:
            if not self.has_time:
                raise FormatError("no_sample_time", NO_TIME)
            yield Reject(number, "no_sample_time", NO_TIME)
            return
        self.has_time = True
        if self.dialect.one_instant_per_scrape:
            key: tuple = (place.key,)
            if self._begins_scrape(key, sample, at):
                yield from self._close()
        else:
            key = (place.key, at)
            if key not in self.open and at <= self.closed_until.get(place.key, UNIX_EPOCH):
                yield Reject(number, "out_of_order", "its device and instant were closed; deliver lines in order of time")
                return
        device = self.open.get(key)
        if device is None:
            if len(self.open) >= MOST_OPEN_ROWS:
                yield from self._close(MOST_OPEN_ROWS // 2)
            device = self.open[key] = Device(at)
        try:
            value = self.dialect.number(sample)
        except LookupError:
            pass
        else:
            if value is not None and math.isinf(value):
                yield Reject(number, "bad_number", f"{sample.name} is infinite")
                return
            known = device.numbers.get(sample.name)
            if known is not None and value is not None and known != value:
                yield Reject(number, "duplicate_series", f"{sample.name} has two values for one device and instant")
                return
            # Only what is kept dates the row: an unmapped line may belong to the next scrape.
            device.at = max(device.at, at) if device.numbers else at
            device.numbers[sample.name] = known if value is None else value
        if self.dialect.one_instant_per_scrape:
            device.series[_series(sample)] = at
        if not device.line_count:
            device.first_line = number
        device.line_count += 1
        device.learn(place)

    def _begins_scrape(self, key: tuple, sample: Sample, at: datetime) -> bool:
        """Whether a series of an open row comes again at a later time."""
        device = self.open.get(key)
        return device is not None and device.series.get(_series(sample), at) < at

    def _close(self, most: int | None = None) -> Iterator[Row]:
        """Rows of the open devices, oldest first; of the given number, else of all."""
        for key in list(self.open)[:most]:
            device = self.open.pop(key)
            if most is not None:
                self.closed_until[key[0]] = max(device.at, self.closed_until.get(key[0], UNIX_EPOCH))
            if device.line_count:
                yield self._row(key, device)

    def _row(self, key: tuple, device: Device) -> Row:
        device_id = device.device_id or key[0]
        values = self.dialect.values(device) | {
            "sampled_at": self.options.instant(device.at),
            "device_id": device_id,
            "node_id": device.node_id,
            "accelerator_id": device.accelerator_id,
            "job_id": next(iter(device.jobs)) if len(device.jobs) == 1 else None,
        }
        return Row(
            device.first_line, values, event_id=f"{device_id}|{text_of_instant(device.at)}", line_count=device.line_count
        )


def _series(sample: Sample) -> tuple:
    return (sample.name, *sorted(sample.labels.items()))


def number_text(value: float | None) -> str | None:
    """A finite number as text; whole ones without a point, so that they also read as integers."""
    if value is None:
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)


def scaled(value: float | None, factor: float) -> str | None:
    """A number times a factor, as text; None stays None."""
    return None if value is None else number_text(value * factor)
