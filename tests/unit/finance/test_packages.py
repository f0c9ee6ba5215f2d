"""Packages: the numbers of FORMULAS 4, and every rule of the burn with figures a person can check."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from tests.unit.finance.package_cases import burnt, grant, takings, totals, used

TRIAL_A = grant("A", settlement="trial", priority=1, granted_tokens=1_000_000, expires_date=date(2026, 9, 1))
PAID_B = grant("B", priority=2, granted_tokens=5_000_000, price_cny=Decimal("30.00"), expires_date=date(2026, 12, 1))
K1_USAGE = [
    used("2026-08-30T02:00", 700_000), used("2026-08-31T02:00", 200_000), used("2026-09-02T02:00", 600_000),
]


def test_k1_a_trial_expires_and_a_paid_package_burns_on() -> None:
    """Formula K1: A consumed 900,000 and expired 100,000; B earned 3.60 and defers 26.40."""
    ledger = burnt(K1_USAGE, [TRIAL_A, PAID_B])
    trial, paid = totals(ledger, "A"), totals(ledger, "B")
    assert (trial["consumed"], trial["expired"], trial["remaining"]) == (900_000, 100_000, 0)
    assert (trial["used"], trial["breakage"], trial["deferred"]) == (0, 0, 0)
    assert (paid["consumed"], paid["remaining"]) == (600_000, 4_400_000)
    assert (paid["used"], paid["breakage"], paid["deferred"]) == (Decimal("3.60"), 0, Decimal("26.40"))


def test_k1_with_expected_consumption_of_4_500_000_recognises_breakage_beside_use() -> None:
    """Formula K1: recognised 4.00, of which 3.60 use and 0.40 breakage; deferred 26.00."""
    expecting = {**PAID_B, "expected_breakage_ratio": Decimal("0.100000")}
    paid = totals(burnt(K1_USAGE, [TRIAL_A, expecting]), "B")
    assert (paid["used"], paid["breakage"], paid["deferred"]) == (Decimal("3.60"), Decimal("0.40"), Decimal("26.00"))


def test_k2_one_record_is_split_between_two_grants() -> None:
    """Formula K2: of 1,500,000 at once A takes 1,000,000 and is exhausted, B takes 500,000."""
    ledger = burnt([used("2026-08-30T02:00", 1_500_000)], [TRIAL_A, PAID_B])
    hour = datetime(2026, 8, 30, 2)
    assert takings(ledger) == {("A", hour, "s", "m", "input"): 1_000_000, ("B", hour, "s", "m", "input"): 500_000}
    assert totals(ledger, "A")["expired"] == 0 and totals(ledger, "A")["remaining"] == 0
    assert totals(ledger, "B")["used"] == Decimal("3.00")


def test_a_grant_ends_at_midnight_in_shanghai() -> None:
    """15:59 UTC of 31 August is still 31 August in Shanghai; 16:00 UTC is 1 September, and A has expired."""
    ledger = burnt([used("2026-08-31T15:59", 10), used("2026-08-31T16:00", 10)], [TRIAL_A, PAID_B])
    assert takings(ledger) == {
        ("A", datetime(2026, 8, 31, 15), "s", "m", "input"): 10,
        ("B", datetime(2026, 8, 31, 16), "s", "m", "input"): 10,
    }
    expiry = ledger.filter(entry="expired").row(0, named=True)
    assert (expiry["subscription_id"], expiry["usage_date"]) == ("A", date(2026, 9, 1))


def test_what_expires_after_the_last_day_has_not_expired_yet() -> None:
    """A package that ends tomorrow must not be written off today."""
    trial = totals(burnt([used("2026-08-30T02:00", 1)], [TRIAL_A], last_date=date(2026, 8, 31)), "A")
    assert (trial["expired"], trial["remaining"]) == (0, 999_999)


def test_priority_then_expiry_then_grant_then_id_decide_who_burns() -> None:
    """An order that depends on the reading order of a file gives another revenue on another day."""
    ordered = [
        grant("z", priority=1, expires_date=date(2026, 12, 1), granted_tokens=1),
        grant("y", priority=2, expires_date=date(2026, 10, 1), granted_tokens=1),
        grant("x", priority=2, expires_date=date(2026, 11, 1), granted_date=date(2026, 8, 1), granted_tokens=1),
        grant("v", priority=2, expires_date=date(2026, 11, 1), granted_tokens=1),
        grant("w", priority=2, expires_date=date(2026, 11, 1), granted_tokens=1),
    ]
    for count in range(1, 6):
        ledger = burnt([used("2026-08-30T02:00", count)], ordered[::-1])
        assert {key[0] for key in takings(ledger)} == {each["subscription_id"] for each in ordered[:count]}


def test_weights_by_model_decide_how_much_quota_a_token_takes() -> None:
    """Weight 2.5: 4 tokens take 10 quota tokens; the fifth does not fit in 12, and 2 expire at once."""
    ledger = burnt([used("2026-08-30T02:00", 5)], [grant("g", granted_tokens=12)], {("pack", "m"): "2.5"})
    found = totals(ledger, "g")
    assert takings(ledger) == {("g", datetime(2026, 8, 30, 2), "s", "m", "input"): 4}
    assert (found["consumed"], found["expired"], found["remaining"]) == (10, 2, 0)


def test_a_grant_that_the_next_token_does_not_fit_in_is_exhausted_for_lighter_tokens_too() -> None:
    """Otherwise the end of a grant would depend on what happens to come after it."""
    records = [used("2026-08-30T02:00", 5), used("2026-08-30T03:00", 5, model_id="light")]
    ledger = burnt(records, [grant("g", granted_tokens=12)], {("pack", "m"): "2.5", ("pack", "light"): "0.1"})
    assert set(takings(ledger).values()) == {4}


def test_a_model_without_a_weight_is_not_eligible() -> None:
    """A package of small models must not pay for a large one."""
    assert takings(burnt([used("2026-08-30T02:00", 5, model_id="other")], [grant("g")])) == {}


def test_internal_use_burns_no_package() -> None:
    """The operator's own use of a tenant's id must not take the customer's quota."""
    assert takings(burnt([used("2026-08-30T02:00", 5, product="internal")], [grant("g")])) == {}


