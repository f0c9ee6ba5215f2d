"""Demand series from the real traces beside the checkout, read by the project's own parsers.

Each set is a long history with its clock, its season, and the levels above its series. No forecasting.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from orchestration import landing
from orchestration.sources.base import Options
from orchestration.spool import spool
from orchestration.strict_parse import parse
from orchestration.traces import ZONES

PARSED_AT = datetime(2026, 11, 24)
FILLED_UP = 0.5
"""Share of its median total that a job trace must reach before its history begins: jobs that ran before the trace
did are not in it, so that its first weeks fill up from nothing, which no demand did."""
ALL = "all"


@dataclass(frozen=True)
class RealSet:
    """One trace as demand series: how it ticks, and what sums to what."""

    name: str
    content: str
    frequency: str
    season_length: int
    horizon: int
    origin_step: int
    origins: int
    history: pl.DataFrame
    levels: Mapping[str, Mapping[str, str]]


def parsed(path: Path, root: Path, columns: str) -> pl.DataFrame:
    """Columns of a trace file's good rows, as the strict parser gives them."""
    name = path.relative_to(root).as_posix()
    format = landing.format_of(path, name)
    options = Options(name=name, source_id=format.name, timezone=ZONES.get(format.name, "UTC"))
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as con:
        con.execute("set threads = 1; set TimeZone = 'UTC'")
        spooled = spool(path, Path(scratch) / "text")
        parse(con, format, options, spooled, path, PARSED_AT)
        return con.execute(
            f"select {columns} from judged where fault is null and rowid not in (select row_id from surplus)"
        ).pl()


def _long(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "series_id", pl.col("period").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), pl.col("value").cast(pl.Float64)
    ).sort("series_id", "period")


def _whole(frame: pl.DataFrame, every: str) -> pl.DataFrame:
    """Every series at every period, nothing where it asked for nothing: these traces have no drop-outs."""
    clock = pl.DataFrame({"period": pl.datetime_range(frame["period"].min(), frame["period"].max(), every, eager=True)})
    return _long(
        frame.select("series_id").unique().join(clock.cast({"period": frame.schema["period"]}), how="cross")
        .join(frame, on=["series_id", "period"], how="left").with_columns(pl.col("value").fill_null(0))
    )


def _filled_up(history: pl.DataFrame) -> pl.DataFrame:
    total = history.group_by("period").agg(pl.col("value").sum()).sort("period")
    first = total.filter(pl.col("value") >= FILLED_UP * total["value"].median())["period"].min()
    return history.filter(pl.col("period") >= first)


def _accelerator_hours(jobs: pl.DataFrame, every: str) -> pl.DataFrame:
    """Accelerator-hours by tenant and period, of jobs (tenant_id, started_at, ended_at, accelerator_count)."""
    with duckdb.connect() as con:
        con.register("jobs", jobs)
        unit = {"1d": "day", "1h": "hour"}[every]
        return con.execute(
            f"""
            with bounds as (
                select date_trunc('{unit}', min(started_at)) + interval 1 {unit} as opened,
                       date_trunc('{unit}', max(started_at)) as closed
                from jobs
            ),
            clock as (select unnest(generate_series(opened, closed - interval 1 {unit}, interval 1 {unit})) as period
                      from bounds)
            select tenant_id as series_id, period, sum(accelerator_count * epoch(
                       least(ended_at, period + interval 1 {unit}) - greatest(started_at, period)) / 3600) as value
            from jobs join clock on started_at < period + interval 1 {unit} and ended_at > period
            group by all
            """
        ).pl()


