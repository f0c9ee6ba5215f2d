"""Why margin moved between two periods: price, unit cost, volume, mix, and what is new or retired.

Exact: terms are computed as fractions and rounded so that they add up to the change to the last digit.
What a period earned and cost is the mart's (finance.fct_margin_daily); nothing is priced here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from functools import reduce
from math import floor

import duckdb

KEYS = ("serving_site_id", "model_id", "product")
# Python rounds decimal sums to 28 digits unless told otherwise.
EXACT = Context(prec=100)


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
    def quantity(self) -> Fraction:
        """How much was sold, in the unit of its family."""
        return Fraction(self.tokens or self.held_accelerator_hours)

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
    growth = {}
    for family in ("tokens", "accelerator_hours"):
        totals = [
            sum((each[side].quantity for each in continuing.values() if each[0].family == family), Fraction(0))
            for side in (0, 1)
        ]
        growth[family] = totals[1] / totals[0] if totals[0] else Fraction(1)
    exact: dict[tuple, tuple[Fraction, ...]] = {}
    for key in sorted(before.keys() | after.keys()):
        if key in continuing:
            exact[key] = _terms(*continuing[key], growth)
        else:
            gained = after[key].margin_cny if key in after else Decimal(0)
            lost = before[key].margin_cny if key in before else Decimal(0)
            exact[key] = (Fraction(0),) * 4 + (Fraction(gained) - Fraction(lost),)
    rounded = _cumulative_rounding(part for terms in exact.values() for part in terms)
    return {key: Bridge(*(next(rounded) for _ in range(5))) for key in exact}


def margin_of(products: Mapping[tuple, Sold]) -> Decimal:
    """Gross margin of all that was sold."""
    return _sum(each.margin_cny for each in products.values())


def total(bridges: Iterable[Bridge]) -> Bridge:
    """The sum of bridges, term by term."""
    every = list(bridges)
    return Bridge(*(_sum(getattr(each, term.name) for each in every) for term in fields(Bridge)))


def _terms(old: Sold, new: Sold, growth: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
    revenue_change = Fraction(new.net_revenue_cny) - Fraction(old.net_revenue_cny)
    cost_change = Fraction(new.cost_cny) - Fraction(old.cost_cny)
    if old.family == "none":
        return revenue_change, -cost_change, Fraction(0), Fraction(0), Fraction(0)
    ratio = new.quantity / old.quantity
    price = Fraction(new.net_revenue_cny) - ratio * Fraction(old.net_revenue_cny)
    unit_cost = ratio * Fraction(old.cost_cny) - Fraction(new.cost_cny)
    volume = Fraction(old.margin_cny) * (growth[old.family] - 1)
    mix = Fraction(old.margin_cny) * (ratio - growth[old.family])
    return price, unit_cost, volume, mix, Fraction(0)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, amounts, Decimal(0))


def _cumulative_rounding(parts: Iterable[Fraction]) -> Iterator[Decimal]:
    """Each part as the difference of two rounded running totals of 1e-9 CNY, so that they add up to the whole."""
    running, given = Fraction(0), 0
    for part in parts:
        running += part * 10**9
        upto = floor(running + Fraction(1, 2))
        yield EXACT.multiply(Decimal(upto - given), Decimal("1e-9"))
        given = upto
