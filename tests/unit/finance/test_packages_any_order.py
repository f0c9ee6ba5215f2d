"""Random packages against a plain simulation that walks event by event, one record after the other.

The real burn goes grant by grant with running sums; the simulation below keeps every grant's balance and asks
for each record, in the order of the meter, who takes it. Both must agree to the token and to the last digit.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.finance.package_cases import FIRST, burnt, grant, metered, takings, totals, used

LAST = FIRST + timedelta(days=11)
MODELS = ("m", "n", "o")
MILLION = 10**6
ADD_ON = {
    "over_quota_policy": "add_on", "add_on_package_id": "plus", "add_on_settlement": "package", "add_on_tokens": 7,
    "add_on_price_cny": Decimal("1.00"), "add_on_expected_breakage_ratio": Decimal("0.200000"),
}
days = st.integers(-2, 5).map(lambda number: FIRST + timedelta(days=number))


@st.composite
def grants_of(draw: st.DrawFn, tenant_id: str) -> list[dict]:
    """Up to five grants of a tenant: trials and packs, voided or not, some renewing an earlier one."""
    made: list[dict] = []
    for number in range(draw(st.integers(2, 5))):
        starts = draw(days)
        trial = draw(st.booleans())
        voided = draw(st.one_of(st.none(), st.none(), st.integers(0, 14)))
        price = Decimal(0) if trial else Decimal(draw(st.integers(0, 5000))).scaleb(-2)
        made.append(grant(
            f"{tenant_id}-{number}", tenant_id, package_id=draw(st.sampled_from(["pack", "plus"])),
            settlement="trial" if trial else "package", priority=draw(st.integers(1, 2)),
            granted_date=starts - timedelta(days=draw(st.integers(0, 2))), starts_date=starts,
            expires_date=starts + timedelta(days=draw(st.integers(2, 9))),
            voided_date=None if voided is None else starts + timedelta(days=voided),
            refund_cny=None if voided is None else draw(st.one_of(st.none(), st.just(price), st.just(price / 4))),
            granted_tokens=draw(st.integers(1, 60)), price_cny=price, carry_over=draw(st.sampled_from(["yes", "yes", "no"])),
            renews_subscription_id=f"{tenant_id}-{draw(st.integers(0, number - 1))}" if number and draw(st.booleans()) else None,
            over_quota_policy=draw(st.sampled_from(["list_price", "block"])),
            expected_breakage_ratio=draw(st.sampled_from([None, Decimal("0.100000"), Decimal("0.333333")])),
        ))
    return made


records_of = st.builds(
    lambda tenant, hour, tokens, model, site: used(
        datetime(FIRST.year, FIRST.month, FIRST.day) + timedelta(hours=hour), tokens, tenant_id=tenant, model_id=model,
        serving_site_id=site,
    ),
    st.sampled_from(["t", "u"]), st.integers(0, 11 * 24), st.integers(1, 40), st.sampled_from(MODELS), st.sampled_from(["a", "b"]),
)
records_lists = st.lists(records_of, min_size=12, max_size=30)
ratios = st.fixed_dictionaries({
    (package, model): st.sampled_from(["1", "0.5", "2.5", "0.333333", None])
    for package in ("pack", "plus") for model in MODELS[:2]
}).map(lambda found: {key: ratio for key, ratio in found.items() if ratio} or {("pack", "m"): "1"})


def walked(records: list[dict], grants: list[dict], weights: dict) -> tuple[dict, dict, dict]:
    """Tokens by (grant, record), tokens blocked, and quota left by grant, one record after the other."""
    order = sorted(
        (each for each in grants if each["granted_date"] <= LAST),
        key=lambda each: (each["priority"], each["expires_date"], each["granted_date"], each["subscription_id"]),
    )
    left = {each["subscription_id"]: each["granted_tokens"] * MILLION for each in order}
    is_exhausted: set[str] = set()
    taken: dict[tuple, int] = defaultdict(int)
    blocked: dict[tuple, int] = defaultdict(int)
    usage = metered(records).sort("usage_hour", "serving_site_id", "model_id", "product", "context_floor_tokens", "token_type")
    by_day = defaultdict(list)
    for row in usage.to_dicts():
        by_day[row["usage_date"]].append(row)

    def ends(each: dict) -> date:
        return min(each["expires_date"], each["voided_date"] or each["expires_date"])

    day = FIRST - timedelta(days=5)
    while day <= LAST:
        for each in order:
            name = each["subscription_id"]
            if ends(each) != day:
                continue
            is_voided = each["voided_date"] is not None and each["voided_date"] < each["expires_date"]
            heirs = [
                other for other in order
                if other["renews_subscription_id"] == name and ends(other) > day and other["granted_date"] <= day
            ]
            if heirs and each["carry_over"] == "yes" and not is_voided and left[name]:
                left[heirs[0]["subscription_id"]] += left[name]
                is_exhausted.discard(heirs[0]["subscription_id"])
            left[name] = 0
        for row in by_day[day]:
            tokens, last_beyond = int(row["tokens"]), None
            for each in order:
                name = each["subscription_id"]
                weight = weights.get((each["package_id"], row["model_id"]))
                if (
                    each["tenant_id"] != row["tenant_id"] or weight is None
                    or not each["starts_date"] <= day < ends(each)
                ):
                    continue
                units = int(Decimal(weight) * MILLION)
                fitting = 0 if name in is_exhausted else min(tokens, left[name] // units)
                if fitting:
                    taken[name, row["usage_hour"], row["serving_site_id"], row["model_id"], "input"] += fitting
                    left[name] -= fitting * units
                    tokens -= fitting
                if tokens:
                    is_exhausted.add(name)
                    left[name] = 0
                    last_beyond = each
                if not tokens:
                    break
            if tokens and last_beyond is not None and last_beyond["over_quota_policy"] == "block":
                blocked[
                    last_beyond["subscription_id"], row["usage_hour"], row["serving_site_id"], row["model_id"], "input"
                ] += tokens
        day += timedelta(days=1)
    return dict(taken), dict(blocked), {name: Fraction(units, MILLION) for name, units in left.items()}


@settings(max_examples=60, deadline=None)
@given(grants_of("t"), grants_of("u"), records_lists, ratios)
def test_the_burn_is_what_an_event_by_event_simulation_gives(of_t, of_u, records, weights) -> None:
    """Running sums over grants are only right if they give what happened record by record."""
    ledger = burnt(records, of_t + of_u, weights, LAST)
    taken, blocked, left = walked(records, of_t + of_u, weights)
    assert takings(ledger) == taken
    assert takings(ledger, "blocked") == blocked
    assert {name: Fraction(totals(ledger, name)["remaining"]) for name in left} == left


@settings(max_examples=40, deadline=None)
@given(grants_of("t"), records_lists, ratios, st.randoms(use_true_random=False))
def test_tokens_and_money_close_to_zero_whatever_the_order_of_delivery(grants, records, weights, random) -> None:
    """A ledger that depends on when a file came would move closed days at every replay."""
    grants = [{**each, **ADD_ON} if each["over_quota_policy"] == "block" else each for each in grants]
    ledger = burnt(records, grants, weights, LAST)
    shuffled, mixed = records[:], grants[:]
    random.shuffle(shuffled)
    random.shuffle(mixed)
    again = burnt(shuffled, mixed, weights, LAST)
    assert again.sort(pl.all()).equals(ledger.sort(pl.all()))

    found = {name: totals(ledger, name) for name in ledger["subscription_id"].unique()}
    assert all(each["remaining"] >= 0 and each["deferred"] >= 0 for each in found.values())
    for each in grants:
        if each["granted_date"] <= LAST and each["expires_date"] <= LAST:
            assert (found[each["subscription_id"]]["remaining"], found[each["subscription_id"]]["deferred"]) == (0, 0)
    assert sum(each["carried_in"] - each["carried_out"] for each in found.values()) == 0
    paid = ledger.filter(entry="granted")["transfer_cny"].sum() + ledger.filter(entry="voided")["transfer_cny"].sum()
    revenue = ledger["package_revenue_cny"].sum() + ledger["breakage_cny"].sum()
    assert paid == revenue + sum(each["deferred"] for each in found.values())
    used_tokens = metered(records).filter(pl.col("tenant_id") == "t")["tokens"].sum()
    assert ledger["tokens"].sum() <= used_tokens


@settings(max_examples=60, deadline=None)
@given(grants_of("t"), records_lists, ratios, st.data())
def test_a_late_record_gives_what_it_would_have_given_on_time(grants, records, weights, data) -> None:
    """A day that reopens must end as if the record had never been late, and days before it must not move."""
    late = data.draw(st.sampled_from(records))
    rest = [each for each in records if each is not late]
    before, after = burnt(rest, grants, weights, LAST), burnt([*rest, late], grants, weights, LAST)
    assert after.sort(pl.all()).equals(burnt(records, grants, weights, LAST).sort(pl.all()))
    # What expires or is bought later may change; what was used on days before the late record may not.
    closed = (pl.col("entry") == "consumed") & (pl.col("usage_date") < late["usage_date"])
    assert after.filter(closed).sort(pl.all()).equals(before.filter(closed).sort(pl.all()))
