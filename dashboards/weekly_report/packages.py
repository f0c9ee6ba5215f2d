"""Demand that is sold already: tokens that packages, the trial ones among them, still hold."""

from __future__ import annotations

import polars as pl

from dashboards.bilingual import LANGUAGES, Bilingual, compact, percent, same, say, whole
from dashboards.figures.tokens import package_demand_figure
from dashboards.weekly_report.parts import Chart, Names, Table, region_name
from dashboards.weekly_report.published import Readings

SHOWN_MODELS = 6


def packages(readings: Readings, names: Names) -> dict:
    """Tokens still to come from sold packages by week, region and model; a reason where that can't be told."""
    demand = readings.package_demand
    if readings.is_past:
        return {"title": say("packages_past", week=same(readings.iso_week)), "chart": None}
    if demand.is_empty() or not demand["expected_tokens"].sum():
        return {"title": say("packages_none"), "chart": None}
    weeks = demand.group_by("iso_week").agg(pl.sum("expected_tokens")).sort("iso_week")
    total = weeks["expected_tokens"].sum()
    peak = weeks.sort("expected_tokens", descending=True).row(0, named=True)
    served = next((float(row["tokens"]) for row in readings.usage_weeks
                   if row["week_start_date"] == readings.week_start_date and row["tokens"]), None)
    title = say("title_packages", total=compact(total), weeks=whole(weeks.height), peak=compact(peak["expected_tokens"]),
                week=same(peak["iso_week"]), share=percent(peak["expected_tokens"] / served if served else None))
    table = Table(
        say("data_table_rows", count=whole(weeks.height)),
        [(say("column_week"), False), (say("column_expected_tokens"), True), (say("column_share_of_served"), True)],
        [[same(week), compact(tokens), percent(tokens / served if served else None, 1)] for week, tokens in weeks.iter_rows()],
    )
    return {
        "title": title, "free": over_commitment(readings, served, total, peak["expected_tokens"]),
        "chart": Chart("packages", say("packages_title"),
                       say("packages_summary", first=same(weeks["iso_week"][0]), last=same(weeks["iso_week"][-1]),
                           now=compact(weeks["expected_tokens"][0]), end=compact(weeks["expected_tokens"][-1])),
                       {language: package_demand_figure(weeks, language) for language in LANGUAGES}, table),
        "regions": _ranked(demand.with_columns(
            pl.Series("key", [names.region_of(site_id) for site_id in demand["origin_site_id"]], dtype=pl.String)),
            say("packages_by_region"), say("column_region"), total,
            lambda key: region_name(key) if key else say("unknown_value")),
        "models": _ranked(demand.with_columns(pl.col("model_id").alias("key")), say("packages_by_model", count=whole(SHOWN_MODELS)),
                          say("column_served_model"), total, lambda key: same(readings.models.get(key, key)), SHOWN_MODELS),
    }


def over_commitment(readings: Readings, served_tokens: float | None, sold_tokens: float, peak_tokens: float) -> Bilingual | None:
    """What is sold against the tokens that this week's free usable supply could have served; None where nothing was served.

    A free accelerator-hour is worth the week's mean tokens of a serving hour: which models will be asked for is not known.
    """
    now = readings.pools.filter(pl.col("week_start_date") == readings.week_start_date)
    hours = now["served"].sum()
    if not served_tokens or not hours:
        return None
    free = (now["usable"] - now["demand"]).clip(lower_bound=0).sum() * served_tokens / hours
    if not free:
        return say("packages_nothing_free")
    return say("packages_free" if peak_tokens <= free else "packages_over_committed", free=compact(free),
               rate=compact(served_tokens / hours), share=percent(peak_tokens / free), weeks=same(f"{sold_tokens / free:.1f}"))


def _ranked(demand: pl.DataFrame, caption: Bilingual, header: Bilingual, total: float, name, shown: int = 99) -> Table:
    rows = demand.group_by("key").agg(pl.sum("expected_tokens")).sort("expected_tokens", "key", descending=[True, False])
    return Table(
        caption, [(header, False), (say("column_expected_tokens"), True), (say("column_share"), True)],
        [[name(key), compact(tokens), percent(tokens / total)] for key, tokens in rows.head(shown).iter_rows()],
    )
