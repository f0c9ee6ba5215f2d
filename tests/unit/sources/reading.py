"""What the parsers' tests share: reading a text as a format, and counting what comes of it."""

from __future__ import annotations

import gzip
from pathlib import Path

from orchestration.sources.base import Heading, Options, Reject, Row, RowFormat


def lines_of(text: str) -> list[tuple[int, str]]:
    """The lines that a parser is given: numbered from 1, blank ones left out."""
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def read(format: RowFormat, text: str, name: str = "delivery", source_id: str = "source", **options) -> list[Row | Reject | Heading]:
    """Everything that a format makes of a text."""
    return list(format.read(iter(lines_of(text)), Options(name=name, source_id=source_id, **options)))


def rows(items: list) -> list[Row]:
    """The rows among what a format yields."""
    return [item for item in items if isinstance(item, Row)]


def rejects(items: list) -> list[Reject]:
    """The rejects among what a format yields."""
    return [item for item in items if isinstance(item, Reject)]


def accounted(items: list) -> int:
    """Lines that the items stand for; a heading is one."""
    return sum(getattr(item, "line_count", 1) for item in items)


def text_of(path: Path) -> str:
    """A trace file's text, decompressed."""
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
