"""What the weekly report reads: the published capacity file, read-only, summed to a week.

Only reading and adding up; no metric is made here that a mart does not hold, and no wording.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

LONGEST_HISTORY_WEEKS = 26
PARTS = ("allocated_busy", "allocated_idle", "fragmented", "free", "planned_down", "down")


class WeekNotPublished(ValueError):
    """The published file holds nothing of the week asked for; the message lists the weeks it holds."""


@dataclass
class Published:
    """An open published file. ``missing`` collects tables that were asked for and are not there."""

    connection: duckdb.DuckDBPyConnection
    tables: dict[str, set[str]]
    missing: set[str]

    def has(self, table: str) -> bool:
        """Whether the table is there; a missing one is remembered, so that the page can say so."""
        if table in self.tables:
            return True
        self.missing.add(table)
        return False

    def rows(self, table: str, sql: str, parameters: dict | None = None) -> list[dict]:
        """The query's rows as dictionaries, or none when the table it is about is missing."""
        if not self.has(table):
            return []
        result = self.connection.execute(sql, parameters or {})
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def frame(self, table: str, schema: dict[str, type[pl.DataType]], sql: str, parameters: dict | None = None):
        """The query's rows as a frame of that schema, empty when the table is missing."""
        return pl.DataFrame(self.rows(table, sql, parameters), schema=schema)


@contextmanager
def open_published(path: Path) -> Iterator[Published]:
    """Opens the file read-only under a name of our own.

    Attached, because a file called capacity.duckdb opened directly has a catalog of that name, and
    ``capacity.some_table`` is then ambiguous between catalog and schema.
    """
    connection = duckdb.connect()
    try:
        connection.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as published (read_only)")
        connection.execute("use published.meta")
        columns = connection.execute(
            "select schema_name || '.' || table_name, column_name from duckdb_columns()"
            " where database_name = 'published'"
        ).fetchall()
        tables: dict[str, set[str]] = {}
        for table, column in columns:
            tables.setdefault(table, set()).add(column)
        yield Published(connection, tables, set())
    finally:
        connection.close()


@dataclass(frozen=True)
class Readings:
    """Everything the report shows of one week, as frames and rows."""

    iso_week: str | None
    week_start_date: date | None
    publication: dict
    sites: pl.DataFrame
    accelerators: dict[str, str]
    links: pl.DataFrame
    pools: pl.DataFrame
    """Weekly supply and demand per pool: the week and those before it."""
    need: list[dict]
    previous_need: list[dict]
    busy_hours: pl.DataFrame
    forecast: pl.DataFrame
    supply_plan: pl.DataFrame
    accuracy: pl.DataFrame
    hours: pl.DataFrame
    """Capacity identity per site and week."""
    usage_hours: pl.DataFrame
    usage_weeks: list[dict]
    deliveries: list[dict]
    freshness: list[dict]
    reconciliation: list[dict]
    unknown_shares: dict[str, float] | None
    missing_tables: tuple[str, ...]


def read(path: Path, iso_week: str | None) -> Readings:
    """Reads the week (or the latest whole one); WeekNotPublished when the file holds nothing of it."""
    with open_published(path) as published:
        publication = (published.rows("meta.publication", "select * from meta.publication") or [{}])[0]
        weeks = [
            (row["iso_week"], row["week_start_date"]) for row in published.rows(
                "capacity.fct_supply_demand_weekly",
                "select distinct iso_week, week_start_date from capacity.fct_supply_demand_weekly order by 1",
            )
        ]
        chosen = iso_week or publication.get("iso_week") or (weeks[-1][0] if weeks else None)
        if iso_week and iso_week not in dict(weeks):
            held = f"{weeks[0][0]} to {weeks[-1][0]}" if weeks else "no week"
            raise WeekNotPublished(f"week {iso_week} is not in the published file, which holds {held}")
        monday = dict(weeks).get(chosen)
        return _read_week(published, publication, chosen, monday)