def test_a_policy_of_block_shows_what_was_served_beyond_it() -> None:
    """Tokens served beyond a blocking grant are neither paid nor priced: they must be seen."""
    records = [used("2026-08-30T02:00", 15), used("2026-08-31T02:00", 7)]
    blocking = grant("g", granted_tokens=10, over_quota_policy="block", expires_date=date(2026, 8, 31))
    blocked = takings(burnt(records, [blocking]), "blocked")
    assert blocked == {("g", datetime(2026, 8, 30, 2), "s", "m", "input"): 5}


def test_the_last_grant_in_burn_order_decides_what_follows() -> None:
    """A trial that blocks must not block the customer who bought a package with pay-as-you-go after it."""
    records = [used("2026-08-30T02:00", 25)]
    trial = grant("a", priority=1, granted_tokens=10, over_quota_policy="block")
    ledger = burnt(records, [trial, grant("b", priority=2, granted_tokens=10)])
    assert takings(ledger, "blocked") == {}
    ledger = burnt(records, [{**trial, "priority": 3}, grant("b", priority=2, granted_tokens=10)])
    assert list(takings(ledger, "blocked").values()) == [5]


def test_a_day_buys_the_add_ons_that_it_needs_and_they_end_with_their_parent() -> None:
    """Packs of 10 for 3.00. 16 beyond on one day: two packs, 4 left; 10 the next: those 4 and one, 4 expire."""
    parent = grant(
        "p", granted_tokens=4, over_quota_policy="add_on", add_on_package_id="more", add_on_settlement="package",
        add_on_tokens=10, add_on_price_cny=Decimal("3.00"), expires_date=date(2026, 9, 1),
    )
    records = [
        used("2026-08-30T02:00", 15), used("2026-08-30T03:00", 5), used("2026-08-31T03:00", 10), used("2026-09-01T02:00", 50),
    ]
    ledger = burnt(records, [parent], {("pack", "m"): "1", ("more", "m"): "1"})
    first, second = totals(ledger, "p/add-on-1"), totals(ledger, "p/add-on-2")
    assert (first["granted"], first["consumed"], first["used"]) == (20, 20, Decimal("6.00"))
    assert (second["granted"], second["consumed"], second["expired"]) == (10, 6, 4)
    assert (second["used"], second["breakage"]) == (Decimal("1.80"), Decimal("1.20"))
    assert totals(ledger, "p/add-on-3")["granted"] == 0


