"""The raw store: receipts, Parquet by event day, and quarantine.

A delivery is identified by the sha256 of its decompressed bytes. Its rows are written aside and renamed
into place; its receipt is renamed last and *is* the commit: only rows with a receipt exist. So deliveries
load in parallel without a lock, and loading the same bytes again is a no-op. What the *latest* delivery
of a name is, is worked out when receipts are read, so that the order of loading never matters.

No parsing (``strict_parse``) and no views (``warehouse``) here.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import duckdb

from orchestration import faults, landing, strict_parse
from orchestration.contracts import TABLES
from orchestration.durable import commit_text
from orchestration.home import Home
from orchestration.landing import LandingFile, land, scan
from orchestration.sources.base import Format, FormatError, RowFormat
from orchestration.sources.registry import UnknownFormat
from orchestration.spool import KEPT_OF_LONG_LINE, LONGEST_LINE, Spool, raw_lines, spool
from orchestration.sql import identifier, literal

__all__ = ["Receipt", "ingest", "land", "pending", "receipts", "scan"]

# Part of every receipt; a change of parser or of DuckDB's hash makes old and new rows distinguishable.
PARSER_VERSION = f"1+duckdb{'.'.join(duckdb.__version__.split('.')[:2])}"
MEMORY_LIMIT = os.environ.get("TIDEGAUGE_PARSE_MEMORY", "640MB")
# Fewer bytes than this in all are not worth starting processes for.
PARALLEL_BYTES = 16 * 2**20
EPOCH = datetime(1970, 1, 1)
QUARANTINE_TYPES = {
    "delivery_id": "varchar", "table_name": "varchar", "feed": "varchar", "line_number": "bigint", "line_count": "bigint",
    "reason_code": "varchar", "message": "varchar", "raw_bytes": "varchar",
}

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Receipt:
    """What came of one delivery: received_count = loaded_count + duplicate_count + quarantined_count.

    Counts are in lines (rows for Parquet); a delivery that is quarantined whole counts as one. ``status``:
    loaded, quarantined (whole), or superseded (a later delivery has its name). ``files``: (path under raw,
    size) of its Parquet. ``landing_path``: under landing.
    """

    delivery_id: str
    feed: str
    table_name: str
    format: str
    source_id: str
    delivery_name: str
    delivered_date: date
    ingested_at: datetime
    byte_count: int
    received_count: int
    loaded_count: int
    duplicate_count: int
    quarantined_count: int
    quarantined_by_reason: dict[str, int]
    event_days: tuple[date, ...]
    files: tuple[str, ...]
    file_sizes: tuple[int, ...]
    landing_path: str
    landing_size: int
    version: int = 1
    status: str = "loaded"
    superseded_by: str | None = None
    message: str = ""
    warnings: tuple[str, ...] = ()
    parser_version: str = PARSER_VERSION

    def to_json(self) -> str:
        """The receipt as it is stored."""
        return json.dumps(asdict(self), default=lambda value: value.isoformat(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """A stored receipt."""
        values = json.loads(text)
        values["delivered_date"] = date.fromisoformat(values["delivered_date"])
        values["ingested_at"] = datetime.fromisoformat(values["ingested_at"])
        values["event_days"] = tuple(date.fromisoformat(day) for day in values["event_days"])
        for name in ("files", "file_sizes", "warnings"):
            values[name] = tuple(values[name])
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class Sighting:
    """One landing file and the delivery its bytes are: the same bytes may be delivered many times."""

    delivery_id: str
    feed: str
    source_id: str
    delivery_name: str
    delivered_date: date
    version: int
    landing_path: str
    landing_size: int

    @property
    def order(self) -> tuple:
        """Later sightings of a name supersede earlier ones."""
        return (self.delivered_date, self.version, self.delivery_id)


# --- reading receipts ----------------------------------------------------------------------------


def _receipt_folder(home: Home, feed: str) -> Path:
    return home.raw / "_receipts" / feed


def _stored(home: Home, feed: str | None = None) -> tuple[list[Receipt], list[Sighting]]:
    """Receipts and sightings as stored, before what supersedes what."""
    found, again = [], []
    root = home.raw / "_receipts"
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if feed is not None and folder.name != feed:
            continue
        for path in sorted(folder.glob("*.json")):
            if path.name.startswith("again-"):
                values = json.loads(path.read_text("utf-8"))
                values["delivered_date"] = date.fromisoformat(values["delivered_date"])
                again.append(Sighting(**values))
            else:
                found.append(Receipt.from_json(path.read_text("utf-8")))
    return found, again


def _first_sighting(receipt: Receipt) -> Sighting:
    return Sighting(**{field.name: getattr(receipt, field.name) for field in fields(Sighting)})


def receipts(home: Home, feed: str | None = None) -> list[Receipt]:
    """Every receipt with its status today, ordered by day, name and id.

    A delivery is superseded when the latest sighting of one of its names is another delivery. Bytes that
    were delivered several times count from their earliest sighting, whichever happened to load first.
    """
    stored, again = _stored(home, feed)
    sightings = [*(_first_sighting(receipt) for receipt in stored), *again]
    latest: dict[tuple, Sighting] = {}
    for sighting in sightings:
        key = (sighting.feed, sighting.source_id, sighting.delivery_name)
        if key not in latest or sighting.order > latest[key].order:
            latest[key] = sighting
    successor: dict[tuple[str, str], str] = {}
    for sighting in sightings:
        winner = latest[(sighting.feed, sighting.source_id, sighting.delivery_name)]
        if winner.delivery_id != sighting.delivery_id:
            successor[(sighting.feed, sighting.delivery_id)] = winner.delivery_id
    earliest: dict[tuple[str, str], Sighting] = {}
    for sighting in sorted(sightings, key=lambda s: (s.delivered_date, s.delivery_name, s.version), reverse=True):
        earliest[(sighting.feed, sighting.delivery_id)] = sighting
    current = []
    for receipt in stored:
        key = (receipt.feed, receipt.delivery_id)
        first = earliest[key]
        receipt = replace(receipt, delivery_name=first.delivery_name, delivered_date=first.delivered_date, version=first.version)
        if key in successor:
            receipt = replace(receipt, status="superseded", superseded_by=successor[key])
        current.append(receipt)
    return sorted(current, key=lambda r: (r.delivered_date, r.delivery_name, r.version, r.delivery_id))


def resent_paths(home: Home, feed: str | None = None) -> set[str]:
    """Landing paths of files whose bytes had come before: they count in the delivery of those bytes."""
    return {sighting.landing_path for sighting in _stored(home, feed)[1]}


def _is_whole(home: Home, receipt: Receipt) -> bool:
    """Whether the Parquet files of a receipt are all there, at the size they were committed with."""
    for name, size in zip(receipt.files, receipt.file_sizes, strict=True):
        path = home.raw / name
        if not path.is_file() or path.stat().st_size != size:
            return False
    return True


def pending(home: Home, feed: str | None = None, days: Iterable[date] | None = None) -> list[LandingFile]:
    """Landing files that no receipt or sighting knows yet, in order of day and name."""
    stored, again = _stored(home, feed)
    known = {(s.landing_path, s.landing_size) for s in again}
    known.update((r.landing_path, r.landing_size) for r in stored if _is_whole(home, r))
    files, _skipped = scan(home, feed, days)
    return [f for f in files if (_landing_path(home, f), f.path.stat().st_size) not in known]


def _landing_path(home: Home, file: LandingFile) -> str:
    return file.path.relative_to(home.landing).as_posix()


def rows_by_hour(home: Home, receipts: Sequence[Receipt]) -> dict[str, dict[datetime, int]]:
    """Rows that are stored of each delivery, by the UTC hour of their event; one scan of one column a table."""
    found: dict[str, dict[datetime, int]] = {}
    for table_name in sorted({receipt.table_name for receipt in receipts if receipt.feed != "reference"}):
        files = [str(home.raw / name) for receipt in receipts if receipt.table_name == table_name for name in receipt.files]
        if not files:
            continue
        paths = ", ".join(literal(glob.escape(path)) for path in files)
        event_time = identifier(TABLES[table_name].event_time)
        with duckdb.connect() as con:
            con.execute(f"set memory_limit = '{MEMORY_LIMIT}'; set TimeZone = 'UTC'")
            rows = con.execute(
                f"select filename, epoch_us({event_time}) // 3600000000 as hours, count(*) "
                f"from read_parquet([{paths}], filename = true) where {event_time} is not null group by all"
            ).fetchall()
        for path, hours, row_count in rows:
            by_hour = found.setdefault(Path(path).stem, {})
            hour = EPOCH + timedelta(hours=hours)
            by_hour[hour] = by_hour.get(hour, 0) + row_count
    return found


# --- loading -------------------------------------------------------------------------------------


def ingest(
    home: Home,
    feed: str | None = None,
    days: Iterable[date] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    replay: bool = False,
) -> list[Receipt]:
    """Loads what is pending in landing (of a feed, of delivery days); idempotent and safe to repeat.

    Gives the receipts written, ordered by feed, day and name; files whose bytes are known write none.
    Deliveries are parsed in ``workers`` processes (default: one per core). ``progress(done, total, name)``
    is called as deliveries finish. ``replay``: load the chosen deliveries again, with today's parser.
    """
    files = scan(home, feed, days)[0] if replay else pending(home, feed, days)
    _clear_scratch(home)
    loaded: list[Receipt] = []
    if progress:
        progress(0, len(files), "")
    for done, (file, result) in enumerate(_load_all(home, files, workers or os.cpu_count() or 1, replay), 1):
        if isinstance(result, Receipt):
            loaded.append(result)
        if progress:
            progress(done, len(files), file.name)
    if not loaded:
        return []
    current = {(receipt.feed, receipt.delivery_id): receipt for receipt in receipts(home, feed)}
    written = [current[(receipt.feed, receipt.delivery_id)] for receipt in loaded]
    return sorted(written, key=lambda r: (r.feed, r.delivered_date, r.delivery_name, r.version))


def _clear_scratch(home: Home) -> None:
    """Removes what processes that are gone left in scratch."""
    root = home.temporary / "parse"
    for folder in root.iterdir() if root.is_dir() else ():
        process = int(folder.name.split("-")[0])
        if not _is_running(process):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _load_all(home: Home, files: Sequence[LandingFile], workers: int, replay: bool):
    workers = min(workers, len(files))
    if workers <= 1 or sum(file.path.stat().st_size for file in files) < PARALLEL_BYTES:
        for file in files:
            yield file, load(home, file, replay)
        return
    # Largest first, so that no long delivery is left alone at the end.
    ordered = sorted(files, key=lambda file: -file.path.stat().st_size)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(load, home, file, replay): file for file in ordered}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def load(home: Home, file: LandingFile, replay: bool = False) -> Receipt | LandingFile:
    """Loads one landing file; gives its receipt, or the file itself when its bytes are known."""
    scratch = home.temporary / "parse" / f"{os.getpid()}-{uuid4().hex[:8]}"
    scratch.mkdir(parents=True)
    try:
        return _load(home, file, scratch, replay)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _load(home: Home, file: LandingFile, scratch: Path, replay: bool) -> Receipt | LandingFile:
    now = datetime.now(UTC).replace(tzinfo=None)
    base = {
        "feed": file.feed, "delivery_name": file.name, "delivered_date": file.delivered_date, "ingested_at": now,
        "landing_path": _landing_path(home, file), "landing_size": file.path.stat().st_size, "version": file.version,
    }
    format: Format | None = None
    spooled: Spool | None = None
    try:
        format = landing.format_of(file.path, file.name, file.feed, file.manifest.get("format"), file.manifest.get("table"))
        options = landing.options_of(file, format)
        _check_manifest(file)
        with duckdb.connect() as con:
            # One thread: two that read one file cost twice the CPU for little time. Other files take the other cores.
            con.execute(f"set threads = 1; set memory_limit = '{MEMORY_LIMIT}'; set TimeZone = 'UTC'; set enable_progress_bar = false")
            con.execute(f"set temp_directory = {literal(str(scratch / 'spill'))}")
            whole = strict_parse.parse_whole(con, format, options, file.path, scratch, now, vouched=_is_vouched(file))
            spooled = whole[0] if whole else _spool(file, format, scratch)
            if _known(home, file, options.source_id, spooled.delivery_id, replay):
                return file
            _check_lines(file, spooled)
            parsed = whole[1] if whole else strict_parse.parse(con, format, options, spooled, file.path, now)
            with _claimed(home, spooled.delivery_id):
                if _known(home, file, options.source_id, spooled.delivery_id, replay):
                    return file
                return _write_and_commit(home, file, format, options, spooled, parsed, con, scratch, base)
    except UnknownFormat as error:
        fault = FormatError("unknown_format", str(error))
    except FormatError as error:
        fault = error
    delivery_id = spooled.delivery_id if spooled and spooled.delivery_id else _digest_of_stored(file.path)
    source_id = file.manifest.get("source_id") or (format.name if format else "unknown")
    with _claimed(home, delivery_id):
        if _known(home, file, source_id, delivery_id, replay):
            return file
        return _quarantine_whole(home, file, format, source_id, delivery_id, fault, base)


@contextmanager
def _claimed(home: Home, delivery_id: str) -> Iterator[None]:
    """Holds the right to commit these bytes: one file that came under two names may load twice at once.

    Without it both would write the receipt, and the name that lost would be no sighting. The lock is
    shared by deliveries whose ids begin alike, so that their files stay few.
    """
    path = home.temporary / "claims" / delivery_id[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _check_manifest(file: LandingFile) -> None:
    """FormatError when the stored bytes are not those the manifest promises."""
    promised = file.manifest.get("sha256")
    size = file.manifest.get("size")
    if size is not None and size != file.path.stat().st_size:
        raise FormatError("manifest_mismatch", f"the manifest says {size:,} bytes and the file has {file.path.stat().st_size:,}")
    if promised is not None and promised != _digest_of_stored(file.path):
        raise FormatError("manifest_mismatch", "the file's sha256 is not the manifest's; deliver both again")


def _check_lines(file: LandingFile, spooled: Spool) -> None:
    lines = file.manifest.get("lines")
    if lines is not None and spooled.line_count and lines != spooled.line_count:
        raise FormatError("manifest_mismatch", f"the manifest says {lines:,} lines and the file has {spooled.line_count:,}")


def _digest_of_stored(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _spool(file: LandingFile, format: Format, scratch: Path) -> Spool:
    with file.path.open("rb") as stream:
        is_parquet = stream.read(4) == b"PAR1"
    if is_parquet:
        if isinstance(format, RowFormat) or format.container not in ("any", "parquet"):
            raise FormatError("not_text", f"the file is Parquet, and {format.name} is text")
        return Spool(path=file.path, delivery_id=_digest_of_stored(file.path), byte_count=file.path.stat().st_size)
    spooled = spool(file.path, scratch / "text", vouched=_is_vouched(file))
    if spooled.byte_count == 0 and file.manifest.get("lines") != 0:
        raise FormatError("empty_file", "holds no bytes; if an empty period is meant, say lines: 0 in its manifest")
    return spooled


def _is_vouched(file: LandingFile) -> bool:
    """Whether the producer's manifest proves the file whole; ours, written as a path is copied in, does not."""
    return "sha256" in file.manifest and "lines" in file.manifest


