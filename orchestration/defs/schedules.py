"""When the pipeline runs: its job nightly, and the weekly report's every Monday morning."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from orchestration import raw_store
from orchestration.defs.resources import HomeFolder
from orchestration.forecasting.iso_weeks import week_of
from orchestration.partitions import partition_of_week

BUSINESS_ZONE = "Asia/Shanghai"
JOB_NAME = "tidegauge_pipeline"
REPORT_JOB_NAME = "weekly_capacity_report"
REPORT_KEY = dg.AssetKey(["reports", "weekly_capacity"])

# A job has one partitioning: the pipeline the days of delivery, the report the ISO weeks.
tidegauge_pipeline = dg.define_asset_job(
    JOB_NAME,
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(REPORT_KEY),
    executor_def=dg.in_process_executor,
    description="Landing to what readers open: load, check, build, forecast, audit, publish.",
)
weekly_capacity_report = dg.define_asset_job(
    REPORT_JOB_NAME,
    selection=dg.AssetSelection.assets(REPORT_KEY),
    executor_def=dg.in_process_executor,
    description="The weekly capacity report of one ISO week; a backfill makes past weeks again as of then.",
)


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run load every delivery day from first to last."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@dg.schedule(
    job=tidegauge_pipeline, cron_schedule="30 2 * * *", execution_timezone=BUSINESS_ZONE,
    description="02:30 in Shanghai: everything delivered and not yet loaded, however long we were down.",
)
def nightly(context: dg.ScheduleEvaluationContext, home_folder: HomeFolder) -> dg.RunRequest:
    """One run over all delivery days that still have something to load."""
    days = {file.delivered_date for file in raw_store.pending(home_folder.home)}
    days.add(context.scheduled_execution_time.astimezone(UTC).date())
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.isoformat(),
        tags=range_tags(min(days).isoformat(), max(days).isoformat()),
    )


@dg.schedule(
    job=weekly_capacity_report, cron_schedule="0 6 * * 1", execution_timezone=BUSINESS_ZONE,
    description="Monday 06:00 in Shanghai: the report of the week that just ended.",
)
def weekly_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The report alone: the nightly run has published the week by then."""
    ended = context.scheduled_execution_time.astimezone(ZoneInfo(BUSINESS_ZONE)).date() - timedelta(days=7)
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.isoformat(),
        partition_key=partition_of_week(week_of(ended)),
    )
