"""Loads a text as a delivery would be, through the strict caster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import settings

from orchestration.sources.base import Options, RowFormat
from orchestration.spool import spool
from orchestration.strict_parse import Parsed, parse

NOW = datetime(2026, 11, 24)

# How long one example takes tells of the machine's other work, not of the parser.
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")

Load = Callable[..., tuple[Parsed, list[dict]]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as a delivery would be, up to the store: counts and typed rows."""

    def loaded(format: RowFormat, text: str, name: str = "delivery", **options) -> tuple[Parsed, list[dict]]:
        source = tmp_path / "delivery"
        source.write_text(text if text.endswith("\n") else text + "\n", "utf-8")
        with duckdb.connect() as connection:
            spooled = spool(source, tmp_path / "text")
            parsed = parse(connection, format, Options(name=name, source_id="source", **options), spooled, source, NOW)
            found = connection.execute(
                "select * from judged where fault is null and rowid not in (select row_id from surplus) "
                "order by line_number, line_count desc"
            )
            names = [column[0] for column in found.description]
            return parsed, [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    return loaded
