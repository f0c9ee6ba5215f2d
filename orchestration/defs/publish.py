"""Publish: copy aside, audit, move. Readers open nothing but what this wrote."""

import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import dagster as dg

from orchestration import charts, forecast_history, restatements, warehouse
from orchestration.defs import forecasts, matching
from orchestration.defs.dbt_models import dbt_models
from orchestration.defs.resources import OWNERS, HomeFolder

PUBLISHED_MARTS = [
    key for key in sorted(dbt_models.keys) if key.path[0] in warehouse.MART_SCHEMAS
] + [spec.key for module in (forecasts, matching) for spec in module.specs()]


DESCRIPTIONS = {
    "capacity": (
        "published/capacity.duckdb: the capacity and quality marts, without any price, cost or margin. "
        "It is replaced in one step, and only when every check of both audits holds."
    ),
    "finance": (
        "published/finance.duckdb: the finance and quality marts and the dimensions, for readers who may see money. "
        "It is replaced in one step, and only when every check of both audits holds."
    ),
}
AUDITS = {
    "capacity": "Lines, tokens and hours add up, keys are unique, and there is no money inside.",
    "finance": "Every token is settled once, every cost is allocated, margin is exact, and keys are unique.",
}


def specs() -> list[dg.AssetSpec]:
    """One asset an edition. A function, because a list of specs in a module would be loaded as assets too."""
    with warnings.catch_warnings():
        # Freshness policies are marked beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        nightly = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
        return [
            dg.AssetSpec(
                key=["published", name], deps=PUBLISHED_MARTS, group_name="publish", kinds={"duckdb"},
                description=description, owners=OWNERS["publish"] + OWNERS[name], freshness_policy=nightly,
            )
            for name, description in DESCRIPTIONS.items()
        ]


@dg.multi_asset(
    specs=specs(), pool="warehouse_writer",
    check_specs=[
        dg.AssetCheckSpec("audit", asset=["published", name], blocking=True, description=description)
        for name, description in AUDITS.items()
    ],
)
def published(
    context: dg.AssetExecutionContext, home_folder: HomeFolder
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Audits and publishes both editions, or neither."""
    try:
        publications = warehouse.publish(home_folder.home, context.run.run_id)
    except warehouse.AuditFailed as error:
        for name in DESCRIPTIONS:
            yield dg.AssetCheckResult(
                asset_key=["published", name], check_name="audit", passed=name != error.edition,
                metadata={"checks": audit_table(error.checks)},
            )
        raise
    forecast_history.keep(home_folder.home)
    for name, publication in publications.items():
        yield dg.MaterializeResult(
            asset_key=["published", name],
            metadata={
                "path": dg.MetadataValue.path(publication.path),
                "iso_week": publication.iso_week or "none",
                "data_as_of": str(publication.data_as_of),
                "dagster/row_count": sum(publication.row_counts.values()),
                "marts": dg.MetadataValue.md(charts.table(("mart", "rows"), sorted(publication.row_counts.items()))),
                "byte_count": publication.path.stat().st_size,
                "restated_figure_count": restatements.entries(home_folder.home, name)[-1].restatement_count,
                **(supply_metadata(publication.path) if name == "capacity" else {}),
            },
        )
        yield dg.AssetCheckResult(
            asset_key=["published", name], check_name="audit", passed=True,
            metadata={"checks": audit_table(publication.checks)},
        )


def supply_metadata(path: Path) -> dict[str, dg.MetadataValue]:
    """A chart of the nation's busy-hour demand so far against usable supply, committed deliveries included.

    Nothing while no week is whole.
    """
    with warehouse.open_published(path) as published:
        weeks = published.execute("""
            with latest as (select max(cutoff_date) as cutoff_date from capacity.fct_busy_hour_demand_weekly)
            select week_start_date, demand_accelerator_count, usable_accelerator_count
            from capacity.fct_busy_hour_demand_weekly semi join latest using (cutoff_date) where level = 'nation'
            union all
            select target_date, null, sum(usable_accelerator_count)
            from capacity.fct_supply_plan_weekly semi join latest using (cutoff_date) group by target_date
            order by all
        """).fetchall()
    chart = charts.lines(
        "Busy-hour demand so far and usable accelerators, deliveries included", [f"{week:%m-%d}" for week, _, _ in weeks],
        [("usable", [usable for _, _, usable in weeks]), ("demand", [demand for _, demand, _ in weeks])],
    )
    return {"supply_and_demand": dg.MetadataValue.md(chart)} if chart else {}


def audit_table(checks: Sequence[warehouse.AuditCheck]) -> dg.MetadataValue:
    """Every check with its figure; for those that failed, the next step."""
    rows = [
        ("ok" if check.passed else "FAILED", check.name, check.figure, "" if check.passed else check.next_step)
        for check in sorted(checks, key=lambda check: check.passed)
    ]
    return dg.MetadataValue.md(charts.table(("", "check", "figure", "next step"), rows))
