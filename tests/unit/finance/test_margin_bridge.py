"""The margin bridge: terms by hand, and that they add up whatever was sold."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.finance.margin_bridge import Sold, bridge, period_of, total

MONEY = st.decimals(-10**12, 10**12, places=9, allow_nan=False, allow_infinity=False)
SOLD = st.builds(
    Sold, tokens=st.integers(0, 10**18), held_accelerator_hours=st.decimals(0, 10**9, places=6), net_revenue_cny=MONEY,
    cost_cny=MONEY,
)
PERIOD = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), SOLD, max_size=9)


def sold(tokens: int, revenue: str, cost: str) -> Sold:
    return Sold(tokens, Decimal(0), Decimal(revenue), Decimal(cost))


def test_two_products_by_hand():
    """Prevents a term from taking another's share.

    A: 100 at 3 less 1, then 150 at 2.8 less 1.2. B: 100 at 2 less 1, then 150 at 2 less 1; C is new and earns 5.
    Volume: the quantity grows by half, so half of the old margin 300. Mix: both grow alike, 0.
    """
    before = {("a",): sold(100, "300", "100"), ("b",): sold(100, "200", "100")}
    after = {("a",): sold(150, "420", "180"), ("b",): sold(150, "300", "150"), ("c",): sold(10, "8", "3")}
    terms = total(bridge(before, after).values())
    assert (terms.price_cny, terms.unit_cost_cny, terms.volume_cny, terms.mix_cny, terms.new_and_retired_cny) == (
        Decimal(-30), Decimal(-30), Decimal(150), Decimal(0), Decimal(5)
    )
    assert terms.change_cny == Decimal(95)


def test_mix_is_the_move_towards_the_better_product():
    """Prevents a shift between products from being called volume: 200 in all both times, 50 move from B to A."""
    before = {("a",): sold(100, "300", "100"), ("b",): sold(100, "200", "100")}
    after = {("a",): sold(150, "450", "150"), ("b",): sold(50, "100", "50")}
    terms = total(bridge(before, after).values())
    assert (terms.volume_cny, terms.mix_cny, terms.change_cny) == (Decimal(0), Decimal(50), Decimal(50))


def test_idle_that_nobody_holds_is_unit_cost():
    """Prevents cost without a quantity from dividing by zero or being lost."""
    terms = bridge({("u",): sold(0, "0", "10")}, {("u",): sold(0, "0", "14")})[("u",)]
    assert terms.unit_cost_cny == terms.change_cny == Decimal(-4)


@given(PERIOD, PERIOD)
def test_terms_add_up_to_the_change_exactly(before, after):
    """Prevents a bridge that does not meet its other end by a rounding."""
    change = sum((each.margin_cny for each in after.values()), Decimal(0)) - sum(
        (each.margin_cny for each in before.values()), Decimal(0)
    )
    by_product = bridge(before, after)
    assert total(by_product.values()).change_cny == change
    assert by_product.keys() == before.keys() | after.keys()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-W53", date(2026, 12, 28), date(2027, 1, 3)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        ("2026-11-01..2026-11-22", date(2026, 11, 1), date(2026, 11, 22)),
    ],
)
def test_a_period_is_a_week_a_month_or_days(text, first, last):
    """Prevents a leap day or a 53rd week from falling out of its period."""
    assert (period_of(text).first_date, period_of(text).last_date) == (first, last)


@pytest.mark.parametrize("text", ["2026", "2026-W54", "2026-11-22..2026-11-01", "last week"])
def test_what_is_no_period_says_how_to_write_one(text):
    """Prevents a slip from comparing the wrong days."""
    with pytest.raises(ValueError, match=r"no period|before it begins"):
        period_of(text)
