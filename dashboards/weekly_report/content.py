"""What the weekly report says: titles, tables and charts, computed from what was read.

Each section is a function from readings to a dictionary that the template writes. Every title is
computed from the numbers; what can't be shown comes with its reason. No reading, no HTML.
"""

from __future__ import annotations

import json
import math
from datetime import date, timedelta

import polars as pl

from dashboards.bilingual import (
    LANGUAGES,
    Bilingual,
    compact,
    day,
    joined,
    named,
    percent,
    same,
    say,
    shanghai_time,
    short_day,
    signed_percent,
    signed_points,
    whole,
)
from dashboards.figures.accuracy import accuracy_figure
from dashboards.figures.demand_supply import demand_supply_figure
from dashboards.figures.diurnal import diurnal_figure
from dashboards.figures.gaps import gaps_figure
from dashboards.figures.hours import PARTS, hours_by_site_figure, hours_by_week_figure
from dashboards.figures.network_map import LABEL_FROM_RATIO, network_map_figure, week_marks
from dashboards.strings import STRINGS
from dashboards.weekly_report.changes import changes
from dashboards.weekly_report.matching import matching
from dashboards.weekly_report.outlook import outlook
from dashboards.weekly_report.packages import packages
from dashboards.weekly_report.parts import (
    ACTION_OWNERS,
    NO_WEEK_TEXT,
    Chart,
    Family,
    Names,
    Table,
    action_words,
    region_name,
    split_figure,
    with_names,
)
from dashboards.weekly_report.published import Readings, iso_week_of
from dashboards.weekly_report.regions import regions

SHOWN_ACTIONS = 12
WASTE_SITES = 15
BUSIEST_LINKS = 10
NAMED_POOLS = 6
MAP_WEEKS = (-6, 12)
GAP_SITES = 15
LEAST_GAP = {"usage": 1.0, "telemetry": 1.0}
"""Less than an hour, or than a percent, of a day is not drawn."""
ACCURACY_LEVELS = ("site_accelerator", "site", "hub_region", "nation")
RIVALS = ("weighted",)
"""Models that may take seasonal naive's place."""
ALL_TYPES = ""


def build(readings: Readings) -> dict:
    """Everything the template needs, section by section."""
    names = Names(readings)
    return {
        "head": _head(readings),
        "decisions": _decisions(readings, names),
        "indicators": _indicators(readings),
        "changes": changes(readings, names),
        "network": _network(readings, names),
        "regions": regions(readings, names),
        "sites": _sites(readings, names),
        "waste": _waste(readings, names),
        "matching": matching(readings, names),
        "outlook": outlook(readings),
        "packages": packages(readings, names),
        "accuracy": _accuracy(readings, names),
        "quality": _quality(readings, names),
        "assumptions": _assumptions(),
        "versions": [(named(name, name), named(value, value)) for name, value in readings.versions.items()],
        "filters": _filters(readings, names),
    }


def _filters(readings: Readings, names: Names) -> dict:
    """What can be chosen, and the rows that an export of the chosen part holds: raw numbers, ids beside names."""
    regions_found = sorted(set(readings.sites["hub_region"].drop_nulls()) - {""})
    columns = ("now_p95_utilization_ratio", "demand_accelerator_count", "usable_accelerator_count", "runs_out_week_p10",
               "runs_out_week_p50", "runs_out_week_p90", "action", "add_accelerator_count", "order_by_date",
               "expected_shortfall_accelerator_count", "confidence")
    decisions = [
        [row["cutoff_week"], names.region_of(row["site_id"]), row["site_id"], names.site(row["site_id"]).plain(),
         row["accelerator_id"], *(row[column] for column in columns), ACTION_OWNERS.get(row["action"], "")]
        for row in sorted(readings.need, key=_urgency)
    ]
    acting = {row["action"] for row in readings.need}
    return {
        "regions": [{"region": region, "name": region_name(region).plain()} for region in regions_found],
        "owners": {owner: say(f"owner_{owner}").plain() for action, owner in ACTION_OWNERS.items() if action in acting},
        "exports": {
            "decisions": {
                "columns": ["cutoff_week", "hub_region", "site_id", "site_name", "accelerator_id", *columns, "owner"],
                "region": 1, "owner": 5 + len(columns), "rows": decisions,
            },
        },
    }


# --- head and headline ---------------------------------------------------------------------------


def _head(readings: Readings) -> dict:
    publication = readings.publication
    received = sum(row["received_count"] or 0 for row in readings.deliveries)
    quarantined = sum(row["quarantined_count"] or 0 for row in readings.deliveries)
    facts = []
    if readings.week_start_date:
        facts.append(say("week_range", first=short_day(readings.week_start_date),
                         last=day(readings.week_start_date + timedelta(days=6))))
    if publication.get("data_as_of"):
        facts.append(say("meta_as_of", instant=shanghai_time(publication["data_as_of"])))
    if received:
        facts.append(say("meta_complete", share=percent(1 - float(quarantined) / float(received), 2)))
    if publication.get("published_at"):
        facts.append(say("meta_published", instant=shanghai_time(publication["published_at"])))
    if publication.get("run_id"):
        facts.append(say("meta_run", run=same(str(publication["run_id"])[:8])))
    notice = None
    if readings.is_past:
        notice = say(f"past_{readings.forecast_sources.get(readings.iso_week, 'none')}", week=same(readings.iso_week or NO_WEEK_TEXT))
    return {"iso_week": readings.iso_week or NO_WEEK_TEXT, "facts": facts, "notice": notice}


def _crossing(week: str | None, iso_week: str | None, never: str = "runs_out_never") -> Bilingual:
    if week is None:
        return say(never)
    return say("runs_out_now") if week == iso_week else same(week)


