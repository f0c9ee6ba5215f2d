"""Serves the margin dashboard with waitress, a production server, until it is interrupted."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import waitress

from dashboards.margin_dashboard.access import Access

THREADS = 4


class PortTaken(OSError):
    """Something else listens where the dashboard was to be served."""


def serve(path: Path, host: str, port: int, access: Access, language: str, ready: Callable[[str], None]) -> None:
    """Serves until interrupted; ``ready`` is told the address once readers can open it.

    Raises FinanceAbsent without a published finance file, PortTaken when something else listens there.
    """
    from dashboards.margin_dashboard.app import make_app

    app = make_app(path, access, language)
    try:
        server = waitress.create_server(app, host=host, port=port, threads=THREADS, ident=None)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise PortTaken(error.errno, f"{host}:{port} can't be served on: {error.strerror}") from error
        raise
    ready(f"http://{host}:{server.effective_port}")
    try:
        server.run()
    finally:
        server.close()