def servegen(root: Path) -> list[RealSet]:
    """Requests an hour of 205 tenants of two models, ten days."""
    files = sorted((root / "servegen" / "language").glob("*/chunk-*-trace.csv*"))
    columns = ("tenant_id || '/' || model_id as series_id, model_id, date_trunc('hour', occurred_at) as period, "
               "request_count as value")
    windows = pl.concat([parsed(path, root, columns) for path in files])
    hours = windows.group_by("series_id", "period").agg(pl.col("value").sum())
    model_of = dict(windows.select("series_id", "model_id").unique().iter_rows())
    return [RealSet(
        "servegen", "requests by tenant, model and in total", "1h", 24, 24, 24, 5, _whole(hours, "1h"),
        {"group": model_of, "total": dict.fromkeys(model_of, ALL)},
    )]


def _jobs(root: Path, path: str) -> pl.DataFrame:
    return parsed(
        root / path, root, "tenant_id, started_at, ended_at, cast(accelerator_count as double) as accelerator_count"
    ).filter(pl.col("accelerator_count") > 0).drop_nulls()


def philly(root: Path) -> list[RealSet]:
    """Accelerator-hours of virtual clusters, by day and by hour."""
    jobs = _jobs(root, "philly/philly.until-2017-11-05.csv.gz")
    sets = []
    for name, every, season, horizon, step, origins in (
        ("philly_daily", "1d", 7, 7, 1, 16), ("philly_hourly", "1h", 24, 24, 24, 30)
    ):
        history = _filled_up(_whole(_accelerator_hours(jobs, every), every))
        total = dict.fromkeys(history["series_id"].unique(), ALL)
        sets.append(RealSet(name, "accelerator-hours by virtual cluster and in total", every, season, horizon, step,
                            origins, history, {"total": total}))
    return sets


def openb(root: Path) -> list[RealSet]:
    """Accelerator-hours a day by class of service."""
    jobs = _jobs(root, "openb_gpu_v2023/openb_pod_list_default.until-12194827.csv.gz")
    history = _filled_up(_whole(_accelerator_hours(jobs, "1d"), "1d"))
    total = dict.fromkeys(history["series_id"].unique(), ALL)
    return [RealSet("openb", "accelerator-hours by class of service and in total", "1d", 7, 7, 3, 20, history,
                    {"total": total})]


def helios(root: Path) -> list[RealSet]:
    """Accelerators asked for (running and pending) by virtual cluster and hour."""
    columns = ("pool_id as series_id, sampled_at as period, "
               "allocated_accelerator_count + coalesce(pending_accelerator_count, 0) as value")
    samples = pl.concat([
        parsed(path, root, columns) for path in sorted((root / "helios" / "Earth_vcs").glob("vc*/*.csv.gz"))
    ])
    hours = samples.group_by("series_id", pl.col("period").dt.truncate("1h")).agg(pl.col("value").cast(pl.Float64).mean())
    total = dict.fromkeys(samples["series_id"].unique(), ALL)
    return [RealSet("helios", "accelerators asked for by virtual cluster and in total", "1h", 24, 24, 24, 22,
                    _whole(hours, "1h"), {"total": total})]


def llview(root: Path) -> list[RealSet]:
    """Busy accelerators of one job by device, node and in total, every five minutes."""
    path = root / "copyleft" / "llview" / "manysteps" / "GPU_9438058_node.dat.gz"
    samples = parsed(path, root, "device_id as series_id, node_id, sampled_at as period, gpu_utilization_ratio as value")
    busy = samples.group_by("series_id", pl.col("period").dt.truncate("5m")).agg(
        pl.col("value").cast(pl.Float64).mean()
    ).filter(pl.col("period") > pl.col("period").min(), pl.col("period") < pl.col("period").max())
    node_of = dict(samples.select("series_id", "node_id").unique().iter_rows())
    return [RealSet("llview", "busy accelerators by device, node and in total", "5m", 1, 12, 6, 12, _long(busy),
                    {"group": node_of, "total": dict.fromkeys(node_of, ALL)})]


SETS: tuple[Callable[[Path], list[RealSet]], ...] = (servegen, philly, openb, helios, llview)


def real_sets(root: Path) -> list[RealSet]:
    """Every set, in order."""
    return [made for build in SETS for made in build(root)]
