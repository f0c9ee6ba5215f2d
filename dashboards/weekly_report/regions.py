"""One page a hub region: demand against supply, the hours of its week, and what its hours were spent on.

A region is the sites that share a hub region. Its forecast is the published one of its level: added
quantiles of sites would be as wide as if all of them peaked together.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from dashboards.bilingual import LANGUAGES, Bilingual, compact, percent, same, say, whole
from dashboards.figures.demand_supply import demand_supply_figure
from dashboards.figures.diurnal import diurnal_figure
from dashboards.figures.hours import PARTS, hours_by_week_figure
from dashboards.weekly_report.parts import (
    Family,
    Names,
    Table,
    region_name,
    split_figure,
)
from dashboards.weekly_report.published import Readings, iso_week_of

LEVEL = "hub_region"


def regions(readings: Readings, names: Names) -> dict:
    """Every region, the fullest first; a reason where no site belongs to one."""
    found = sorted(set(readings.sites["hub_region"].drop_nulls()) - {""})
    if not found or readings.week_start_date is None or readings.busy_hours.is_empty():
        return {"items": [], "reason": say("regions_none"), "families": None, "title": None, "note": None}
    site_region = readings.sites.select(pl.col("site_id"), pl.col("hub_region")).filter(pl.col("hub_region").is_in(found))
    history, forecast = (
        frame.filter(pl.col("level") == LEVEL).rename({"series_id": "hub_region"}).drop("level")
        for frame in (readings.busy_hours, readings.forecast)
    )
    plan = (
        readings.supply_plan.join(site_region, on="site_id").group_by("hub_region", "target_date")
        .agg(pl.sum("usable_accelerator_count", "committed_accelerator_count"))
    )
    hours = readings.hours.join(site_region, on="site_id")
    usage = readings.usage_hours.join(site_region, on="site_id").group_by("hub_region", "weekday", "hour").agg(pl.sum("tokens"))
    items = []
    for region in found:
        picked = pl.col("hub_region") == region
        item = _region(region, history.filter(picked), forecast.filter(picked), plan.filter(picked), hours.filter(picked),
                       usage.filter(picked), readings, names)
        if item is not None:
            items.append(item)
    items.sort(key=lambda item: (-(item["load_ratio"] or 0), item["region"]))
    crossing = sum(item["crosses"] for item in items)
    return {
        "items": items, "reason": None if items else say("regions_none"),
        "title": say("title_regions", crossing=whole(crossing), count=whole(len(items)), top=region_name(items[0]["region"]),
                     load=percent(items[0]["load_ratio"])) if items else None,
        "note": say("regions_note"),
        "families": _families(readings, items),
    }


def _region(
    region: str, history: pl.DataFrame, forecast: pl.DataFrame, plan: pl.DataFrame, hours: pl.DataFrame, usage: pl.DataFrame,
    readings: Readings, names: Names,
) -> dict | None:
    """One region's words, numbers and frames; None when it has neither demand nor supply."""
    if history.is_empty() and plan.is_empty():
        return None
    now = history.filter(pl.col("week_start_date") == readings.week_start_date)
    demand = float(now["demand_accelerator_count"][0]) if now.height else None
    usable = _usable(plan, now)
    crossing = _crossing(forecast, plan)
    actions = [row for row in readings.need if names.region_of(row["site_id"]) == region and row["action"] != "none"]
    added = sum(row["add_accelerator_count"] or 0 for row in actions)
    short = demand is not None and demand > usable
    values = {"region": region_name(region), "demand": whole(demand), "usable": whole(usable),
              "load": percent(demand / usable if demand is not None and usable else None), "week": same(iso_week_of(crossing)) if crossing else same("–")}
    values["do"] = say("region_do", actions=whole(len(actions)), added=whole(added)) if actions else say("region_rest")
    key = "region_short" if short else "region_crosses" if crossing else "region_holds" if not forecast.is_empty() else "region_unknown"
    weeks = hours.group_by("week_start_date").agg(pl.all().exclude("site_id", "week_start_date", "hub_region").sum()).sort(
        "week_start_date").filter(pl.col("installed_accelerator_hours") > 0)
    weeks = weeks.with_columns(
        pl.Series("iso_week", [iso_week_of(monday) for monday in weeks["week_start_date"]], dtype=pl.String))
    return {
        "region": region, "name": region_name(region), "title": say(key, **values), "crosses": bool(short or crossing),
        "load_ratio": demand / usable if demand is not None and usable else None,
        "history": history, "forecast": forecast, "plan": plan, "weeks": weeks, "usage": usage,
        "hours_title": _hours_title(region, usage), "waste_title": _waste_title(region, weeks, readings),
        "fan_table": fan_table(history, forecast, plan, say("fan_title")), "hours_table": _hours_table(usage),
        "waste_table": _waste_table(weeks),
    }


def _usable(plan: pl.DataFrame, now: pl.DataFrame) -> float:
    if plan.height:
        return float(plan.sort("target_date")["usable_accelerator_count"][0])
    return float(now["usable_accelerator_count"][0]) if now.height else 0.0