def _known(home: Home, file: LandingFile, source_id: str, delivery_id: str, replay: bool) -> bool:
    """Whether these bytes have a whole receipt already; then this landing file is noted as another sighting."""
    path = _receipt_folder(home, file.feed) / f"{delivery_id}.json"
    if not path.exists():
        return False
    receipt = Receipt.from_json(path.read_text("utf-8"))
    if not _is_whole(home, receipt):
        return False
    here = _landing_path(home, file)
    if receipt.landing_path == here:
        return not replay
    sighting = Sighting(
        delivery_id, file.feed, source_id, file.name, file.delivered_date, file.version, here, file.path.stat().st_size
    )
    name = hashlib.sha256(here.encode()).hexdigest()[:24]
    text = json.dumps(asdict(sighting), default=lambda value: value.isoformat(), ensure_ascii=False, indent=1)
    commit_text(_receipt_folder(home, file.feed) / f"again-{name}.json", text + "\n")
    return True


def _write_and_commit(home, file, format, options, spooled, parsed, con, scratch, base) -> Receipt:
    if parsed.received_count == 0 and file.manifest.get("lines") is None and format.table.feed != "reference":
        raise FormatError("empty_file", "holds no records; if an empty period is meant, deliver a manifest with its lines")
    faults.point("ingest:before_write")
    files = _write_parquet(home, con, format.table, parsed.choices, options.source_id, spooled.delivery_id, scratch)
    if parsed.faults:
        _write_quarantine(home, file, format.table.name, spooled, parsed)
    quarantined = Counter()
    for _line, count, reason, _message in parsed.faults:
        quarantined[reason] += count
    receipt = Receipt(
        **base, delivery_id=spooled.delivery_id, table_name=format.table.name, format=format.name,
        source_id=options.source_id, byte_count=spooled.byte_count, received_count=parsed.received_count,
        loaded_count=parsed.loaded_count, duplicate_count=parsed.duplicate_count,
        quarantined_count=sum(quarantined.values()), quarantined_by_reason=dict(sorted(quarantined.items())),
        event_days=tuple(sorted({date.fromisoformat(name.split("event_day=")[1][:10]) for name in files})),
        files=tuple(files), file_sizes=tuple((home.raw / name).stat().st_size for name in files),
        warnings=parsed.warnings,
    )
    if receipt.received_count != receipt.loaded_count + receipt.duplicate_count + receipt.quarantined_count:
        raise RuntimeError(
            f"{file.path}: {receipt.received_count} lines received are not {receipt.loaded_count} loaded + "
            f"{receipt.duplicate_count} duplicate + {receipt.quarantined_count} quarantined; nothing was committed"
        )
    return _commit(home, receipt)


