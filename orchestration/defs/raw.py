"""Raw: landing files become typed Parquet and receipts. One asset a feed, one partition a delivery day."""

import warnings
from collections.abc import Mapping, Sequence

import dagster as dg

from orchestration import raw_store
from orchestration.contracts import FEEDS, TABLES
from orchestration.defs.landing import freshness_of, landing_metadata
from orchestration.defs.resources import HomeFolder
from orchestration.partitions import DELIVERY_DAYS, days_between
from orchestration.progress import Progress, report

REPLAY_TAG = "tidegauge/replay"
# The delivery table of one day in the UI stays readable, and its event small.
SHOWN_DELIVERIES = 50


def _raw_asset(feed: str) -> dg.AssetsDefinition:
    tables = [table for table in TABLES.values() if table.feed == feed]

    @dg.asset(
        key=["raw", feed], deps=[["landing", feed]], group_name="raw", kinds={"python", "parquet"},
        partitions_def=DELIVERY_DAYS, backfill_policy=dg.BackfillPolicy.single_run(),
        pool="warehouse_writer", freshness_policy=freshness_of(feed),
        description="\n\n".join(f"{table.name}: {table.description}" for table in tables),
    )
    def load(context: dg.AssetExecutionContext, home_folder: HomeFolder) -> dg.MaterializeResult:
        window = context.partition_key_range
        days = days_between(window.start, window.end)
        receipts = raw_store.ingest(
            home_folder.home, feed, days=days, progress=_reporter(f"raw/{feed}"), replay=is_replay(context.run.tags)
        )
        for day in days:
            context.add_asset_metadata(
                receipts_metadata([receipt for receipt in receipts if receipt.delivered_date == day]),
                partition_key=day.isoformat(),
            )
        context.log_event(
            dg.AssetObservation(asset_key=["landing", feed], metadata=landing_metadata(home_folder, feed))
        )
        if receipts:
            context.log_event(
                dg.AssetMaterialization(asset_key=["raw", "receipts"], metadata=receipts_metadata(receipts))
            )
        return dg.MaterializeResult()

    return load


def is_replay(tags: Mapping[str, str]) -> bool:
    """Whether a run asks for days again: a command's replay, or a backfill launched in the UI."""
    return tags.get(REPLAY_TAG) == "true" or "dagster/backfill" in tags


def _reporter(step: str):
    def tell(done: int, total: int, name: str) -> None:
        report(Progress("advanced", step, done, total, name))

    return tell


def receipts_metadata(receipts: Sequence[raw_store.Receipt]) -> dict[str, object]:
    """What one day's load did, in lines, and what became of each delivery."""
    rows = [
        f"| {receipt.delivery_name} | {receipt.format} | {receipt.status} | {receipt.received_count} "
        f"| {receipt.loaded_count} | {receipt.duplicate_count} | {receipt.quarantined_count} |"
        for receipt in sorted(receipts, key=lambda receipt: (not receipt.quarantined_count, receipt.delivery_name))
    ]
    heading = (
        "| delivery | format | status | received | loaded | duplicate | quarantined |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    more = f"\n\nand {len(rows) - SHOWN_DELIVERIES} more" if len(rows) > SHOWN_DELIVERIES else ""
    metadata: dict[str, object] = {
        "delivery_count": len(receipts),
        "received_count": sum(receipt.received_count for receipt in receipts),
        "loaded_count": sum(receipt.loaded_count for receipt in receipts),
        "duplicate_count": sum(receipt.duplicate_count for receipt in receipts),
        "quarantined_count": sum(receipt.quarantined_count for receipt in receipts),
    }
    if rows:
        metadata["deliveries"] = dg.MetadataValue.md(heading + "\n".join(rows[:SHOWN_DELIVERIES]) + more)
    return metadata


with warnings.catch_warnings():
    # Backfill policies and freshness policies are marked beta.
    warnings.simplefilter("ignore", dg.BetaWarning)
    raw_assets = [_raw_asset(feed) for feed in FEEDS]

receipts_ledger = dg.AssetSpec(
    key=["raw", "receipts"], group_name="raw", kinds={"duckdb"}, deps=[["raw", feed] for feed in FEEDS],
    description=(
        "One row per delivery: lines received, loaded, duplicate and quarantined. A receipt is the commit "
        "of its delivery; the build reads the ledger together with the raw tables."
    ),
)
