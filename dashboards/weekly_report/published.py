"""What the weekly report reads: the published capacity file, read-only, summed to a week.

Only reading and adding up; no metric is made here that a mart does not hold, and no wording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

LONGEST_HISTORY_WEEKS = 26
GAP_WEEKS = 8
"""Weeks up to this one whose drop-outs are shown."""
RESTATED_WEEKS = 4
"""Weeks before this one whose restated demand moves last week's forecast."""
PLAN_SCHEMA = {
    "site_id": pl.String, "accelerator_id": pl.String, "target_date": pl.Date,
    "usable_accelerator_count": pl.Float64, "committed_accelerator_count": pl.Int64,
}
PARTS = ("allocated_busy", "allocated_idle", "fragmented", "free", "planned_down", "down")


ASKED_LEVELS = ("nation", "segment", "model", "tenant")


def iso_week_of(day: date) -> str:
    """The ISO week of a day, like 2026-W47."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


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
def open_published(path: Path, other_cutoffs: Mapping[str, pl.DataFrame] | None = None) -> Iterator[Published]:
    """Opens the file read-only, its tables seen through views.

    Views, because a file called capacity.duckdb opened directly has a catalog of that name, and
    ``capacity.some_table`` is then ambiguous between catalog and schema.

    Args:
        path: the published file.
        other_cutoffs: by table of the capacity schema, rows of the forecast after other weeks than the
            file's own; they take the place of rows that the file has of the same cutoffs.
    """
    connection = duckdb.connect()
    try:
        connection.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as published (read_only)")
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() where database_name = 'published'"
        ).fetchall()
        tables: dict[str, set[str]] = {}
        for schema, table, column in columns:
            tables.setdefault(f"{schema}.{table}", set()).add(column)
        for schema in sorted({schema for schema, _, _ in columns} | {"capacity"}):
            connection.execute(f'create schema "{schema}"')
        for table in sorted(tables):
            connection.execute(f"create view {_quoted(table)} as select * from published.{_quoted(table)}")
        for name, frame in (other_cutoffs or {}).items():
            _add_cutoffs(connection, tables, name, frame)
        yield Published(connection, tables, set())
    finally:
        connection.close()


def _quoted(table: str) -> str:
    return ".".join(f'"{part}"' for part in table.split("."))


def _add_cutoffs(
    connection: duckdb.DuckDBPyConnection, tables: dict[str, set[str]], name: str, frame: pl.DataFrame
) -> None:
    """Puts rows of other cutoffs behind a table of the file, or in its place where the file lacks it."""
    table = f"capacity.{name}"
    cutoff = next(column for column in ("cutoff_week", "cutoff_date") if column in frame.columns)
    connection.register("incoming", frame.to_arrow())
    connection.execute(f'create table "other_{name}" as select * from incoming')
    connection.unregister("incoming")
    kept = f'select * from "other_{name}"'
    if table in tables:
        kept += (
            f' union all by name select * from published.{_quoted(table)}'
            f' where {cutoff} not in (select {cutoff} from "other_{name}")'
        )
    connection.execute(f"create or replace view {_quoted(table)} as {kept}")
    tables.setdefault(table, set()).update(frame.columns)


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
    gaps: pl.DataFrame
    """What was not heard (kind, site_id, usage_date, gap): ``usage`` in hours of the day, ``telemetry`` in percent of what was held."""
    missing_tables: tuple[str, ...]
    forecast_sources: dict[str, str]
    """By week, where a forecast that the file lacks is from: ``published`` then, or made ``again`` now."""
    is_past: bool
    """Whether later weeks have been published since; what can't be told as of then is then left out."""
    pool_medians: pl.DataFrame
    """Median forecast per pool, model and target week, after this week and after the one before."""
    previous_plan: pl.DataFrame
    restatements: list[dict]
    restated_demand: pl.DataFrame
    """Accelerator-hours by site that were added to the RESTATED_WEEKS before this one since their forecast was given."""
    product_tokens: pl.DataFrame
    package_demand: pl.DataFrame
    token_history: pl.DataFrame
    """What was asked for by week (measure, level, series_id, week_start_date, value), in tokens and accelerator-hours: of the
    nation, a segment, a model, a tenant."""
    token_forecast: pl.DataFrame
    """Quantiles of the same of the weeks to come, by the model in use."""
    matching_flows: pl.DataFrame
    """Tokens from origin to serving site, over all models: as the matching would, and as it was."""
    unserved: pl.DataFrame
    binding: pl.DataFrame
    what_if: pl.DataFrame
    """Scenarios, a row a measure and pool or origin: as forecast, as supposed, the difference."""
    models: dict[str, str]
    tenants: dict[str, str]
    versions: dict[str, str]


