"""Writes the margin dashboard as one file to print or to send: every page, as it opens, without a server.

What the pages say is made in ``content``; here it is put into HTML that asks for nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import jinja2
from markupsafe import Markup

from dashboards import offline, theme
from dashboards.bilingual import HTML_LANGUAGE, LANGUAGES
from dashboards.margin_dashboard import content
from dashboards.margin_dashboard.blocks import MARKS
from dashboards.margin_dashboard.readings import Book, Choice
from dashboards.margin_dashboard.sparkline import sparkline
from dashboards.margin_dashboard.words import Words
from dashboards.weekly_report.page import CHART_LIBRARY

FOLDER = Path(__file__).resolve().parent
LONGEST_TABLE = 100
"""Rows of a table in the file; the dashboard exports all of them."""
FINANCE_MODE = 0o640


def write_static_page(published: Path, out: Path, language: str = "en", choice: Choice | None = None) -> Path:
    """Writes the page of a published finance file and returns its path; only its group may read it.

    FinanceAbsent without a file to read. The page is written aside and moved into place.
    """
    if language not in LANGUAGES:
        raise ValueError(f"there is no dashboard in {language!r}; languages are {', '.join(LANGUAGES)}")
    page = render(Book(published), language, choice or Choice())
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    # Made before anything is in it, so that there is no moment at which others can read it.
    aside.touch(mode=0o600)
    aside.chmod(FINANCE_MODE)
    aside.write_text(page, encoding="utf-8", newline="\n")
    os.replace(aside, out)
    return out


def render(book: Book, language: str, choice: Choice) -> str:
    """The whole page as text."""
    words, reading = Words(language), book.reading(choice)
    # The stamp of all pages is the same, so it is said once, above them.
    pages = [(page, [make(reading, words) for make in page.blocks if make is not content.stamp]) for page in content.PAGES]
    figures = {
        f"{page.key}-{block.key}": offline.plain_figure(block.figure) for page, blocks in pages for block in blocks if block.figure is not None
    }
    library, script = (offline.script_text(path) for path in (CHART_LIBRARY, FOLDER / "static_page.js"))
    data = {"figures": figures, "template": theme.TEMPLATE.to_plotly_json(), "config": theme.CONFIG | {"responsive": True}}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )
    style = (FOLDER / "assets" / "margin.css").read_text("utf-8") + (FOLDER / "static_page.css").read_text("utf-8")
    return environment.get_template("static_page.html.j2").render(
        pages=pages, stamp=content.stamp(reading, words), words=words, html_language=HTML_LANGUAGE[language], marks=MARKS,
        sparkline=sparkline, longest_table=LONGEST_TABLE, fonts=Markup(theme.FONT_FAMILY), style=Markup(style), library=Markup(library),
        script=Markup(script), data=Markup(offline.inline_json(data)), policy=offline.content_policy(library, script),
    )
