"""From delivered bytes to text that every parser can trust.

A delivery is decompressed once, hashed, and written to scratch as clean UTF-8 lines: no BOM, no CR, no
NUL, no line beyond LONGEST_LINE. A line that is none of that is kept aside with its bytes and reason, and
a placeholder stands in its place, so that line numbers hold. Bounded memory whatever the file's size.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard
from isal import igzip

from orchestration.landing import GZIP_MAGIC, PARQUET_MAGIC, ZSTD_MAGIC
from orchestration.sources.base import FormatError

BLOCK_BYTES = 4 * 2**20
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
    """A delivery as clean text in scratch, with its hash and what was set aside."""

    path: Path
    delivery_id: str = ""
    byte_count: int = 0
    line_count: int = 0
    has_quote: bool = False
    is_compressed: bool = False
    aside: dict[int, SetAside] = field(default_factory=dict)

    def lines(self) -> Iterator[tuple[int, str]]:
        """(1-based number, text) of every line that is data: not blank, not set aside."""
        with self.path.open("r", encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if number not in self.aside and not line.isspace():
                    yield number, line.rstrip("\n")

    def raw_lines(self, numbers: set[int]) -> dict[int, bytes]:
        """The bytes of those lines."""
        found = {}
        last = max(numbers, default=0)
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if number in numbers:
                    found[number] = line.rstrip(b"\n")
                if number >= last:
                    break
        return found


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
    with source.open("rb") as stream:
        magic = stream.read(4)
    result.is_compressed = magic.startswith((GZIP_MAGIC, ZSTD_MAGIC))
    digest = hashlib.sha256()
    with scratch.open("wb", buffering=0) as out:
        gate = _Gate(out, result)
        for block in blocks(source):
            digest.update(block)
            result.byte_count += len(block)
            gate.take(block)
        gate.finish(keep_last=vouched or result.is_compressed)
    result.delivery_id = digest.hexdigest()
    return result


class _Gate:
    """Takes blocks of bytes, gives clean lines; remembers only the line it is in."""

    def __init__(self, out, result: Spool):
        self.out = out
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
            self.out.write(part)
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
            self.out.write(line + b"\n")

    def _set_aside(self, reason: str, message: str, raw: bytes) -> None:
        self.result.line_count += 1
        self.result.aside[self.result.line_count] = SetAside(reason, message, raw)
        self.out.write(PLACEHOLDER + b"\n")


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