def _write_parquet(home: Home, con, table, choices: dict[str, str], source_id: str, delivery_id: str, scratch: Path) -> list[str]:
    """Writes the kept rows aside, a file an event day, and renames them into place; paths under raw, in order."""
    aside = {}
    for day, rows in strict_parse.kept_rows(con, table, choices, source_id, delivery_id):
        aside[day] = scratch / f"{day}.parquet"
        # Level 1 costs less than the default, and what is left after encoding compresses no better at 3.
        con.execute(
            f"copy ({rows}) to {literal(str(aside[day]))} "
            "(format parquet, compression zstd, compression_level 1, parquet_version v2)"
        )
    written = []
    for day, part in aside.items():
        target = home.raw / table.name / f"event_day={day}" / f"{delivery_id}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        faults.point("ingest:before_rename")
        os.replace(part, target)
        written.append(target.relative_to(home.raw).as_posix())
    return written


def _write_quarantine(home: Home, file: LandingFile, table_name: str, spooled: Spool, parsed: strict_parse.Parsed) -> None:
    raw = parsed.raw | {number: line.raw for number, line in spooled.aside.items()}
    missing = {number for number, *_ in parsed.faults} - raw.keys()
    if missing and spooled.line_count:
        raw |= raw_lines(file.path, missing, vouched=_is_vouched(file))
    rows = (
        (spooled.delivery_id, table_name, file.feed, number, count, reason, message, raw.get(number, b""))
        for number, count, reason, message in parsed.faults
    )
    _commit_parquet(home.quarantine / file.feed / f"{spooled.delivery_id}.parquet", rows)