def read(
    path: Path, iso_week: str | None, other_cutoffs: Mapping[str, pl.DataFrame] | None = None,
    forecast_sources: Mapping[str, str] | None = None, told_at: Mapping[str, datetime] | None = None,
) -> Readings:
    """Reads the week (or the latest whole one); WeekNotPublished when the file holds nothing of it.

    ``other_cutoffs``, ``forecast_sources`` and ``told_at``: forecasts that the file lacks, where they are from and since
    when readers had them (``write_weekly_report``).
    """
    with open_published(path, other_cutoffs) as published:
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
        latest = publication.get("iso_week") or (weeks[-1][0] if weeks else None)
        return _read_week(
            published, publication, chosen, monday, dict(forecast_sources or {}), dict(told_at or {}), chosen != latest)


def _read_week(
    published: Published, publication: dict, iso_week: str | None, monday: date | None, sources: dict[str, str],
    told_at: dict[str, datetime], is_past: bool,
) -> Readings:
    last = monday or date(1, 1, 8)
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
    # Monday's report has what arrived by the end of Sunday in UTC, which is Monday morning in Shanghai.
    until = span["sunday"] if is_past else date(9999, 12, 31)
    named_week = {"iso_week": iso_week or ""}
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
             "demand": number, "served": number, "usable": number, "unmet": number, "p95_utilization_ratio": number},
            """
            select iso_week, week_start_date, site_id, accelerator_id,
                cast(serving_demand_accelerator_hours + training_demand_accelerator_hours as double) as demand,
                cast(served_accelerator_hours as double) as served, cast(usable_accelerator_hours as double) as usable,
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
            "capacity.fct_supply_plan_weekly", PLAN_SCHEMA,
            "select site_id, accelerator_id, target_date, usable_accelerator_count, committed_accelerator_count"
            " from capacity.fct_supply_plan_weekly where cutoff_date = $sunday order by all", cutoff,
        ),
        accuracy=published.frame(
            "capacity.fct_forecast_accuracy",
            {"level": text, "series_id": text, "model": text, "metric": text, "value": number},
            "select level, series_id, model, metric, value from capacity.fct_forecast_accuracy"
            " where cutoff_date = $sunday" + _only_backtest(published) + " order by all", cutoff,
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
            from quality.fct_deliveries where status <> 'superseded' and delivered_date <= $until
            group by feed order by feed
            """, {"until": until},
        ),
        freshness=published.rows(
            "quality.fct_freshness",
            "select feed, case when $is_past then null else max(last_event_at) end as last_event_at,"
            " least(max(last_delivered_date), $until) as last_delivered_date"
            " from quality.fct_freshness group by feed", {"until": until, "is_past": is_past},
        ),
        reconciliation=published.rows(
            "quality.fct_reconciliation",
            "select feed || ': ' || metric as name, difference from quality.fct_reconciliation order by all",
        ),
        unknown_shares=_unknown_shares(published, week),
        gaps=_gaps(published, {"first": last - timedelta(weeks=GAP_WEEKS - 1) if monday else last, "sunday": span["sunday"]}),
        missing_tables=(),
        forecast_sources=sources,
        is_past=is_past,
        pool_medians=published.frame(
            "capacity.fct_demand_forecast",
            {"cutoff_date": pl.Date, "series_id": text, "model": text, "target_date": pl.Date, "value": number},
            "select cutoff_date, series_id, model, target_date, value from capacity.fct_demand_forecast"
            " where level = 'site_accelerator' and quantile = 0.5"
            " and cutoff_date in ($sunday, cast($sunday as date) - 7) order by all", cutoff,
        ),
        previous_plan=published.frame(
            "capacity.fct_supply_plan_weekly", PLAN_SCHEMA,
            "select site_id, accelerator_id, target_date, usable_accelerator_count, committed_accelerator_count"
            " from capacity.fct_supply_plan_weekly where cutoff_date = cast($sunday as date) - 7 order by all", cutoff,
        ),
        restatements=_restatements(published, week, is_past),
        restated_demand=_restated_demand(published, span, told_at),
        product_tokens=published.frame(
            "capacity.fct_token_usage_hourly",
            {"week_start_date": pl.Date, "hub_region": text, "product": text, "tokens": number},
            """
            select cast(date_trunc('week', usage_date) as date) as week_start_date,
                coalesce(dim_site.hub_region, '') as hub_region, product,
                cast(sum(coalesce(input_tokens, 0) + coalesce(cached_input_tokens, 0) + coalesce(output_tokens, 0))
                    as double) as tokens
            from capacity.fct_token_usage_hourly as usage
            left join capacity.dim_site as dim_site on usage.serving_site_id = dim_site.site_id
            where usage_date between $first and $sunday group by 1, 2, 3 order by all
            """, {"first": span["first"], "sunday": span["sunday"]},
        ),
        package_demand=published.frame(
            "capacity.fct_package_demand",
            {"iso_week": text, "origin_site_id": text, "model_id": text, "expected_tokens": number},
            "select iso_week, origin_site_id, model_id, cast(expected_tokens as double) as expected_tokens"
            " from capacity.fct_package_demand where iso_week > $iso_week order by all", named_week,
        ),
        token_history=_asked(
            published, "capacity.fct_token_demand_weekly", "capacity.fct_serving_demand_weekly", {"week_start_date": pl.Date},
            "cutoff_date = $sunday and week_start_date >= $first", {"first": span["first"], "sunday": span["sunday"]}),
        token_forecast=_asked(
            published, "capacity.fct_token_forecast", "capacity.fct_serving_demand_forecast",
            {"target_date": pl.Date, "quantile": number}, "cutoff_date = $sunday and is_in_use", cutoff),
        matching_flows=published.frame(
            "capacity.fct_matching_plan",
            {"origin_site_id": text, "serving_site_id": text, "tokens": number, "actual_tokens": number, "link_id": text,
             "round_trip_ms": number},
            "select origin_site_id, serving_site_id, cast(sum(tokens) as double) as tokens,"
            " cast(sum(actual_tokens) as double) as actual_tokens, min(link_id) as link_id, max(round_trip_ms) as round_trip_ms"
            " from capacity.fct_matching_plan where iso_week = $iso_week group by 1, 2 order by 1, 2", named_week,
        ),
        unserved=published.frame(
            "capacity.fct_unserved_demand_weekly", {"constraint_kind": text, "tokens": number},
            "select constraint_kind, cast(sum(tokens) as double) as tokens from capacity.fct_unserved_demand_weekly"
            " where iso_week = $iso_week group by 1 order by 1", named_week,
        ),
        binding=published.frame(
            "capacity.fct_binding_constraint_weekly",
            {"resource_kind": text, "resource_id": text, "site_id": text, "accelerator_id": text, "link_id": text,
             "binding_hours_count": pl.Int64, "peak_fill_ratio": number, "value_rank": pl.Int64},
            "select resource_kind, resource_id, site_id, accelerator_id, link_id, binding_hours_count, peak_fill_ratio,"
            " value_rank from capacity.fct_binding_constraint_weekly where iso_week = $iso_week order by all", named_week,
        ),
        what_if=published.frame(
            "capacity.fct_what_if",
            {"scenario": text, "parameters": text, "metric": text, "site_id": text, "accelerator_id": text,
             "base_value": number, "scenario_value": number, "difference_value": number},
            "select scenario, parameters, metric, site_id, accelerator_id, base_value, scenario_value, difference_value"
            " from capacity.fct_what_if where cutoff_week = $iso_week order by all", named_week,
        ),
        models={
            row["model_id"]: row["model_name"] or row["model_id"]
            for row in published.rows("capacity.dim_model", "select model_id, model_name from capacity.dim_model")
        },
        tenants={
            row["tenant_id"]: row["tenant_name"] or row["tenant_id"]
            for row in published.rows("capacity.dim_tenant", "select tenant_id, tenant_name from capacity.dim_tenant")
        },
        versions=_versions(published, publication),
    )
    return Readings(**{**readings.__dict__, "missing_tables": tuple(sorted(published.missing))})


