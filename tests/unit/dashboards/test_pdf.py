"""Printing: without a browser, or with one that fails, there is a reason and no file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.weekly_report import pdf


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """An HTML file to print."""
    path = tmp_path / "2026-W47.html"
    path.write_text("<p>page</p>", "utf-8")
    return path


def only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves nothing to be found but what is in the folder."""
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(pdf, "APPLICATIONS", ())


def test_without_a_browser_the_message_says_how_to_get_one(page: Path, tmp_path: Path, monkeypatch) -> None:
    """`[Errno 2]` sends people to a search engine."""
    only(tmp_path, monkeypatch)
    with pytest.raises(pdf.PdfNotWritten, match="make setup-browser"):
        pdf.print_report(page, tmp_path / "2026-W47.pdf", "en")
    assert list(tmp_path.iterdir()) == [page]


def test_a_browser_that_prints_nothing_leaves_no_file_and_its_last_words(page: Path, tmp_path: Path, monkeypatch) -> None:
    """An empty PDF attached to Monday's mail is noticed by its readers first."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    broken = binaries / "chromium"
    broken.write_text("#!/bin/sh\necho 'no display' >&2\nexit 3\n", "utf-8")
    broken.chmod(0o755)
    only(binaries, monkeypatch)
    with pytest.raises(pdf.PdfNotWritten, match="exit code 3.*no display"):
        pdf.print_report(page, tmp_path / "2026-W47.pdf", "en")
    assert not (tmp_path / "2026-W47.pdf").exists()