def _quarantine_whole(home: Home, file: LandingFile, format, source_id, delivery_id, fault: FormatError, base) -> Receipt:
    """A delivery that is not whole, or not of its format: kept in landing, counted as one, with its first bytes."""
    with file.path.open("rb") as stream:
        head = stream.read(KEPT_OF_LONG_LINE)
    table_name = format.table.name if format else (file.manifest.get("table") or file.feed)
    row = (delivery_id, table_name, file.feed, 0, 1, fault.code, fault.message, head)
    _commit_parquet(home.quarantine / file.feed / f"{delivery_id}.parquet", [row])
    return _commit(home, Receipt(
        **base, delivery_id=delivery_id, table_name=table_name, format=format.name if format else "unknown",
        source_id=source_id, byte_count=file.path.stat().st_size, received_count=1, loaded_count=0, duplicate_count=0,
        quarantined_count=1, quarantined_by_reason={fault.code: 1}, event_days=(), files=(), file_sizes=(),
        status="quarantined", message=fault.message,
    ))


def _commit_parquet(path: Path, rows: Iterable[tuple]) -> None:
    """Writes quarantined lines aside and renames them into place; ``rows`` in the order of QUARANTINE_TYPES."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = part.with_suffix(".text")
    # By a file of text: to bind one value, DuckDB imports pandas, which costs as much as 200,000 rows do.
    with text.open("w", encoding="utf-8") as stream:
        for *values, raw in rows:
            stream.write(json.dumps(dict(zip(QUARANTINE_TYPES, [*values, raw.hex()], strict=True))) + "\n")
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in QUARANTINE_TYPES.items())
    with duckdb.connect() as con:
        con.execute(f"""
            copy (select * replace (unhex(raw_bytes) as raw_bytes) from read_ndjson({literal(glob.escape(str(text)))},
                columns = {{{columns}}}, maximum_object_size = {3 * LONGEST_LINE}))
            to {literal(str(part))} (format parquet, compression zstd)
        """)
    text.unlink()
    os.replace(part, path)


def _commit(home: Home, receipt: Receipt) -> Receipt:
    faults.point("ingest:before_receipt")
    commit_text(_receipt_folder(home, receipt.feed) / f"{receipt.delivery_id}.json", receipt.to_json())
    faults.point("ingest:after_receipt")
    return receipt
