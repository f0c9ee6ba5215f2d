"""From delivered bytes to text that every parser can trust.

A delivery is decompressed, hashed, and given as clean UTF-8 lines: no BOM, no CR, no NUL, no line beyond
LONGEST_LINE. A line that is none of that is kept aside with its bytes and reason, and a placeholder stands
in its place, so that line numbers hold. Bounded memory whatever the file's size.

The lines go to a scratch file that may be read often (``spool``), or through a pipe to one reader (``piped``).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from tempfile import mkdtemp
from typing import BinaryIO

import orjson
import zstandard
from isal import igzip

from orchestration.landing import GZIP_MAGIC, PARQUET_MAGIC, ZSTD_MAGIC
from orchestration.sources.base import FormatError

# Larger blocks fall out of the cache between one look at them and the next.
BLOCK_BYTES = 2**19
PART_BYTES = 64 * 2**20
LONGEST_LINE = 16 * 2**20
# What is kept of a line that is too long to load.
KEPT_OF_LONG_LINE = 4096
# A gzip of machine text shrinks 5 to 30 times; zeros a thousand. Judged only beyond the first 64 MiB.
LARGEST_RATIO = 200
RATIO_FREE_BYTES = 64 * 2**20
PLACEHOLDER = b"{}"


@dataclass(frozen=True)
class SetAside:
    """A line kept out of the text: its reason, message and bytes."""

    reason: str
    message: str
    raw: bytes


@dataclass
class Spool:
    """A delivery as clean text, with its hash and what was set aside."""

    path: Path
    delivery_id: str = ""
    byte_count: int = 0
    line_count: int = 0
    has_quote: bool = False
    is_compressed: bool = False
    is_whole: bool = True
    aside: dict[int, SetAside] = field(default_factory=dict)

    def lines(self) -> Iterator[tuple[int, str]]:
        """(1-based number, text) of every line that is data: not blank, not set aside."""
        with self.path.open("r", encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if number not in self.aside and not line.isspace():
                    yield number, line.rstrip("\n")


def blocks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a file, in blocks; FormatError when its compression is not whole or a bomb."""
    stored = max(path.stat().st_size, 1)
    with path.open("rb") as stream:
        magic = stream.read(4)
    inflated = 0
    for block in _inflate(path, magic):
        inflated += len(block)
        if inflated > RATIO_FREE_BYTES and inflated > stored * LARGEST_RATIO:
            raise FormatError("decompression_bomb", f"more than {LARGEST_RATIO} times its stored size when decompressed")
        yield block


