"""What the pages of the margin dashboard say: each function turns a reading into one block.

Titles state what the numbers say and are made from them. Pure: no file, no server, no Dash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dashboards.figures.margin_steps import Step, steps_figure
from dashboards.margin_dashboard.blocks import Block, Card, Column, Table
from dashboards.margin_dashboard.readings import Choice, Period, Reading, Snapshot
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
        if weeks else words.say("kpis_title_none")
    )
    return Block("kpis", title, words.say("kpis_summary", weeks=weeks), cards=tuple(cards))


def _card(
    words: Words, key: str, value: Any, target: Any, written: Callable[[Any], str], *, unit: str = "", details: tuple[str, ...] = (),
    history: list[float] | None = None, in_points: bool = False, less_is_better: bool = False,
) -> Card:
    """A card whose status compares a value with its target."""
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
        words.say("kpi_no_target") if target is None else words.say("kpi_target", value=written(target)),
        variance, ratio, status, words.say(f"status_{status}"), tuple(history),
        words.say("kpi_history", label=label, count=len(history), first=written(history[0]), last=written(history[-1])) if history else "",
    )


def _with_sign(difference: Any, written: Callable[[Any], str]) -> str:
    return ("+" if difference >= 0 else "−") + written(abs(difference))


def _revenue(reading: Reading, words: Words, weeks: int, base: dict, period_weeks: Decimal) -> Card:
    target = base["net_revenue_cny"] / weeks * period_weeks if weeks else None
    return _card(
        words, "revenue", reading.now.get("net_revenue_cny"), target, words.money, unit=words.say("unit_cny"),
        history=[float(week["net_revenue_cny"]) for week in reading.weeks],
    )


def _margin(reading: Reading, words: Words, base: dict) -> Card:
    def of(sums: dict) -> float | None:
        return _ratio(sums["gross_margin_cny"], sums["net_revenue_cny"]) if sums else None

    return _card(
        words, "margin", of(reading.now), of(base), words.percent, in_points=True,
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
        unit=words.say("unit_cny"),
        details=(words.say("kpi_price_detail", amount=words.unit_price(price)), words.say("kpi_cost_detail", amount=words.unit_price(cost))),
        history=[float(value) for week in reading.weeks_of_models if (value := _per_million("gross_margin_cny", week)) is not None],
    )


def _fleet(reading: Reading, words: Words, base: dict) -> Card:
    return _card(
        words, "utilization", _utilization(reading.now) if reading.now else None, _utilization(base) if base else None,
        words.percent, in_points=True,
        details=(words.say("kpi_utilization_detail", amount=words.money(reading.now.get("idle_cny"))),),
        history=[ratio for week in reading.weeks if (ratio := _utilization(week)) is not None],
    )


def _burn(reading: Reading, words: Words, weeks: int, period_weeks: Decimal) -> Card:
    now = reading.burned(reading.period.where) if reading.period else None
    base = reading.burned(reading.baseline_where) if weeks else None
    history = [float(reading.burned_by_week.get(week["week_start_date"], 0)) for week in reading.weeks] if reading.burned_by_week else []
    return _card(
        words, "burn", now, base / weeks * period_weeks if base else None, words.short, unit=words.say("unit_tokens"),
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
        unit=words.say("unit_months"), details=(words.say("kpi_whole_company"),), less_is_better=True,
    )


def waterfall(reading: Reading, words: Words) -> Block:
    """From revenue at list price to gross margin."""
    now, then = reading.now, reading.then
    rows = tuple(
        {"measure": measure, "step": words.say(f"step_{measure}"), "now_cny": now[measure] * (sign or 1),
         "before_cny": then[measure] * (sign or 1) if then else None,
         "change_cny": (now[measure] - then[measure]) * (sign or 1) if then else None, "is_total": sign == 0 or measure == FIRST_STEP}
        for measure, sign in WATERFALL
    ) if now else ()
    table = Table(
        (Column("step", words.say("column_step")), Column("now_cny", words.say("column_now"), "money"),
         Column("before_cny", words.say("column_before"), "money"), Column("change_cny", words.say("column_change"), "signed_money")),
        rows,
    )
    if not now or not now["list_revenue_cny"]:
        return Block("waterfall", words.say("waterfall_title_empty"), table=table)
    listed, losses = now["list_revenue_cny"], [row for row in rows if not row["is_total"] and row["now_cny"] < 0]
    largest = min(losses, key=lambda row: row["now_cny"], default=None)
    kept = now["gross_margin_cny"] / listed * 100
    figure = steps_figure(
        [Step(row["step"], row["now_cny"], words.money(row["now_cny"]), row["is_total"]) for row in rows],
        {kind: words.say(f"kind_{kind}") for kind in ("total", "gain", "loss")}, words.say("axis_cny"),
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


# --- pages ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """One page: the filters that reach all of its figures, and its blocks in order."""

    key: str
    filters: tuple[str, ...]
    blocks: tuple[Callable[[Reading, Words], Block], ...]


EVERY_FILTER = ("period", "site", "product", "segment", "model")
PAGES = (
    Page("overview", EVERY_FILTER, (stamp, kpis, waterfall, margin_bridge)),
)


def page_of(key: str) -> Page:
    """The page of that key."""
    return next(page for page in PAGES if page.key == key)
