"""Reports: written from published files only, so they say what readers can check."""

import dagster as dg

from orchestration import warehouse
from orchestration.defs.resources import HomeFolder


class WeeklyReportConfig(dg.Config):
    """Which week, and in which language; without a week, the latest whole one, or the one that has begun."""

    iso_week: str = ""
    language: str = "en"


@dg.asset(
    key=["reports", "weekly_capacity"], deps=[["published", "capacity"]], group_name="reports",
    kinds={"plotly", "html"},
    description="reports/weekly/<ISO week>.html: where demand crosses supply, when, and what to do about it.",
)
def weekly_capacity(home_folder: HomeFolder, config: WeeklyReportConfig) -> dg.MaterializeResult:
    """Writes the weekly capacity report, one file that opens offline."""
    # Drawing libraries cost a second to import, and only this step draws.
    from dashboards.weekly_report import write_weekly_report

    home = home_folder.home
    if not home.capacity.exists():
        raise dg.Failure("nothing has been published yet; `tidegauge run` publishes what was delivered")
    iso_week = config.iso_week or warehouse.week_to_report(home.capacity)
    if iso_week is None:
        raise dg.Failure(
            "no supply and no demand has been published yet, so there is nothing to report; "
            "deliver token usage or node pools and run `tidegauge run`"
        )
    out = home.reports / "weekly" / f"{iso_week}.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weekly_report(home.capacity, iso_week, out, config.language)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(out), "iso_week": iso_week, "byte_count": out.stat().st_size,
        }
    )
