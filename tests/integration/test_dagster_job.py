"""The job as a command runs it: in one process, recorded in the home's instance, and only what is due."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from orchestration import definitions, forecast_history, raw_store, warehouse
from orchestration.definitions import BUILD, FORECAST, PUBLISH, RAW, REPORT, materialize
from orchestration.defs import forecasts
from orchestration.defs.resources import HomeFolder
from orchestration.defs.schedules import nightly
from orchestration.forecasting.tables import DEMAND_FORECAST, FORECAST_ACCURACY
from orchestration.home import PROJECT, Home
from orchestration.progress import Progress
from tests.integration.deliveries import FIRST_DAY, deliver_reference, deliver_usage, usage

DAYS = [FIRST_DAY + timedelta(days=offset) for offset in range(8)]
LOAD = (
    "from orchestration import definitions; from orchestration.home import Home; "
    "definitions.materialize(Home.from_environment(), definitions.RAW)"
)
NODE_POOLS = (
    "pool_id,cluster_id,site_id,accelerator_id,purpose,node_count,accelerators_per_node,commissioned_date\n"
    "pool-1,c1,cn-bj,nvidia-h20,serving,2,8,2026-01-01\n"
)


def deliver(home: Home) -> None:
    """Eight days of usage, one file a day, and one node pool."""
    deliver_reference(home, DAYS[0], "pools.csv", NODE_POOLS, "node_pools")
    for day in DAYS:
        deliver_usage(home, day + timedelta(days=1), f"usage-{day}.jsonl", usage(day, 100))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, definitions.RunOutcome, list[Progress]]:
    """A home where everything that was due has run. Read only."""
    home = Home(tmp_path_factory.mktemp("job") / "home")
    deliver(home)
    told: list[Progress] = []
    outcome = materialize(home, on_event=told.append)
    assert outcome.success, outcome.error_message
    return home, outcome, told


@pytest.fixture
def copy(finished, tmp_path: Path) -> Iterator[Home]:
    """A copy of that home that a test may change."""
    target = Home(tmp_path / "copy")
    shutil.copytree(finished[0].root, target.root)
    yield target
    shutil.rmtree(target.root, ignore_errors=True)


def runs_of(home: Home) -> list[dg.DagsterRun]:
    """Every run that the UI would show."""
    with definitions.instance_of(home) as instance:
        return list(instance.get_runs())


def test_one_call_goes_from_landing_to_the_report(finished) -> None:
    """A newcomer types one command and reads a report."""
    home, outcome, _ = finished
    assert outcome.asset_metadata["raw/token_usage"]["loaded_count"] == 800
    assert outcome.asset_metadata["raw/token_usage"]["delivery_count"] == 8
    assert outcome.asset_metadata["published/capacity"]["iso_week"] == "2026-W47"
    assert Path(outcome.asset_metadata["reports/weekly_capacity"]["path"]).stat().st_size > 10_000
    with warehouse.open_published(home.capacity) as connection:
        tokens = connection.execute("select sum(input_tokens) from capacity.fct_token_usage_hourly").fetchone()
    # 100 requests a day of 100 + 0..99 tokens: 14,950 a day, for eight days.
    assert tokens == (119_600,)


def test_progress_names_every_step_from_start_to_end(finished) -> None:
    """A command that is silent for minutes is killed by whoever waits."""
    _, _, told = finished
    for kind in ("started", "succeeded"):
        steps = [progress.step for progress in told if progress.kind == kind]
        assert {"raw__token_usage", "raw_checks_token_usage", "dbt_build", "forecast", "published",
                "reports__weekly_capacity"} <= set(steps)
    loads = [(p.done, p.total) for p in told if p.kind == "advanced" and p.step == "raw/token_usage"]
    assert loads[-1] == (8, 8)


def test_the_ui_shows_the_runs_their_partitions_and_their_checks(finished) -> None:
    """What a command did in an instance of its own is invisible to those who look after it."""
    home, _, _ = finished
    assert {run.status for run in runs_of(home)} == {dg.DagsterRunStatus.SUCCESS}
    assert {run.job_name for run in runs_of(home)} == {"tidegauge_pipeline", "weekly_capacity_report"}
    with definitions.instance_of(home) as instance:
        loaded = instance.get_materialized_partitions(dg.AssetKey(["raw", "token_usage"]))
        assert loaded >= {(day + timedelta(days=1)).isoformat() for day in DAYS}
        event = instance.get_latest_materialization_event(dg.AssetKey(["capacity", "fct_token_usage_hourly"]))
        assert event is not None
        audit = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey(["published", "capacity"]), "audit")]
        )
        assert [record.status.value for record in audit.values()] == ["SUCCEEDED"]


def test_a_day_says_what_became_of_each_of_its_deliveries(finished) -> None:
    """A backfill in one run hides which day failed, unless each day reports for itself."""
    home, _, _ = finished
    with definitions.instance_of(home) as instance:
        record = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(["raw", "token_usage"]), asset_partitions=[(DAYS[0] + timedelta(days=1)).isoformat()]
            ),
            limit=1,
        ).records[0]
    metadata = record.asset_materialization.metadata
    assert metadata["loaded_count"].value == 100
    assert f"usage-{DAYS[0]}.jsonl" in metadata["deliveries"].value
    assert metadata["rows_by_hour"].value.startswith("![Rows by hour of the event")
    assert metadata["older_row_count"].value == 0


def test_marts_say_how_many_rows_they_hold(finished) -> None:
    """A mart that lost its rows looks like any other in the UI unless its count is there."""
    home, _, _ = finished
    with definitions.instance_of(home) as instance:
        observed = {
            name: instance.fetch_observations(dg.AssetKey(["capacity", name]), limit=1).records[0].asset_observation.metadata
            for name in ("fct_token_usage_hourly", "dim_site")
        }
        publication = instance.get_latest_materialization_event(dg.AssetKey(["published", "capacity"])).asset_materialization
    with warehouse.open_published(home.capacity) as connection:
        for name, metadata in observed.items():
            rows = connection.execute(f"select count(*) from capacity.{name}").fetchone()[0]
            assert metadata["dagster/row_count"].value == rows > 0
    assert "fct\\_token\\_usage\\_hourly" in publication.metadata["marts"].value
    assert publication.metadata["supply_and_demand"].value.startswith("![Busy-hour demand so far and usable accelerators")


def test_a_second_run_has_nothing_to_do_and_records_none(finished) -> None:
    """A second run that changes anything makes every figure depend on how often one looked."""
    home, _, _ = finished
    before = (len(runs_of(home)), warehouse.canonical_hash(home.capacity), home.capacity.stat().st_ino)
    outcome = materialize(home)
    assert (outcome.success, outcome.run_id) == (True, "")
    assert (len(runs_of(home)), warehouse.canonical_hash(home.capacity), home.capacity.stat().st_ino) == before


def test_days_that_were_missed_are_loaded_without_naming_them(copy: Home) -> None:
    """After days of downtime nobody should have to work out which days are missing."""
    for offset in (9, 3):
        day = FIRST_DAY - timedelta(days=offset)
        deliver_usage(copy, day, f"usage-{day}.jsonl", usage(day - timedelta(days=1), 10))
    outcome = materialize(copy, RAW)
    assert outcome.success, outcome.error_message
    assert outcome.asset_metadata["raw/token_usage"]["loaded_count"] == 20
    assert raw_store.pending(copy) == []


def test_a_late_delivery_changes_its_day_and_an_incremental_run_equals_a_full_one(copy: Home) -> None:
    """An incremental build that differs from a rebuild is a figure that nobody can reproduce."""
    deliver_usage(copy, DAYS[-1] + timedelta(days=1), "late.jsonl", usage(DAYS[2], 5, first=200))
    assert materialize(copy).success
    incremental = warehouse.canonical_hash(copy.capacity)
    copy.warehouse.unlink()
    assert materialize(copy).success
    assert warehouse.canonical_hash(copy.capacity) == incremental


def test_a_broken_delivery_blocks_the_build_now_and_next_time_until_it_is_superseded(copy: Home) -> None:
    """A check that blocks once lets bad rows through in the next run."""
    day = DAYS[-1]
    deliver_usage(copy, day, "bad.jsonl", usage(day, 3, first=500, input_tokens=-1))
    before = copy.capacity.stat().st_ino
    for _ in range(2):
        outcome = materialize(copy)
        assert (outcome.success, outcome.reason) == (False, "check_blocked")
        assert outcome.failed_step == "raw_checks_token_usage"
        assert "row count" in outcome.error_message
    assert copy.capacity.stat().st_ino == before
    deliver_usage(copy, day, "bad.jsonl", usage(day, 3, first=500))
    assert materialize(copy, RAW).success


def test_a_failed_audit_is_told_from_other_failures(copy: Home) -> None:
    """The exit code and the next step depend on what kind of failure it was."""
    before = copy.capacity.read_bytes()
    with warehouse.connect(copy) as connection:
        connection.execute("update quality.fct_deliveries set loaded_count = loaded_count + 1")
    outcome = materialize(copy, PUBLISH)
    assert (outcome.success, outcome.reason, outcome.failed_step) == (False, "audit_blocked", "published")
    assert "9 deliveries do not add up" in outcome.error_message
    assert copy.capacity.read_bytes() == before


def test_steps_can_run_one_by_one(copy: Home) -> None:
    """Each command of the pipeline is a selection of the same job."""
    for selection in (BUILD, FORECAST, PUBLISH):
        outcome = materialize(copy, selection)
        assert outcome.success, outcome.error_message


def test_a_report_is_a_partition_of_its_week_and_a_week_without_data_is_refused_by_name(copy: Home) -> None:
    """A report of another week under this week's name would be believed."""
    outcome = materialize(copy, REPORT, report_week="2026-W47")
    assert outcome.success, outcome.error_message
    with definitions.instance_of(copy) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey(["reports", "weekly_capacity"])) == {"2026-W47-1"}
    outcome = materialize(copy, REPORT, report_week="2026-W40")
    assert (outcome.success, outcome.failed_step) == (False, "reports__weekly_capacity")
    assert "week 2026-W40 is not in the published file" in outcome.error_message