def _read_week(published: Published, publication: dict, iso_week: str | None, monday: date | None) -> Readings:
    last = monday or date(1, 1, 7)
    span = {
        "monday": last, "sunday": last + timedelta(days=6), "iso_week": iso_week,
        "first": last - timedelta(weeks=LONGEST_HISTORY_WEEKS - 1) if monday else last,
    }
    week = {name: span[name] for name in ("monday", "sunday")}
    need = published.rows(
        "capacity.fct_capacity_need",
        "select * from capacity.fct_capacity_need where cutoff_week = $iso_week", {"iso_week": iso_week},
    )
    model = next((row["model"] for row in need if row.get("model")), None)
    cutoff = {"sunday": span["sunday"]}
    text, number = pl.String, pl.Float64
    readings = Readings(
        iso_week=iso_week,
        week_start_date=monday,
        publication=publication,
        sites=published.frame(
            "capacity.dim_site",
            {"site_id": text, "site_name": text, "site_name_cn": text, "site_kind": text, "hub_region": text,
             "latitude": number, "longitude": number, "is_registered": pl.Boolean},
            "select site_id, site_name, site_name_cn, site_kind, hub_region, latitude, longitude, is_registered"
            " from capacity.dim_site order by site_id",
        ),
        accelerators={
            row["accelerator_id"]: row["accelerator_name"] or row["accelerator_id"] for row in published.rows(
                "capacity.dim_accelerator", "select accelerator_id, accelerator_name from capacity.dim_accelerator")
        },
        links=_links(published, week),
        pools=published.frame(
            "capacity.fct_supply_demand_weekly",
            {"iso_week": text, "week_start_date": pl.Date, "site_id": text, "accelerator_id": text,
             "demand": number, "usable": number, "unmet": number, "p95_utilization_ratio": number},
            """
            select iso_week, week_start_date, site_id, accelerator_id,
                cast(serving_demand_accelerator_hours + training_demand_accelerator_hours as double) as demand,
                cast(usable_accelerator_hours as double) as usable,
                cast(unmet_accelerator_hours as double) as unmet, p95_utilization_ratio
            from capacity.fct_supply_demand_weekly
            where week_start_date between $first and $monday order by all
            """,
            {"first": span["first"], "monday": last},
        ),
        need=need,
        previous_need=published.rows(
            "capacity.fct_capacity_need",
            "select * from capacity.fct_capacity_need where cutoff_week = (select max(cutoff_week)"
            " from capacity.fct_capacity_need where cutoff_week < $iso_week)", {"iso_week": iso_week},
        ),
        busy_hours=published.frame(
            "capacity.fct_busy_hour_demand_weekly",
            {"level": text, "series_id": text, "week_start_date": pl.Date, "demand_accelerator_count": number,
             "usable_accelerator_count": number, "available_accelerator_count": number},
            "select level, series_id, week_start_date, demand_accelerator_count, usable_accelerator_count,"
            " available_accelerator_count from capacity.fct_busy_hour_demand_weekly"
            " where cutoff_date = $sunday and week_start_date >= $first order by all",
            {"sunday": span["sunday"], "first": span["first"]},
        ),
        forecast=published.frame(
            "capacity.fct_demand_forecast",
            {"level": text, "series_id": text, "target_date": pl.Date, "quantile": number, "value": number},
            "select level, series_id, target_date, quantile, value from capacity.fct_demand_forecast"
            " where cutoff_date = $sunday and model = $model order by all",
            {"sunday": span["sunday"], "model": model},
        ),
        supply_plan=published.frame(
            "capacity.fct_supply_plan_weekly",
            {"site_id": text, "accelerator_id": text, "target_date": pl.Date,
             "usable_accelerator_count": number, "committed_accelerator_count": pl.Int64},
            "select site_id, accelerator_id, target_date, usable_accelerator_count, committed_accelerator_count"
            " from capacity.fct_supply_plan_weekly where cutoff_date = $sunday order by all", cutoff,
        ),
        accuracy=published.frame(
            "capacity.fct_forecast_accuracy",
            {"level": text, "series_id": text, "model": text, "metric": text, "value": number},
            "select level, series_id, model, metric, value from capacity.fct_forecast_accuracy"
            " where cutoff_date = $sunday order by all", cutoff,
        ),
        hours=_hours(published, span),
        usage_hours=published.frame(
            "capacity.fct_token_usage_hourly",
            {"site_id": text, "weekday": pl.Int64, "hour": pl.Int64, "tokens": number},
            """
            select serving_site_id as site_id, isodow(usage_hour + interval 8 hours) as weekday,
                hour(usage_hour + interval 8 hours) as hour,
                cast(sum(coalesce(input_tokens, 0) + coalesce(cached_input_tokens, 0) + coalesce(output_tokens, 0))
                    as double) as tokens
            from capacity.fct_token_usage_hourly where usage_date between $monday and $sunday
            group by all order by all
            """, week,
        ),
        usage_weeks=_usage_weeks(published, span),
        deliveries=published.rows(
            "quality.fct_deliveries",
            """
            select feed, count(*) as delivery_count, sum(received_count) as received_count,
                sum(loaded_count) as loaded_count, sum(duplicate_count) as duplicate_count,
                sum(quarantined_count) as quarantined_count,
                count(*) filter (where status = 'quarantined') as rejected_delivery_count
            from quality.fct_deliveries where status <> 'superseded' group by feed order by feed
            """,
        ),
        freshness=published.rows(
            "quality.fct_freshness",
            "select feed, max(last_event_at) as last_event_at, max(last_delivered_date) as last_delivered_date"
            " from quality.fct_freshness group by feed",
        ),
        reconciliation=published.rows(
            "quality.fct_reconciliation",
            "select feed || ': ' || metric as name, difference from quality.fct_reconciliation order by all",
        ),
        unknown_shares=_unknown_shares(published, week),
        missing_tables=(),
    )
    return Readings(**{**readings.__dict__, "missing_tables": tuple(sorted(published.missing))})


