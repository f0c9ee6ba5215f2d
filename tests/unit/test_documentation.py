"""Pages that are made from the sources, and the worked example of a feed of one's own."""

from __future__ import annotations

import json
import re
from datetime import datetime
from importlib import import_module
from pathlib import Path

import duckdb

from orchestration import documentation, raw_store
from orchestration.cli import app
from orchestration.home import PROJECT, Home
from orchestration.landing import MANIFEST_SUFFIX, land
from orchestration.sources import registry

PAGE = PROJECT / "docs" / "bring-your-own-feed.md"


def block(language: str, starts: str = "") -> str:
    """The page's block in that language that starts like this."""
    return re.search(rf"```{language}\n({re.escape(starts)}.*?)```", PAGE.read_text("utf-8"), re.DOTALL).group(1)


def test_the_targets_of_the_page_load_as_they_stand(home: Home, tmp_path: Path):
    """A budget that is refused leaves the executive with a stand-in."""
    delivery = tmp_path / "targets.csv"
    delivery.write_text(block("csv", "measure,"))
    land(home, [delivery])
    [receipt] = raw_store.ingest(home, workers=1)
    assert (receipt.format, receipt.loaded_count, receipt.received_count) == ("reference_performance_targets", 3, 3)


def test_the_feed_of_the_page_loads_as_the_page_says(home: Home, tmp_path: Path, monkeypatch):
    """A worked example that does not work costs every newcomer an evening."""
    module = tmp_path / "gateway_east.py"
    module.write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.FORMATS, "gateway_east", import_module("gateway_east").GATEWAY_EAST)
    delivery = tmp_path / "usage-east-2026-11-22.csv"
    delivery.write_text(block("csv", "requested_at,"))
    [landed] = land(home, [delivery])
    manifest = landed.path.with_name(landed.path.name + MANIFEST_SUFFIX)
    values = json.loads(manifest.read_text()) if manifest.exists() else {}
    manifest.write_text(json.dumps(values | {"timezone": "Asia/Shanghai"}))
    [receipt] = raw_store.ingest(home, workers=1)
    assert (receipt.format, receipt.loaded_count, receipt.quarantined_by_reason) == ("gateway_east", 2, {"bad_number": 1})
    files = [str(home.raw / name) for name in receipt.files]
    rows = duckdb.sql(
        f"select occurred_at, input_tokens, cached_input_tokens, output_tokens from read_parquet({files}) order by 1"
    ).fetchall()
    assert rows == [
        (datetime(2026, 11, 22, 0, 0, 0), 512, 300, 96), (datetime(2026, 11, 22, 0, 0, 2), 500, 0, 40),
    ]
    [refused] = duckdb.sql(
        f"select line_number, reason_code from '{home.quarantine / 'token_usage' / receipt.delivery_id}.parquet'"
    ).fetchall()
    assert refused == (3, "bad_number")


def test_every_command_and_format_and_raw_column_is_listed():
    """A page written by hand forgets what was added last."""
    commands = documentation.commands_page(app)
    for command in ("demo", "backfill", "quarantine replay", "export focus", "doctor"):
        assert f"## tidegauge {command}\n" in commands
    assert "`--dry-run`" in commands
    formats = documentation.formats_page()
    assert all(f"`{name}`" in formats for name in registry.FORMATS)
    raw = documentation.raw_page()
    for table in documentation.TABLES.values():
        assert f"## {table.name} " in raw
        assert all(f"`{column.name}`" in raw for column in table.columns)