def test_a_busy_day_buys_all_its_add_ons_in_one_purchase() -> None:
    """A grant a pack would make a billion grants of one record."""
    parent = grant(
        "p", granted_tokens=1, over_quota_policy="add_on", add_on_package_id="pack", add_on_settlement="package",
        add_on_tokens=1, add_on_price_cny=Decimal("3.00"),
    )
    found = totals(burnt([used("2026-08-30T02:00", 1_000_000_001)], [parent]), "p/add-on-1")
    assert (found["granted"], found["used"]) == (1_000_000_000, Decimal("3000000000.00"))


def test_a_voided_grant_gives_back_what_is_left_and_the_refund_is_no_revenue() -> None:
    """30.00 for 100, 40 used, 15.00 paid back: 12.00 earned by use, 3.00 kept, nothing deferred."""
    voided = grant(
        "g", granted_tokens=100, price_cny=Decimal("30.00"), voided_date=date(2026, 8, 31), refund_cny=Decimal("15.00")
    )
    found = totals(burnt([used("2026-08-30T02:00", 40), used("2026-08-31T02:00", 9)], [voided]), "g")
    assert (found["consumed"], found["voided"], found["remaining"]) == (40, 60, 0)
    assert (found["used"], found["breakage"], found["deferred"]) == (Decimal("12.00"), Decimal("3.00"), 0)


def test_a_refund_of_more_than_is_left_takes_revenue_back() -> None:
    """A refund in full leaves no revenue at all, whatever was used."""
    voided = grant(
        "g", granted_tokens=100, price_cny=Decimal("30.00"), voided_date=date(2026, 8, 31), refund_cny=Decimal("30.00")
    )
    found = totals(burnt([used("2026-08-30T02:00", 40)], [voided]), "g")
    assert (found["used"], found["breakage"], found["deferred"]) == (0, 0, 0)


def test_what_is_left_moves_to_the_renewal_with_its_money() -> None:
    """100 for 10.00, 40 used; 60 and 6.00 move. With 100 for 10.00 more: 160 for 16.00, 80 used earn 8.00."""
    first = grant("one", granted_tokens=100, price_cny=Decimal("10.00"), carry_over="yes", expires_date=date(2026, 9, 1))
    renewal = grant(
        "two", granted_tokens=100, price_cny=Decimal("10.00"), starts_date=date(2026, 9, 1),
        renews_subscription_id="one",
    )
    ledger = burnt([used("2026-08-30T02:00", 40), used("2026-09-02T02:00", 80)], [first, renewal])
    before, after = totals(ledger, "one"), totals(ledger, "two")
    assert (before["consumed"], before["carried_out"], before["expired"]) == (40, 60, 0)
    assert (before["used"], before["deferred"]) == (Decimal("4.00"), 0)
    assert (after["carried_in"], after["consumed"], after["remaining"]) == (60, 80, 80)
    assert (after["used"], after["deferred"]) == (Decimal("8.00"), Decimal("8.00"))


