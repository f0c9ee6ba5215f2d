"""How a long step tells whoever started it how far it is.

The command line listens while it runs a job in its own process; nobody listens in the Dagster UI, and
then reports go nowhere. No drawing here: that is the command line's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step's state: ``kind`` is started, advanced, warned, succeeded or failed."""

    kind: str
    step: str
    done: int = 0
    total: int = 0
    message: str = ""


Listener = Callable[[Progress], None]
_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Sends every report made inside the block to the listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(progress: Progress) -> None:
    """Tells the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(progress)