def _why(row: dict, names: Names) -> Bilingual:
    """The reason in words, from the code and numbers that the forecast left."""
    why = json.loads(row["why"])
    growth = why.get("weekly_growth_ratio")
    shortfall = why.get("shortfall_accelerators")
    parts = [say(
        f"why_{why['code']}", growth=signed_percent(growth), shortfall=whole(math.ceil(shortfall or 0)),
        week=same(why.get("last_known_week") or NO_WEEK_TEXT),
    )]
    if why.get("committed_accelerators"):
        parts.append(say("why_committed", count=whole(why["committed_accelerators"])))
    if row["latency_accelerator_count"]:
        parts.append(say("why_latency", count=whole(row["latency_accelerator_count"])))
    if "to_site_id" in why:
        link = named(why["link_id"], why["link_id"])
        key = "why_link" if row["action"] == "move_load" else "why_could_move"
        parts.append(say(key, link=link, site=names.site(why["to_site_id"])))
    if "from_site_id" in why and row["action"] == "none":
        parts.append(say("why_could_bring", count=whole(why["move_accelerators"]), site=names.site(why["from_site_id"])))
    if why["code"] not in ("ended", "unplaced", "new_pool") and why.get("known_weeks", 0) < 8:
        parts.append(say("why_few_weeks", count=whole(why["known_weeks"])))
    return joined(parts, "sentence_separator")


def _short_why(row: dict, names: Names) -> Bilingual:
    """The reason in two words, for lists on paper; in full where there are none for it."""
    key = f"short_{json.loads(row['why'])['code']}"
    return say(key) if key in STRINGS else _why(row, names)


def _order_by(row: dict, readings: Readings) -> Bilingual:
    if row["order_by_date"] is None:
        return say("order_not_needed")
    if row["order_by_date"] <= readings.week_start_date + timedelta(days=7):
        return say("order_overdue", date=short_day(row["order_by_date"]))
    return day(row["order_by_date"])


def _decision(row: dict, readings: Readings, names: Names) -> dict:
    week = readings.iso_week
    return {
        "site_id": row["site_id"],
        "region": names.region_of(row["site_id"]),
        "accelerator_id": row["accelerator_id"],
        "action": row["action"],
        "where": names.site(row["site_id"]),
        "pool": names.accelerator(row["accelerator_id"]),
        "now": percent(row["now_p95_utilization_ratio"]),
        "demand": whole(row["demand_accelerator_count"]),
        "usable": whole(row["usable_accelerator_count"]),
        "median": _crossing(row["runs_out_week_p50"], week),
        "certain": _crossing(row["runs_out_week_p90"], week),
        "early": None if row["runs_out_week_p10"] in (None, row["runs_out_week_p50"])
        else say("early_warning", week=same(row["runs_out_week_p10"])),
        "is_short": row["runs_out_week_p50"] == week,
        "what": action_words(row, names),
        "order_by": _order_by(row, readings),
        "why": _why(row, names),
        "short_why": _short_why(row, names),
        "owner": say(f"owner_{ACTION_OWNERS[row['action']]}") if row["action"] in ACTION_OWNERS else same(NO_WEEK_TEXT),
        "owner_key": ACTION_OWNERS.get(row["action"], ""),
        "confidence": say(f"confidence_{row['confidence']}"),
        "confidence_key": row["confidence"],
    }


def _urgency(row: dict) -> tuple:
    return (row["runs_out_week_p50"] or "9999", row["runs_out_week_p10"] or "9999",
            -row["expected_shortfall_accelerator_count"], row["site_id"], row["accelerator_id"])


def _decisions(readings: Readings, names: Names) -> dict:
    if not readings.need:
        reason = (
            say("empty_marts") if readings.pools.is_empty()
            else say("reason_no_forecast", week=same(readings.iso_week or NO_WEEK_TEXT))
        )
        return {"title": say("title_no_forecast"), "reason": reason, "first": [], "more": [], "none": [], "nothing_done": None}
    rows = sorted(readings.need, key=_urgency)
    acting = [row for row in rows if row["action"] != "none"]
    resting = [row for row in rows if row["action"] == "none"]
    lead_time = (readings.week_start_date + timedelta(weeks=12)).isocalendar()
    before = f"{lead_time.year}-W{lead_time.week:02d}"
    short = [row for row in acting if row["runs_out_week_p50"]]
    late = [row for row in short if row["runs_out_week_p50"] <= before]
    if acting:
        consequence = {0: "consequence_none", 1: "consequence_one"}.get(
            len(short), "consequence_all" if len(late) == len(short) else "consequence_many")
        title = say("title_actions" if len(acting) > 1 else "title_one_action", actions=whole(len(acting)),
                    consequence=say(consequence, short=whole(len(short)), late=whole(len(late))))
    else:
        title = say("title_no_action", pools=whole(len(rows)))
    decisions = [_decision(row, readings, names) for row in acting]
    expected = sum(row["expected_shortfall_accelerator_count"] for row in rows)
    demand = sum(row["demand_accelerator_count"] or 0 for row in rows)
    return {
        "title": title,
        "reason": None,
        "first": decisions[:SHOWN_ACTIONS],
        "more": decisions[SHOWN_ACTIONS:],
        "more_title": say("more_actions", count=whole(max(len(decisions) - SHOWN_ACTIONS, 0))),
        "none": [_decision(row, readings, names) for row in resting],
        "none_title": say("no_action_pools", count=whole(len(resting))) if resting else say("no_action_pools_none"),
        "nothing_done": say(
            "nothing_done", expected=whole(expected), pools=whole(len(rows)), share=percent(expected / demand if demand else None)) if acting else None,
    }


# --- headline numbers ----------------------------------------------------------------------------


def _by_week(frame: pl.DataFrame, column: str) -> list[float]:
    """Sums per week in order; nothing when there is no row."""
    if frame.is_empty():
        return []
    return frame.group_by("week_start_date").agg(pl.sum(column)).sort("week_start_date")[column].to_list()


