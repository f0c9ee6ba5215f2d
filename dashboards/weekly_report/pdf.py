"""Prints the weekly report on paper: the same HTML file, through the system's Chromium.

Finding the browser and waiting for it. What is printed, and how, is the page's own business.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ARGUMENTS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-pdf-header-footer",
    # The page's clock, not ours: time enough for every chart to be drawn, however busy the machine is.
    "--virtual-time-budget=8000",
)
LONGEST_SECONDS = 180


class PdfNotWritten(RuntimeError):
    """There is no browser to print with, or it printed nothing; the message says what to do."""


def browser_path() -> str | None:
    """The system's Chromium or Chrome, or None."""
    found = (shutil.which(name) for name in BROWSERS)
    installed = (path for path in APPLICATIONS if os.access(path, os.X_OK))
    return next((path for path in (*found, *installed) if path), None)


def print_report(page: Path, out: Path, language: str) -> Path:
    """Prints a report's HTML file in one language and returns the PDF's path; PdfNotWritten when it can't."""
    browser = browser_path()
    if browser is None:
        raise PdfNotWritten(
            "no chromium or google-chrome is installed, so there is no PDF; `make setup-browser` installs one, "
            "and any browser prints the HTML file to the same PDF"
        )
    aside = out.with_name(f".{out.name}.{os.getpid()}.pdf")
    # Chromium's sandbox needs a user other than root; the page runs no script but its own (its policy says so).
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    try:
        with tempfile.TemporaryDirectory(prefix="tidegauge-print-") as profile:
            printed = subprocess.run(
                [browser, *sandbox, *ARGUMENTS, f"--user-data-dir={profile}", f"--print-to-pdf={aside}",
                 f"{page.resolve().as_uri()}#lang={language}"],
                check=False, capture_output=True, text=True, timeout=LONGEST_SECONDS,
            )
        if not aside.exists() or aside.stat().st_size == 0:
            last = (printed.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PdfNotWritten(f"{browser} printed nothing (exit code {printed.returncode}): {last}")
        os.replace(aside, out)
    except subprocess.TimeoutExpired:
        raise PdfNotWritten(f"{browser} took longer than {LONGEST_SECONDS} s to print {page.name}") from None
    finally:
        aside.unlink(missing_ok=True)
    return out
