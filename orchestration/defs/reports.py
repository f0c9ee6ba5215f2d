"""Reports: written from published files only, so they say what readers can check.

A report of a past week, and what the latest one says of the week before, rest on the forecast that was
published then; where none was, it is made again from the marts, with nothing later than that week.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from orchestration import forecast_history, warehouse
from orchestration.defs import forecasts
from orchestration.defs.resources import HomeFolder
from orchestration.forecasting.iso_weeks import monday_of, week_of
from orchestration.forecasting.tables import CAPACITY_NEED
from orchestration.home import Home
from orchestration.partitions import ISO_WEEKS, week_of_partition


class WeeklyReportConfig(dg.Config):
    """The language that the page shows first and is printed in."""

    language: str = "en"


@dg.asset(
    key=["reports", "weekly_capacity"], deps=[["published", "capacity"]], group_name="reports",
    kinds={"plotly", "html"}, partitions_def=ISO_WEEKS,
    description=(
        "reports/weekly/<ISO week>.html, and printed to .pdf where there is a chromium: where demand crosses supply, when, and what to do about it. "
        "One partition an ISO week, named by its Monday; a past week is made again as of then."
    ),
)
def weekly_capacity(
    context: dg.AssetExecutionContext, home_folder: HomeFolder, config: WeeklyReportConfig
) -> dg.MaterializeResult:
    """Writes the weekly capacity report, one file that opens offline."""
    # Drawing libraries cost a second to import, and only this step draws.
    from dashboards.weekly_report import write_weekly_report
    from dashboards.weekly_report.pdf import PdfNotWritten, print_report

    home = home_folder.home
    iso_week = week_of_partition(context.partition_key)
    if not home.capacity.exists():
        raise dg.Failure("nothing has been published yet; `tidegauge run` publishes what was delivered")
    if warehouse.week_to_report(home.capacity) is None:
        raise dg.Failure(
            "no supply and no demand has been published yet, so there is nothing to report; "
            "deliver token usage or node pools and run `tidegauge run`"
        )
    out = home.reports / "weekly" / f"{iso_week}.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    frames, sources, told_at = forecasts_before(home, iso_week)
    write_weekly_report(
        home.capacity, iso_week, out, config.language, other_cutoffs=frames, forecast_sources=sources, told_at=told_at)
    metadata: dict[str, object] = {
        "path": dg.MetadataValue.path(out), "iso_week": iso_week, "byte_count": out.stat().st_size,
        **{f"forecast of {week}": source for week, source in sources.items()},
    }
    pdf = out.with_suffix(".pdf")
    try:
        metadata["pdf"] = dg.MetadataValue.path(print_report(out, pdf, config.language))
    except PdfNotWritten as reason:
        # The print of an earlier report beside this one would be taken for this one's.
        pdf.unlink(missing_ok=True)
        context.log.warning(str(reason))
        metadata["pdf_missing"] = str(reason)
    return dg.MaterializeResult(metadata=metadata)


def forecasts_before(
    home: Home, iso_week: str
) -> tuple[Mapping[str, pl.DataFrame], Mapping[str, str], Mapping[str, datetime]]:
    """Forecast tables of the week and the one before it, as far as the published file lacks them.

    Returns rows by table, and by week where they are from: ``published`` (kept when readers were given
    it) or ``again`` (made again now), and when readers were given it. A week that no mart knows is left out.
    """
    with warehouse.open_published(home.capacity) as connection:

        def weeks(query: str) -> set[str]:
            return {row[0] for row in connection.execute(query).fetchall()}

        decided = weeks("select distinct cutoff_week from capacity.fct_capacity_need")
        held = {week_of(sunday) for sunday in weeks("select distinct cutoff_date from capacity.fct_supply_plan_weekly")}
        known = weeks("select distinct iso_week from capacity.fct_supply_demand_weekly")
    found: dict[str, list[pl.DataFrame]] = {}
    sources: dict[str, str] = {}
    told_at: dict[str, datetime] = {}
    for week in (week_of(monday_of(iso_week) - timedelta(days=7)), iso_week):
        if week in held or week not in known:
            continue
        told = forecast_history.told(home, week)
        frames = told.frames if told else forecasts.compute(home, week)[0]
        sources[week] = "published" if told or week in decided else "again"
        if told:
            told_at[week] = told.published_at
        for name, frame in frames.items():
            if name == CAPACITY_NEED.name and week in decided:
                continue
            found.setdefault(name, []).append(frame)
    return {name: pl.concat(frames, how="diagonal_relaxed") for name, frames in found.items()}, sources, told_at
