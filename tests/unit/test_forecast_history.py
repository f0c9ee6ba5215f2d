"""What readers were told of the forecast: kept once a forecast, read back whole."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from orchestration import forecast_history
from orchestration.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose history is empty."""
    return Home(tmp_path / "home")


def publish(home: Home, stamp: str, add: int, hour: int = 1, week: str | None = "2026-W47") -> None:
    """A published capacity file with one decision of the week and one quantile of two cutoffs."""
    home.published.mkdir(parents=True, exist_ok=True)
    home.capacity.unlink(missing_ok=True)
    connection = duckdb.connect(str(home.capacity))
    connection.execute("create schema meta")
    connection.execute("use meta")
    connection.execute("create table publication (run_id VARCHAR, published_at TIMESTAMP, data_as_of TIMESTAMP, iso_week VARCHAR,"
                       " forecast_stamp VARCHAR, delivery_count BIGINT, check_count BIGINT)")
    connection.execute("insert into publication values (?, ?, null, ?, ?, 1, 1)",
                       [f"run-{stamp}", datetime(2026, 11, 23, hour), week, stamp])
    connection.close()
    connection = duckdb.connect()
    connection.execute(f"attach '{home.capacity}' as edition")
    connection.execute("create schema edition.capacity")
    connection.execute("create table edition.capacity.fct_capacity_need (cutoff_week VARCHAR, site_id VARCHAR, add_count BIGINT)")
    connection.execute("create table edition.capacity.fct_demand_forecast (cutoff_date DATE, value DOUBLE)")
    connection.execute("create table edition.capacity.dim_site (site_id VARCHAR)")
    if week:
        connection.execute("insert into edition.capacity.fct_capacity_need values (?, 'cn-bj', ?)", [week, add])
        connection.execute("insert into edition.capacity.fct_demand_forecast values (date '2026-11-22', 7.5), (date '2026-11-15', 1)")
    connection.close()


def test_a_forecast_is_kept_once_and_a_new_one_beside_it(home: Home) -> None:
    """A copy a night of the same forecast fills the disk; a corrected one must not hide that it was corrected."""
    publish(home, "first", 8)
    assert forecast_history.keep(home) is not None
    assert forecast_history.keep(home) is None
    publish(home, "second", 16, hour=2)
    assert forecast_history.keep(home) is not None
    assert len(list((home.history / "forecasts" / "2026-W47").iterdir())) == 2


def test_what_is_read_back_is_what_was_last_told_of_that_cutoff_alone(home: Home) -> None:
    """Rows of another week's forecast under this week's name would be another decision."""
    publish(home, "first", 8)
    forecast_history.keep(home)
    publish(home, "second", 16, hour=2)
    forecast_history.keep(home)
    told = forecast_history.told(home, "2026-W47")
    assert (told.run_id, told.published_at, told.cutoff_week) == ("run-second", datetime(2026, 11, 23, 2), "2026-W47")
    assert set(told.frames) == {"fct_capacity_need", "fct_demand_forecast"}
    assert told.frames["fct_capacity_need"]["add_count"].to_list() == [16]
    assert told.frames["fct_demand_forecast"].rows() == [(date(2026, 11, 22), 7.5)]


def test_a_week_that_was_never_told_and_a_copy_cut_short_are_nothing(home: Home) -> None:
    """Half a decision table reads as a network without needs."""
    assert forecast_history.told(home, "2026-W47") is None
    cut = home.history / "forecasts" / "2026-W47" / ".20261123T010000000000-run-first.77"
    cut.mkdir(parents=True)
    (cut / "told.json").write_text("{}", "utf-8")
    unsealed = home.history / "forecasts" / "2026-W47" / "20261123T010000000000-run-first"
    unsealed.mkdir()
    assert forecast_history.told(home, "2026-W47") is None


def test_a_file_without_a_forecast_leaves_nothing(home: Home) -> None:
    """The first days of an installation have no whole week."""
    publish(home, "none", 0, week=None)
    assert forecast_history.keep(home) is None
    assert not (home.history / "forecasts").exists()
