"""Payback of capital, by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from orchestration.finance.payback import Tranche, growth_by_week, payback_date

CUTOFF = date(2026, 11, 22)


def tranche(book: str, cash: str, weekly: str, ends_on: date = date(2031, 11, 22)) -> Tranche:
    return Tranche(Decimal(book), Decimal(cash), Decimal(weekly), ends_on)


def test_the_week_in_which_cash_meets_the_book():
    """Prevents an off-by-one week: 100 - 40 are missing; at 20 a week the third week brings them back."""
    assert payback_date(tranche("100", "40", "20"), CUTOFF, []) == date(2026, 12, 13)


def test_growth_brings_it_forward_and_the_last_week_goes_on():
    """Prevents the forecast from being read as of its first week: 20 x 1.5 + 20 x 2 = 70 covers 60 in two weeks."""
    assert payback_date(tranche("100", "40", "20"), CUTOFF, [1.5, 2.0]) == date(2026, 12, 6)
    assert payback_date(tranche("200", "40", "20"), CUTOFF, [1.5, 2.0]) == date(2026, 12, 27)


def test_what_earns_nothing_or_dies_first_never_pays_back():
    """Prevents a date far beyond the life of the machine, or an endless loop."""
    assert payback_date(tranche("100", "0", "-1"), CUTOFF, []) is None
    assert payback_date(tranche("100", "0", "0.001"), CUTOFF, []) is None
    assert payback_date(tranche("100", "100", "-1"), CUTOFF, []) == CUTOFF


def test_no_more_is_served_than_is_usable():
    """Prevents revenue from growing on demand that is turned away: now 80 of 100, then 90, 100 and still 100."""
    assert growth_by_week(80, [100, 100, 100], [90, 100, 140]) == [1.125, 1.25, 1.25]
    assert growth_by_week(0, [100], [50]) == [1.0]
