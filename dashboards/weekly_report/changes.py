"""What changed since last week: demand, supply, the decisions and what became of them, restated days.

The bridge from last week's gap to this week's replaces one input after the other (restated demand, new
demand, forecast method, supply) and so adds up exactly; a gap is the median forecast above usable supply,
added over pools.
"""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl

from dashboards.bilingual import (
    LANGUAGES,
    Bilingual,
    compact,
    day,
    named,
    percent,
    same,
    say,
    signed,
    signed_percent,
    whole,
)
from dashboards.figures.changes import movers_figure
from dashboards.figures.need_bridge import need_bridge_figure
from dashboards.figures.tokens import PRODUCTS, product_tokens_figure
from dashboards.weekly_report.parts import (
    Chart,
    Family,
    Names,
    Table,
    action_words,
    region_name,
    split_figure,
    with_names,
)
from dashboards.weekly_report.published import RESTATED_WEEKS, Readings, iso_week_of

MOVERS = 12
SHOWN_FATES = 12
SHOWN_SUPPLY = 5
SHOWN_RESTATEMENTS = 8
SUPPLY_CHANGE_RATIO = 0.02
LESS_DEMAND_RATIO = 0.98
POOL = ["site_id", "accelerator_id"]


def changes(readings: Readings, names: Names) -> dict:
    """The section's title, charts and tables; what can't be compared comes with its reason."""
    monday = readings.week_start_date
    now = readings.pools.filter(pl.col("week_start_date") == monday) if monday else readings.pools
    before = readings.pools.filter(pl.col("week_start_date") == monday - timedelta(weeks=1)) if monday else now
    rest = {"restated": restated(readings), "tokens": product_tokens(readings)}
    if before.is_empty() or now.is_empty():
        return {"title": say("title_changes_none"), "chart": None, "supply": None, "decisions": None, "fates": None,
                "bridge": None, **rest}

    def per_site(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        return frame.group_by("site_id").agg(pl.sum("demand").alias(name))

    moved = (
        per_site(now, "now").join(per_site(before, "before"), on="site_id", how="full", coalesce=True)
        .with_columns(pl.col("now", "before").fill_null(0))
        .with_columns((pl.col("now") - pl.col("before")).alias("change_accelerator_hours"))
        .sort(pl.col("change_accelerator_hours").abs(), "site_id", descending=[True, False])
    )
    demand = now["demand"].sum() / before["demand"].sum() - 1 if before["demand"].sum() else None
    supply = now["usable"].sum() / before["usable"].sum() - 1 if before["usable"].sum() else None
    top = moved.row(0, named=True)
    shown = moved.head(MOVERS).sort("change_accelerator_hours", descending=True)
    table = Table(
        say("data_table_rows", count=whole(moved.height)),
        [(say("column_site"), False), (say("column_this_week"), True), (say("column_last_week"), True),
         (say("column_change"), True), (say("column_change_share"), True)],
        [[names.site(row["site_id"]), whole(row["now"]), whole(row["before"]),
          signed(row["change_accelerator_hours"]),
          signed_percent(row["change_accelerator_hours"] / row["before"] if row["before"] else None)]
         for row in moved.iter_rows(named=True)],
    )
    rises = shown.filter(pl.col("change_accelerator_hours") >= 0).height
    chart = Chart(
        "movers", say("movers_title"),
        say("movers_summary", up=whole(rises), down=whole(shown.height - rises)),
        {language: movers_figure(with_names(shown, names, language), language) for language in LANGUAGES}, table,
    )
    return {
        "title": say("title_changes", demand=signed_percent(demand), supply=signed_percent(supply),
                     site=names.site(top["site_id"]), change=signed(top["change_accelerator_hours"])),
        "chart": chart,
        "supply": _supply_changes(now, before, names),
        "decisions": _decision_counts(readings),
        "fates": fates(readings, names),
        "bridge": bridge(readings),
        **rest,
    }


def _supply_changes(now: pl.DataFrame, before: pl.DataFrame, names: Names) -> Table | Bilingual:
    moved = (
        now.select(*POOL, "usable").join(before.select(*POOL, pl.col("usable").alias("before")), on=POOL,
                                         how="full", coalesce=True)
        .with_columns(pl.col("usable", "before").fill_null(0))
        .with_columns((pl.col("usable") - pl.col("before")).alias("change"))
        .filter(pl.col("change").abs() > SUPPLY_CHANGE_RATIO * pl.max_horizontal("usable", "before"))
        .sort(pl.col("change").abs(), *POOL, descending=[True, False, False])
    )
    if moved.is_empty():
        return say("supply_unchanged")
    return Table(
        say("supply_changes"),
        [(say("column_site"), False), (say("column_pool"), False), (say("column_this_week"), True),
         (say("column_last_week"), True), (say("column_change"), True), (say("column_change_share"), True)],
        [[names.site(row["site_id"]), names.accelerator(row["accelerator_id"]), whole(row["usable"]),
          whole(row["before"]), signed(row["change"]),
          signed_percent(row["change"] / row["before"] if row["before"] else None)]
         for row in moved.head(SHOWN_SUPPLY).iter_rows(named=True)],
    )


# --- last week's decisions -----------------------------------------------------------------------


def _acting(rows: list[dict]) -> dict[tuple[str, str], dict]:
    return {(row["site_id"], row["accelerator_id"]): row for row in rows if row["action"] != "none"}


def _decision_counts(readings: Readings) -> Bilingual:
    if not readings.previous_need:
        return say("decisions_first")
    now, before = set(_acting(readings.need)), set(_acting(readings.previous_need))
    week = readings.previous_need[0]["cutoff_week"]
    counts = say("decisions_changed", week=same(week), new=whole(len(now - before)), kept=whole(len(now & before)),
                 closed=whole(len(before - now)))
    key = "decisions_made_again" if readings.forecast_sources.get(week) == "again" else "decisions_as_told"
    return say("two_sentences", first=counts, second=say(key, week=same(week)))


def fates(readings: Readings, names: Names) -> Table | None:
    """What became of last week's actions, the most urgent first; None without an earlier decision."""
    before, now = _acting(readings.previous_need), _acting(readings.need)
    if not before:
        return None
    today = {(row["site_id"], row["accelerator_id"]): row for row in readings.need}
    ordered = _newly_committed(readings)
    ranked = sorted(before, key=lambda pool: (before[pool]["runs_out_week_p50"] or "9999", *pool))
    rows = [
        [names.pool(site_id, accelerator_id), _short_action(before[site_id, accelerator_id], names),
         _short_action(today.get((site_id, accelerator_id)), names),
         _fate(before[site_id, accelerator_id], now.get((site_id, accelerator_id)), today.get((site_id, accelerator_id)),
               ordered.get((site_id, accelerator_id), 0))]
        for site_id, accelerator_id in ranked[:SHOWN_FATES]
    ]
    return Table(
        say("fates_caption", shown=whole(len(rows)), count=whole(len(before))),
        [(say("column_where_pool"), False), (say("column_last_week"), False), (say("column_this_week"), False),
         (say("column_fate"), False)], rows,
    )


def _short_action(row: dict | None, names: Names) -> Bilingual:
    return same("–") if row is None else action_words(row, names)


def _newly_committed(readings: Readings) -> dict[tuple[str, str], int]:
    """Accelerators per pool that are on order now and were not a week ago (arrived ones are no longer on order)."""
    horizon = readings.previous_plan["target_date"].max()
    if horizon is None:
        return {}

    def on_order(plan: pl.DataFrame, name: str) -> pl.DataFrame:
        return plan.filter(pl.col("target_date") <= horizon).group_by(POOL).agg(
            pl.sum("committed_accelerator_count").alias(name))

    grown = on_order(readings.supply_plan, "now").join(on_order(readings.previous_plan, "then"), on=POOL, how="left")
    return {
        (site_id, accelerator_id): now - (then or 0)
        for site_id, accelerator_id, now, then in grown.iter_rows() if now > (then or 0)
    }


def _amount(row: dict) -> int:
    """Accelerators that an action is about, whether they are added or moved."""
    return row["add_accelerator_count"] or json.loads(row["why"]).get("move_accelerators", 0)


def _fate(before: dict, now: dict | None, today: dict | None, ordered: int) -> Bilingual:
    if ordered:
        return say("fate_ordered", count=whole(ordered))
    if now is None:
        if today is None:
            return say("fate_gone")
        if today["usable_accelerator_count"] > before["usable_accelerator_count"]:
            return say("fate_supplied", count=signed(today["usable_accelerator_count"] - before["usable_accelerator_count"]))
        then, demand = before["demand_accelerator_count"], today["demand_accelerator_count"]
        if then and demand is not None and demand < LESS_DEMAND_RATIO * then:
            return say("fate_less_demand", change=signed_percent(demand / then - 1))
        return say("fate_closed")
    if now["action"] != before["action"]:
        return say("fate_changed")
    change = _amount(now) - _amount(before)
    if change:
        return say("fate_more" if change > 0 else "fate_less", count=whole(abs(change)))
    return say("fate_open")


# --- the bridge ----------------------------------------------------------------------------------


def bridge(readings: Readings) -> Chart | None:
    """From last week's gap in the last week that both forecasts see to this week's; None without both."""
    steps = bridge_steps(readings)
    if steps is None:
        return None
    target, values = steps
    then, now = values[0][1], sum(value for _, value in values)
    largest = max(values[1:], key=lambda step: abs(step[1]))
    labels = [*(key for key, _ in values), "bridge_now"]
    amounts = [whole(then), *(signed(value) for _, value in values[1:]), whole(now)]
    table = Table(
        say("data_table_rows", count=whole(len(labels))),
        [(say("column_step"), False), (say("axis_accelerators"), True)],
        [[say(label), amount] for label, amount in zip(labels, amounts, strict=True)],
    )
    key = "bridge_summary" if abs(largest[1]) >= 0.5 else "bridge_summary_same"
    return Chart(
        "bridge", say("bridge_title", week=same(iso_week_of(target))),
        say(key, then=whole(then), now=whole(now), week=same(iso_week_of(target)), step=say(largest[0]),
            change=signed(largest[1])),
        {language: need_bridge_figure(values, language) for language in LANGUAGES}, table,
    )


def bridge_steps(readings: Readings) -> tuple | None:
    """The week looked at, and the gap then with what moved it; None without both forecasts.

    Restated demand moves a pool's median of last week as it moved what is known of its site (``_restated_ratios``).
    """
    models = (_model_of(readings.previous_need), _model_of(readings.need))
    medians = readings.pool_medians
    cutoffs = sorted(medians["cutoff_date"].unique())
    if len(cutoffs) < 2 or None in models or readings.previous_plan.is_empty() or readings.supply_plan.is_empty():
        return None
    target = min(medians.filter(pl.col("cutoff_date") == cutoffs[0])["target_date"].max(),
                 readings.supply_plan["target_date"].max(), readings.previous_plan["target_date"].max())

    def demand(cutoff, model: str) -> dict[str, float]:
        rows = medians.filter((pl.col("cutoff_date") == cutoff) & (pl.col("model") == model) & (pl.col("target_date") == target))
        return dict(rows.select("series_id", "value").iter_rows())

    def supply(plan: pl.DataFrame) -> dict[str, float]:
        rows = plan.filter(pl.col("target_date") == target)
        return {f"{site}/{accelerator}": usable for site, accelerator, usable in
                rows.select(*POOL, "usable_accelerator_count").iter_rows()}

    def gap(wanted: dict[str, float], usable: dict[str, float]) -> float:
        return sum(max(value - usable.get(series, 0.0), 0.0) for series, value in wanted.items())

    then, same_model, now = demand(cutoffs[0], models[0]), demand(cutoffs[1], models[0]), demand(cutoffs[1], models[1])
    if not then or not now:
        return None
    usable_then, usable_now = supply(readings.previous_plan), supply(readings.supply_plan)
    # Last week's method may not have been tried this week; what it would have said is then not known apart.
    same_model = same_model or now
    ratios = _restated_ratios(readings)
    restated_then = {series: value * ratios.get(series.partition("/")[0], 1.0) for series, value in then.items()}
    gaps = [gap(then, usable_then), gap(restated_then, usable_then), gap(same_model, usable_then), gap(now, usable_then),
            gap(now, usable_now)]
    keys = ("bridge_restated", "bridge_demand", "bridge_method", "bridge_supply")
    return target, [("bridge_then", gaps[0]), *(
        (key, after - before) for key, before, after in zip(keys, gaps, gaps[1:], strict=False))]


def _restated_ratios(readings: Readings) -> dict[str, float]:
    """By site, demand of the weeks before this one as known now over what it was when last week's forecast was given.

    A site that was then without demand keeps its forecast: what came for it since counts as new.
    """
    first = readings.week_start_date - timedelta(weeks=RESTATED_WEEKS)
    known = readings.pools.filter(pl.col("week_start_date").is_between(first, readings.week_start_date, closed="left"))
    demand = known.group_by("site_id").agg(pl.sum("demand"))
    then = pl.col("demand") - pl.col("change_accelerator_hours")
    return dict(
        readings.restated_demand.join(demand, on="site_id").filter(then > 0)
        .select("site_id", pl.col("demand") / then).iter_rows())


def _model_of(need: list[dict]) -> str | None:
    return next((row["model"] for row in need if row.get("model")), None)


# --- restated days -------------------------------------------------------------------------------


def restated(readings: Readings) -> dict:
    """Days whose published figures moved: a sentence, and a table of the largest changes."""
    rows = readings.restatements
    if "quality.fct_restatements" in readings.missing_tables:
        return {"sentence": say("restated_unknown"), "table": None}
    if not rows:
        return {"sentence": say("restated_none"), "table": None}
    days = {row["usage_date"] for row in rows}
    net = sum(float(row["value_after"] - row["value_before"]) for row in rows
              if row["metric"] in ("serving_demand_accelerator_hours", "training_demand_accelerator_hours")
              and row["mart"] == "capacity.fct_supply_demand_daily")
    table = Table(
        say("restated_caption", shown=whole(min(len(rows), SHOWN_RESTATEMENTS)), count=whole(len(rows))),
        [(say("column_day"), False), (say("column_measure"), False), (say("column_before"), True), (say("column_after"), True),
         (say("column_reason"), False)],
        [[day(row["usage_date"]), same(f"{row['mart'].partition('.')[2]}.{row['metric']}"), compact(float(row["value_before"])),
          compact(float(row["value_after"])), named(row["reason"], None)] for row in rows[:SHOWN_RESTATEMENTS]],
    )
    return {"sentence": say("restated_some", days=whole(len(days)), figures=whole(len(rows)), net=signed(net)), "table": table}


# --- tokens by product ---------------------------------------------------------------------------


def product_tokens(readings: Readings) -> dict | None:
    """Tokens served by week and product, for the whole network and each hub region, one shown at a time."""
    known = [product for product, _, _ in PRODUCTS]
    rows = readings.product_tokens.with_columns(
        pl.when(pl.col("product").is_in(known)).then(pl.col("product")).otherwise(pl.lit("unknown")).alias("product"),
        pl.Series("iso_week", [iso_week_of(monday) for monday in readings.product_tokens["week_start_date"]], dtype=pl.String),
    ).group_by("iso_week", "hub_region", "product").agg(pl.sum("tokens")).sort("iso_week", "hub_region", "product")
    if rows.is_empty():
        return None
    weeks = rows["iso_week"].unique().sort().to_list()
    skeleton = pl.DataFrame({"iso_week": weeks, "product": "none", "tokens": 0.0})
    family = Family({language: product_tokens_figure(skeleton, language) for language in LANGUAGES})
    summaries = {}
    for region in ("", *sorted(set(rows["hub_region"]) - {""})):
        part = rows if region == "" else rows.filter(pl.col("hub_region") == region)
        part = part.group_by("iso_week", "product").agg(pl.sum("tokens")).sort("iso_week", "product")
        family.members[region] = split_figure(product_tokens_figure(part, "en"), ("x", "y"))
        last = part.filter(pl.col("iso_week") == readings.iso_week)
        total = last["tokens"].sum()
        largest = last.sort("tokens", descending=True).row(0, named=True) if last.height and total else None
        where = say("whole_network") if region == "" else region_name(region)
        summaries[region] = (
            say("tokens_summary", where=where, total=compact(total), product=say(f"product_{largest['product']}"),
                share=percent(largest["tokens"] / total)) if largest else say("tokens_summary_none", where=where)
        ).plain()
    return {
        "family": family, "summaries": summaries,
        "products": {product: say(f"product_{product}").plain() for product in known if product in set(rows["product"])},
        "rows": [[week, region, product, int(tokens)] for week, region, product, tokens in
                 rows.select("iso_week", "hub_region", "product", "tokens").iter_rows()],
    }
