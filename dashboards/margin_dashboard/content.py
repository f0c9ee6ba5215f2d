"""What the pages of the margin dashboard say: each function turns a reading into one block.

Titles state what the numbers say and are made from them. Pure: no file, no server, no Dash.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from dashboards.bilingual import figure_label, figure_lines
from dashboards.figures.margin_matrix import matrix_figure
from dashboards.figures.margin_payback import (
    PATHS,
    Band,
    Course,
    courses_figure,
    payback_figure,
    recovery_figure,
)
from dashboards.figures.margin_prices import Compared, price_figure
from dashboards.figures.margin_stacks import (
    Part,
    amount_line,
    funnel_rows,
    share_lines,
    stacked_columns,
    stacked_rows,
)
from dashboards.figures.margin_steps import Step, steps_figure
from dashboards.margin_dashboard.blocks import Block, Card, Column, Table, amount
from dashboards.margin_dashboard.readings import LEAST_TENANTS, Choice, Period, Reading, Snapshot
from dashboards.margin_dashboard.words import Words

MILLION = Decimal(1_000_000)
WEEKS_PER_MONTH = 365.25 / 12 / 7
EVEN_RATIO = 0.01
"""A measure this close to its target is on target."""
WATERFALL = (
    ("list_revenue_cny", 1), ("discount_cny", -1), ("package_revenue_cny", 1), ("breakage_cny", 1), ("tax_cny", -1),
    ("net_revenue_cny", 0), ("energy_cny", -1), ("depreciation_cny", -1), ("network_cny", -1), ("operations_cny", -1),
    ("idle_cny", -1), ("gross_margin_cny", 0),
)
"""Measure, and whether it adds (1), takes away (-1), or is a total of what is above it (0)."""
TERMS = ("price_cny", "unit_cost_cny", "volume_cny", "mix_cny", "new_and_retired_cny")
FIRST_STEP = "list_revenue_cny"
TENANTS_DRAWN = 20
COHORTS_DRAWN = 6
TRANCHES_DRAWN = 12
BOTTLENECKS_DRAWN = 15
LINE_FROM_RATIO = 0.2
"""Where the best is worth less of its cost than this, a line at the whole cost would leave no room for the bars."""


# --- names ---------------------------------------------------------------------------------------


def member(snapshot: Snapshot, dimension: str, value: str, words: Words) -> str:
    """The name of a site, product, segment or model as a reader knows it; the id where it has none."""
    if dimension in ("product", "segment"):
        return words.maybe(f"{dimension}_{value}", value)
    if dimension == "model" and value == "none":
        return words.say("model_none")
    if value in ("unallocated", "unknown"):
        return words.say(f"value_{value}")
    english, chinese = snapshot.labels[dimension].get(value, (value, value))
    return words.maybe("", chinese if words.language == "zh" else english)


def period_label(period: Period, words: Words) -> str:
    """A period as it is chosen: a week, a month, some weeks."""
    if period.name.startswith("last-"):
        return words.say("period_weeks", count=period.name.removeprefix("last-"))
    return words.say("period_to_date", name=period.name, last=words.day(period.last_date)) if period.to_date else period.name


def period_name(period: Period, words: Words) -> str:
    """A period with its days."""
    name = period.name if not period.name.startswith("last-") else period_label(period, words)
    return words.say("period_range", name=name, first=words.day(period.first_date), last=words.day(period.last_date))


# --- the stamp -----------------------------------------------------------------------------------


def stamp(reading: Reading, words: Words) -> Block:
    """Whether these are the certified figures of the period, and what a reader must know besides."""
    snapshot, period = reading.snapshot, reading.period
    publication = snapshot.publication
    reasons = []
    failed = snapshot.failed_audit
    if failed is not None:
        failures = words.joined([f"{failure['name']} ({failure['figure']})" for failure in failed.failures])
        reasons.append(words.say("stamp_audit_failed", attempted=words.instant(failed.attempted_at), failures=failures))
    if not publication.get("check_count"):
        reasons.append(words.say("stamp_unaudited"))
    if period is not None and period.to_date:
        reasons.append(words.say("stamp_week_open", last=words.day(period.last_date)))
    certified = words.say(
        "stamp_certified_summary", period=period_name(period, words) if period else "", run=str(publication["run_id"])[:8],
        as_of=words.instant(publication["data_as_of"]), published=words.instant(publication["published_at"]),
        checks=publication.get("check_count") or 0,
    )
    lines = []
    if not reading.period_is_known and period is not None:
        lines.append(words.say("stamp_unknown_period", asked=reading.choice.period, shown=period_name(period, words)))
    unpriced, tokens = reading.now.get("unpriced_tokens"), reading.now.get("tokens")
    if unpriced:
        lines.append(words.say("stamp_unpriced", tokens=words.short(unpriced), share=words.percent(unpriced / tokens, 2)))
    if reading.restated:
        count = sum(row["figure_count"] for row in reading.restated)
        restated = words.joined(sorted({str(row["reason"]) for row in reading.restated}))
        lines.append(words.say("stamp_restated", count=words.count(count), reasons=restated))
    else:
        lines.append(words.say("stamp_not_restated"))
    chosen = filters_in_words(reading.snapshot, reading.choice, words)
    if chosen:
        lines.append(words.say("stamp_filtered", what=chosen))
    tone = "provisional" if reasons else "certified"
    return Block("stamp", words.say(f"stamp_{tone}"), " ".join([*reasons, certified]), lines=tuple(lines), tone=tone)


def filters_in_words(snapshot: Snapshot, choice: Choice, words: Words) -> str:
    """What a reader has narrowed the page to."""
    parts = []
    for dimension in ("site", "product", "segment", "model"):
        chosen = getattr(choice, dimension)
        if chosen:
            names = words.joined([member(snapshot, dimension, value, words) for value in chosen[:5]])
            more = " +" + str(len(chosen) - 5) if len(chosen) > 5 else ""
            parts.append(f"{words.say(f'filter_{dimension}')}: {names}{more}")
    return "; ".join(parts)


# --- overview ------------------------------------------------------------------------------------


def _ratio(part: Decimal | None, whole: Decimal | None) -> float | None:
    return None if part is None or not whole else float(part / whole)


def _accelerator_cost(sums: dict[str, Decimal]) -> Decimal:
    return sums["cost_cny"] - sums["network_cny"]


def _utilization(sums: dict[str, Decimal]) -> float | None:
    """Share of what installed accelerators cost while somebody held them."""
    idle = _ratio(sums["idle_cny"], _accelerator_cost(sums))
    return None if idle is None else 1 - idle


def _per_million(measure: str, sums: dict[str, Decimal]) -> Decimal | None:
    return sums[measure] / sums["tokens"] * MILLION if sums["tokens"] else None


def kpis(reading: Reading, words: Words) -> Block:
    """The six measures, each beside its target."""
    weeks, base = reading.baseline
    period_weeks = Decimal(reading.period.day_count) / 7 if reading.period else Decimal(1)
    cards = [
        _revenue(reading, words, weeks, base, period_weeks), _margin(reading, words, base),
        _margin_per_million(reading, words, weeks), _fleet(reading, words, base),
        _burn(reading, words, weeks, period_weeks), _payback(reading, words),
    ]
    compared = [card for card in cards if card.status != "none"]
    title = (
        words.say("kpis_title", count=len(compared), worse=sum(card.status == "worse" for card in compared),
                  better=sum(card.status == "better" for card in compared))
        if compared else words.say("kpis_title_none")
    )
    planned = sum(card.is_planned for card in cards)
    stand_in = words.say("kpis_summary", weeks=weeks)
    summary = (
        words.say("kpis_summary_planned", planned=planned, count=len(cards), origins=target_origins(reading, words))
        + (words.say("kpis_summary_rest", weeks=weeks) if planned < len(cards) else "")
    ) if planned else stand_in
    return Block("kpis", title, summary, cards=tuple(cards))


def target_origins(reading: Reading, words: Words) -> str:
    """The files that the period's targets are from, with the day each was delivered and what it calls itself."""
    origins = reading.targets_of_choice.origins or reading.targets.origins
    return words.joined([words.say("target_origin", file=file, day=words.day(day), source=source) for file, day, source in origins])