def _sparkline(values: list[float], width: int = 116, height: int = 26) -> list[tuple[float, float]]:
    """Points of a small line for the values, the last week at the right."""
    values = values[-13:]
    if len(values) < 2:
        return []
    low, high = min(values), max(values)
    reach = (high - low) or 1.0
    return [
        (round(2 + index * (width - 4) / (len(values) - 1), 1),
         round(height - 3 - (value - low) / reach * (height - 6), 1))
        for index, value in enumerate(values)
    ]


def _indicator(key: str, value: Bilingual, note: Bilingual | None, series: list[float]) -> dict:
    return {"key": key, "label": say(key), "value": value, "note": note, "line": _sparkline(series)}


def _week_on_week(series: list[float], points: bool = False) -> Bilingual:
    if len(series) < 2:
        return say("kpi_no_previous")
    if points:
        return say("kpi_wow", change=signed_points(series[-1] - series[-2]))
    return say("kpi_wow", change=signed_percent(series[-1] / series[-2] - 1 if series[-2] else None))


def _indicators(readings: Readings) -> dict | None:
    pools = readings.pools
    if pools.is_empty():
        return None
    strip = [
        _indicator(key, compact(series[-1]), _week_on_week(series), series)
        for key, series in (
            ("kpi_demand", _by_week(pools, "demand")), ("kpi_usable", _by_week(pools, "usable")),
            ("kpi_unmet", _by_week(pools, "unmet")),
        )
    ]
    hot = pools.with_columns(
        (pl.col("p95_utilization_ratio").fill_null(0) >= LABEL_FROM_RATIO).cast(pl.Float64).alias("hot"))
    hot_series = _by_week(hot, "hot")
    this_week = pools.filter(pl.col("week_start_date") == readings.week_start_date)
    strip.append(_indicator("kpi_hot", whole(hot_series[-1]), say("kpi_of_pools", count=whole(this_week.height)),
                            hot_series))
    strip += _hours_indicators(readings.hours)
    tokens = [float(row["tokens"] or 0) for row in readings.usage_weeks]
    if tokens and readings.usage_weeks[-1]["week_start_date"] == readings.week_start_date:
        strip.append(_indicator("kpi_tokens", compact(int(readings.usage_weeks[-1]["tokens"])),
                                _week_on_week(tokens), tokens))
    strip += _accuracy_indicator(readings)
    return {"items": strip, "note": say("kpi_needs_year", count=whole(pools["week_start_date"].n_unique()))}


def _hours_indicators(hours: pl.DataFrame) -> list[dict]:
    if hours.is_empty():
        return [_indicator("kpi_allocation", same(NO_WEEK_TEXT), say("kpi_hours_missing"), [])]
    weeks = hours.group_by("week_start_date").agg(pl.all().exclude("site_id", "week_start_date").sum())
    weeks = weeks.sort("week_start_date").with_columns(
        (pl.col("allocated_busy_accelerator_hours") + pl.col("allocated_idle_accelerator_hours")).alias("held"))
    allocation = [held / installed if installed else 0.0
                  for held, installed in weeks.select("held", "installed_accelerator_hours").iter_rows()]
    utilization = [busy / held if held else 0.0
                   for busy, held in weeks.select("allocated_busy_accelerator_hours", "held").iter_rows()]
    return [
        _indicator(key, percent(series[-1], 1), _week_on_week(series, points=True), series)
        for key, series in (("kpi_allocation", allocation), ("kpi_utilization", utilization))
    ]


def _model_in_use(readings: Readings) -> str | None:
    return next((row["model"] for row in readings.need if row.get("model")), None)


def _pooled(readings: Readings, model: str | None, level: str = "site_accelerator") -> dict[str, float]:
    """Metrics of a model over all series of a level."""
    rows = readings.accuracy.filter(
        (pl.col("level") == level) & (pl.col("series_id") == "all") & (pl.col("model") == (model or "")))
    return dict(rows.select("metric", "value").iter_rows())


def _accuracy_indicator(readings: Readings) -> list[dict]:
    model = _model_in_use(readings)
    wape = _pooled(readings, model).get("wape")
    if wape is None:
        return []
    naive = _pooled(readings, "seasonal_naive").get("wape")
    return [_indicator("kpi_wape", percent(wape, 1), say("kpi_against_naive", value=percent(naive, 1)), [])]


# --- network -------------------------------------------------------------------------------------


def _site_loads(readings: Readings, monday: date) -> pl.DataFrame:
    """One row a site with pools in a week that is over: busy-hour demand, usable, unmet, load (null: nothing was up)."""
    busy = readings.busy_hours.filter(
        (pl.col("level") == "site") & (pl.col("week_start_date") == monday)
    ).select(
        pl.col("series_id").alias("site_id"), "demand_accelerator_count", "usable_accelerator_count",
        pl.when(pl.col("available_accelerator_count") > 0)
        .then(pl.col("demand_accelerator_count") / pl.col("available_accelerator_count")).alias("load_ratio"),
    )
    unmet = (
        readings.pools.filter(pl.col("week_start_date") == monday)
        .group_by("site_id").agg(pl.sum("unmet"))
    )
    return _by_load(readings.sites.join(busy, on="site_id").join(unmet, on="site_id", how="left"))