def _asked(published: Published, tokens: str, hours: str, columns: dict, where: str, values: dict) -> pl.DataFrame:
    """Rows of the table of tokens and of that of accelerator-hours, one measure beside the other."""
    schema = {"measure": pl.String, "level": pl.String, "series_id": pl.String, **columns, "value": pl.Float64}
    names = ", ".join(name for name in schema if name != "measure")
    return pl.concat([
        published.frame(
            table, schema, f"select {measure} as measure, {names} from {table} where {where} and level in {ASKED_LEVELS} order by all", values)
        for table, measure in ((tokens, "measure"), (hours, "'accelerator_hours'"))
    ])


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


def _gaps(published: Published, span: dict) -> pl.DataFrame:
    """One row a kind, site and day, also where nothing is missing; nothing for a mart that is not there."""
    schema = {"kind": pl.String, "site_id": pl.String, "usage_date": pl.Date, "gap": pl.Float64}
    # A drop-out of a site is one of all its pools; a pool that came in the middle of the day is none.
    usage = published.frame(
        "capacity.fct_supply_demand_daily", schema,
        """
        select 'usage' as kind, site_id, usage_date, cast(24 - max(known_hour_count) as double) as gap
        from capacity.fct_supply_demand_daily where usage_date between $first and $sunday group by all order by all
        """, span,
    )
    telemetry = published.frame(
        "capacity.fct_accelerator_hours_daily", schema,
        """
        select 'telemetry' as kind, site_id, usage_date, cast(100 * sum(unknown_activity_accelerator_hours)
            / sum(allocated_busy_accelerator_hours + allocated_idle_accelerator_hours) as double) as gap
        from capacity.fct_accelerator_hours_daily where usage_date between $first and $sunday group by all
        having sum(allocated_busy_accelerator_hours + allocated_idle_accelerator_hours) > 0 order by all
        """, span,
    )
    return pl.concat([usage, telemetry])