def _card(
    words: Words, key: str, value: Any, stand_in: Any, written: Callable[[Any], str], *, planned: Decimal | None = None,
    unit: str = "", details: tuple[str, ...] = (), history: list[float] | None = None, in_points: bool = False,
    less_is_better: bool = False,
) -> Card:
    """A card whose status compares a value with the target delivered for it, else with what stands in for one."""
    target = stand_in if planned is None else type(value)(planned) if value is not None else planned
    label = words.say(f"kpi_{key}")
    difference = None if value is None or target is None else value - target
    ratio = None if difference is None or not target else float(difference) / abs(float(target))
    if ratio is None:
        status = "none"
    elif abs(ratio) <= EVEN_RATIO:
        status = "even"
    else:
        status = "worse" if (ratio < 0) != less_is_better else "better"
    variance = ""
    if difference is not None:
        variance = words.points(difference) if in_points else f"{_with_sign(difference, written)} ({words.signed_percent(ratio)})"
    history = history or []
    return Card(
        key, label, written(value), unit, details,
        words.say("kpi_no_target") if target is None
        else words.say("kpi_target" if planned is not None else "kpi_stand_in", value=written(target)),
        variance, status, words.say(f"status_{status}"), tuple(history),
        words.say("kpi_history", label=label, count=len(history), first=written(history[0]), last=written(history[-1])) if history else "",
        planned is not None,
    )


def _with_sign(difference: Any, written: Callable[[Any], str]) -> str:
    return ("+" if difference >= 0 else "−") + written(abs(difference))


def _revenue(reading: Reading, words: Words, weeks: int, base: dict, period_weeks: Decimal) -> Card:
    target = base["net_revenue_cny"] / weeks * period_weeks if weeks else None
    return _card(
        words, "revenue", reading.now.get("net_revenue_cny"), target, words.money, unit=words.say("unit_cny"),
        planned=reading.targets_of_choice.values.get("net_revenue_cny"),
        history=[float(week["net_revenue_cny"]) for week in reading.weeks],
    )


def _margin(reading: Reading, words: Words, base: dict) -> Card:
    def of(sums: dict) -> float | None:
        return _ratio(sums["gross_margin_cny"], sums["net_revenue_cny"]) if sums else None

    return _card(
        words, "margin", of(reading.now), of(base), words.percent, in_points=True,
        planned=reading.targets_of_choice.values.get("gross_margin_ratio"),
        details=(words.say("kpi_margin_detail", amount=words.money(reading.now.get("gross_margin_cny"))),),
        history=[ratio for week in reading.weeks if (ratio := of(week)) is not None],
    )


def _margin_per_million(reading: Reading, words: Words, weeks: int) -> Card:
    now = reading.of_models(reading.period.where) if reading.period else {}
    base = reading.of_models(reading.baseline_where) if weeks else {}
    price, cost, margin = (
        _per_million(measure, now) if now else None for measure in ("net_revenue_cny", "cost_cny", "gross_margin_cny")
    )
    return _card(
        words, "per_million", margin, _per_million("gross_margin_cny", base) if base else None, words.unit_price,
        unit=words.say("unit_cny"), planned=reading.targets_of_choice.values.get("gross_margin_cny_per_million_tokens"),
        details=(words.say("kpi_price_detail", amount=words.unit_price(price)), words.say("kpi_cost_detail", amount=words.unit_price(cost))),
        history=[float(value) for week in reading.weeks_of_models if (value := _per_million("gross_margin_cny", week)) is not None],
    )


def _fleet(reading: Reading, words: Words, base: dict) -> Card:
    return _card(
        words, "utilization", _utilization(reading.now) if reading.now else None, _utilization(base) if base else None,
        words.percent, in_points=True, planned=reading.targets_of_choice.values.get("utilization_ratio"),
        details=(words.say("kpi_utilization_detail", amount=words.money(reading.now.get("idle_cny"))),),
        history=[ratio for week in reading.weeks if (ratio := _utilization(week)) is not None],
    )


def _burn(reading: Reading, words: Words, weeks: int, period_weeks: Decimal) -> Card:
    now = reading.burned(reading.period.where) if reading.period else None
    base = reading.burned(reading.baseline_where) if weeks else None
    history = [float(reading.burned_by_week.get(week["week_start_date"], 0)) for week in reading.weeks] if reading.burned_by_week else []
    return _card(
        words, "burn", now, base / weeks * period_weeks if base else None, words.short, unit=words.say("unit_tokens"),
        planned=None if reading.choice.segment else reading.targets.values.get("package_consumed_tokens"),
        details=(words.say("kpi_segment_only"),), history=history,
    )


def _payback(reading: Reading, words: Words) -> Card:
    capital = reading.capital
    months = None
    if capital and capital["weekly_gross_cash_cny"] > 0:
        missing = max(capital["opening_book_cny"] - capital["cumulative_gross_cash_cny"], Decimal(0))
        months = float(missing / capital["weekly_gross_cash_cny"]) / WEEKS_PER_MONTH
    return _card(
        words, "payback", months, capital["life_left_months"] if capital else None, words.number,
        planned=reading.targets.values.get("payback_months"),
        unit=words.say("unit_months"), details=(words.say("kpi_whole_company"),), less_is_better=True,
    )


def waterfall(reading: Reading, words: Words) -> Block:
    """From revenue at list price to gross margin."""
    now, then, plan = reading.now, reading.then, reading.targets_of_choice.values
    rows = tuple(
        {"measure": measure, "step": words.say(f"step_{measure}"), "now_cny": now[measure] * (sign or 1),
         "before_cny": then[measure] * (sign or 1) if then else None,
         "change_cny": (now[measure] - then[measure]) * (sign or 1) if then else None,
         "plan_cny": plan[measure] * (sign or 1) if measure in plan else None,
         "against_plan_cny": (now[measure] - plan[measure]) * (sign or 1) if measure in plan else None, "is_total": sign == 0 or measure == FIRST_STEP}
        for measure, sign in WATERFALL
    ) if now else ()
    table = Table(
        (Column("step", words.say("column_step")), Column("now_cny", words.say("column_now"), "money"),
         Column("before_cny", words.say("column_before"), "money"), Column("change_cny", words.say("column_change"), "signed_money"),
         *((Column("plan_cny", words.say("column_plan"), "money"), Column("against_plan_cny", words.say("column_against_plan"), "signed_money"))
           if any(row["plan_cny"] is not None for row in rows) else ())),
        rows,
    )
    if not now or not now["list_revenue_cny"]:
        return Block("waterfall", words.say("waterfall_title_empty"), table=table)
    listed, losses = now["list_revenue_cny"], [row for row in rows if not row["is_total"] and row["now_cny"] < 0]
    largest = min(losses, key=lambda row: row["now_cny"], default=None)
    kept = now["gross_margin_cny"] / listed * 100
    figure = steps_figure(
        [Step(row["step"], row["now_cny"], words.money(row["now_cny"]), row["is_total"], row["plan_cny"] if row["is_total"] else None)
         for row in rows],
        {kind: words.say(f"kind_{kind}") for kind in ("total", "gain", "loss", "plan")}, words.say("axis_cny"),
    )
    return Block(
        "waterfall",
        words.say("waterfall_title", kept=words.number(kept, 0), largest=largest["step"] if largest else "–",
                  share=words.percent(-largest["now_cny"] / listed if largest else 0)),
        words.say("waterfall_summary", list=words.money(listed), net=words.money(now["net_revenue_cny"]),
                  margin=words.money(now["gross_margin_cny"])),
        figure, table,
    )


