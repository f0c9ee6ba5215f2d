"""What the weekly report reads of the published file: restated demand, as far as readers did not know it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb

from dashboards.weekly_report.published import read

TOLD = datetime(2026, 11, 16, 1)


def published(folder: Path) -> Path:
    """A file of two weeks with one restatement of each kind that must not count, and two that do."""
    path = folder / "capacity.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as edition; use edition; create schema capacity; create schema quality")
        connection.execute("""
            create table capacity.fct_supply_demand_weekly as
            select iso_week, monday::date as week_start_date, 'a' as site_id, 't' as accelerator_id,
                60.0 as serving_demand_accelerator_hours, 40.0 as training_demand_accelerator_hours, 60.0 as served_accelerator_hours,
                120.0 as usable_accelerator_hours, 0.0 as unmet_accelerator_hours, 0.5 as p95_utilization_ratio
            from (values ('2026-W46', '2026-11-09'), ('2026-W47', '2026-11-16')) as weeks(iso_week, monday)
        """)
        connection.execute("""
            create table quality.fct_restatements as
            select restated_at::timestamp as restated_at, usage_date::date as usage_date, mart, site_id, metric, before, after,
                abs(after - before) as gross_change, 'late' as reason
            from (values
                ('2026-11-17', '2026-11-12', 'capacity.fct_supply_demand_daily', 'a', 'serving_demand_accelerator_hours', 10.0, 25.0),
                ('2026-11-18', '2026-10-20', 'capacity.fct_supply_demand_daily', 'a', 'training_demand_accelerator_hours', 8.0, 5.0),
                ('2026-11-15', '2026-11-12', 'capacity.fct_supply_demand_daily', 'a', 'serving_demand_accelerator_hours', 1.0, 10.0),
                ('2026-11-17', '2026-11-17', 'capacity.fct_supply_demand_daily', 'a', 'serving_demand_accelerator_hours', 1.0, 90.0),
                ('2026-11-17', '2026-10-01', 'capacity.fct_supply_demand_daily', 'a', 'serving_demand_accelerator_hours', 1.0, 70.0),
                ('2026-11-17', '2026-11-12', 'capacity.fct_supply_demand_daily', 'a', 'unmet_accelerator_hours', 1.0, 50.0),
                ('2026-11-17', '2026-11-12', 'capacity.fct_demand_daily', 'a', 'serving_demand_accelerator_hours', 1.0, 30.0)
            ) as rows(restated_at, usage_date, mart, site_id, metric, before, after)
        """)
    return path


def test_only_demand_of_the_weeks_before_that_moved_since_the_forecast_was_given_is_restated(tmp_path: Path) -> None:
    """What the forecast knew already, or what is of this week, would be counted as a correction of it."""
    path = published(tmp_path)
    found = read(path, "2026-W47", told_at={"2026-W46": TOLD})
    assert found.restated_demand.rows() == [("a", 12.0)]
    until = {"2026-W46": TOLD, "2026-W47": datetime(2026, 11, 17, 12)}
    assert read(path, "2026-W47", told_at=until).restated_demand.rows() == [("a", 15.0)]


def test_a_forecast_made_again_knows_all_that_was_restated(tmp_path: Path) -> None:
    """Counting it twice would take demand out of the gap that nobody ever put in."""
    assert read(published(tmp_path), "2026-W47").restated_demand.is_empty()