def _site_loads_ahead(readings: Readings, monday: date) -> pl.DataFrame:
    """The same of a week to come: the median forecast over what will be up.

    That is usable supply, committed deliveries counted in, times what was up for each usable accelerator this week:
    measured against usable supply alone every site would seem to fill up on Monday.
    """
    usable = (
        readings.supply_plan.filter(pl.col("target_date") == monday)
        .group_by("site_id").agg(pl.sum("usable_accelerator_count"))
    )
    demand = readings.forecast.filter(
        (pl.col("level") == "site") & (pl.col("quantile") == 0.5) & (pl.col("target_date") == monday)
    ).select(pl.col("series_id").alias("site_id"), pl.col("value").alias("demand_accelerator_count"))
    now = readings.busy_hours.filter(
        (pl.col("level") == "site") & (pl.col("week_start_date") == readings.week_start_date) & (pl.col("usable_accelerator_count") > 0)
    ).select(pl.col("series_id").alias("site_id"), (pl.col("available_accelerator_count") / pl.col("usable_accelerator_count")).alias("up_ratio"))
    loads = readings.sites.join(demand, on="site_id").join(usable, on="site_id", how="left").join(now, on="site_id", how="left")
    up = pl.col("usable_accelerator_count") * pl.col("up_ratio").fill_null(1.0)
    return _by_load(loads.with_columns(pl.col("usable_accelerator_count").fill_null(0.0)).with_columns(
        pl.when(up > 0).then(pl.col("demand_accelerator_count") / up).alias("load_ratio"),
        pl.lit(None, dtype=pl.Float64).alias("unmet"),
    ).drop("up_ratio"))


def _by_load(sites: pl.DataFrame) -> pl.DataFrame:
    return sites.sort(pl.col("load_ratio").fill_null(99.0), pl.col("demand_accelerator_count"), descending=[True, True])


def _map_weeks(readings: Readings, names: Names, sites: pl.DataFrame, drawn: pl.DataFrame) -> list[dict]:
    """The weeks that the map and its table can show this week's sites in: how marks look, the ranked rows, a sentence.

    Weeks follow each other without a hole, so that a slider can count them: the first unknown one ends each way.
    """
    named_both = drawn.with_columns(
        with_names(drawn, names, language)["name"].alias(f"name_{language}") for language in LANGUAGES)
    found: list[dict] = []
    for offset in (*range(0, MAP_WEEKS[0] - 1, -1), *range(1, MAP_WEEKS[1] + 1)):
        monday = readings.week_start_date + timedelta(weeks=offset)
        loads = (_site_loads_ahead if offset > 0 else _site_loads)(readings, monday).join(sites, on="site_id", how="semi", maintain_order="left")
        before = offset + (1 if offset < 0 else -1)
        if loads.is_empty() or (offset and before not in {week["offset"] for week in found}):
            continue
        loaded = loads.filter(pl.col("load_ratio").is_not_null())
        week = iso_week_of(monday)
        found.append({
            "offset": offset, "week": week,
            "says": say(
                "map_week_ahead" if offset > 0 else "map_week", week=same(week),
                over=whole(loaded.filter(pl.col("load_ratio") >= LABEL_FROM_RATIO).height),
                site=names.site(loaded["site_id"][0]) if loaded.height else same(NO_WEEK_TEXT),
                load=percent(loaded["load_ratio"][0] if loaded.height else None),
                links=say("map_links_of", week=same(readings.iso_week or NO_WEEK_TEXT)) if offset else same(""),
            ).plain(),
            "rows": [
                [site_id, None if load is None else round(load, 4), *(None if value is None else round(value) for value in values)]
                for site_id, load, *values in loads.select(
                    "site_id", "load_ratio", "demand_accelerator_count", "usable_accelerator_count", "unmet").iter_rows()
            ],
            **week_marks(named_both, loads),
        })
    return sorted(found, key=lambda week: week["offset"])


def _network(readings: Readings, names: Names) -> dict:
    sites = _site_loads(readings, readings.week_start_date) if readings.week_start_date else readings.sites.head(0)
    links = readings.links
    measured = links.filter(pl.col("load_ratio").is_not_null()).sort("load_ratio", descending=True)
    links_table = Table(
        say("links_table"),
        [(say("column_between"), False), (say("column_link"), "id"), (say("column_capacity"), True), (say("column_link_load"), True),
         (say("column_unknown_share"), True)],
        [[say("link_between", first=names.site(row["a_site_id"]), second=names.site(row["b_site_id"])),
          named(row["link_id"], row["link_id"]), whole(row["capacity_gbps"]), percent(row["load_ratio"]),
          percent(row["unknown_ratio"])] for row in measured.head(BUSIEST_LINKS).iter_rows(named=True)],
    ) if measured.height else None
    base = {"links": links_table, "links_reason": say("links_no_data"), "chart": None, "unplaced": None, "weeks": []}
    if sites.is_empty():
        return {**base, "title": say("title_network_empty")}
    over = sites.filter(pl.col("load_ratio") >= LABEL_FROM_RATIO)
    loaded = sites.filter(pl.col("load_ratio").is_not_null())
    top = loaded.row(0, named=True) if loaded.height else None
    hot_links = measured.filter(pl.col("load_ratio") >= LABEL_FROM_RATIO).height
    key = "title_network_no_links" if measured.is_empty() else "title_network"
    title = say(key, over=whole(over.height), links=whole(hot_links),
                site=names.site(top["site_id"]) if top else same(NO_WEEK_TEXT),
                load=percent(top["load_ratio"] if top else None))
    drawn = sites.filter(pl.col("latitude").is_not_null() & pl.col("longitude").is_not_null())
    table = Table(
        say("sites_table"),
        [(same("#"), True), (say("column_site"), False), (say("column_kind"), False), (say("column_load"), True),
         (say("column_demand"), True), (say("column_usable"), True), (say("column_unmet"), True)],
        [[whole(rank), names.site(row["site_id"]),
          say(row["site_kind"]) if row["site_kind"] in ("hub", "hotspot") else say("unknown_value"),
          percent(row["load_ratio"]),
          whole(row["demand_accelerator_count"]), whole(row["usable_accelerator_count"]), whole(row["unmet"])]
         for rank, row in enumerate(sites.iter_rows(named=True), start=1)],
        [names.region_of(site_id) for site_id in sites["site_id"]],
    )
    if drawn.is_empty():
        return {**base, "title": say("title_network_empty"), "table": table}
    chart = Chart(
        "network", title, say("network_summary", sites=whole(drawn.height)),
        {language: network_map_figure(with_names(drawn, names, language), links, language)
         for language in LANGUAGES}, table,
    )
    hidden = sites.height - drawn.height
    return {**base, "title": title, "chart": chart, "weeks": _map_weeks(readings, names, sites, drawn),
            "unplaced": say("network_unplaced", count=whole(hidden)) if hidden else None}