def margin_bridge(reading: Reading, words: Words) -> Block:
    """Why margin moved since the period before, in five terms that add up."""
    if reading.bridge is None:
        first = words.day(reading.snapshot.first_date) if reading.snapshot.first_date else "–"
        return Block("bridge", words.say("bridge_title_none", first=first))
    _, terms = reading.bridge
    change = terms.change_cny
    rows = [{"term": words.say(f"term_{term}"), "amount_cny": getattr(terms, term), "is_total": False} for term in TERMS]
    why = (max if change >= 0 else min)(rows, key=lambda row: row["amount_cny"])["term"]
    rows.append({"term": words.say("term_change_cny"), "amount_cny": change, "is_total": True})
    figure = steps_figure(
        [Step(row["term"], row["amount_cny"], words.signed_money(row["amount_cny"]), row["is_total"]) for row in rows],
        {kind: words.say(f"kind_{kind}") for kind in ("total", "gain", "loss")}, words.say("axis_cny"),
    )
    return Block(
        "bridge",
        words.say("bridge_title_up" if change >= 0 else "bridge_title_down", before=reading.previous.name,
                  change=words.money(abs(change)), why=why),
        words.say("bridge_summary", before=words.money(reading.then["gross_margin_cny"]),
                  now=words.money(reading.now["gross_margin_cny"]), change=words.signed_money(change)),
        figure,
        Table((Column("term", words.say("column_term")), Column("amount_cny", words.say("column_amount"), "signed_money")), tuple(rows)),
    )


# --- restatements and definitions ----------------------------------------------------------------


def restatements(reading: Reading, words: Words) -> Block:
    """What was corrected after it had been published."""
    rows = tuple(
        row | {"measure": words.maybe(f"step_{row['metric']}", row["metric"])} for row in reading.restated
    )
    days = {(row["first_date"], row["last_date"]) for row in rows}
    title = (
        words.say("restatements_title", count=words.count(sum(row["figure_count"] for row in rows)), first=words.day(min(day[0] for day in days)),
                  last=words.day(max(day[1] for day in days)))
        if rows else words.say("restatements_title_none")
    )
    return Block("restatements", title, words.say("restatements_summary"), table=Table(
        (Column("restated_at", words.say("column_restated_at")), Column("reason", words.say("column_reason")),
         Column("measure", words.say("column_measure")), Column("first_date", words.say("column_first_day")),
         Column("last_date", words.say("column_last_day")), Column("figure_count", words.say("column_figures"), "count"),
         Column("change", words.say("column_change"), "signed_money")), rows,
    ))


def definitions(_reading: Reading, words: Words) -> Block:
    """What each word means and where its numbers come from."""
    keys = ("net_revenue", "gross_margin", "per_million", "utilization", "burn", "payback", "bridge", "target", "small", "certified")
    return Block("definitions", words.say("definitions_title"), lines=tuple(words.say(f"definition_{key}") for key in keys))


# --- margin matrix -------------------------------------------------------------------------------

MARGIN_COLUMNS = (
    ("tenant_count", "column_customers", "count"), ("net_revenue_cny", "column_net_revenue", "money"), ("cost_cny", "column_cost", "money"),
    ("gross_margin_cny", "column_gross_margin", "money"), ("margin_ratio", "column_margin_ratio", "ratio"),
)


def _margin_columns(words: Words, skip: tuple[str, ...] = ()) -> tuple[Column, ...]:
    return tuple(Column(key, words.say(heading), kind) for key, heading, kind in MARGIN_COLUMNS if key not in skip)


def _with_ratio(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"margin_ratio": _ratio(row["gross_margin_cny"], row["net_revenue_cny"])}


def matrix(reading: Reading, words: Words) -> Block:
    """Margin by site and product; a cell leads down to its segments and customers."""
    snapshot, choice = reading.snapshot, reading.choice
    rows = [
        _with_ratio(row) | {"site": member(snapshot, "site", row["serving_site_id"], words),
                            "product_name": member(snapshot, "product", row["product"], words)}
        for row in reading.by_cell()
    ]
    rows.sort(key=lambda row: (-row["gross_margin_cny"], row["serving_site_id"], row["product"]))
    back = None
    if choice.site or choice.product or choice.segment:
        back = (words.say("back_to_all"), replace(choice, site=(), product=(), segment=()))
    table = Table(
        (Column("site", words.say("filter_site")), Column("product_name", words.say("filter_product")), *_margin_columns(words)), tuple(rows),
        choose=lambda row: replace(choice, site=(row["serving_site_id"],), product=(row["product"],)),
    )
    if not rows:
        return Block("matrix", words.say("matrix_title_empty"), table=table, back=back)
    sites = _ordered(rows, "serving_site_id")
    products = _ordered(rows, "product")
    place = {(row["serving_site_id"], row["product"]): row for row in rows}
    ratios, texts, numbers = {}, {}, {}
    row_number = {id(row): number for number, row in enumerate(rows)}
    for site_index, site in enumerate(sites):
        for product_index, product in enumerate(products):
            row = place.get((site, product))
            if row is None or not (row["net_revenue_cny"] or row["cost_cny"]):
                continue
            numbers[site_index, product_index] = row_number[id(row)]
            ratio = row["margin_ratio"]
            if ratio is not None:
                ratios[site_index, product_index] = max(ratio, -1.0)
            elif row["gross_margin_cny"] < 0:
                ratios[site_index, product_index] = -1.0
            shown = words.percent(ratio, 0) if ratio is not None else words.short_money(row["gross_margin_cny"])
            texts[site_index, product_index] = f"{shown} · n {row['tenant_count']}"
    figure = matrix_figure(
        [figure_label(member(snapshot, "site", site, words), 20) for site in sites],
        [figure_label(member(snapshot, "product", product, words), 16) for product in products], ratios, texts, numbers,
    )
    total = sum((row["gross_margin_cny"] for row in rows), Decimal(0))
    losing = [row for row in rows if row["gross_margin_cny"] < 0]
    best = rows[0]
    title = words.say(
        "matrix_title", site=best["site"], product=best["product_name"], share=words.percent(best["gross_margin_cny"] / total if total else None),
        losing=len(losing), count=len(rows),
    )
    summary = words.say(
        "matrix_summary", margin=words.money(total), lost=words.money(sum((row["gross_margin_cny"] for row in losing), Decimal(0))),
    )
    return Block("matrix", title, summary, figure, table, back=back)


def _ordered(rows: list[dict[str, Any]], key: str) -> list[str]:
    """The members of a column by what they earn together, the most first."""
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[row[key]] = sums.get(row[key], Decimal(0)) + row["gross_margin_cny"]
    return sorted(sums, key=lambda name: (-sums[name], name))


def merge_small(rows: list[dict[str, Any]], least: int, merged_name: str) -> list[dict[str, Any]]:
    """Groups by their ``tenant_count``, those of fewer than ``least`` customers put together, with the next larger if that is too few.

    Customers of different groups are different customers. Where all together are too few, nothing remains.
    """
    ordered = sorted(rows, key=lambda row: (row["tenant_count"], row["gross_margin_cny"]))
    small = [row for row in ordered if row["tenant_count"] < least]
    shown = ordered[len(small):]
    while small and sum(row["tenant_count"] for row in small) < least and shown:
        small.append(shown.pop(0))
    if small and sum(row["tenant_count"] for row in small) < least:
        return []
    if small:
        measures = [key for key, value in small[0].items() if isinstance(value, Decimal)]
        shown.append({
            "segment": None, "name": merged_name, "tenant_count": sum(row["tenant_count"] for row in small),
            **{key: sum((row[key] for row in small), Decimal(0)) for key in measures},
        })
    return sorted(shown, key=lambda row: -row["gross_margin_cny"])


