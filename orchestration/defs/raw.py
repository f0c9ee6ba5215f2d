"""Raw: landing files become typed Parquet and receipts. One asset a feed, one partition a delivery day."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from orchestration import charts, raw_store
from orchestration.contracts import FEEDS, TABLES, Table, duckdb_type
from orchestration.defs.landing import freshness_of, landing_metadata
from orchestration.defs.resources import OWNERS, HomeFolder
from orchestration.partitions import DELIVERY_DAYS, days_between
from orchestration.progress import Progress, report

REPLAY_TAG = "tidegauge/replay"
# The delivery table of one day in the UI stays readable, and its event small.
SHOWN_DELIVERIES = 50
# A day's deliveries hold that day's events, and a little of the day before.
SHOWN_HOURS = 36
# Hours are counted at 0.3 CPU-s a million rows; a load of years goes without the picture.
CHARTED_ROWS = 10_000_000


def _raw_asset(feed: str) -> dg.AssetsDefinition:
    tables = [table for table in TABLES.values() if table.feed == feed]

    @dg.asset(
        key=["raw", feed], deps=[["landing", feed]], group_name="raw", kinds={"python", "parquet"},
        partitions_def=DELIVERY_DAYS, backfill_policy=dg.BackfillPolicy.single_run(),
        pool="warehouse_writer", freshness_policy=freshness_of(feed),
        owners=OWNERS["raw"], metadata={"columns": dg.MetadataValue.md(columns_of(tables))},
        description="\n\n".join(f"**{table.name}**: {table.description}" for table in tables),
    )
    def load(context: dg.AssetExecutionContext, home_folder: HomeFolder) -> dg.MaterializeResult:
        window = context.partition_key_range
        days = days_between(window.start, window.end)
        receipts = raw_store.ingest(
            home_folder.home, feed, days=days, progress=_reporter(f"raw/{feed}"), replay=is_replay(context.run.tags)
        )
        is_small = sum(receipt.loaded_count for receipt in receipts) <= CHARTED_ROWS
        by_hour = raw_store.rows_by_hour(home_folder.home, receipts) if is_small else {}
        for day in days:
            of_day = [receipt for receipt in receipts if receipt.delivered_date == day]
            context.add_asset_metadata(
                receipts_metadata(of_day) | hours_metadata(of_day, by_hour), partition_key=day.isoformat()
            )
        context.log_event(
            dg.AssetObservation(asset_key=["landing", feed], metadata=landing_metadata(home_folder, feed))
        )
        if receipts:
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=["raw", "receipts"],
                    metadata=receipts_metadata(receipts) | {"dagster/row_count": len(raw_store.receipts(home_folder.home))},
                )
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
    ordered = sorted(receipts, key=lambda receipt: (not receipt.quarantined_count, receipt.delivery_name))
    rows = [
        (
            r.delivery_name, r.status, r.received_count, r.loaded_count, r.duplicate_count, r.quarantined_count,
            ", ".join(f"{count} {reason}" for reason, count in r.quarantined_by_reason.items()) or r.message,
            r.format, r.delivery_id[:12],
        )
        for r in ordered[:SHOWN_DELIVERIES]
    ]
    headings = ("delivery", "status", "received", "loaded", "duplicate", "quarantined", "why", "format", "sha256")
    more = f"\n\nand {len(ordered) - SHOWN_DELIVERIES} more" if len(ordered) > SHOWN_DELIVERIES else ""
    metadata: dict[str, object] = {
        "delivery_count": len(receipts),
        "received_count": sum(receipt.received_count for receipt in receipts),
        "loaded_count": sum(receipt.loaded_count for receipt in receipts),
        "duplicate_count": sum(receipt.duplicate_count for receipt in receipts),
        "quarantined_count": sum(receipt.quarantined_count for receipt in receipts),
        "dagster/row_count": sum(receipt.loaded_count for receipt in receipts if receipt.status == "loaded"),
    }
    if rows:
        metadata["deliveries"] = dg.MetadataValue.md(charts.table(headings, rows) + more)
        metadata["parser_versions"] = ", ".join(sorted({receipt.parser_version for receipt in receipts}))
    return metadata


def hours_metadata(
    receipts: Sequence[raw_store.Receipt], by_hour: Mapping[str, Mapping[datetime, int]]
) -> dict[str, object]:
    """A chart of one day's rows by the hour of their event; how many are older than the chart reaches."""
    rows: dict[datetime, int] = {}
    for receipt in receipts:
        for hour, row_count in by_hour.get(receipt.delivery_id, {}).items():
            rows[hour] = rows.get(hour, 0) + row_count
    if not rows:
        return {}
    last = max(rows)
    shown = [last - timedelta(hours=offset) for offset in reversed(range(SHOWN_HOURS))]
    shown = shown[next(index for index, hour in enumerate(shown) if hour in rows):]
    chart = charts.bars(
        f"Rows by hour of the event, to {last:%Y-%m-%d %H}:00 UTC", [f"{hour:%d. %H}h" for hour in shown],
        [rows.get(hour, 0) for hour in shown],
    )
    return {
        "rows_by_hour": dg.MetadataValue.md(chart),
        "older_row_count": sum(row_count for hour, row_count in rows.items() if hour < shown[0]),
    }


def columns_of(tables: Sequence[Table]) -> str:
    """The contract of a feed's tables as Markdown: column, type, unit, meaning."""
    return "\n\n".join(
        f"**{table.name}** (one row per {', '.join(table.grain)})\n\n" + charts.table(
            ("column", "type", "unit", "meaning"),
            [(c.name, duckdb_type(c.dtype), c.unit, c.description) for c in table.columns],
        )
        for table in tables
    )


with warnings.catch_warnings():
    # Backfill policies and freshness policies are marked beta.
    warnings.simplefilter("ignore", dg.BetaWarning)
    raw_assets = [_raw_asset(feed) for feed in FEEDS]

receipts_ledger = dg.AssetSpec(
    key=["raw", "receipts"], group_name="raw", kinds={"duckdb"}, owners=OWNERS["raw"], deps=[["raw", feed] for feed in FEEDS],
    description=(
        "One row per delivery: lines received, loaded, duplicate and quarantined. A receipt is the commit "
        "of its delivery; the build reads the ledger together with the raw tables."
    ),
)