def _links(published: Published, week: dict) -> pl.DataFrame:
    """Every link with the busier direction's 95th percentile of hourly means; null without telemetry."""
    schema = {"link_id": pl.String, "a_site_id": pl.String, "b_site_id": pl.String, "capacity_gbps": pl.Float64,
              "load_ratio": pl.Float64, "unknown_ratio": pl.Float64}
    if not published.has("capacity.dim_link"):
        return pl.DataFrame(schema=schema)
    if not published.has("capacity.fct_link_utilization_hourly"):
        return published.frame(
            "capacity.dim_link", schema,
            "select link_id, a_site_id, b_site_id, capacity_gbps, null as load_ratio, null as unknown_ratio"
            " from capacity.dim_link order by link_id",
        )
    return published.frame(
        "capacity.dim_link", schema,
        """
        with busy_hours as (
            select link_id, direction, quantile_cont(mean_utilization_ratio, 0.95) as load_ratio,
                avg(unknown_ratio) as unknown_ratio
            from capacity.fct_link_utilization_hourly
            where cast(usage_hour + interval 8 hours as date) between $monday and $sunday
            group by link_id, direction
        ),
        busier as (
            select link_id, max(load_ratio) as load_ratio, max(unknown_ratio) as unknown_ratio
            from busy_hours group by link_id
        )
        select dim_link.link_id, a_site_id, b_site_id, capacity_gbps, load_ratio, unknown_ratio
        from capacity.dim_link left join busier on dim_link.link_id = busier.link_id order by dim_link.link_id
        """, week,
    )


def _hours(published: Published, span: dict) -> pl.DataFrame:
    names = [*PARTS, "installed", "unknown_activity"]
    sums = ", ".join(f"cast(sum({name}_accelerator_hours) as double) as {name}_accelerator_hours" for name in names)
    return published.frame(
        "capacity.fct_accelerator_hours_daily",
        {"week_start_date": pl.Date, "site_id": pl.String,
         **{f"{name}_accelerator_hours": pl.Float64 for name in names}},
        f"select cast(date_trunc('week', usage_date) as date) as week_start_date, site_id, {sums}"
        " from capacity.fct_accelerator_hours_daily where usage_date between $first and $sunday"
        " group by 1, 2 order by 1, 2",
        {"first": span["first"], "sunday": span["sunday"]},
    )


def _usage_weeks(published: Published, span: dict) -> list[dict]:
    """Tokens and requests per week, exact integers."""
    return published.rows(
        "capacity.fct_token_usage_hourly",
        """
        select cast(date_trunc('week', usage_date) as date) as week_start_date,
            sum(coalesce(input_tokens, 0)) + sum(coalesce(cached_input_tokens, 0)) + sum(coalesce(output_tokens, 0))
                as tokens,
            sum(request_count) as request_count, sum(unmetered_request_count) as unmetered_request_count
        from capacity.fct_token_usage_hourly where usage_date between $first and $sunday group by 1 order by 1
        """, {"first": span["first"], "sunday": span["sunday"]},
    )


def _unknown_shares(published: Published, week: dict) -> dict[str, float] | None:
    """Share of the week's requests booked to the unknown site, tenant and model; None without requests."""
    rows = published.rows(
        "capacity.fct_token_usage_hourly",
        """
        select sum(request_count) as request_count,
            sum(request_count) filter (where serving_site_id = 'unknown') as site,
            sum(request_count) filter (where tenant_id = 'unknown') as tenant,
            sum(request_count) filter (where model_id = 'unknown') as model
        from capacity.fct_token_usage_hourly where usage_date between $monday and $sunday
        """, week,
    )
    if not rows or not rows[0]["request_count"]:
        return None
    total = float(rows[0]["request_count"])
    return {name: float(rows[0][name] or 0) / total for name in ("site", "tenant", "model")}
