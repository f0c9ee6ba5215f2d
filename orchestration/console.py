"""How commands speak: progress and tables for a terminal, plain lines for a log, JSON for a program.

One Console per command. With ``as_json`` standard output holds one JSON document and nothing else:
whatever libraries print meanwhile goes to standard error. No command logic here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from orchestration.progress import Progress

# A log needs a sign of life, not every percent.
PLAIN_REPORT_SECONDS = 5.0


class CommandError(Exception):
    """A command can't go on: what happened, where, and the next step; with its exit code."""

    def __init__(self, message: str, *, where: str = "", next_step: str = "", exit_code: int = 1):
        super().__init__(message)
        self.message = message
        self.where = where
        self.next_step = next_step
        self.exit_code = exit_code


class Console:
    """Standard output for results, standard error for progress and errors."""

    def __init__(self, as_json: bool = False):
        self.as_json = as_json
        self.is_terminal = sys.stderr.isatty() and not as_json
        self.started = time.monotonic()
        self._json_descriptor: int | None = None
        if as_json:
            sys.stdout.flush()
            self._json_descriptor = os.dup(1)
            os.dup2(2, 1)

    def say(self, text: str = "") -> None:
        """One line of result for a person; nothing when a program listens."""
        if not self.as_json:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """One line about what is going on, on standard error; nothing when a program listens."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
        """A table for a person: drawn on a terminal, aligned columns in a log."""
        if self.as_json:
            return
        rows = [[shown(value) for value in row] for row in rows]
        if sys.stdout.isatty():
            _drawn_table(headings, rows, title)
            return
        if title:
            print(title)
        lines = [list(headings), *rows] if any(headings) else rows
        widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(headings))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        sys.stdout.flush()

    @contextmanager
    def step(self, title: str) -> Iterator[StepProgress]:
        """One step of a command: shows its progress while it runs, and its seconds at the end."""
        progress = (_DrawnStep if self.is_terminal else StepProgress)(self, title)
        progress.begin()
        try:
            yield progress
        except BaseException:
            progress.end("stopped")
            raise
        progress.end(progress.outcome or "done")

    def finish(self, result: dict[str, object]) -> None:
        """Writes the command's result for a program; a person has read it already."""
        if self._json_descriptor is None:
            return
        sys.stdout.flush()
        os.dup2(self._json_descriptor, 1)
        os.close(self._json_descriptor)
        self._json_descriptor = None
        print(json.dumps(result, ensure_ascii=False, indent=1, default=_jsonable), flush=True)

    def fail(self, error: CommandError) -> None:
        """Says what happened, where, and the next step."""
        if self.as_json:
            self.finish({"error": {
                "message": error.message, "where": error.where, "next_step": error.next_step,
                "exit_code": error.exit_code,
            }})
            return
        print(f"error: {error.message}", file=sys.stderr)
        if error.where:
            print(f"  where: {error.where}", file=sys.stderr)
        if error.next_step:
            print(f"  next:  {error.next_step}", file=sys.stderr)


class StepProgress:
    """A step that reports in plain lines: its beginning, signs of life, its end."""

    def __init__(self, console: Console, title: str):
        self.console = console
        self.title = title
        self.outcome = ""
        self.seconds = 0.0
        self._started = time.monotonic()
        self._spoken = self._started

    def begin(self) -> None:
        """Says that the step begins."""
        self.console.note(f"{self.title} ...")

    def advance(self, done: int, total: int, message: str = "") -> None:
        """Says how far the step is, now and then."""
        now = time.monotonic()
        if now - self._spoken >= PLAIN_REPORT_SECONDS:
            self._spoken = now
            share = f" {done:,} of {total:,}" if total else ""
            self.console.note(f"{self.title} ...{share} {message}".rstrip())

    def listen(self, progress: Progress) -> None:
        """Takes a report of a job's step."""
        if progress.kind == "warned":
            self.console.note(f"warning: {progress.step}: {progress.message}")
        elif progress.kind == "failed":
            self.console.note(f"failed: {progress.step}: {progress.message}")
        else:
            self.advance(progress.done, progress.total, f"{progress.step} {progress.message}".strip())

    def end(self, outcome: str) -> None:
        """Says how the step ended, and after how many seconds."""
        self.seconds = time.monotonic() - self._started
        self.console.note(f"{self.title}: {outcome} ({self.seconds:.1f} s)")


class _DrawnStep(StepProgress):
    """A step that draws a bar while it runs and leaves one line behind."""

    def begin(self) -> None:
        from rich import progress as bars
        from rich.console import Console as RichConsole

        self._bar = bars.Progress(
            bars.SpinnerColumn(), bars.TextColumn("{task.description}", markup=False), bars.BarColumn(bar_width=24),
            bars.MofNCompleteColumn(), bars.TimeElapsedColumn(), bars.TextColumn("{task.fields[note]}", markup=False),
            console=RichConsole(stderr=True), transient=True,
        )
        self._task = self._bar.add_task(self.title, total=None, note="")
        self._bar.start()

    def advance(self, done: int, total: int, message: str = "") -> None:
        self._bar.update(self._task, completed=done, total=total or None, note=message[:60])

    def end(self, outcome: str) -> None:
        self._bar.stop()
        super().end(outcome)


def _drawn_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", show_header=any(headings))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not str: a delivery may be named like markup.
        table.add_row(*(Text(cell) for cell in row))
    RichConsole().print(table)


def shown(value: object) -> str:
    """A value as a person reads it: thousands separated, nothing for null, control characters escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return f"{value.normalize():,f}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def _jsonable(value: object) -> object:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        # A token total may exceed what a JSON reader keeps exact as a float; integers stay integers.
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