def _crossing(forecast: pl.DataFrame, plan: pl.DataFrame) -> date | None:
    above = (
        forecast.filter(pl.col("quantile") == 0.5).join(plan.select("target_date", "usable_accelerator_count"), on="target_date")
        .filter(pl.col("value") > pl.col("usable_accelerator_count")).sort("target_date")
    )
    return above["target_date"][0] if above.height else None


def _hours_title(region: str, usage: pl.DataFrame) -> Bilingual:
    if usage.is_empty() or not usage["tokens"].max():
        return say("diurnal_none", site=region_name(region))
    top = usage.sort("tokens", "weekday", "hour", descending=[True, False, False]).row(0, named=True)
    return say("region_hours", weekday=say(f"weekday_{top['weekday']}"), hour=same(f"{top['hour']:02d}"),
               peak=percent(top["tokens"] / (usage["tokens"].sum() / 168) if usage.height else None))


def _waste_title(region: str, weeks: pl.DataFrame, readings: Readings) -> Bilingual:
    now = weeks.filter(pl.col("week_start_date") == readings.week_start_date)
    if now.is_empty():
        return say("region_waste_none")
    row = now.row(0, named=True)
    share = {part: row[f"{part}_accelerator_hours"] / row["installed_accelerator_hours"] for part, _, _ in PARTS}
    return say("region_waste", busy=percent(share["allocated_busy"]), idle=percent(share["allocated_idle"]),
               fragmented=percent(share["fragmented"]), free=percent(share["free"]),
               down=percent(share["down"] + share["planned_down"], 1))


def fan_table(history: pl.DataFrame, forecast: pl.DataFrame, plan: pl.DataFrame, caption: Bilingual) -> Table:
    """Every number of a demand and supply chart, one row a week."""
    past = {row["week_start_date"]: row for row in history.iter_rows(named=True)}
    ahead = {row["target_date"]: row for row in plan.iter_rows(named=True)}
    quantiles: dict[date, dict[float, float]] = {}
    for target, quantile, value in forecast.select("target_date", "quantile", "value").iter_rows():
        quantiles.setdefault(target, {})[quantile] = value
    keys = ("actual", "p10", "p50", "p90", "supply", "committed")
    rows = []
    for monday in sorted({*past, *ahead, *quantiles}):
        then, soon, odds = past.get(monday, {}), ahead.get(monday, {}), quantiles.get(monday, {})
        arriving = soon.get("committed_accelerator_count")
        rows.append([
            same(monday.isoformat()), whole(then.get("demand_accelerator_count")),
            *(whole(odds.get(quantile)) for quantile in (0.1, 0.5, 0.9)),
            whole(soon.get("usable_accelerator_count", then.get("usable_accelerator_count"))), whole(arriving or None),
        ])
    return Table(caption, [(say("column_monday"), False), *((say(f"column_{key}"), True) for key in keys)], rows)


def _hours_table(usage: pl.DataFrame) -> Table:
    tokens = {(weekday, hour): value for weekday, hour, value in usage.select("weekday", "hour", "tokens").iter_rows()}
    return Table(
        say("diurnal_tokens"), [(say("column_hour"), True), *((say(f"weekday_{weekday}"), True) for weekday in range(1, 8))],
        [[same(f"{hour}:00"), *(compact(tokens.get((weekday, hour))) for weekday in range(1, 8))] for hour in range(24)],
    )


def _waste_table(weeks: pl.DataFrame) -> Table:
    return Table(
        say("waste_weeks_title_region"), [(say("column_week"), False), *((say(f"part_{part}"), True) for part, _, _ in PARTS)],
        [[same(row["iso_week"]), *(percent(row[f"{part}_accelerator_hours"] / row["installed_accelerator_hours"], 1)
                                   for part, _, _ in PARTS)] for row in weeks.iter_rows(named=True)],
    )


def _families(readings: Readings, items: list[dict]) -> dict[str, Family]:
    """The three charts of a region: each once without data, per language, and the data per region."""
    no_hours = pl.DataFrame(schema={"weekday": pl.Int64, "hour": pl.Int64, "share_of_peak_ratio": pl.Float64})
    empty = items[0] if items else None
    if empty is None:
        return {}
    families = {
        "fan": Family({language: demand_supply_figure(
            empty["history"].head(0), empty["forecast"].head(0), empty["plan"].head(0), language) for language in LANGUAGES}),
        "hours": Family({language: diurnal_figure(no_hours, language) for language in LANGUAGES}),
        "waste": Family({language: hours_by_week_figure(empty["weeks"].head(0), language) for language in LANGUAGES}),
    }
    for item in items:
        region = item["region"]
        families["fan"].members[region] = split_figure(
            demand_supply_figure(item["history"], item["forecast"], item["plan"], "en"))
        peak = item["usage"]["tokens"].max()
        if peak:
            shares = item["usage"].with_columns((pl.col("tokens") / peak).alias("share_of_peak_ratio"))
            families["hours"].members[region] = split_figure(diurnal_figure(shares, "en"), ("z",))
        families["waste"].members[region] = split_figure(hours_by_week_figure(item["weeks"], "en"), ("x", "y"))
    return families