def segments(reading: Reading, words: Words) -> Block:
    """Margin by segment of what is chosen."""
    choice = reading.choice
    counted = [
        row | {"name": member(reading.snapshot, "segment", row["segment"], words)} for row in reading.by_segment() if row["tenant_count"]
    ]
    rows = [_with_ratio(row) for row in merge_small(counted, LEAST_TENANTS, words.say("segments_merged"))]
    columns = (Column("name", words.say("filter_segment")), *_margin_columns(words))
    table = Table(columns, tuple(rows), choose=lambda row: replace(choice, segment=(row["segment"],)) if row["segment"] else None)
    if not rows:
        return Block("segments", words.say("segments_title_small", least=LEAST_TENANTS), table=table)
    figure = stacked_rows(
        [figure_label(row["name"]) for row in rows],
        [Part(words.say("column_gross_margin"), [amount(row["gross_margin_cny"]) for row in rows], [words.money(row["gross_margin_cny"]) for row in rows])],
        words.say("axis_cny"), tick_format="~s",
    )
    best = rows[0]
    return Block(
        "segments",
        words.say("segments_title", name=best["name"], margin=words.short_money(best["gross_margin_cny"]), ratio=words.percent(best["margin_ratio"])),
        words.say("segments_summary", least=LEAST_TENANTS), figure, table,
    )


def tenants(reading: Reading, words: Words) -> Block:
    """The customers of what is chosen, by pseudonym, where there are enough of them."""
    rows = [_with_ratio(row) | {"segment_name": member(reading.snapshot, "segment", row["segment"], words)} for row in reading.by_tenant()]
    columns = (
        Column("tenant_id", words.say("column_tenant")), Column("segment_name", words.say("filter_segment")),
        *_margin_columns(words, skip=("tenant_count",)),
    )
    if len(rows) < LEAST_TENANTS:
        return Block("tenants", words.say("tenants_title_small", least=LEAST_TENANTS), words.say("tenants_summary_small"), table=Table(columns, ()))
    total = sum((row["gross_margin_cny"] for row in rows), Decimal(0))
    first = rows[:TENANTS_DRAWN]
    figure = stacked_rows(
        [figure_label(row["tenant_id"]) for row in first],
        [Part(words.say("column_gross_margin"), [amount(row["gross_margin_cny"]) for row in first], [words.money(row["gross_margin_cny"]) for row in first])],
        words.say("axis_cny"), tick_format="~s",
    )
    share = sum((row["gross_margin_cny"] for row in rows[:10]), Decimal(0)) / total if total > 0 else None
    losing = [row for row in rows if row["gross_margin_cny"] < 0]
    return Block(
        "tenants", words.say("tenants_title", share=words.percent(share), count=words.count(len(rows))),
        words.say("tenants_summary", losing=words.count(len(losing)), drawn=len(first)), figure, Table(columns, tuple(rows)),
    )


# --- unit economics ------------------------------------------------------------------------------

COST_PARTS = ("depreciation_cny", "energy_cny", "network_cny", "operations_cny", "idle_cny")


def per_million(measure: str) -> str:
    """The name of a measure once it is for a million tokens."""
    return f"{measure}_per_million"


def cost_stack(reading: Reading, words: Words) -> Block:
    """What a million tokens costs, in its parts, beside what it earns, by model."""
    break_even = reading.break_even()
    rows = []
    for row in reading.by_model():
        if not row["tokens"]:
            continue
        utilization, needed = break_even.get(row["model_id"], (None, None))
        rows.append({
            "model_id": row["model_id"], "model": member(reading.snapshot, "model", row["model_id"], words), "tokens": row["tokens"],
            **{f"{measure}_per_million": _per_million(measure, row) for measure in ("list_revenue_cny", "net_revenue_cny", *COST_PARTS, "cost_cny", "gross_margin_cny")},
            "utilization_ratio": utilization, "break_even_ratio": needed,
        })
    rows.sort(key=lambda row: (-row["gross_margin_cny_per_million"], row["model_id"]))
    columns = (
        Column("model", words.say("filter_model")), Column("tokens", words.say("column_tokens"), "count"),
        Column(per_million("net_revenue_cny"), words.say("column_price"), "unit_price"),
        *(Column(per_million(part), words.say(f"step_{part}"), "unit_price") for part in COST_PARTS),
        Column(per_million("cost_cny"), words.say("column_cost"), "unit_price"),
        Column(per_million("gross_margin_cny"), words.say("column_gross_margin"), "unit_price"),
        Column("utilization_ratio", words.say("column_utilization"), "ratio"), Column("break_even_ratio", words.say("column_break_even"), "ratio"),
    )
    table = Table(columns, tuple(rows))
    if not rows:
        return Block("cost_stack", words.say("economics_title_empty"), table=table)
    losing = [row for row in rows if row["gross_margin_cny_per_million"] < 0]
    title = (
        words.say("economics_title_losing", count=len(losing), of=len(rows), names=words.joined([row["model"] for row in losing[-3:]]))
        if losing else words.say("economics_title", of=len(rows), name=rows[-1]["model"], margin=words.unit_price(rows[-1]["gross_margin_cny_per_million"]))
    )
    drawn = [row for row in rows if row[per_million("net_revenue_cny")] > 0]
    figure = stacked_rows(
        [f"{figure_label(row['model'], 22)} · {words.unit_price(row[per_million('net_revenue_cny')])}" for row in drawn],
        [Part(words.say(f"step_{part}"), [_ratio(row[per_million(part)], row[per_million("net_revenue_cny")]) for row in drawn],
              [words.unit_price(row[per_million(part)]) for row in drawn])
         for part in COST_PARTS],
        words.say("axis_of_price"), tick_format=".0%", line_at=1.0,
    )
    return Block("cost_stack", title, words.say("economics_summary"), figure, table)


def break_even(reading: Reading, words: Words) -> Block:
    """How busy accelerators are with each model, and how busy they must be to pay."""
    ratios = {model: pair for model, pair in reading.break_even().items() if None not in pair}
    rows = [
        {"model": member(reading.snapshot, "model", model, words), "utilization_ratio": now, "break_even_ratio": needed, "distance": now - needed}
        for model, (now, needed) in ratios.items()
    ]
    rows.sort(key=lambda row: (row["distance"], row["model"]))
    table = Table(
        (Column("model", words.say("filter_model")), Column("utilization_ratio", words.say("column_utilization"), "ratio"),
         Column("break_even_ratio", words.say("column_break_even"), "ratio")), tuple(rows),
    )
    if not rows:
        return Block("break_even", words.say("break_even_title_empty"), table=table)
    below = [row for row in rows if row["distance"] < 0]
    figure = stacked_rows(
        [figure_label(row["model"]) for row in rows],
        [Part(words.say("column_utilization"), [row["utilization_ratio"] for row in rows], [words.percent(row["utilization_ratio"]) for row in rows])],
        words.say("axis_utilization"),
        Part(words.say("column_break_even"), [min(row["break_even_ratio"], 2.0) for row in rows], [words.percent(row["break_even_ratio"]) for row in rows]),
        tick_format=".0%",
    )
    title = (
        words.say("break_even_title_below", count=len(below), of=len(rows), name=rows[0]["model"]) if below
        else words.say("break_even_title", of=len(rows), name=rows[0]["model"], now=words.percent(rows[0]["utilization_ratio"], 0),
                       needed=words.percent(rows[0]["break_even_ratio"], 0))
    )
    return Block("break_even", title, words.say("break_even_summary"), figure, table)


