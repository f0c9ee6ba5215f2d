"""The documentation site as a reader opens it: from the file system, with no network at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from orchestration.documentation import SCHEMAS
from orchestration.home import PROJECT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it; strict, so a broken link fails it."""
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(out)], cwd=PROJECT, capture_output=True,
        text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return out


@pytest.fixture
def tab(browser: Browser):
    """A page without a network, and what it asked of one."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None)
    yield page, asked
    context.close()


def test_every_page_opens_offline_and_asks_the_network_for_nothing(site: Path, tab: tuple[Page, list[str]]):
    """Prevents a page that is blank, unstyled or tracked where there is no network, or one that must not be used."""
    page, asked = tab
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html" and path.parent.name != "dbt")
    assert len(pages) > 15
    for path in pages:
        page.goto(path.as_uri())
        assert page.locator("h1").first.inner_text()
        for image in page.locator("article img").all():
            assert image.evaluate("image => image.naturalWidth") > 0, path
    page.goto((site / "dbt" / "index.html").as_uri())
    page.get_by_text("fct_margin_daily").or_(page.get_by_text("Welcome!")).first.wait_for()
    assert asked == []
    assert complaints == []


def test_search_finds_a_column_without_a_server(site: Path, tab: tuple[Page, list[str]]):
    """Prevents a dictionary of a thousand columns that can't be searched when it is opened as a file."""
    page, asked = tab
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("f")
    page.keyboard.type("breakage_cny", delay=20)
    result = page.locator(".md-search-result__item").first
    result.wait_for()
    assert "fct_margin_daily" in result.inner_text()
    assert asked == []


def test_the_dictionary_has_every_published_table_with_its_columns_and_units(site: Path, tab: tuple[Page, list[str]]):
    """Prevents a mart that readers query and nobody has explained."""
    from orchestration.audit import EXPECTED_TABLES

    page, _ = tab
    headings: set[str] = set()
    for schema in SCHEMAS:
        page.goto((site / "marts" / f"{schema}.html").as_uri())
        headings |= {f"{schema}.{heading.get_attribute('id')}" for heading in page.locator("article h2").all()}
    expected = {table for tables in EXPECTED_TABLES.values() for table in tables}
    assert expected <= headings
    page.goto((site / "marts" / "capacity.html").as_uri())
    row = page.locator("tr", has=page.locator("code", has_text="usable_accelerator_hours")).first
    assert "accelerator hours" in row.inner_text()