def test_what_was_forecast_is_kept_once_for_next_weeks_report(copy: Home) -> None:
    """Next Monday asks what became of this Monday's decisions; the published file has only its own."""
    kept = forecast_history.told(copy, "2026-W47")
    assert kept is not None and "fct_capacity_need" in kept.frames
    assert materialize(copy, PUBLISH).success
    assert len(list((copy.history / "forecasts" / "2026-W47").iterdir())) == 1


def test_a_forecast_that_loses_to_repeating_last_week_is_not_published(
    copy: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is worse than no model would order servers until somebody looks at its scores."""
    def losing(home: Home, cutoff_week: str | None = None) -> tuple[dict, str | None]:
        frames, week = honest(home, cutoff_week)
        # What a defect in choosing the model would leave: the combination in use although it lost nationally.
        forecast = frames["fct_demand_forecast"].with_columns((pl.col("model") == "weighted").alias("is_in_use"))
        score = {"cutoff_date": forecast["cutoff_date"][0], "basis": "backtest", "level": "nation", "series_id": "all",
                 "model": "weighted"}
        lost = FORECAST_ACCURACY.frame([{**score, "metric": "relative_quantile_loss", "value": 1.2},
                                        {**score, "metric": "scored_count", "value": 50.0}])
        return frames | {"fct_demand_forecast": forecast, "fct_forecast_accuracy": lost}, week

    honest, before = forecasts.compute, copy.capacity.stat().st_ino
    monkeypatch.setattr(forecasts, "compute", losing)
    outcome = materialize(copy, FORECAST + PUBLISH)
    assert not outcome.success
    assert copy.capacity.stat().st_ino == before
    monkeypatch.undo()
    assert materialize(copy, FORECAST + PUBLISH).success
    assert copy.capacity.stat().st_ino != before


def test_what_was_published_is_scored_by_the_forecast_after_it(home: Home) -> None:
    """A year of forecasts that nobody holds against what came is a year without learning."""
    deliver_reference(home, DAYS[0], "pools.csv", NODE_POOLS, "node_pools")
    # The week before that of the other tests, then theirs: a week that is yet to come can't be delivered.
    this_week = DAYS[:7]
    last_week = [day - timedelta(days=7) for day in this_week]
    for week in (last_week, this_week):
        for day in week:
            deliver_usage(home, day + timedelta(days=1), f"usage-{day}.jsonl", usage(day, 100))
        outcome = materialize(home)
        assert outcome.success, outcome.error_message
        assert forecast_history.every_told(home, DEMAND_FORECAST)["cutoff_date"].max() == week[-1]
    with warehouse.open_published(home.capacity) as connection:
        scored = connection.execute("""
            select distinct cutoff_date, model, value from capacity.fct_forecast_accuracy
            where basis = 'forecast' and level = 'nation' and series_id = 'all' and metric = 'scored_count' order by all
        """).fetchall()
    assert scored == [(last_week[-1], "seasonal_naive", 1.0), (last_week[-1], "weighted", 1.0)]


def test_a_build_that_fails_says_what_dbt_said(copy: Home) -> None:
    """`exit code 1` sends people to a log file that they have to find first."""
    with warehouse.connect(copy) as connection:
        connection.execute("drop table capacity.fct_token_usage_hourly")
        connection.execute("create table capacity.fct_token_usage_hourly (nonsense INTEGER)")
    outcome = materialize(copy, BUILD)
    assert (outcome.success, outcome.reason, outcome.failed_step) == (False, "error", "dbt_build")
    assert "fct_token_usage_hourly" in outcome.error_message


def test_a_killed_run_is_ended_and_leaves_nothing_locked(copy: Home) -> None:
    """A run shown as started for ever, holding the only slot, would stop the pipeline for good."""
    deliver_usage(copy, DAYS[-1] + timedelta(days=3), "more.jsonl", usage(DAYS[3], 5, first=300))
    killed = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**os.environ, "TIDEGAUGE_HOME": str(copy.root), "TIDEGAUGE_FAULT": "ingest:before_receipt"},
        cwd=PROJECT, check=False, capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL
    assert dg.DagsterRunStatus.STARTED in {run.status for run in runs_of(copy)}
    assert materialize(copy, RAW).success
    assert dg.DagsterRunStatus.STARTED not in {run.status for run in runs_of(copy)}
    assert raw_store.pending(copy) == []


def test_the_nightly_run_covers_every_day_with_something_to_load(home: Home) -> None:
    """A schedule that looks only at yesterday never fills a gap."""
    deliver(home)
    with dg.DagsterInstance.ephemeral() as instance, dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(2026, 11, 24, 18, 30, tzinfo=UTC),
        resources={"home_folder": HomeFolder(root=str(home.root))},
    ) as context:
        request = nightly.evaluate_tick(context).run_requests[0]
    assert request.tags["dagster/asset_partition_range_start"] == DAYS[0].isoformat()
    assert request.tags["dagster/asset_partition_range_end"] == "2026-11-24"


def test_the_instance_sends_nothing_out_and_writes_one_step_at_a_time(finished) -> None:
    """Telemetry is on by default, and pools without a limit do not hold writers apart."""
    settings = (finished[0].dagster / "dagster.yaml").read_text()
    assert "telemetry: {enabled: false}" in settings
    assert "nux: {enabled: false}" in settings
    assert "default_limit: 1" in settings
    assert "run_monitoring:\n  enabled: true" in settings
