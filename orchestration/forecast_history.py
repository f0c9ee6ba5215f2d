"""What each publish told readers of the forecast, kept by cutoff week under ``history/forecasts/``.

A published file holds one forecast, the latest. Next week's report asks what was decided this week, and
a report of a past week must show what was known then, so every publish of a new forecast leaves a copy.
Like the rest of the history it says what readers were told: it is only added to and survives a rebuild.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from orchestration.durable import commit_text, sync
from orchestration.forecasting.iso_weeks import monday_of
from orchestration.forecasting.tables import ForecastTable
from orchestration.home import Home
from orchestration.sql import identifier, literal
from orchestration.warehouse import open_published

SCHEMA = "capacity"
CUTOFF_COLUMNS = ("cutoff_week", "cutoff_date")
SEAL = "told.json"


@dataclass(frozen=True)
class Told:
    """One forecast as it was published: its tables by name, and when."""

    cutoff_week: str
    published_at: datetime
    run_id: str
    frames: dict[str, pl.DataFrame]


def keep(home: Home) -> Path | None:
    """Keeps the forecast of the live capacity file; None when it is kept already or there is none."""
    with open_published(home.capacity) as connection:
        run_id, published_at, stamp = connection.execute(
            "select run_id, published_at, forecast_stamp from meta.publication"
        ).fetchone()
        week = connection.execute("select max(cutoff_week) from capacity.fct_capacity_need").fetchone()[0]
        if week is None:
            return None
        earlier = _entries(home, week)
        if earlier and json.loads((earlier[-1] / SEAL).read_text("utf-8"))["forecast_stamp"] == stamp:
            return None
        folder = home.history / "forecasts" / week / f"{published_at:%Y%m%dT%H%M%S%f}-{run_id}"
        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        aside.mkdir(parents=True)
        try:
            for table, condition in _forecast_tables(connection, week).items():
                path = aside / f"{table}.parquet"
                connection.execute(
                    f"copy (select * from {SCHEMA}.{identifier(table)} where {condition} order by all) "
                    f"to {literal(str(path))} (format parquet, compression zstd)"
                )
                sync(path)
            commit_text(aside / SEAL, json.dumps({
                "cutoff_week": week, "run_id": run_id, "published_at": published_at.isoformat(), "forecast_stamp": stamp,
            }, indent=1))
            os.replace(aside, folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    sync(folder.parent)
    return folder


def told(home: Home, cutoff_week: str) -> Told | None:
    """The forecast that readers were last given after that week; None when none was published."""
    kept = _entries(home, cutoff_week)
    if not kept:
        return None
    seal = json.loads((kept[-1] / SEAL).read_text("utf-8"))
    with duckdb.connect() as connection:
        frames = {
            path.stem: connection.execute(f"select * from read_parquet({literal(str(path))})").pl()
            for path in sorted(kept[-1].glob("*.parquet"))
        }
    return Told(cutoff_week, datetime.fromisoformat(seal["published_at"]), seal["run_id"], frames)


def every_told(home: Home, table: ForecastTable) -> pl.DataFrame:
    """Rows of a table of every forecast that readers were given, the last one of each cutoff week.

    Columns as the table declares them now; one that an earlier version did not write is null.
    """
    frames = []
    for week in sorted(path.name for path in (home.history / "forecasts").glob("[!.]*") if path.is_dir()):
        last = told(home, week)
        if last and table.name in last.frames:
            frame = last.frames[table.name]
            frames.append(frame.select(
                (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
                for name, dtype in table.schema.items()
            ))
    return pl.concat(frames).sort(table.grain) if frames else table.frame([])


def _entries(home: Home, week: str) -> list[Path]:
    """Whole entries of a cutoff week, the oldest first; one that a kill cut short has no seal, or a dot in front."""
    folder = home.history / "forecasts" / week
    return sorted(path.parent for path in folder.glob(f"*/{SEAL}") if not path.parent.name.startswith("."))


def _forecast_tables(connection: duckdb.DuckDBPyConnection, week: str) -> dict[str, str]:
    """Tables that carry a cutoff, with the condition that picks this week's rows."""
    sunday = monday_of(week) + timedelta(days=6)
    wanted = {"cutoff_week": literal(week), "cutoff_date": f"date {literal(str(sunday))}"}
    rows = connection.execute(
        "select table_name, column_name from duckdb_columns()"
        " where database_name = 'edition' and schema_name = ? and column_name in ? order by all",
        [SCHEMA, list(CUTOFF_COLUMNS)],
    ).fetchall()
    return {table: f"{identifier(column)} = {wanted[column]}" for table, column in rows}
