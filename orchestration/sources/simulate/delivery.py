"""Files into landing: written aside, then renamed, each with its manifest; the same bytes every time.

Knows names, compression and manifests. What is in a file is the feeds' business.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from isal import igzip

from orchestration.home import Home

COMPRESSION_LEVEL = 3


@dataclass(frozen=True)
class Feed:
    """What the manifests of one feed's files say."""

    feed: str
    format: str
    table: str
    source_id: str


@dataclass
class Landing:
    """Writes deliveries below ``home.landing`` and keeps a list of them for the truth."""

    home: Home
    deliveries: list[dict] = field(default_factory=list)

    def folder(self, feed: Feed, delivered: date) -> Path:
        """The folder of one feed and delivery day."""
        return self.home.landing / feed.feed / delivered.isoformat()

    def deliver(
        self,
        feed: Feed,
        delivered: date,
        name: str,
        content: bytes,
        lines: int,
        *,
        level: int = COMPRESSION_LEVEL,
    ) -> Path:
        """Writes one file and its manifest; a name that ends in .gz is compressed."""
        # A gzip header with a time in it would make equal runs differ.
        stored = igzip.compress(content, level, mtime=0) if name.endswith(".gz") else content
        folder = self.folder(feed, delivered)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "name": name,
            "size": len(stored),
            "sha256": hashlib.sha256(stored).hexdigest(),
            "lines": lines,
            "feed": feed.feed,
            "format": feed.format,
            "source_id": feed.source_id,
            "table": feed.table,
        }
        # The manifest first: a file is read as soon as it is there, and must not be read without it.
        self._replace(
            folder / f"{name}.manifest.json", (json.dumps(manifest, indent=1) + "\n").encode()
        )
        self._replace(folder / name, stored)
        self.deliveries.append(
            {
                "feed": feed.feed,
                "table": feed.table,
                "delivered_date": delivered.isoformat(),
                "name": name,
                "lines": lines,
            }
        )
        return folder / name

    @staticmethod
    def _replace(path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        os.replace(part, path)
