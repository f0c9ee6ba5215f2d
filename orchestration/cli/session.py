"""One command at work: its options, its home, how it speaks, and how whatever goes wrong ends.

Exit codes: 0 ok, 1 error, 2 the audit blocked publishing, 3 locked by another process, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.console import CommandError, Console
from orchestration.home import PROJECT, Home

OK, ERROR, AUDIT_BLOCKED, LOCKED, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODE_BY_REASON = {"audit_blocked": AUDIT_BLOCKED, "locked": LOCKED}
# No space, the quota is used up, or the file may not grow.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FREE_SPACE = "free some space, then run the same command again; readers see the last good files meanwhile"
# Rows that a person is shown of what may be many; --json gives all.
SHOWN_ROWS = 20

# Without a markup mode help is plain text: the renderer's imports alone cost a quarter of a CPU second.
app = typer.Typer(
    rich_markup_mode=None, name="tidegauge", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Capacity warehouse for AI computing networks: from landing files to the weekly report.",
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Home folder. Default: TIDEGAUGE_HOME, else data/.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
FeedOption = Annotated[str | None, typer.Option("--feed", help="token_usage, job_logs, telemetry or reference.")]
DayOption = typer.Option(metavar="YYYY-MM-DD", help="UTC day delivered.")
WeekOption = Annotated[
    str | None, typer.Option("--week", metavar="YYYY-Www", help="ISO week, like 2026-W47. Default: the latest whole one.")
]
LanguageOption = Annotated[str, typer.Option("--language", "--lang", help="en or zh.")]


@dataclass
class Session:
    """One command at work: its home, how it speaks, and what it found."""

    home: Home
    console: Console
    result: dict[str, Any] = field(default_factory=dict)
    exit_code: int = OK


@contextmanager
def session(home: Path | None, as_json: bool) -> Iterator[Session]:
    """Runs a command's body; turns whatever goes wrong into a message and an exit code."""
    console = Console(as_json)
    if home is not None:
        # The job, dbt and worker processes all read it from here.
        os.environ["TIDEGAUGE_HOME"] = str(home.expanduser().absolute())
    here = Session(Home.from_environment(), console)
    try:
        yield here
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - the one place where any error becomes a message
        explained = error if isinstance(error, CommandError) else explain(error)
        if os.environ.get("TIDEGAUGE_DEBUG"):
            traceback.print_exc()
        console.fail(explained)
        raise typer.Exit(explained.exit_code) from None
    console.finish(here.result)
    if here.exit_code:
        raise typer.Exit(here.exit_code)


def explain(error: Exception) -> CommandError:
    """What went wrong in a person's words, where, and the next step."""
    # Modules that were not imported can't have raised.
    warehouse = sys.modules.get("orchestration.warehouse")
    registry = sys.modules.get("orchestration.sources.registry")
    if warehouse and isinstance(error, warehouse.WarehouseLocked):
        return CommandError(str(error), exit_code=LOCKED, next_step="wait for the other process, then run this again")
    if warehouse and isinstance(error, warehouse.AuditFailed):
        return CommandError(str(error), exit_code=AUDIT_BLOCKED, next_step="see the lines above; readers keep the last good file")
    if warehouse and isinstance(error, warehouse.WarehouseAbsent):
        return CommandError(str(error), next_step="tidegauge demo, or tidegauge ingest PATH and tidegauge run")
    if registry and isinstance(error, registry.UnknownFormat):
        return CommandError(str(error), next_step="name the format with --format, or see `tidegauge ingest --help`")
    restatements = sys.modules.get("orchestration.restatements")
    if restatements and isinstance(error, restatements.NothingPublished):
        return CommandError(str(error), next_step="give a later --as-of, or publish with `tidegauge run`")
    if is_disk_full(str(error)):
        where = str(getattr(error, "filename", None) or "")
        return CommandError(f"the disk is full; nothing that readers see has changed ({error})", where=where, next_step=FREE_SPACE)
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)):
        return CommandError(str(error), where=str(error.filename or ""), next_step="check the path and who may read it")
    if isinstance(error, ValueError):
        return CommandError(str(error), where=_place_of(error), next_step=f"put it right; `{_command()} --help` explains the options")
    return CommandError(
        f"{type(error).__name__}: {error}", where=_place_of(error),
        next_step="run it again with TIDEGAUGE_DEBUG=1 to see the whole trace",
    )


def is_disk_full(message: str) -> bool:
    """Whether an error's message, Python's, DuckDB's or dbt's, says that there was no room."""
    return any(os.strerror(code) in message for code in NO_ROOM)


def _command() -> str:
    """The command at work, as it was typed: its name is the first argument."""
    return " ".join(["tidegauge", *sys.argv[1:2]])


def _place_of(error: Exception) -> str:
    """The innermost line of the project's own code that the error passed through."""
    own = (PROJECT / "orchestration", PROJECT / "dashboards")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if any(path.is_relative_to(folder) for folder in own):
            return f"{path.relative_to(PROJECT)}:{frame.lineno}"
    return ""


def main() -> None:
    """Runs the command line; every way out has its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as misuse:
        misuse.show()
        # 2, the usual code, is taken: it says that the audit blocked.
        status = ERROR
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = ERROR
    sys.exit(status if isinstance(status, int) else OK)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