def token_types(reading: Reading, words: Words) -> Block:
    """List price and what was earned for a million tokens of each type, by model."""
    rows = [
        {"model": member(reading.snapshot, "model", row["model_id"], words), "token_type": words.maybe(f"type_{row['token_type']}", row["token_type"]),
         "tokens": row["tokens"], "list_price_cny_per_million": row["list_cost_cny"] / row["tokens"] * MILLION,
         "earned_cny_per_million": row["earned_cny"] / row["tokens"] * MILLION, "earned_cny": row["earned_cny"], "type": row["token_type"]}
        for row in reading.by_token_type() if row["tokens"]
    ]
    table = Table(
        (Column("model", words.say("filter_model")), Column("token_type", words.say("column_type")), Column("tokens", words.say("column_tokens"), "count"),
         Column("list_price_cny_per_million", words.say("column_list_price"), "unit_price"),
         Column("earned_cny_per_million", words.say("column_earned"), "unit_price"), Column("earned_cny", words.say("column_earned_total"), "money")),
        tuple(rows),
    )
    if not rows:
        return Block("token_types", words.say("token_types_title_empty"), table=table)
    types = ("input", "cached_input", "output")
    models = sorted({row["model"] for row in rows}, key=lambda name: -sum(row["earned_cny"] for row in rows if row["model"] == name))
    earned = {(row["model"], row["type"]): row["earned_cny"] for row in rows}
    total = sum((row["earned_cny"] for row in rows), Decimal(0))
    output = sum((row["earned_cny"] for row in rows if row["type"] == "output"), Decimal(0))
    output_share = sum(row["tokens"] for row in rows if row["type"] == "output") / sum(row["tokens"] for row in rows)
    figure = stacked_rows(
        [figure_label(model) for model in models],
        [Part(words.say(f"type_{each}"), [amount(earned.get((model, each))) for model in models], [words.money(earned.get((model, each))) for model in models])
         for each in types],
        words.say("axis_cny"), tick_format="~s",
    )
    return Block(
        "token_types", words.say("token_types_title", tokens=words.percent(output_share, 0), earned=words.percent(output / total if total else None, 0)),
        words.say("token_types_summary", earned=words.money(total)), figure, table,
    )


# --- packages ------------------------------------------------------------------------------------

SETTLEMENTS = ("package", "trial")


def burn_down(reading: Reading, words: Words) -> Block:
    """What is left of the grants of each month, week by week since they began."""
    every = reading.cohorts()
    full: dict[tuple, Decimal] = {}
    for row in every:
        key = (row["cohort_month"], row["settlement"])
        full[key] = max(full.get(key, Decimal(0)), row["granted_tokens"])
    # A week that only the older grants of a month have reached would compare two different sets of grants.
    rows = [
        row | {"cohort": f"{row['cohort_month']:%Y-%m}", "settlement_name": words.say(f"product_{row['settlement']}"),
               "remaining_ratio": _ratio(row["remaining_tokens"], row["granted_tokens"])}
        for row in every if row["granted_tokens"] >= full[row["cohort_month"], row["settlement"]] * Decimal("0.9")
    ]
    table = Table(
        (Column("cohort", words.say("column_cohort")), Column("settlement_name", words.say("column_settlement")), Column("age_weeks", words.say("column_age"), "count"),
         Column("granted_tokens", words.say("column_granted"), "count"), Column("remaining_tokens", words.say("column_remaining"), "count"),
         Column("remaining_ratio", words.say("column_remaining_ratio"), "ratio")), tuple(rows),
    )
    keys = [key for key in sorted({(row["cohort_month"], row["settlement"]) for row in rows}, reverse=True)
            if sum((row["cohort_month"], row["settlement"]) == key for row in rows) > 1][:COHORTS_DRAWN]
    if not keys:
        return Block("burn_down", words.say("burn_down_title_empty"), table=table)
    lines = []
    for key in sorted(keys):
        chosen = [row for row in rows if (row["cohort_month"], row["settlement"]) == key]
        lines.append((f"{chosen[0]['cohort']} · {chosen[0]['settlement_name']}", [row["age_weeks"] for row in chosen], [row["remaining_ratio"] for row in chosen]))
    oldest = [row for row in rows if row["settlement"] == "package"] or rows
    last = max((row for row in oldest if row["cohort_month"] == oldest[0]["cohort_month"]), key=lambda row: row["age_weeks"])
    return Block(
        "burn_down",
        words.say("burn_down_title", cohort=last["cohort"], kind=last["settlement_name"], weeks=last["age_weeks"], left=words.percent(last["remaining_ratio"], 0)),
        words.say("burn_down_summary"), share_lines(lines, words.say("axis_age"), words.say("axis_remaining")), table,
    )


def expiry_cliff(reading: Reading, words: Words) -> Block:
    """Tokens that are granted and not used, by the week in which they expire."""
    rows = [
        row | {"expires_week": row["expires_week_start_date"], "settlement_name": words.say(f"product_{row['settlement']}")}
        for row in reading.standing("expires_week_start_date, settlement") if row["remaining_tokens"] > 0
    ]
    table = Table(
        (Column("expires_week", words.say("column_expires")), Column("settlement_name", words.say("column_settlement")),
         Column("grant_count", words.say("column_grants"), "count"), Column("remaining_tokens", words.say("column_remaining"), "count"),
         Column("deferred_cny", words.say("column_deferred"), "money")), tuple(rows),
    )
    if not rows:
        return Block("expiry", words.say("expiry_title_empty"), table=table)
    weeks = sorted({row["expires_week"] for row in rows})
    left = {(row["expires_week"], row["settlement"]): row["remaining_tokens"] for row in rows}
    by_week = {week: sum((left.get((week, kind), Decimal(0)) for kind in SETTLEMENTS), Decimal(0)) for week in weeks}
    total = sum(by_week.values())
    cliff = max(weeks, key=lambda week: by_week[week])
    burned = reading.burned(reading.period.where) or Decimal(0)
    pace = burned / Decimal(reading.period.day_count) * 7
    figure = stacked_columns(
        [week.isoformat() for week in weeks],
        [Part(words.say(f"product_{kind}"), [amount(left.get((week, kind))) for week in weeks], [words.short(left.get((week, kind))) for week in weeks])
         for kind in SETTLEMENTS],
        words.say("unit_tokens"),
    )
    deferred = sum((row["deferred_cny"] for row in rows), Decimal(0))
    return Block(
        "expiry", words.say("expiry_title", share=words.percent(by_week[cliff] / total, 0), tokens=words.short(by_week[cliff]), week=words.day(cliff)),
        words.say("expiry_summary", as_of=words.day(reading.standing_date), tokens=words.short(total), deferred=words.money(deferred),
                  weeks=words.number(total / pace) if pace else "–"),
        figure, table,
    )


EXHAUSTION_WEEKS = 13
EXHAUSTION_PATHS = {"low": "late_date", "base": "base_date", "high": "early_date"}


def exhaustion(reading: Reading, words: Words) -> Block:
    """How many of the grants in force will be used up before they expire, by week, with the band of their burn."""
    grants = reading.running_out()
    count = sum(row["grant_count"] for row in grants)
    columns = (
        Column("day", words.say("column_day")), Column("high", words.say("path_early"), "count"),
        Column("base", words.say("path_pace"), "count"), Column("low", words.say("path_late"), "count"),
    )
    if not count:
        return Block("exhaustion", words.say("burn_down_title_empty"), table=Table(columns, ()))
    today = reading.standing_date
    days = [today + timedelta(days=7 * week) for week in range(EXHAUSTION_WEEKS + 1)]
    used_up = {
        path: [sum(row["grant_count"] for row in grants if row[key] and row[key] <= day and row[key] < row["expires_date"]) for day in days]
        for path, key in EXHAUSTION_PATHS.items()
    }
    rows = tuple({"day": day, **{path: used_up[path][index] for path in used_up}} for index, day in enumerate(days))
    return Block(
        "exhaustion",
        words.say("exhaustion_title", count=words.count(count), weeks=EXHAUSTION_WEEKS,
                  **{path: words.count(counts[-1]) for path, counts in used_up.items()}),
        words.say("exhaustion_summary", as_of=words.day(today)),
        recovery_figure(
            days, {path: [number / count for number in counts] for path, counts in used_up.items()}, today,
            {path: words.say(f"path_{name}") for path, name in (("low", "late"), ("base", "pace"), ("high", "early"))}, words.say("axis_used_up"),
        ),
        Table(columns, rows),
    )


