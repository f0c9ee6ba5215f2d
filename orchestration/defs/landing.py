"""Landing: the files as delivered. Tidegauge observes them and never writes them."""

import warnings
from datetime import timedelta

import dagster as dg

from orchestration import charts, landing
from orchestration.contracts import FEEDS
from orchestration.defs.resources import HomeFolder

DESCRIPTIONS = {
    "token_usage": "Metered records of model services, as the gateways and public traces deliver them.",
    "job_logs": "Job records of the schedulers: Slurm accounting, Kubernetes pods, Philly.",
    "telemetry": "Samples of accelerators, pools and optical links, as the exporters deliver them.",
    "reference": "Sites, links, accelerators, node pools, planned deliveries, tenants, models, holidays.",
}
# Days of the chart of what came.
SHOWN_DAYS = 60
# A feed delivers every day except the reference, which changes when the network does.
LATE_AFTER = {feed: timedelta(hours=36) for feed in FEEDS if feed != "reference"}


def freshness_of(feed: str) -> dg.FreshnessPolicy | None:
    """How long a feed may stay silent before the UI calls it late."""
    late_after = LATE_AFTER.get(feed)
    if late_after is None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=late_after, warn_window=timedelta(hours=26))


def _landing_asset(feed: str) -> dg.AssetsDefinition:
    @dg.observable_source_asset(
        key=["landing", feed], group_name="landing", description=DESCRIPTIONS[feed],
        tags={"dagster/kind/file": ""},
    )
    def observe(home_folder: HomeFolder) -> dg.ObserveResult:
        return dg.ObserveResult(metadata=landing_metadata(home_folder, feed))

    return observe


def landing_metadata(home_folder: HomeFolder, feed: str) -> dict[str, object]:
    """Files of a feed: how many, how big, the newest day, and those that are passed over and why."""
    files, skipped = landing.scan(home_folder.home, feed)
    bytes_by_day: dict[str, int] = {}
    for file in files:
        day = file.delivered_date.isoformat()
        bytes_by_day[day] = bytes_by_day.get(day, 0) + file.path.stat().st_size
    days = sorted(bytes_by_day)[-SHOWN_DAYS:]
    metadata: dict[str, object] = {
        "file_count": len(files),
        "byte_count": sum(bytes_by_day.values()),
        "newest_day": max(bytes_by_day, default="none"),
        "passed_over": dg.MetadataValue.md(
            charts.table(("file", "why"), [(item.path.name, item.message) for item in skipped[:50]]) if skipped else "none"
        ),
    }
    if days:
        metadata["bytes_by_day"] = dg.MetadataValue.md(
            charts.bars("Bytes by day delivered", [day[5:] for day in days], [bytes_by_day[day] for day in days])
        )
    return metadata


with warnings.catch_warnings():
    # Observable source assets are marked beta; the tests that list every asset would show a change.
    warnings.simplefilter("ignore", dg.BetaWarning)
    landing_assets = [_landing_asset(feed) for feed in FEEDS]