def test_a_renewal_that_burns_first_and_runs_out_goes_on_with_what_is_carried_over() -> None:
    """The renewal's quota depends on what its predecessor left, which depends on what the renewal took."""
    first = grant("one", priority=2, granted_tokens=100, carry_over="yes", expires_date=date(2026, 9, 1))
    renewal = grant("two", priority=1, granted_tokens=10, renews_subscription_id="one")
    ledger = burnt([used("2026-08-30T02:00", 40), used("2026-09-02T02:00", 80)], [first, renewal])
    assert (totals(ledger, "one")["consumed"], totals(ledger, "one")["carried_out"]) == (30, 70)
    assert (totals(ledger, "two")["consumed"], totals(ledger, "two")["carried_in"]) == (80, 70)


def test_carry_over_needs_a_renewal_that_lives() -> None:
    """Quota moved to a grant that ended before would vanish from both."""
    first = grant("one", granted_tokens=100, carry_over="yes", expires_date=date(2026, 9, 1))
    ended = grant("two", renews_subscription_id="one", expires_date=date(2026, 8, 30))
    stranger = grant("three", tenant_id="u", renews_subscription_id="one")
    for renewals in ([], [ended], [stranger]):
        assert totals(burnt([used("2026-08-30T02:00", 40)], [first, *renewals]), "one")["carried_out"] == 0


def test_of_two_renewals_the_first_in_burn_order_takes_what_is_carried_over() -> None:
    """Carried to both, the tokens would be given twice."""
    first = grant("one", granted_tokens=100, carry_over="yes", expires_date=date(2026, 9, 1))
    renewals = [grant(name, renews_subscription_id="one") for name in ("three", "two")]
    ledger = burnt([used("2026-08-30T02:00", 40)], [*renewals, first])
    assert (totals(ledger, "three")["carried_in"], totals(ledger, "two")["carried_in"]) == (60, 0)


def test_a_grant_too_small_for_one_token_is_exhausted_by_the_first() -> None:
    """Left open it would hold up the price of a package that nobody can use."""
    tiny = grant("g", granted_tokens=1, price_cny=Decimal("2.00"))
    found = totals(burnt([used("2026-08-30T02:00", 5)], [tiny], {("pack", "m"): "2.5"}), "g")
    assert (found["consumed"], found["expired"], found["breakage"]) == (0, 1, Decimal("2.00"))


def test_money_is_exact_where_quota_does_not_divide_it() -> None:
    """1.00 CNY over 3 tokens: 0.333333333, 0.333333334, 0.333333333, and nothing left."""
    third = grant("g", granted_tokens=3, price_cny=Decimal("1.00"))
    records = [used(f"2026-08-30T0{hour}:00", 1) for hour in (1, 2, 3)]
    ledger = burnt(records, [third]).filter(entry="consumed").sort("usage_hour")
    assert ledger["package_revenue_cny"].to_list() == [
        Decimal("0.333333333"), Decimal("0.333333334"), Decimal("0.333333333"),
    ]


def test_sums_beyond_64_bits_stay_exact() -> None:
    """A national pool times a weight of six decimals does not fit 64 bits; Polars would wrap around."""
    quota = 9_000_000_000_000_000
    records = [used("2026-08-30T02:00", quota), used("2026-08-30T03:00", quota)]
    found = totals(burnt(records, [grant("g", granted_tokens=quota)], {("pack", "m"): "1.5"}), "g")
    assert (found["consumed"], found["remaining"]) == (quota, 0)


def test_a_late_record_of_a_closed_day_reopens_it() -> None:
    """Late use of 31 August must still come out of the trial that ended then, and give B its tokens back."""
    on_time = burnt(K1_USAGE, [TRIAL_A, PAID_B])
    late = burnt([*K1_USAGE, used("2026-08-31T03:00", 150_000)], [TRIAL_A, PAID_B])
    assert totals(on_time, "A")["expired"] == 100_000
    assert (totals(late, "A")["consumed"], totals(late, "A")["expired"]) == (1_000_000, 0)
    assert totals(late, "B")["consumed"] == 650_000
