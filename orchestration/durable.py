"""Files that are there whole or not at all after a power cut: written aside, synced, renamed."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def commit_text(path: Path, text: str, mode: int | None = None) -> None:
    """Writes a file aside in its folder, syncs it and renames it into place; makes the folder if need be.

    With a mode, there is no moment at which others than it allows can read the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    if mode is not None:
        part.touch(mode=0o600)
        part.chmod(mode)
    part.write_text(text, encoding="utf-8", newline="")
    sync(part)
    os.replace(part, path)