def _restatements(published: Published, week: dict, is_past: bool) -> list[dict]:
    """Days whose published figures were changed since the week began, by mart, measure and reason.

    Only measures that add up; a past week's report knows what was restated within the week.
    """
    return published.rows(
        "quality.fct_restatements",
        """
        select usage_date, mart, metric, reason, sum(coalesce("before", 0)) as value_before,
            sum(coalesce("after", 0)) as value_after, sum(gross_change) as gross_change
        from quality.fct_restatements
        where restated_at >= $monday and (not $is_past or restated_at < cast($sunday as date) + 1)
            and (metric like '%_hours' or metric like '%_tokens' or metric like '%_count')
        group by all having sum(gross_change) > 0 order by gross_change desc, usage_date, mart, metric, reason
        """, {**week, "is_past": is_past},
    )


def _restated_demand(published: Published, span: dict, told_at: dict[str, datetime]) -> pl.DataFrame:
    """Empty where last week's forecast was made again now: it knows all that was restated."""
    schema = {"site_id": pl.String, "change_accelerator_hours": pl.Float64}
    before = iso_week_of(span["monday"] - timedelta(weeks=1))
    if before not in told_at:
        return pl.DataFrame(schema=schema)
    return published.frame(
        "quality.fct_restatements", schema,
        """
        select site_id, cast(sum(coalesce("after", 0) - coalesce("before", 0)) as double) as change_accelerator_hours
        from quality.fct_restatements
        where mart = 'capacity.fct_supply_demand_daily'
            and metric in ('serving_demand_accelerator_hours', 'training_demand_accelerator_hours')
            and restated_at > $told_at and ($until is null or restated_at <= $until)
            and usage_date >= $monday - 7 * $weeks and usage_date < $monday
        group by site_id order by site_id
        """, {"told_at": told_at[before], "until": told_at.get(span["iso_week"]), "monday": span["monday"], "weeks": RESTATED_WEEKS},
    )


def _only_backtest(published: Published) -> str:
    """A file may hold beside the backtest what earlier forecasts were worth."""
    return " and basis = 'backtest'" if "basis" in published.tables.get("capacity.fct_forecast_accuracy", ()) else ""


def _versions(published: Published, publication: dict) -> dict[str, str]:
    """What the figures were made by: the run, the forecast's stamp (inputs and code), each parser's version."""
    versions = {
        name: str(publication[name]) for name in ("run_id", "forecast_stamp") if publication.get(name)
    }
    if "parser_version" in published.tables.get("quality.fct_deliveries", ()):
        versions |= {
            f"parser {row['feed']}": row["versions"] for row in published.rows(
                "quality.fct_deliveries",
                "select feed, string_agg(distinct parser_version, ', ' order by parser_version) as versions"
                " from quality.fct_deliveries where parser_version is not null group by feed order by feed",
            )
        }
    return versions