FUNNEL = ("granted", "activated", "half_burned", "exhausted", "converted", "retained")


def funnel(reading: Reading, words: Words) -> Block:
    """How far trials get: touched, half used, used up, paying, still paying."""
    by_segment = reading.funnel()
    rows = [row | {"name": member(reading.snapshot, "segment", row["segment"], words)} for row in by_segment]
    table = Table(
        (Column("name", words.say("filter_segment")), *(Column(f"{stage}_count", words.say(f"stage_{stage}"), "count") for stage in (*FUNNEL, "expired", "retention_due")),
         Column("trial_cost_cny", words.say("column_trial_cost"), "money"), Column("revenue_after_conversion_cny", words.say("column_after_conversion"), "money")),
        tuple(rows),
    )
    counts = {stage: sum(row[f"{stage}_count"] for row in rows) for stage in (*FUNNEL, "retention_due")}
    if not counts["granted"]:
        return Block("funnel", words.say("funnel_title_empty"), table=table)
    cost = sum((row["trial_cost_cny"] for row in rows), Decimal(0))
    revenue = sum((row["revenue_after_conversion_cny"] for row in rows), Decimal(0))
    figure = funnel_rows(
        [words.say(f"stage_{stage}") for stage in FUNNEL], [counts[stage] for stage in FUNNEL],
        [words.say("funnel_too_early") if stage == "retained" and not counts["retention_due"]
         else f"{counts[stage]:,} ({words.percent(counts[stage] / counts['granted'], 0)})" for stage in FUNNEL],
    )
    return Block(
        "funnel", words.say("funnel_title", converted=words.count(counts["converted"]), granted=words.count(counts["granted"]),
                            share=words.percent(counts["converted"] / counts["granted"], 0)),
        words.say("funnel_summary", cost=words.money(cost), revenue=words.money(revenue), due=words.count(counts["retention_due"])), figure, table,
    )


# --- capital payback -----------------------------------------------------------------------------


def payback(reading: Reading, words: Words) -> Block:
    """When the capital of each tranche comes back, along the demand paths of the forecast."""
    rows = [
        row | {"site": member(reading.snapshot, "site", row["site_id"], words),
               "recovered_ratio": _ratio(row["cumulative_gross_cash_cny"], row["opening_book_cny"])}
        for row in reading.tranches()
    ]
    table = Table(
        (Column("tranche_id", words.say("column_tranche")), Column("site", words.say("filter_site")), Column("accelerator_id", words.say("column_accelerator")),
         Column("accelerator_count", words.say("column_count"), "count"), Column("capital_cny", words.say("column_capital"), "money"),
         Column("opening_book_cny", words.say("column_opening_book"), "money"), Column("cumulative_gross_cash_cny", words.say("column_cash"), "money"),
         Column("recovered_ratio", words.say("column_recovered"), "ratio"), Column("weekly_gross_cash_cny", words.say("column_weekly_cash"), "money"),
         Column("payback_date_low", words.say("column_payback_low")), Column("payback_date_base", words.say("column_payback_base")),
         Column("payback_date_high", words.say("column_payback_high")), Column("life_ends_date", words.say("column_life_ends"))), tuple(rows),
    )
    if not rows:
        return Block("payback", words.say("payback_title_empty"), table=table)
    never = [row for row in rows if row["payback_date_base"] is None]
    # What does not come back is read first, then what comes back last.
    rows = [*never, *reversed([row for row in rows if row["payback_date_base"] is not None])]
    figure = payback_figure(
        [Band(figure_label(f"{row['site']} · {row['accelerator_id']}", 34) + f" #{index + 1}", row["payback_date_high"], row["payback_date_base"],
              row["payback_date_low"], row["life_ends_date"]) for index, row in enumerate(rows)],
        reading.snapshot.last_date, {name: words.say(f"payback_{name}") for name in ("band", "base", "never")},
    )
    book = sum((row["opening_book_cny"] for row in rows), Decimal(0))
    cash = sum((row["cumulative_gross_cash_cny"] for row in rows), Decimal(0))
    last = max((row["payback_date_base"] for row in rows if row["payback_date_base"]), default=None)
    return Block(
        "payback",
        words.say("payback_title_never", count=len(never), of=len(rows)) if never else words.say("payback_title", of=len(rows), last=words.day(last)),
        words.say("payback_summary", book=words.money(book), cash=words.money(cash), share=words.percent(cash / book if book else None),
                  since=words.day(rows[0]["observed_from_date"])),
        figure, table,
    )


def recovery(reading: Reading, words: Words) -> Block:
    """How much of all capital is back by when, along each demand path: cash so far, then towards each tranche's day."""
    tranches, today = reading.tranches(), reading.snapshot.last_date
    book = sum((row["opening_book_cny"] for row in tranches), Decimal(0))
    columns = (Column("day", words.say("column_day")), *(Column(path, words.say(f"path_{path}"), "ratio") for path, _ in PATHS))
    if not book:
        return Block("recovery", words.say("payback_title_empty"), table=Table(columns, ()))
    known = [row[f"payback_date_{path}"] for row in tranches for path, _ in PATHS if row[f"payback_date_{path}"]]
    days = month_starts(min(row["observed_from_date"] for row in tranches), max([today, *known]), today)
    shares = {
        path: [sum(recovered_cny(row, path, day, today) for row in tranches) / float(book) for day in days] for path, _ in PATHS
    }
    rows = tuple({"day": day, **{path: shares[path][index] for path, _ in PATHS}} for index, day in enumerate(days))

    half = next((row["day"] for row in rows if row["base"] >= 0.5), None)
    return Block(
        "recovery",
        words.say("recovery_title" if half else "recovery_title_slow", share=words.percent(rows[days.index(today)]["base"], 0),
                  half=words.day(half), end=words.percent(rows[-1]["base"], 0), last=words.day(days[-1])),
        words.say("recovery_summary", book=words.money(book)),
        recovery_figure(days, shares, today, {path: words.say(f"path_{path}") for path, _ in PATHS}, words.say("column_recovered")),
        Table(columns, rows),
    )


