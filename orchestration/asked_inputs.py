"""What ``tidegauge demand`` reads from the warehouse: one level's demand by the hour, and what was not heard of it.

SQL that selects, and calls of pure functions: marts are dbt's, the forecast is ``forecasting``'s. No Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import polars as pl

from orchestration import warehouse
from orchestration.forecasting.asked_series import Ahead, By, history, look_ahead
from orchestration.home import Home

SERIES = {
    "site": "origin_site_id",
    "region": "coalesce(region, 'unknown')",
    "hub_region": "coalesce(hub_region, 'unknown')",
    "segment": "coalesce(segment, 'unknown')",
    "tenant": "tenant_id",
    "model": "model_id",
    "nation": "'nation'",
}
"""By level, the series that a row of fct_demand_hourly adds up into."""
MEASURES = {
    "input_tokens": "unconstrained_input_tokens",
    "output_tokens": "unconstrained_output_tokens",
    "accelerator_hours": "serving_demand_accelerator_hours",
}
HISTORY_DAYS = 7 * 16
"""Days looked at: seventeen seasons and more say nothing of the next, and every one costs."""


@dataclass(frozen=True)
class Demand:
    """A level's history (series_id, period, value) up to the last whole business day, and what comes."""

    seen: pl.DataFrame
    ahead: Ahead
    last_date: date


def demand(
    home: Home, level: str, measure: str, by: By, quantiles: tuple[float, ...], *, series_ids: tuple[str, ...] = (),
    horizon: int | None = None,
) -> Demand | None:
    """The demand of a level's series, or of those named only; None while no business day is whole.

    Raises:
        KeyError: a series that is named has never asked for anything.
    """
    with warehouse.connect(home, read_only=True) as connection:
        last = connection.execute(
            "select cast(max(usage_hour) + interval 9 hours as date) - 1 as last_date from capacity.fct_demand_hourly"
        ).fetchone()[0]
        if last is None:
            return None
        values = {"last": last, "first": last - timedelta(days=HISTORY_DAYS - 1)}
        asked = _asked(connection, level, measure, values)
        known = set(asked["series_id"])
        for series_id in series_ids:
            if series_id not in known:
                raise KeyError(series_id)
        silent = _silent(connection, level, measure, values)
        holidays = connection.execute("select holiday_date, day_type from staging.stg_reference__holidays").pl()
    if series_ids:
        asked, silent = (frame.filter(pl.col("series_id").is_in(series_ids)) for frame in (asked, silent))
    if asked.is_empty():
        return None
    first = max(values["first"], (asked["usage_hour"].min() + timedelta(hours=8)).date())
    seen = history(asked, silent, by, first, last)
    if seen.is_empty():
        return None
    return Demand(seen, look_ahead(seen, by, holidays, quantiles, horizon), last)


def _rows(level: str) -> str:
    return f"""
        select usage_hour, usage_date, origin_site_id, {SERIES[level]} as series_id, demand.* exclude (usage_hour, usage_date, origin_site_id)
        from capacity.fct_demand_hourly as demand
        left join capacity.dim_tenant using (tenant_id)
        left join capacity.dim_site on demand.origin_site_id = dim_site.site_id
        where usage_date between $first and $last
    """


def _asked(connection: duckdb.DuckDBPyConnection, level: str, measure: str, values: dict) -> pl.DataFrame:
    """series_id, usage_hour, value."""
    return connection.execute(
        f"select series_id, usage_hour, cast(sum({MEASURES[measure]}) as double) as value from ({_rows(level)}) group by all order by all",
        values,
    ).pl()


def _silent(connection: duckdb.DuckDBPyConnection, level: str, measure: str, values: dict) -> pl.DataFrame:
    """series_id, usage_hour, silent_ratio: of an hour, what part of the series its silent origins ask for on the whole."""
    return connection.execute(
        f"""
        with parts as (
            select series_id, origin_site_id, cast(sum({MEASURES[measure]}) as double) as value
            from ({_rows(level)}) group by all
        ),
        shares as (
            select series_id, origin_site_id, value / nullif(sum(value) over (partition by series_id), 0) as share_ratio from parts
        )
        select series_id, usage_hour, sum(share_ratio) as silent_ratio
        from capacity.fct_usage_dropouts
        inner join shares on fct_usage_dropouts.site_id = shares.origin_site_id
        where site_role = 'origin' and usage_date between $first and $last
        group by all order by all
        """,
        values,
    ).pl()
