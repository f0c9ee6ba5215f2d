"""Checks at raw: is each delivery what was promised? Great Expectations judges, and blocks."""

from collections.abc import Iterator, Sequence

import dagster as dg

from orchestration import charts, expectations, raw_store, warehouse
from orchestration.contracts import FEEDS, TABLES
from orchestration.defs.resources import HomeFolder
from orchestration.home import Home

CONTRACT = "contract_expectations"
PROFILE = "delivery_profile"


def _checks_of(feed: str) -> dg.AssetChecksDefinition:
    asset = dg.AssetKey(["raw", feed])

    @dg.multi_asset_check(
        name=f"raw_checks_{feed}",
        specs=[
            dg.AssetCheckSpec(
                CONTRACT, asset=asset, blocking=True,
                description="Rows, types, ranges and allowed values of the deliveries that no build has seen.",
            ),
            dg.AssetCheckSpec(
                PROFILE, asset=asset,
                description="Rows per hour and magnitudes against what the same source delivered before.",
            ),
        ],
    )
    def check(home_folder: HomeFolder) -> Iterator[dg.AssetCheckResult]:
        outcomes = outcomes_of(home_folder.home, feed)
        for name, failures, severity in (
            (CONTRACT, [line for outcome in outcomes for line in outcome.failures], dg.AssetCheckSeverity.ERROR),
            (PROFILE, [line for outcome in outcomes for line in outcome.warnings], dg.AssetCheckSeverity.WARN),
        ):
            yield dg.AssetCheckResult(
                asset_key=asset, check_name=name, passed=not failures, severity=severity,
                description="; ".join(failures[:3]) or None,
                metadata={
                    "failures": dg.MetadataValue.md("\n".join(f"- {charts.cell(line)}" for line in failures) or "none"),
                    "looked_at": dg.MetadataValue.md(looked_at(outcomes)),
                },
            )

    return check


def outcomes_of(home: Home, feed: str) -> list[expectations.ValidationOutcome]:
    """The verdict on each table of the feed, over its deliveries that no build has seen.

    Once a build has seen a delivery it is not judged again, so a run with nothing new costs nothing.
    """
    loaded = [receipt for receipt in raw_store.receipts(home, feed) if receipt.status == "loaded"]
    unbuilt = warehouse.unbuilt_delivery_ids(home) if loaded else set()
    fresh = [receipt for receipt in loaded if receipt.delivery_id in unbuilt]
    earlier = [receipt for receipt in loaded if receipt.delivery_id not in unbuilt]
    return [
        expectations.validate(
            home, TABLES[name],
            [receipt for receipt in fresh if receipt.table_name == name],
            [receipt for receipt in earlier if receipt.table_name == name],
        )
        for name in sorted({receipt.table_name for receipt in fresh})
    ]


def looked_at(outcomes: Sequence[expectations.ValidationOutcome]) -> str:
    """How much was judged, table by table."""
    if not outcomes:
        return "nothing new since the last build"
    return "\n".join(
        f"- {outcome.table_name}: {outcome.delivery_count} deliveries, {outcome.sampled_count:,} of "
        f"{outcome.row_count:,} rows, {outcome.expectation_count} expectations"
        for outcome in outcomes
    )


raw_checks = [_checks_of(feed) for feed in FEEDS]
