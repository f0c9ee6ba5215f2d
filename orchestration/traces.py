"""Public traces in a folder: which files are of a known format, and when they are replayed.

Finds trace folders below a directory by content, never by name, and lands what it recognises. No
parsing (that is ``sources/``) and no placement at sites (that is dbt's).

Old traces are replayed beside each other: the event times of a trace folder move by whole weeks, so
that its last timestamp lies in the week of REPLAY_MONDAY, and weekday and hour stay. A manifest keeps the move as
``shift_days``; identity never depends on it. Traces with relative times need no move: their format
places them by an epoch.

Where dated price lists are among the traces, a price book made of them is landed too (``trace_prices``),
so that real tokens meet real prices.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import zstandard
from isal import igzip

from orchestration import landing, trace_prices
from orchestration.contracts import PRICE_BOOK
from orchestration.home import DBT_PROJECT, Home
from orchestration.landing import LandingFile
from orchestration.sources.base import Format
from orchestration.sources.llm_prices_cn import LLM_PRICES_CN
from orchestration.sources.registry import UnknownFormat

# Monday of 2026-W47, the week that every trace is moved into.
REPLAY_MONDAY = date(2026, 11, 16)
# The business day after the replayed week; a constant, so that landing is the same whenever it is made.
DELIVERED = date(2026, 11, 23)
BUSINESS_ZONE = ZoneInfo("Asia/Shanghai")

# Zones of wall-clock times that a trace's documentation names, or that its operator's site implies.
# Philly names none: it is read as Shanghai's, so that the hours of its working day stay what they were.
ZONES = {
    "helios": "Asia/Shanghai",
    "philly": "Asia/Shanghai",
    "sacct_hb_jobinfo": "Europe/Amsterdam",
    "sacct_xdmod": "America/New_York",
}
# Formats whose times count from an epoch that the format chooses.
RELATIVE = frozenset({"mooncake", "servegen", "servegen_lengths", "burstgpt", "openb_pods"})

DOCUMENTATION = re.compile(
    r"(LICEN[CS]E|COPYING|NOTICE|PROVENANCE|README|CITATION|SHA256SUMS|FILES\.tsv|.*\.(md|rst|pdf)$)", re.IGNORECASE
)
WALL_CLOCK = re.compile(rb"\b(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")
EPOCH_SECONDS = re.compile(rb"(?<![\d.])(1\d{9})(?!\d)")
BLOCK_BYTES = 2**22
# Longer than any timestamp: what is read again with the next block.
OVERLAP_BYTES = 32


@dataclass(frozen=True)
class PassedOver:
    """A file that is not loaded, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Trace:
    """Files of one trace folder that share a zone, and the days they are moved by."""

    folder: Path
    name: str
    formats: tuple[str, ...]
    files: tuple[Path, ...]
    timezone: str
    last_timestamp: datetime | None
    shift_days: int
    price_lists: tuple[Path, ...] = ()


def discover(directory: Path) -> tuple[list[Trace], list[PassedOver]]:
    """Every trace below a directory, and every file that is none."""
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a folder")
    directory = directory.resolve()
    passed_over: list[PassedOver] = []
    found: dict[tuple[Path, str], list[tuple[Path, Format]]] = {}
    for path in _files(directory):
        folder = _trace_folder(path, directory)
        if DOCUMENTATION.fullmatch(path.name) or DOCUMENTATION.match(path.stem):
            passed_over.append(PassedOver(path, "licence, provenance or other documentation"))
            continue
        try:
            format = landing.format_of(path, path.relative_to(folder.parent).as_posix())
        except UnknownFormat as unknown:
            passed_over.append(PassedOver(path, _short(str(unknown))))
            continue
        found.setdefault((folder, ZONES.get(format.name, "UTC")), []).append((path, format))
    return [_trace(directory, folder, zone, files) for (folder, zone), files in sorted(found.items())], passed_over