def _inflate(path: Path, magic: bytes) -> Iterator[bytes]:
    try:
        if magic.startswith(GZIP_MAGIC):
            with igzip.open(path, "rb") as stream:
                while block := stream.read(BLOCK_BYTES):
                    yield block
        elif magic.startswith(ZSTD_MAGIC):
            yield from _zstd_frames(path)
        else:
            with path.open("rb") as stream:
                while block := stream.read(BLOCK_BYTES):
                    yield block
    except EOFError as error:
        raise FormatError("truncated", "the compressed file ends too early; deliver it again") from error
    except (igzip.BadGzipFile, zlib.error, OSError, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FormatError("corrupt", f"the compressed file is damaged ({error}); deliver it again") from error


def _zstd_frames(path: Path) -> Iterator[bytes]:
    """Decompressed blocks of every frame; EOFError when the last frame is cut."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**27)
    frame = decompressor.decompressobj()
    with path.open("rb") as stream:
        while data := stream.read(BLOCK_BYTES // 8):
            while data:
                if frame.eof:
                    frame = decompressor.decompressobj()
                block = frame.decompress(data)
                if block:
                    yield block
                data = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise EOFError


def spool(source: Path, scratch: Path, *, vouched: bool = False) -> Spool:
    """Writes a delivery's clean text to scratch. ``vouched``: a manifest's hash proves the file whole.

    FormatError when the file is not whole, is UTF-16, or is binary.
    """
    result = Spool(path=scratch)
    with scratch.open("wb", buffering=0) as out:
        for _ in _clean(source, out.write, result, vouched):
            pass
    return result


@contextmanager
def piped(
    source: Path, scratch: Path, *, vouched: bool = False, vetted: bool = False
) -> Iterator[tuple[Spool, Iterator[Path]]]:
    """A delivery's clean text through named pipes in scratch: its Spool, and a pipe for each part of the text.

    Every part is whole lines, of about PART_BYTES (DuckDB keeps all that it reads from a pipe), and is to be
    read once before the next is asked for. Nothing touches the disk, and decompression runs beside the
    reader. The Spool is complete when the block is left: its ``is_whole`` then says that the parts were all
    of the text; if not, ``spool`` tells what is wrong. ``vetted``: a placeholder stands for a
    line that is not surely one flat JSON object; the caller reads it by itself.
    """
    folder = Path(mkdtemp(dir=scratch))
    result = Spool(path=folder, is_whole=False)
    waiting: SimpleQueue[Path | None] = SimpleQueue()

    def write() -> None:
        out = _PartedPipe(folder, waiting)
        try:
            for _ in _clean(source, (lambda part: out.write(_plain_objects(part))) if vetted else out.write, result, vouched):
                pass
            result.is_whole = True
        except (FormatError, BrokenPipeError):
            return
        finally:
            out.close()
            waiting.put(None)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            yield result, iter(waiting.get, None)
        finally:
            while not writer.done():
                # A reader that gave up, or never opened its pipe, must not leave the writer waiting.
                for pipe in folder.iterdir():
                    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
                wait([writer], timeout=0.01)
    writer.result()


class _PartedPipe:
    """Writes to a pipe, and to a new one whenever a part is full: only a pipe that stays closed ends for its reader."""

    def __init__(self, folder: Path, waiting: SimpleQueue):
        self.folder = folder
        self.waiting = waiting
        self.out: BinaryIO | None = None
        self.part_bytes = 0
        self.part_count = 0

    def write(self, lines: bytes) -> None:
        if self.part_bytes >= PART_BYTES:
            self.close()
        if self.out is None:
            self.part_count += 1
            pipe = self.folder / f"part-{self.part_count}"
            os.mkfifo(pipe)
            self.waiting.put(pipe)
            # Waits until the reader opens it too.
            self.out = pipe.open("wb", buffering=0)
        rest = memoryview(lines)
        while rest:
            rest = rest[self.out.write(rest):]
        self.part_bytes += len(lines)

    def close(self) -> None:
        if self.out is not None:
            self.out.close()
        self.out, self.part_bytes = None, 0


def _plain_objects(part: bytes) -> bytes:
    """Whole lines with a placeholder for each that is not surely one flat JSON object with each key once."""
    lines = part.split(b"\n")
    for index, line in enumerate(lines):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            is_plain = not line.strip()
        else:
            is_plain = isinstance(record, dict) and line.count(b'":') == len(record)
        if not is_plain:
            lines[index] = PLACEHOLDER
    return b"\n".join(lines)


def first_lines(source: Path) -> list[bytes]:
    """The whole lines that a delivery begins with."""
    for block in blocks(source):
        return _without_bom(block).split(b"\n")[:-1]
    return []


def raw_lines(source: Path, numbers: set[int], *, vouched: bool = False) -> dict[int, bytes]:
    """The bytes of those lines of a delivery's clean text."""
    found: dict[int, bytes] = {}
    wanted = sorted(numbers, reverse=True)
    result = Spool(path=source)
    before = 0

    def pick(part: bytes) -> None:
        nonlocal before
        count = part.count(b"\n")
        if wanted and wanted[-1] <= before + count:
            lines = part.split(b"\n")
            while wanted and wanted[-1] <= before + count:
                number = wanted.pop()
                found[number] = lines[number - before - 1]
        before += count

    for _ in _clean(source, pick, result, vouched):
        if not wanted:
            break
    return found


def _clean(source: Path, write: Callable[[bytes], object], result: Spool, vouched: bool) -> Iterator[None]:
    """Writes a delivery's clean text, a block at a time, and completes ``result`` with the last."""
    with source.open("rb") as stream:
        magic = stream.read(4)
    result.is_compressed = magic.startswith((GZIP_MAGIC, ZSTD_MAGIC))
    digest = hashlib.sha256()
    gate = _Gate(write, result)
    for block in blocks(source):
        digest.update(block)
        result.byte_count += len(block)
        gate.take(block)
        yield
    gate.finish(keep_last=vouched or result.is_compressed)
    result.delivery_id = digest.hexdigest()


class _Gate:
    """Takes blocks of bytes, gives clean lines; remembers only the line it is in."""

    def __init__(self, write: Callable[[bytes], object], result: Spool):
        self.write = write
        self.result = result
        self.tail = b""
        self.first = True
        self.dropping = False

    def take(self, block: bytes) -> None:
        if self.first:
            self.first = False
            block = _without_bom(block)
        if self.dropping:
            end = block.find(b"\n")
            if end < 0:
                return
            self.dropping = False
            block = block[end + 1:]
        end = block.rfind(b"\n")
        if end < 0:
            self.tail += block
        else:
            self._lines(self.tail + block[: end + 1])
            self.tail = block[end + 1:]
        if len(self.tail) > LONGEST_LINE:
            self._set_aside("line_too_long", f"longer than {LONGEST_LINE:,} bytes", self.tail[:KEPT_OF_LONG_LINE])
            self.tail, self.dropping = b"", True

    def finish(self, *, keep_last: bool) -> None:
        if not self.tail:
            return
        # A document without line ends (one JSON value) proves itself whole; a record cut inside a number does not.
        if keep_last or self.tail.rstrip().endswith((b"}", b"]")):
            self._lines(self.tail + b"\n")
        else:
            self._set_aside(
                "unterminated_line",
                "the last line has no line end, so the file may be cut; deliver it whole or with a manifest",
                self.tail,
            )

    def _lines(self, part: bytes) -> None:
        if b"\r" in part:
            part = part.replace(b"\r\n", b"\n")
        if b"\0" not in part and b"\r" not in part and _is_utf8(part):
            self.write(part)
            self.result.line_count += part.count(b"\n")
            self.result.has_quote = self.result.has_quote or b'"' in part
            return
        for line in part[:-1].split(b"\n"):
            self._line(line)

    def _line(self, line: bytes) -> None:
        if b"\0" in line or b"\r" in line:
            self._set_aside("control_character", "holds a NUL or a bare carriage return", line)
        elif not _is_utf8(line):
            self._set_aside("bad_encoding", "is not UTF-8; convert the file to UTF-8", line)
        else:
            self.result.line_count += 1
            self.result.has_quote = self.result.has_quote or b'"' in line
            self.write(line + b"\n")

    def _set_aside(self, reason: str, message: str, raw: bytes) -> None:
        self.result.line_count += 1
        self.result.aside[self.result.line_count] = SetAside(reason, message, raw)
        self.write(PLACEHOLDER + b"\n")


def _is_utf8(part: bytes) -> bool:
    if part.isascii():
        return True
    try:
        part.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _without_bom(block: bytes) -> bytes:
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FormatError("bad_encoding", "the file is UTF-16; deliver it in UTF-8")
    if block.startswith(PARQUET_MAGIC):
        raise FormatError("not_text", "the file is Parquet, and its format is text")
    return block.removeprefix(b"\xef\xbb\xbf")
