"""Why margin moved between two periods: price, unit cost, volume, mix, and what is new or retired.

Exact: terms are computed in whole numbers and rounded so that they add up to the change to the last digit.
What a period earned and cost is the mart's (finance.fct_margin_daily); nothing is priced here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Context, Decimal
from functools import reduce

import duckdb

KEYS = ("serving_site_id", "model_id", "product")
# Python rounds decimal sums to 28 digits unless told otherwise.
EXACT = Context(prec=100)
# Terms are whole numbers of 1e-39 CNY until they are rounded: exact like fractions, and many times as fast.
GUARD_DIGITS = 30


@dataclass(frozen=True)
class Period:
    """Business days from first to last, both included."""

    name: str
    first_date: date
    last_date: date


@dataclass(frozen=True)
class Sold:
    """What one product sold in a period: tokens or accelerator hours, net revenue and cost in CNY."""

    tokens: int
    held_accelerator_hours: Decimal
    net_revenue_cny: Decimal
    cost_cny: Decimal

    @property
    def family(self) -> str:
        """What it is counted in: tokens, else accelerator hours, else nothing."""
        if self.tokens:
            return "tokens"
        return "accelerator_hours" if self.held_accelerator_hours else "none"

    @property
    def quantity(self) -> int:
        """How much was sold: tokens, or 1e-9 accelerator hours."""
        return self.tokens or int(EXACT.scaleb(self.held_accelerator_hours, 9))

    @property
    def margin_cny(self) -> Decimal:
        """Gross margin."""
        return EXACT.subtract(self.net_revenue_cny, self.cost_cny)


@dataclass(frozen=True)
class Bridge:
    """The terms of one product, or of all; CNY. Their sum is after - before."""

    price_cny: Decimal
    unit_cost_cny: Decimal
    volume_cny: Decimal
    mix_cny: Decimal
    new_and_retired_cny: Decimal

    @property
    def change_cny(self) -> Decimal:
        """The change of gross margin that the terms explain."""
        return _sum(getattr(self, term.name) for term in fields(self))


def period_of(text: str) -> Period:
    """A period from its name: 2026-W47, 2026-11, or 2026-11-01..2026-11-22; ValueError says how to write one."""
    try:
        if ".." in text:
            first, last = (date.fromisoformat(part) for part in text.split("..", 1))
        elif "-W" in text:
            year, week = text.split("-W", 1)
            first = date.fromisocalendar(int(year), int(week), 1)
            last = first + timedelta(days=6)
        else:
            first = date.fromisoformat(f"{text}-01")
            last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    except ValueError:
        raise ValueError(
            f"{text!r} is no period; write a week 2026-W47, a month 2026-11, or days 2026-11-01..2026-11-22"
        ) from None
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return Period(text, first, last)


def sold_in(connection: duckdb.DuckDBPyConnection, period: Period, keys: Iterable[str] = KEYS) -> dict[tuple, Sold]:
    """What each product sold in a period, from the finance edition open on the connection."""
    columns = ", ".join(keys)
    rows = connection.execute(
        f"select {columns}, sum(tokens), sum(held_accelerator_hours), sum(net_revenue_cny), sum(cost_cny) "
        f"from finance.fct_margin_daily where usage_date between ? and ? group by {columns} order by {columns}",
        [period.first_date, period.last_date],
    ).fetchall()
    return {tuple(row[:-4]): Sold(int(row[-4]), *row[-3:]) for row in rows}


def bridge(before: Mapping[tuple, Sold], after: Mapping[tuple, Sold]) -> dict[tuple, Bridge]:
    """The terms by product, whose sum over products and terms is the change of margin exactly.

    Products sold in both periods, in one unit: price = q1 (p1 - p0), unit cost = -q1 (c1 - c0), volume =
    q0 m0 (Q1 / Q0 - 1), mix = (q1 - q0 Q1 / Q0) m0, with p, c and m per unit and Q the total of the unit
    (FORMULAS 6). What is in one period only, or counted in another unit, is new or retired. What is
    counted in nothing (idle that nobody holds, a grant's expiry) has its revenue under price and its
    cost under unit cost.
    """
    continuing = {
        key: (before[key], after[key]) for key in before.keys() & after.keys()
        if before[key].family == after[key].family
    }
    totals = {"none": (1, 1)}
    for family in ("tokens", "accelerator_hours"):
        sold = [pair for pair in continuing.values() if pair[0].family == family]
        totals[family] = (sum(pair[0].quantity for pair in sold), sum(pair[1].quantity for pair in sold))
    fine: dict[tuple, tuple[int, ...]] = {}
    for key in sorted(before.keys() | after.keys()):
        if key in continuing:
            fine[key] = _terms(*continuing[key], *totals[continuing[key][0].family])
        else:
            gained = _fine(after[key].margin_cny) if key in after else 0
            lost = _fine(before[key].margin_cny) if key in before else 0
            fine[key] = (0, 0, 0, 0, gained - lost)
    rounded = _cumulative_rounding(part for terms in fine.values() for part in terms)
    return {key: Bridge(*(next(rounded) for _ in range(5))) for key in fine}


def margin_of(products: Mapping[tuple, Sold]) -> Decimal:
    """Gross margin of all that was sold."""
    return _sum(each.margin_cny for each in products.values())


def total(bridges: Iterable[Bridge]) -> Bridge:
    """The sum of bridges, term by term."""
    every = list(bridges)
    return Bridge(*(_sum(getattr(each, term.name) for each in every) for term in fields(Bridge)))


def _terms(old: Sold, new: Sold, all_old: int, all_new: int) -> tuple[int, ...]:
    """The terms in the finest parts; what a division drops from one of them is in another, so their sum is exact."""
    revenue, cost = _fine(new.net_revenue_cny), _fine(new.cost_cny)
    old_revenue, old_cost = _fine(old.net_revenue_cny), _fine(old.cost_cny)
    if old.family == "none":
        return revenue - old_revenue, old_cost - cost, 0, 0, 0
    revenue_at_old_price = old_revenue * new.quantity // old.quantity
    cost_at_old_cost = old_cost * new.quantity // old.quantity
    old_margin = old_revenue - old_cost
    margin_grown = old_margin * all_new // all_old
    return (
        revenue - revenue_at_old_price, cost_at_old_cost - cost, margin_grown - old_margin,
        revenue_at_old_price - cost_at_old_cost - margin_grown, 0,
    )


def _fine(amount: Decimal) -> int:
    return int(EXACT.scaleb(amount, 9 + GUARD_DIGITS))


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, amounts, Decimal(0))


def _cumulative_rounding(parts: Iterable[int]) -> Iterator[Decimal]:
    """Each part as the difference of two rounded running totals of 1e-9 CNY, so that they add up to the whole."""
    running, given, one = 0, 0, 10**GUARD_DIGITS
    for part in parts:
        running += part
        upto = (running + one // 2) // one
        yield EXACT.scaleb(Decimal(upto - given), -9)
        given = upto