def _files(directory: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _trace_folder(path: Path, directory: Path) -> Path:
    """The nearest folder above a file that documents itself; else the one directly below the directory."""
    for parent in path.parents:
        if parent == directory:
            break
        if any(DOCUMENTATION.match(entry.name) for entry in parent.iterdir() if entry.is_file()):
            return parent
    inside = path.relative_to(directory).parts
    return directory / inside[0] if len(inside) > 1 else directory


def _short(message: str) -> str:
    """The first sentence of a detection's message, without the name and the list of formats."""
    return message.split(": ", 1)[-1].split(". Name one", 1)[0]


def _trace(directory: Path, folder: Path, zone: str, files: list[tuple[Path, Format]]) -> Trace:
    dated = [path for path, format in files if format.table.feed != "reference" and format.name not in RELATIVE]
    instants = [instant for path in dated if (instant := last_timestamp(path, zone)) is not None]
    last = max(instants, default=None)
    return Trace(
        folder=folder,
        name=folder.relative_to(directory.parent).as_posix() if folder == directory else folder.relative_to(directory).as_posix(),
        formats=tuple(sorted({format.name for _, format in files})),
        files=tuple(path for path, _ in files),
        timezone=zone,
        last_timestamp=last,
        shift_days=shift_into_replay_week(last) if last else 0,
        price_lists=tuple(path for path, format in files if format is LLM_PRICES_CN),
    )


def shift_into_replay_week(last: datetime) -> int:
    """Days, a whole number of weeks, that move an instant into the business week of REPLAY_MONDAY."""
    day = last.astimezone(BUSINESS_ZONE).date()
    return (REPLAY_MONDAY - (day - timedelta(days=day.weekday()))).days


def last_timestamp(path: Path, zone: str) -> datetime | None:
    """The latest instant written in a text file, or None: wall-clock times first, else epoch seconds."""
    latest_wall = latest_epoch = b""
    for block in _blocks(path):
        if block.startswith(landing.PARQUET_MAGIC):
            return None
        for day, time in WALL_CLOCK.findall(block):
            latest_wall = max(latest_wall, day + b" " + time)
        if not latest_wall:
            latest_epoch = max([latest_epoch, *EPOCH_SECONDS.findall(block)])
    if latest_wall:
        return datetime.fromisoformat(latest_wall.decode()).replace(tzinfo=ZoneInfo(zone))
    return datetime.fromtimestamp(int(latest_epoch), UTC) if latest_epoch else None


def _blocks(path: Path) -> Iterator[bytes]:
    """The file's decompressed bytes in blocks that overlap, so that no timestamp is cut in two."""
    with path.open("rb") as opened:
        stream = _decompressed(opened)
        tail = b""
        try:
            while block := stream.read(BLOCK_BYTES):
                yield tail + block
                tail = block[-OVERLAP_BYTES:]
        except (OSError, EOFError, zstandard.ZstdError):
            # Not whole: ingest will say so and quarantine it; what was read still places it.
            return


def _decompressed(stream: BinaryIO) -> BinaryIO:
    magic = stream.read(4)
    stream.seek(0)
    if magic.startswith(landing.GZIP_MAGIC):
        return igzip.GzipFile(fileobj=stream)
    if magic.startswith(landing.ZSTD_MAGIC):
        return zstandard.ZstdDecompressor().stream_reader(stream)
    return stream


def land(
    home: Home, traces: list[Trace], progress: Callable[[int, int, str], None] = lambda _done, _total, _name: None
) -> list[LandingFile]:
    """Copies every trace into landing, with its zone and move in the manifests; returns the files.

    What a trace folder holds beside its recognised files must not be landed, so they are gathered
    under the folder's name first: names in landing keep the folders, which some formats read.
    """
    landed: list[LandingFile] = []
    home.temporary.mkdir(parents=True, exist_ok=True)
    for done, trace in enumerate(traces):
        progress(done, len(traces), trace.name)
        gathered = home.temporary / f"traces-{os.getpid()}" / trace.folder.name
        try:
            for path in trace.files:
                target = gathered / path.relative_to(trace.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)
            landed += landing.land(
                home, [gathered], timezone=None if trace.timezone == "UTC" else trace.timezone,
                shift_days=trace.shift_days, delivered=DELIVERED,
            )
        finally:
            shutil.rmtree(gathered.parent, ignore_errors=True)
    landed += _land_price_book(home, [path for trace in traces for path in trace.price_lists])
    progress(len(traces), len(traces), "")
    return landed


def _land_price_book(home: Home, price_lists: list[Path]) -> list[LandingFile]:
    """The price book that the dated lists amount to, as one delivery; none without lists."""
    if not price_lists:
        return []
    texts = []
    for path in price_lists:
        with path.open("rb") as stream:
            texts.append(_decompressed(stream).read().decode("utf-8"))
    target = home.temporary / f"trace-prices-{os.getpid()}" / "price_book.csv"
    target.parent.mkdir(parents=True)
    try:
        target.write_bytes(trace_prices.price_book(texts, _seed_price_book()))
        return landing.land(
            home, [target], format=f"reference_{PRICE_BOOK.name}", source_id="trace-prices", delivered=DELIVERED
        )
    finally:
        shutil.rmtree(target.parent, ignore_errors=True)


def _seed_price_book() -> list[dict[str, str]]:
    with (DBT_PROJECT / "seeds" / f"{PRICE_BOOK.name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