def tranche_courses(reading: Reading, words: Words) -> Block:
    """The course of each tranche's cash to its book along the demand paths; what never comes back, or last, is drawn first."""
    today = reading.snapshot.last_date
    tranches = sorted(
        (row | {"site": member(reading.snapshot, "site", row["site_id"], words)} for row in reading.tranches() if row["opening_book_cny"]),
        key=lambda row: (row["payback_date_base"] or date.max, -_end_ratio(row, today), row["tranche_id"]), reverse=True,
    )
    rows = tuple(
        {"tranche_id": row["tranche_id"], "site": row["site"], "accelerator_id": row["accelerator_id"], "path": words.say(f"path_{path}"),
         "day": day, "back_cny": back, "recovered_ratio": _ratio(back, row["opening_book_cny"])}
        for row in tranches for path, _ in PATHS for day, back in course(row, path, today)
    )
    table = Table(
        (Column("tranche_id", words.say("column_tranche")), Column("site", words.say("filter_site")), Column("accelerator_id", words.say("column_accelerator")),
         Column("path", words.say("column_path")), Column("day", words.say("column_day")), Column("back_cny", words.say("column_back"), "money"),
         Column("recovered_ratio", words.say("column_recovered"), "ratio")), rows,
    )
    if not tranches:
        return Block("courses", words.say("payback_title_empty"), table=table)
    drawn = tranches[:TRANCHES_DRAWN]
    figure = courses_figure(
        [Course(
            f"{figure_label(row['site'], 18)}<br>{figure_label(row['accelerator_id'], 18)}",
            {path: [(day, float(back / row["opening_book_cny"])) for day, back in course(row, path, today)] for path, _ in PATHS},
            row["payback_date_base"],
        ) for row in drawn], today, {name: words.say(f"path_{name}") for name, _ in PATHS} | {"back": words.say("payback_day")},
    )
    last = tranches[0]
    said = {"tranche": f"{last['site']} · {last['accelerator_id']}", "share": words.percent(_ratio(last["cumulative_gross_cash_cny"], last["opening_book_cny"]))}
    said |= {path: words.day(last[f"payback_date_{path}"]) if last[f"payback_date_{path}"] else words.say("payback_never") for path, _ in PATHS}
    said |= {"end": words.percent(_end_ratio(last, today)), "ends": words.day(last["life_ends_date"])}
    return Block(
        "courses", words.say("courses_title" if last["payback_date_base"] else "courses_title_never", **said), words.say("courses_summary", drawn=len(drawn), count=len(tranches)), figure, table,
    )


def _end_ratio(tranche: dict[str, Any], today: date) -> float:
    """Share of the book that is back at the end of the median course."""
    return float(course(tranche, "base", today)[-1][1] / tranche["opening_book_cny"])


def course(tranche: dict[str, Any], path: str, today: date) -> list[tuple[date, Decimal]]:
    """The days whose cash is known, as (day, CNY back): the first observed, today, and the payback or the end of life.

    Between them the course is straight. A tranche that does not pay back goes on at today's weekly cash until its life
    ends; like ``recovered_cny``, never above its book.
    """
    book, cash = tranche["opening_book_cny"], tranche["cumulative_gross_cash_cny"]
    back, ends = tranche[f"payback_date_{path}"], tranche["life_ends_date"]
    known = [(tranche["observed_from_date"], Decimal(0)), (today, min(cash, book))]
    if back is not None and back > today:
        known.append((back, book))
    elif back is None and ends is not None and ends > today:
        known.append((ends, min(book, cash + max(tranche["weekly_gross_cash_cny"], Decimal(0)) * (ends - today).days / 7)))
    return known


def month_starts(first: date, last: date, today: date) -> list[date]:
    """The first day, the first of every month after it up to the month after the last, and today, in order."""
    days = {first, today}
    month = first
    while month <= last:
        month = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
        days.add(month)
    return sorted(days)


def recovered_cny(tranche: dict[str, Any], path: str, day: date, today: date) -> float:
    """What is back by a day of a tranche's opening book, straight between the days that are known: start, today, payback.

    A tranche that does not pay back goes on at today's weekly cash until its life ends.
    """
    book, cash = float(tranche["opening_book_cny"]), float(tranche["cumulative_gross_cash_cny"])
    back, life_ends = tranche[f"payback_date_{path}"], tranche["life_ends_date"]
    if day <= today:
        observed = max((today - tranche["observed_from_date"]).days, 1)
        return min(book, cash * max((day - tranche["observed_from_date"]).days, 0) / observed)
    if back is None:
        weeks = (min(day, life_ends or day) - today).days / 7
        return min(book, cash + float(tranche["weekly_gross_cash_cny"]) * max(weeks, 0))
    return book if day >= back else cash + (book - cash) * (day - today).days / (back - today).days


def idle_cost(reading: Reading, words: Words) -> Block:
    """What installed accelerators cost a day while nobody held them."""
    rows = tuple(
        {"week": f"{week['week_start_date'].isocalendar()[0]}-W{week['week_start_date'].isocalendar()[1]:02}", "idle_cny_per_day": week["idle_cny"] / 7,
         "idle_ratio": _ratio(week["idle_cny"], _accelerator_cost(week))}
        for week in reading.weeks
    )
    table = Table(
        (Column("week", words.say("column_week")), Column("idle_cny_per_day", words.say("column_idle_per_day"), "money"),
         Column("idle_ratio", words.say("column_idle_share"), "ratio")), rows,
    )
    if not rows:
        return Block("idle", words.say("idle_title_empty"), table=table)
    figure = amount_line(
        [row["week"] for row in rows], [amount(row["idle_cny_per_day"]) for row in rows], [words.money(row["idle_cny_per_day"]) for row in rows],
        words.say("column_idle_per_day"), words.say("axis_cny_per_day"),
    )
    first, last = rows[0], rows[-1]
    return Block(
        "idle", words.say("idle_title", amount=words.money(last["idle_cny_per_day"]), share=words.percent(last["idle_ratio"])),
        words.say("idle_summary", first=words.money(first["idle_cny_per_day"]), week=first["week"]), figure, table,
    )


# --- price position ------------------------------------------------------------------------------


def prices(reading: Reading, words: Words) -> Block:
    """Where our list prices stand among competitors', and how old theirs are."""
    rows = [
        row | {"model": member(reading.snapshot, "model", row["model_id"], words), "type_name": words.maybe(f"type_{row['token_type']}", row["token_type"]),
               "freshness": words.say("price_stale" if row["is_stale"] else "price_fresh", days=row["age_days"]),
               "comparison_name": words.maybe(f"comparison_{row['comparison']}", row["comparison"])}
        for row in reading.price_positions()
    ]
    table = Table(
        (Column("model", words.say("filter_model")), Column("type_name", words.say("column_type")),
         Column("price_cny_per_million", words.say("column_our_price"), "unit_price"), Column("vendor", words.say("column_vendor")),
         Column("model_name", words.say("column_their_model")), Column("comparison_name", words.say("column_comparison")),
         Column("competitor_price_cny_per_million", words.say("column_their_price"), "unit_price"), Column("price_ratio", words.say("column_price_ratio"), "factor"),
         Column("our_rank", words.say("column_rank"), "count"), Column("ranked_count", words.say("column_ranked"), "count"),
         Column("observed_date", words.say("column_collected")), Column("freshness", words.say("column_freshness")),
         Column("competitor_source", words.say("column_source"))), tuple(rows),
    )
    compared = [row for row in rows if row["price_ratio"]]
    if not compared:
        return Block("prices", words.say("prices_title_empty"), table=table)
    cheaper = [row for row in compared if row["price_ratio"] < 1]
    stale = [row for row in rows if row["is_stale"]]
    figure = price_figure(
        [Compared(figure_label(row["model"]), row["token_type"], row["price_ratio"], row["is_stale"],
                  figure_label(f"{row['vendor']} {row['model_name']}, {row['observed_date'].isoformat()}", 60)) for row in compared],
        {name: words.say(f"type_{name}") for name in ("input", "cached_input", "output")} | {"stale": words.say("stale_word")}, words.say("axis_price_ratio"),
    )
    return Block(
        "prices", words.say("prices_title", cheaper=len(cheaper), count=len(compared)),
        words.say("prices_summary_stale", stale=len(stale), count=len(rows), oldest=max(row["age_days"] for row in rows),
                  newest=words.day(max(row["observed_date"] for row in rows))) if stale
        else words.say("prices_summary", count=len(rows), oldest=words.day(min(row["observed_date"] for row in rows))),
        figure, table,
    )


# --- what if, scheduling, bottlenecks ------------------------------------------------------------