# --- sites ---------------------------------------------------------------------------------------


def _sites(readings: Readings, names: Names) -> dict:
    """The demand and supply chart and the heat map of every site and pool, one shown at a time."""
    keys = _site_keys(readings)
    if not keys:
        return {"options": [], "fan": None, "diurnal": None, "reason": say("sites_no_data")}
    empty_history = readings.busy_hours.head(0)
    empty_plan = readings.supply_plan.head(0)
    fan = Family({
        language: demand_supply_figure(empty_history, readings.forecast.head(0), empty_plan, language)
        for language in LANGUAGES
    })
    history = readings.busy_hours.partition_by("level", "series_id", as_dict=True)
    forecast = readings.forecast.partition_by("level", "series_id", as_dict=True)
    plans = _plans(readings.supply_plan)
    needs = {f"{row['site_id']}/{row['accelerator_id']}": row for row in readings.need}
    summaries: dict[str, dict[str, str]] = {}
    for site_id, accelerator_ids in keys.items():
        for accelerator_id in (ALL_TYPES, *accelerator_ids):
            level, series_id = (
                ("site_accelerator", f"{site_id}/{accelerator_id}") if accelerator_id else ("site", site_id)
            )
            past = history.get((level, series_id), empty_history)
            ahead = forecast.get((level, series_id), readings.forecast.head(0))
            plan = plans.get(series_id, empty_plan)
            key = f"{site_id}\n{accelerator_id}"
            # The Chinese figure differs from the English one in words only, which the skeleton holds.
            fan.members[key] = split_figure(demand_supply_figure(past, ahead, plan, "en"))
            where = names.pool(site_id, accelerator_id) if accelerator_id else names.site(site_id)
            need = needs.get(series_id)
            summaries[key] = _site_summary(where, past, ahead, plan, need, readings).plain()
    diurnal, diurnal_summaries = _diurnal(readings, names, list(keys))
    acting = [row for row in readings.need if row["action"] != "none"]
    worst = max(acting, key=lambda row: row["expected_shortfall_accelerator_count"], default=None)
    first = (worst["site_id"], worst["accelerator_id"]) if worst else (next(iter(keys)), ALL_TYPES)
    return {
        "options": [
            {"site_id": site_id, "region": names.region_of(site_id), "name": names.site(site_id).plain(),
             "pools": [{"accelerator_id": accelerator_id, "name": names.accelerator(accelerator_id).plain()}
                       for accelerator_id in accelerator_ids]}
            for site_id, accelerator_ids in keys.items()
        ],
        "first": {"site": first[0], "pool": first[1]},
        "fan": fan, "summaries": summaries, "diurnal": diurnal, "diurnal_summaries": diurnal_summaries,
        "reason": None,
    }


def _site_keys(readings: Readings) -> dict[str, list[str]]:
    """Sites with their accelerator types, the busiest site first."""
    weight = (
        readings.pools.group_by("site_id").agg(pl.max_horizontal("demand", "usable").sum().alias("weight"))
        .sort("weight", "site_id", descending=[True, False])
    )
    types = readings.pools.select("site_id", "accelerator_id").unique().sort("site_id", "accelerator_id")
    by_site: dict[str, list[str]] = {site_id: [] for site_id in weight["site_id"]}
    for site_id, accelerator_id in types.iter_rows():
        by_site[site_id].append(accelerator_id)
    return by_site


