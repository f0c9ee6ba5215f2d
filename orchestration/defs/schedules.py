"""When the pipeline runs: one job, nightly; the weekly report on Monday morning."""

from datetime import UTC

import dagster as dg

from orchestration import raw_store
from orchestration.defs.resources import HomeFolder

BUSINESS_ZONE = "Asia/Shanghai"
JOB_NAME = "tidegauge_pipeline"

tidegauge_pipeline = dg.define_asset_job(
    JOB_NAME,
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Landing to weekly report: load, check, build, forecast, audit, publish, report.",
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
    job=tidegauge_pipeline, cron_schedule="0 6 * * 1", execution_timezone=BUSINESS_ZONE,
    description="Monday 06:00 in Shanghai: the report of the week that just ended.",
)
def weekly_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The report alone: the nightly run has published the week by then."""
    return dg.RunRequest(
        run_key=context.scheduled_execution_time.isoformat(),
        asset_selection=[dg.AssetKey(["reports", "weekly_capacity"])],
    )