def what_if(reading: Reading, words: Words) -> Block:
    """What each standard scenario would do to the margin of the weeks ahead."""
    rows = sorted((
        row | {"supposed": supposed(json.loads(row["parameters"]), reading.snapshot, words),
               "difference_ratio": _ratio(row["difference_cny"], row["base_margin_cny"])} for row in reading.scenarios()
    ), key=lambda row: row["difference_cny"])
    table = Table(
        (Column("supposed", words.say("column_scenario")), Column("base_margin_cny", words.say("column_base_margin"), "money"),
         Column("scenario_margin_cny", words.say("column_scenario_margin"), "money"),
         Column("difference_cny", words.say("column_change"), "signed_money"), Column("difference_ratio", words.say("column_change_share"), "ratio")),
        tuple(rows),
    )
    if not rows:
        return Block("what_if", words.say("what_if_title_empty"), table=table)
    worst = rows[0]
    key = "what_if_title" if worst["difference_cny"] < 0 else "what_if_title_none"
    figure = stacked_rows(
        [figure_lines(row["supposed"], 28) for row in rows], [
            Part(words.say(f"kind_{kind}"), [amount(row["difference_cny"]) if chosen(row) else None for row in rows],
                 [words.signed_money(row["difference_cny"]) for row in rows])
            for kind, chosen in (("gain", lambda row: row["difference_cny"] >= 0), ("loss", lambda row: row["difference_cny"] < 0))
        ], words.say("axis_cny"), tick_format="~s",
    )
    return Block(
        "what_if", words.say(key, scenario=worst["supposed"], change=words.money(abs(worst["difference_cny"])),
                             share=words.percent(abs(worst["difference_ratio"] or 0))),
        words.say("what_if_summary", week=worst["cutoff_week"], margin=words.money(worst["base_margin_cny"])), figure, table,
    )


def supposed(parameters: dict[str, Any], snapshot: Snapshot, words: Words) -> str:
    """What a scenario supposes, in words; a parameter without words is shown by name."""
    said = {
        "growth_ratio": lambda value: words.say("suppose_growth", change=words.signed_percent(value)),
        "cut_ratio": lambda value: words.say("suppose_cut", change=words.signed_percent(-value)),
        "elasticity": lambda value: words.say("suppose_elasticity", value=f"{value:g}"),
        "slip_weeks": lambda value: words.say("suppose_slip", weeks=value),
        "trial_tokens": lambda value: words.say("suppose_trial", tokens=words.short(value)),
        "lost_site_id": lambda value: words.say("suppose_lost", site=member(snapshot, "site", value, words)),
    }
    return words.joined([said[key](value) if key in said else f"{key} {value}" for key, value in parameters.items()])


def scheduling(reading: Reading, words: Words) -> Block:
    """What the best scheduling of the week's tokens would have saved, by model."""
    rows = sorted((
        row | {"model": member(reading.snapshot, "model", row["model_id"], words),
               "more_tokens": row["best_tokens"] - row["actual_tokens"], "more_earned_cny": row["best_earned_cny"] - row["actual_earned_cny"],
               "energy_saved_cny": row["actual_energy_cny"] - row["best_energy_cny"],
               "transport_saved_cny": row["actual_transport_cny"] - row["best_transport_cny"]}
        for row in reading.savings()
    ), key=lambda row: (-row["saving_cny"], row["model_id"]))
    parts = ("more_earned_cny", "energy_saved_cny", "transport_saved_cny")
    table = Table(
        (Column("model", words.say("filter_model")), Column("asked_tokens", words.say("column_asked"), "count"),
         Column("more_tokens", words.say("column_more_tokens"), "count"), *(Column(part, words.say(f"column_{part}"), "signed_money") for part in parts),
         Column("saving_cny", words.say("column_saving"), "signed_money")), tuple(rows),
    )
    if not rows:
        return Block("scheduling", words.say("scheduling_title_empty"), table=table)
    saved, earned = (sum((row[key] for row in rows), Decimal(0)) for key in ("saving_cny", "actual_earned_cny"))
    figure = stacked_rows(
        [figure_label(row["model"]) for row in rows],
        [Part(words.say(f"part_{part}"), [amount(row[part]) for row in rows], [words.signed_money(row[part]) for row in rows]) for part in parts],
        words.say("axis_cny"), tick_format="~s",
    )
    return Block(
        "scheduling", words.say("scheduling_title", saved=words.money(saved), share=words.percent(_ratio(saved, earned), 2), week=rows[0]["iso_week"]),
        words.say("scheduling_summary", top=rows[0]["model"], amount=words.money(rows[0]["saving_cny"])), figure, table,
    )


def bottlenecks(reading: Reading, words: Words) -> Block:
    """What one more accelerator or wavelength would earn a year, against what it costs: build, move or wait."""
    rows = sorted((
        row | {"resource": _resource(row, reading.snapshot, words), "kind": words.maybe(f"resource_{row['resource_kind']}", row["resource_kind"]),
               "worth_ratio": _ratio(row["value_cny_per_year"], row["annual_cost_cny"]),
               "advice": words.maybe(f"verdict_{row['verdict']}", row["verdict"])} for row in reading.shadow_prices()
    ), key=lambda row: (-(row["worth_ratio"] or 0), row["resource_id"]))
    table = Table(
        (Column("resource", words.say("column_resource")), Column("kind", words.say("column_resource_kind")),
         Column("binding_hours_count", words.say("column_binding_hours"), "count"),
         Column("value_cny_per_year", words.say("column_worth"), "money"), Column("annual_cost_cny", words.say("column_annual_cost"), "money"),
         Column("worth_ratio", words.say("column_worth_ratio"), "ratio"), Column("advice", words.say("column_verdict"))), tuple(rows),
    )
    if not rows:
        return Block("bottlenecks", words.say("bottlenecks_title_empty"), table=table)
    drawn = [row for row in rows if row["worth_ratio"]][:BOTTLENECKS_DRAWN]
    figure = stacked_rows(
        [figure_lines(row["resource"], 30) for row in drawn],
        [Part(words.say("column_worth_ratio"), [row["worth_ratio"] for row in drawn], [words.percent(row["worth_ratio"]) for row in drawn])],
        words.say("axis_of_annual_cost"), tick_format=".1~%", line_at=1.0 if drawn[0]["worth_ratio"] > LINE_FROM_RATIO else None,
    ) if drawn else None
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("build", "move", "wait")}
    return Block(
        "bottlenecks", words.say("bottlenecks_title" if counts["build"] else "bottlenecks_title_none", count=len(rows), **counts),
        words.say("bottlenecks_summary", week=rows[0]["iso_week"], top=rows[0]["resource"], share=words.percent(rows[0]["worth_ratio"])), figure, table,
    )


def _resource(row: dict[str, Any], snapshot: Snapshot, words: Words) -> str:
    if row["link_id"] or not row["site_id"]:
        return row["resource_id"]
    return f"{member(snapshot, 'site', row['site_id'], words)} · {row['accelerator_id']}"


# --- pages ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """One page: the filters that reach all of its figures, and its blocks in order."""

    key: str
    filters: tuple[str, ...]
    blocks: tuple[Callable[[Reading, Words], Block], ...]


EVERY_FILTER = ("period", "site", "product", "segment", "model")
PAGES = (
    Page("overview", EVERY_FILTER, (stamp, kpis, waterfall, margin_bridge, restatements, definitions)),
    Page("matrix", EVERY_FILTER, (stamp, matrix, segments, tenants)),
    Page("economics", ("period", "site", "model"), (stamp, cost_stack, break_even, token_types)),
    Page("packages", ("period", "segment"), (stamp, burn_down, exhaustion, expiry_cliff, funnel)),
    Page("payback", ("period", "site"), (stamp, recovery, payback, tranche_courses, idle_cost)),
    Page("prices", ("period", "model"), (stamp, prices)),
    Page("planning", ("site", "model"), (stamp, what_if, scheduling, bottlenecks)),
)


def page_of(key: str) -> Page:
    """The page of that key."""
    return next(page for page in PAGES if page.key == key)