def _plans(plan: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Supply to come by series: each pool's, and each site's sum."""
    measures = ("usable_accelerator_count", "committed_accelerator_count")
    pools = {
        f"{site_id}/{accelerator_id}": rows
        for (site_id, accelerator_id), rows in plan.partition_by("site_id", "accelerator_id", as_dict=True).items()
    }
    sums = plan.group_by("site_id", "target_date").agg(pl.sum(*measures)).sort("site_id", "target_date")
    return pools | {site_id: rows for (site_id,), rows in sums.partition_by("site_id", as_dict=True).items()}


def _site_summary(
    where: Bilingual, past: pl.DataFrame, ahead: pl.DataFrame, plan: pl.DataFrame, need: dict | None,
    readings: Readings,
) -> Bilingual:
    this_week = past.filter(pl.col("week_start_date") == readings.week_start_date)
    usable = float(plan["usable_accelerator_count"][0]) if plan.height else (
        float(past["usable_accelerator_count"][-1]) if past.height else 0.0)
    if ahead.is_empty():
        ended = need is not None and json.loads(need["why"])["code"] == "ended"
        return say("site_no_forecast", where=where,
                   reason=say("site_reason_ended" if ended else "site_reason_absent"))
    if this_week.is_empty():
        return say("site_demand_unknown", where=where, usable=whole(usable))
    demand = float(this_week["demand_accelerator_count"][0])
    if demand > usable:
        return say("site_short_now", where=where, demand=whole(demand), usable=whole(usable))
    median = ahead.filter(pl.col("quantile") == 0.5).join(plan, on="target_date").sort("target_date")
    above = median.filter(pl.col("value") > pl.col("usable_accelerator_count"))
    if above.height:
        return say("site_crosses", where=where, demand=whole(demand), usable=whole(usable),
                   week=same(iso_week_of(above["target_date"][0])))
    last = ahead.filter(pl.col("target_date") == ahead["target_date"].max())
    value = dict(last.select("quantile", "value").iter_rows())
    return say("site_holds", where=where, demand=whole(demand), usable=whole(usable), ahead=whole(value[0.5]),
               low=whole(value[0.1]), high=whole(value[0.9]))


def _diurnal(readings: Readings, names: Names, site_ids: list[str]) -> tuple[Family, dict[str, dict[str, str]]]:
    schema = {"weekday": pl.Int64, "hour": pl.Int64, "share_of_peak_ratio": pl.Float64}
    family = Family({language: diurnal_figure(pl.DataFrame(schema=schema), language) for language in LANGUAGES})
    summaries = {}
    by_site = {key[0]: rows for key, rows in readings.usage_hours.partition_by("site_id", as_dict=True).items()}
    for site_id in site_ids:
        rows = by_site.get(site_id)
        peak = rows["tokens"].max() if rows is not None else None
        if not peak:
            summaries[site_id] = say("diurnal_none", site=names.site(site_id)).plain()
            continue
        shares = rows.with_columns((pl.col("tokens") / peak).alias("share_of_peak_ratio"))
        family.members[site_id] = split_figure(diurnal_figure(shares, "en"), ("z",))
        top = rows.sort("tokens", descending=True).row(0, named=True)
        summaries[site_id] = say(
            "diurnal_summary", site=names.site(site_id), weekday=say(f"weekday_{top['weekday']}"),
            hour=same(f"{top['hour']:02d}"), tokens=compact(peak), total=compact(rows["tokens"].sum()),
        ).plain()
    return family, summaries


# --- waste ---------------------------------------------------------------------------------------


def _waste(readings: Readings, names: Names) -> dict:
    hours = readings.hours
    now = hours.filter(pl.col("week_start_date") == readings.week_start_date) if readings.week_start_date else hours
    installed = now["installed_accelerator_hours"].sum() or 0
    if not installed:
        return {"title": say("waste_none"), "charts": [], "unknown": None}
    share = {part: now[f"{part}_accelerator_hours"].sum() / installed for part, _, _ in PARTS}
    title = say(
        "title_waste", busy=percent(share["allocated_busy"]), idle=percent(share["allocated_idle"]),
        fragmented=percent(share["fragmented"], 1), free=percent(share["free"]),
        down=percent(share["down"] + share["planned_down"], 1),
    )
    weeks = (
        hours.group_by("week_start_date").agg(pl.all().exclude("site_id", "week_start_date").sum())
        .sort("week_start_date").filter(pl.col("installed_accelerator_hours") > 0)
    )
    weeks = weeks.with_columns(
        pl.Series("iso_week", [iso_week_of(monday) for monday in weeks["week_start_date"]], dtype=pl.String))
    sites = (
        now.filter(pl.col("installed_accelerator_hours") > 0)
        .with_columns(
            (pl.col("installed_accelerator_hours") - pl.col("allocated_busy_accelerator_hours")).alias("not_busy"))
        .sort("not_busy", "site_id", descending=[True, False])
    )
    top = sites.row(0, named=True)
    shown = sites.head(WASTE_SITES)
    charts = [
        Chart("waste_weeks", say("waste_weeks_title"),
              say("waste_weeks_summary", count=whole(weeks.height), busy=percent(share["allocated_busy"])),
              {language: hours_by_week_figure(weeks, language) for language in LANGUAGES},
              _hours_table(say("column_week"), [(same(row["iso_week"]), row) for row in weeks.iter_rows(named=True)])),
        Chart("waste_sites", say("waste_sites_title", count=whole(shown.height)),
              say("waste_sites_summary", site=names.site(top["site_id"]), hours=whole(top["not_busy"]),
                  share=percent(top["not_busy"] / top["installed_accelerator_hours"])),
              {language: hours_by_site_figure(with_names(shown, names, language), language)
               for language in LANGUAGES},
              _hours_table(say("column_site"),
                           [(names.site(row["site_id"]), row) for row in sites.iter_rows(named=True)])),
    ]
    held = now["allocated_busy_accelerator_hours"].sum() + now["allocated_idle_accelerator_hours"].sum()
    unknown = now["unknown_activity_accelerator_hours"].sum()
    return {
        "title": title, "charts": charts,
        "unknown": say("waste_unknown_activity", share=percent(unknown / held)) if held and unknown else None,
    }


def _hours_table(first: Bilingual, rows: list[tuple[Bilingual, dict]]) -> Table:
    return Table(
        say("data_table_rows", count=whole(len(rows))),
        [(first, False), (say("column_installed"), True), *((say(f"part_{part}"), True) for part, _, _ in PARTS)],
        [[name, whole(row["installed_accelerator_hours"]),
          *(percent(row[f"{part}_accelerator_hours"] / row["installed_accelerator_hours"], 1) for part, _, _ in PARTS)]
         for name, row in rows],
    )


# --- accuracy ------------------------------------------------------------------------------------


def _accuracy(readings: Readings, names: Names) -> dict:
    in_use = _model_in_use(readings) or "seasonal_naive"
    pooled = _pooled(readings, in_use)
    if not pooled:
        return {"title": say("title_accuracy_none"), "chart": None, "table": None, "losing": None}
    coverage = percent(pooled.get("coverage_80_ratio"))
    title = (
        say("title_accuracy_naive", coverage=coverage) if in_use == "seasonal_naive"
        else say("title_accuracy_better", ratio=percent(pooled.get("relative_quantile_loss")), coverage=coverage)
    )
    errors = readings.accuracy.filter(
        (pl.col("level") == "site_accelerator") & (pl.col("series_id") == "all")
        & pl.col("metric").str.starts_with("wape_week_")
    ).select("model", pl.col("metric").str.slice(-2).cast(pl.Int64).alias("weeks_ahead"),
             pl.col("value").alias("wape_ratio"))
    models = [model for model in ("seasonal_naive", *RIVALS)
              if model in set(errors["model"])]
    by_week = {(model, week): value for model, week, value in errors.iter_rows()}
    weeks = sorted(set(errors["weeks_ahead"]))
    table = Table(
        say("data_table_rows", count=whole(len(weeks))),
        [(say("axis_weeks_ahead"), True), *((say(f"model_{model}"), True) for model in models)],
        [[whole(week), *(percent(by_week.get((model, week)), 1) for model in models)] for week in weeks],
    )
    chart = Chart("accuracy", say("accuracy_title"), say("accuracy_summary"),
                  {language: accuracy_figure(errors, in_use, language) for language in LANGUAGES}, table)
    return {"title": title, "chart": chart, "table": _accuracy_table(readings, in_use),
            "losing": _losing_pools(readings, names, in_use)}


def _accuracy_table(readings: Readings, in_use: str) -> Table:
    rows = []
    for level in ACCURACY_LEVELS:
        for model in ("seasonal_naive", *RIVALS):
            metrics = _pooled(readings, model, level)
            if not metrics:
                continue
            loss = metrics.get("relative_quantile_loss")
            marks = []
            if model == in_use:
                marks.append(say("model_in_use"))
            if model != "seasonal_naive" and loss is not None and loss > 1:
                marks.append(say("loses_to_naive"))
            label = say(f"model_{model}")
            if marks:
                label = say("name_with_kind", name=label, kind=joined(marks))
            rows.append([
                say(f"level_{level}"), label, same(NO_WEEK_TEXT if loss is None else f"{loss:.2f}"),
                percent(metrics.get("wape"), 1), percent(metrics.get("coverage_80_ratio")),
                percent(metrics.get("coverage_95_ratio")), whole(metrics.get("scored_count")),
            ])
    return Table(
        say("accuracy_table"),
        [(say("column_level"), False), (say("column_model"), False), (say("column_relative_loss"), True),
         (say("column_wape"), True), (say("column_coverage_80"), True), (say("column_coverage_95"), True),
         (say("column_scored"), True)], rows,
    )


def _losing_pools(readings: Readings, names: Names, in_use: str) -> Bilingual | None:
    """Pools whose own loss is above seasonal naive's, named; or the levels for which that is shown instead."""
    if in_use == "seasonal_naive":
        return _lost_levels(readings)
    losing = readings.accuracy.filter(
        (pl.col("level") == "site_accelerator") & (pl.col("series_id") != "all") & (pl.col("model") == in_use)
        & (pl.col("metric") == "relative_quantile_loss") & (pl.col("value") > 1)
    ).sort("value", descending=True)
    if losing.is_empty():
        return say("losing_pools_none")
    pools = {f"{row['site_id']}/{row['accelerator_id']}": row for row in readings.need}
    shown = [
        names.pool(pools[series_id]["site_id"], pools[series_id]["accelerator_id"])
        for series_id in losing["series_id"].head(NAMED_POOLS) if series_id in pools
    ]
    if losing.height > len(shown):
        shown.append(say("and_more", count=whole(losing.height - len(shown))))
    return say("losing_pools", count=whole(losing.height), names=joined(shown, "name_separator"))


def _lost_levels(readings: Readings) -> Bilingual | None:
    """Why seasonal naive is shown: levels where another model's loss is above it; None when there is no other."""
    lost = [
        say("lost_level", model=say(f"model_{model}"), level=say(f"level_{level}"), loss=same(f"{loss:.2f}"))
        for model in RIVALS for level in ACCURACY_LEVELS
        if (loss := _pooled(readings, model, level).get("relative_quantile_loss")) is not None and loss > 1
    ]
    return say("naive_because", levels=joined(lost, "name_separator")) if lost else None


# --- quality -------------------------------------------------------------------------------------


def _quality(readings: Readings, names: Names) -> dict:
    missing, gaps = readings.missing_tables, _gaps(readings, names)
    notes = [_reconciliation(readings), *_usage_notes(readings), _unregistered(readings)]
    if missing:
        notes.append(say("quality_tables_missing", names=same(", ".join(missing))))
    if not readings.deliveries:
        return {"title": say("quality_none"), "table": None, "notes": notes, "gaps": gaps}
    fresh = {row["feed"]: row for row in readings.freshness}
    counts = ("received_count", "loaded_count", "duplicate_count", "quarantined_count")
    totals = {name: sum(int(row[name] or 0) for row in readings.deliveries) for name in counts}
    worst = max((abs(row["difference"]) for row in readings.reconciliation if row["difference"] is not None), default=0)
    title = say(
        "title_quality", received=whole(totals["received_count"]), quarantined=whole(totals["quarantined_count"]),
        share=percent(totals["quarantined_count"] / totals["received_count"] if totals["received_count"] else None, 3),
        difference=whole(worst) if readings.reconciliation else say("unknown_value"),
    )
    table = Table(
        say("deliveries_caption"),
        [(say("column_feed"), False), (say("column_deliveries"), True), (say("column_received"), True),
         (say("column_loaded"), True), (say("column_duplicate"), True), (say("column_quarantined"), True),
         (say("column_whole_files"), True), (say("column_last_event"), True), (say("column_last_delivery"), True)],
        [[named(row["feed"], row["feed"]), whole(row["delivery_count"]), *(whole(int(row[name] or 0)) for name in counts),
          whole(row["rejected_delivery_count"]), shanghai_time(fresh.get(row["feed"], {}).get("last_event_at")),
          same(fresh.get(row["feed"], {}).get("last_delivered_date") or NO_WEEK_TEXT)]
         for row in readings.deliveries],
    )
    return {"title": title, "table": table, "notes": notes, "gaps": gaps}


def _gaps(readings: Readings, names: Names) -> dict:
    """Drop-outs of usage and of telemetry by site and day; a sentence in a chart's place where nothing is missing."""
    charts, silent = [], []
    for kind, unit in (("usage", "h"), ("telemetry", "%")):
        known = readings.gaps.filter(pl.col("kind") == kind)
        days = sorted(set(known["usage_date"]))
        missing = known.filter(pl.col("gap") >= LEAST_GAP[kind])
        if not days:
            silent.append(say(f"gaps_{kind}_absent"))
            continue
        if missing.is_empty():
            silent.append(say(f"gaps_{kind}_none", days=whole(len(days))))
            continue
        by_site = missing.group_by("site_id").agg(
            pl.sum("gap").alias("total"), pl.max("gap").alias("worst"), pl.len().alias("days"), pl.max("usage_date").alias("last"),
        ).sort("total", "site_id", descending=[True, False])
        top = by_site.row(0, named=True)
        order = by_site.head(GAP_SITES).select("site_id", pl.int_range(pl.len()).alias("rank"))
        shown = known.join(order, on="site_id").sort("rank", "usage_date")
        title = say(f"gaps_{kind}_title", sites=whole(by_site.height), site=names.site(top["site_id"]),
                    total=whole(by_site["total"].sum()), most=whole(top["total"]), worst=whole(top["worst"]), days=whole(top["days"]))
        charts.append(Chart(
            f"gaps_{kind}", title, say(f"gaps_{kind}_summary", shown=whole(order.height), days=whole(len(days))),
            {language: gaps_figure(with_names(shown, names, language), days, unit, language) for language in LANGUAGES},
            Table(
                say("data_table_rows", count=whole(by_site.height)),
                [(say("column_site"), False), (say(f"column_gap_{kind}"), True), (say("column_gap_days"), True),
                 (say("column_gap_worst"), True), (say("column_gap_last"), True)],
                [[names.site(row["site_id"]),
                  whole(row["total"]) if kind == "usage" else percent(row["total"] / 100 / row["days"], 1), whole(row["days"]),
                  whole(row["worst"]) if kind == "usage" else percent(row["worst"] / 100, 1), day(row["last"])]
                 for row in by_site.iter_rows(named=True)],
            ),
        ))
    return {"charts": charts, "silent": silent}


def _reconciliation(readings: Readings) -> Bilingual:
    rows = readings.reconciliation
    if not rows:
        return say("quality_reconciliation_absent")
    broken = [row for row in rows if row["difference"] is None or row["difference"] != 0]
    if not broken:
        return say("quality_reconciled", count=whole(len(rows)))
    shown = [named(f"{row['name']} ({row['difference']})", None) for row in broken[:NAMED_POOLS]]
    return say("quality_unreconciled", count=whole(len(broken)), names=joined(shown))


def _usage_notes(readings: Readings) -> list[Bilingual]:
    week = next((row for row in readings.usage_weeks if row["week_start_date"] == readings.week_start_date), None)
    if week is None:
        return [say("quality_usage_absent")]
    served, unmetered = int(week["request_count"] or 0), int(week["unmetered_request_count"] or 0)
    notes = [
        say("quality_unmetered", count=whole(unmetered), share=percent(unmetered / served if served else None, 2))
        if unmetered else say("quality_unmetered_none")
    ]
    if readings.unknown_shares:
        notes.append(say("quality_unknown", **{
            name: percent(share, 1) for name, share in readings.unknown_shares.items()}))
    return notes


def _unregistered(readings: Readings) -> Bilingual:
    strangers = readings.sites.filter(
        pl.col("is_registered").not_() & (pl.col("site_id") != "unknown"))["site_id"].to_list()
    if not strangers:
        return say("quality_unregistered_none")
    shown = [named(site_id, site_id) for site_id in strangers[:NAMED_POOLS]]
    if len(strangers) > len(shown):
        shown.append(say("and_more", count=whole(len(strangers) - len(shown))))
    return say("quality_unregistered", names=joined(shown))


# --- assumptions ---------------------------------------------------------------------------------

TERMS = (
    ("term_pool", "text_pool", "definition", "dim_site, dim_accelerator"),
    ("term_usable", "text_usable", "definition", "fct_supply_demand_weekly"),
    ("term_demand", "text_demand", "definition", "fct_supply_demand_weekly"),
    ("term_busy_hour", "text_busy_hour", "definition", "fct_busy_hour_demand_weekly"),
    ("term_load", "text_load", "definition", "fct_capacity_need"),
    ("term_runs_out", "text_runs_out", "definition", "fct_capacity_need"),
    ("term_order", "text_order", "assumption", "fct_capacity_need, fct_serving_staffing; DeepSeek open-infra-index, 2025-02-27/28"),
    ("term_order_by", "text_order_by", "assumption", "fct_capacity_need"),
    ("term_move", "text_move", "method", "fct_capacity_need"),
    ("term_owner", "text_owner", "assumption", "fct_capacity_need"),
    ("term_committed", "text_committed", "definition", "fct_supply_plan_weekly"),
    ("term_forecast", "text_forecast", "method", "fct_demand_forecast"),
    ("term_tokens_ahead", "text_tokens_ahead", "method", "fct_token_forecast, fct_token_demand_weekly"),
    ("term_confidence", "text_confidence", "definition", "fct_capacity_need"),
    ("term_wape", "text_wape", "definition", "fct_forecast_accuracy"),
    ("term_waste", "text_waste", "definition", "fct_accelerator_hours_daily"),
    ("term_link_load", "text_link_load", "definition", "fct_link_utilization_hourly"),
    ("term_matching", "text_matching", "method", "fct_matching_plan, fct_binding_constraint_weekly"),
    ("term_packages", "text_packages", "definition", "fct_package_demand"),
    ("term_restated", "text_restated", "definition", "fct_restatements"),
    ("term_map", "text_map", "method", "dim_site, dim_link"),
)
"""Term, text, kind, and the mart or publication that the numbers are from."""


def _assumptions() -> list[dict]:
    return [{"term": say(term), "text": say(text), "kind": say(kind), "source": named(source, source)}
            for term, text, kind, source in TERMS]
