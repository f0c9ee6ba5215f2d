"""Landing: what was delivered, where it lies, and what its manifest says of it.

Deliveries are immutable: landing never overwrites one. No parsing here beyond the first bytes that
tell a format, and no receipts: those are ``raw_store``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import zstandard
from isal import igzip

from orchestration.contracts import FEEDS
from orchestration.home import Home
from orchestration.sources.base import Format, Options
from orchestration.sources.registry import UnknownFormat, detect, named

MANIFEST_SUFFIX = ".manifest.json"
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 8192
# A file without a manifest that changed this recently may still be growing: look again after it.
QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class LandingFile:
    """One delivered file: landing/<feed>/<delivered_date>/<name>, with its manifest (or {})."""

    feed: str
    delivered_date: date
    path: Path
    name: str
    manifest: dict = field(default_factory=dict, hash=False)

    @property
    def version(self) -> int:
        """1 for the first file of its name and day, 2 for the second."""
        return int(self.manifest.get("version", 1))


@dataclass(frozen=True)
class Skipped:
    """A path in landing that was not read: why, and what to do."""

    path: Path
    reason: str
    message: str


def scan(
    home: Home, feed: str | None = None, days: Iterable[date] | None = None
) -> tuple[list[LandingFile], list[Skipped]]:
    """Files of landing that are whole, ordered by day and name; and what was passed over, with reasons."""
    wanted = set(days) if days is not None else None
    found: list[LandingFile] = []
    skipped: list[Skipped] = []
    for each in (feed,) if feed else FEEDS:
        for folder in _folders(home.landing / each):
            try:
                day = date.fromisoformat(folder.name)
            except ValueError:
                skipped.append(Skipped(folder, "bad_folder", "landing folders are named by UTC day, like 2026-11-22"))
                continue
            if wanted is None or day in wanted:
                for outcome in _scan_day(each, day, folder):
                    (found if isinstance(outcome, LandingFile) else skipped).append(outcome)
    found.sort(key=lambda file: (file.feed, file.delivered_date, file.name, file.version))
    return _settled(found, skipped)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _scan_day(feed: str, day: date, folder: Path) -> Iterator[LandingFile | Skipped]:
    """Regular files below one day's folder; a symlink or device is passed over, wherever it points."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        for name in sorted(folders):
            if (Path(parent) / name).is_symlink():
                yield Skipped(Path(parent) / name, "symlink", "a symlink is never followed; deliver the files themselves")
        for name in sorted(names):
            path = Path(parent) / name
            if name.endswith(MANIFEST_SUFFIX) or name.startswith("."):
                continue
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield Skipped(path, "symlink", "a symlink is never followed; deliver the file itself")
            elif not stat.S_ISREG(mode):
                yield Skipped(path, "not_a_file", "only regular files are read")
            else:
                manifest = _manifest(path)
                if isinstance(manifest, Skipped):
                    yield manifest
                    continue
                relative = path.relative_to(folder).as_posix()
                yield LandingFile(feed, day, path, manifest.get("name") or relative, manifest)


def _manifest(path: Path) -> dict | Skipped:
    beside = path.with_name(path.name + MANIFEST_SUFFIX)
    if not beside.exists():
        return {}
    try:
        manifest = json.loads(beside.read_text("utf-8"))
    except (ValueError, OSError) as error:
        return Skipped(path, "bad_manifest", f"{beside.name} can't be read ({error}); the file waits for a manifest that can")
    if not isinstance(manifest, dict):
        return Skipped(path, "bad_manifest", f"{beside.name} must hold one JSON object; the file waits")
    return manifest


def _settled(found: list[LandingFile], skipped: list[Skipped]) -> tuple[list[LandingFile], list[Skipped]]:
    """Parts found and skipped after leaving out files that are short of their manifest or still growing."""
    sizes = {file.path: file.path.stat() for file in found}
    fresh = [file for file in found if not file.manifest and time.time() - sizes[file.path].st_mtime < QUIET_SECONDS]
    if fresh:
        time.sleep(QUIET_SECONDS)
    settled = []
    for file in found:
        size = file.path.stat().st_size
        promised = file.manifest.get("size")
        if file in fresh and size != sizes[file.path].st_size:
            skipped.append(Skipped(file.path, "growing", "the file is still growing; it is read once it is whole"))
        elif isinstance(promised, int) and size < promised:
            skipped.append(Skipped(file.path, "short", f"{size:,} of {promised:,} bytes are here; the file waits for the rest"))
        else:
            settled.append(file)
    return settled, skipped


def head_of(path: Path) -> bytes:
    """The first bytes of a file, decompressed; what can be read of them when the file is not whole."""
    with path.open("rb") as stream:
        magic = stream.read(4)
    try:
        if magic.startswith(GZIP_MAGIC):
            with igzip.open(path, "rb") as stream:
                return stream.read(HEAD_BYTES)
        if magic.startswith(ZSTD_MAGIC):
            with path.open("rb") as stream:
                return zstandard.ZstdDecompressor().stream_reader(stream).read(HEAD_BYTES)
    except (OSError, EOFError, zstandard.ZstdError):
        return b""
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def format_of(path: Path, name: str, feed: str | None = None, format: str | None = None, table: str | None = None) -> Format:
    """The format that is named, or the one that the file's name and first bytes tell; UnknownFormat otherwise."""
    if format:
        return named(format, feed, table)
    head = head_of(path)
    if head.startswith(PARQUET_MAGIC):
        return _format_of_parquet(path, name, feed)
    if not head:
        raise UnknownFormat(f"{name}: holds no bytes that can be read; name its format with --format to quarantine it")
    try:
        text = head.decode("utf-8", errors="ignore" if len(head) == HEAD_BYTES else "strict")
    except UnicodeDecodeError:
        text = head.decode("utf-8", errors="replace")
    return detect(name, text, feed)


def _format_of_parquet(path: Path, name: str, feed: str | None) -> Format:
    import pyarrow
    import pyarrow.parquet

    try:
        heading = ",".join(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UnknownFormat(f"{name}: begins like Parquet and can't be read ({error}); name its format with --format to quarantine it") from error
    return detect(name, heading, feed)


def options_of(file: LandingFile, format: Format) -> Options:
    """What the manifest says beyond the bytes: source, epoch, zone, shift."""
    manifest = file.manifest
    epoch = manifest.get("epoch")
    zone = manifest.get("timezone")
    return Options(
        name=file.name,
        source_id=manifest.get("source_id") or format.name,
        epoch=datetime.fromisoformat(epoch) if epoch else None,
        shift_days=int(manifest.get("shift_days", 0)),
        **({"timezone": zone} if zone else {}),
    )


def land(
    home: Home,
    paths: Iterable[Path],
    *,
    feed: str | None = None,
    format: str | None = None,
    table: str | None = None,
    source_id: str | None = None,
    epoch: datetime | None = None,
    timezone: str | None = None,
    shift_days: int = 0,
    delivered: date | None = None,
) -> list[LandingFile]:
    """Copies files (folders: every file below) into landing, each with its manifest; returns them in order.

    The same bytes under the same name and day are not copied again; other bytes under the same name
    become its next version, which supersedes. Raises UnknownFormat (and copies nothing) when a file's
    format can't be told, FileNotFoundError when a path does not exist.
    """
    day = delivered or datetime.now(UTC).date()
    chosen = [
        (source, name, format_of(source, name, feed, format, table))
        for path in paths
        for source, name in _sources(Path(path))
    ]
    if epoch is not None and epoch.tzinfo is None:
        raise ValueError("epoch needs a time zone, like 2026-11-13T00:00:00+08:00")
    extras = {
        "source_id": source_id, "epoch": epoch.isoformat() if epoch else None, "timezone": timezone,
        "shift_days": shift_days or None,
    }
    return [_place(home, day, source, name, kind, extras) for source, name, kind in chosen]


def _sources(path: Path) -> list[tuple[Path, str]]:
    """The files a path stands for, and the name each is delivered under (with its folders, for a folder)."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.endswith(MANIFEST_SUFFIX))
        if not files:
            raise FileNotFoundError(f"{path} holds no files")
        return [(p, f"{path.resolve().name}/{p.relative_to(path).as_posix()}") for p in files]
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file or folder")
    return [(path, path.name)]


def _place(home: Home, day: date, source: Path, name: str, format: Format, extras: dict) -> LandingFile:
    folder = home.landing / format.table.feed / day.isoformat()
    digest, size = _digest(source)
    version = 1
    while True:
        target = folder / (name if version == 1 else f"{name}~{version}")
        if not target.exists():
            break
        existing = _manifest(target)
        known = existing.get("sha256") if isinstance(existing, dict) else None
        if (known or _digest(target)[0]) == digest:
            return LandingFile(format.table.feed, day, target, name, existing if isinstance(existing, dict) else {})
        version += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest = {
        "name": name, "size": size, "sha256": digest, "feed": format.table.feed, "format": format.name,
        **({"version": version} if version > 1 else {}),
        **{key: value for key, value in extras.items() if value is not None},
    }
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    beside = target.with_name(target.name + MANIFEST_SUFFIX)
    beside.write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", "utf-8")
    os.replace(part, target)
    return LandingFile(format.table.feed, day, target, name, manifest)


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size
