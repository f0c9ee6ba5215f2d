"""Parts of the margin dashboard that need no browser: who may read, what is put together, what is exported."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal

import flask
import pytest

from dashboards.figures.margin_steps import Step, steps_figure
from dashboards.margin_dashboard.access import (
    PASSWORD_VARIABLE,
    PROXY_HEADER_VARIABLE,
    PROXY_SECRET_HEADER,
    PROXY_SECRET_VARIABLE,
    Access,
    AccessRefused,
    guard,
)
from dashboards.margin_dashboard.blocks import Column, Table
from dashboards.margin_dashboard.content import course, merge_small, month_starts, recovered_cny
from dashboards.margin_dashboard.export import csv_of
from dashboards.margin_dashboard.readings import Audit, Choice, Snapshot
from dashboards.margin_dashboard.targets import targets_of

SECRET = "only the proxy knows this"
BEHIND_A_PROXY = {PROXY_HEADER_VARIABLE: "X-Forwarded-User", PROXY_SECRET_VARIABLE: SECRET}


def client(environment: dict[str, str], host: str = "127.0.0.1") -> flask.testing.FlaskClient:
    """A server with one route, behind the access that the environment asks for."""
    server = flask.Flask("guarded")
    guard(server, Access.from_environment(host, environment))
    server.get("/")(lambda: "margin")
    return server.test_client()


def test_the_password_opens_and_nothing_else_does() -> None:
    """A check that a missing or empty password passes is no check."""
    reader = client({PASSWORD_VARIABLE: "correct horse"})
    assert reader.get("/", auth=("anyone", "correct horse")).data == b"margin"
    for wrong in ("", "correct hors", "correct horse ", "CORRECT HORSE", "口令"):
        assert reader.get("/", auth=("anyone", wrong)).status_code == 401
    assert reader.get("/").status_code == 401
    assert reader.get("/nowhere").status_code == 401


def test_a_password_is_made_up_when_nobody_sets_one() -> None:
    """A default password is known to everybody who reads the source."""
    first, second = (Access.from_environment("127.0.0.1", {}) for _ in range(2))
    assert first.generated_password != second.generated_password
    assert first.knows(first.generated_password) and not first.knows(second.generated_password)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "dashboard.example"])
def test_money_is_not_served_to_other_machines_without_a_password(host: str) -> None:
    """The made-up password is in the log of whoever started it."""
    with pytest.raises(AccessRefused, match=PASSWORD_VARIABLE):
        Access.from_environment(host, {})
    assert Access.from_environment(host, {PASSWORD_VARIABLE: "long enough"}).knows("long enough")


def test_a_short_password_or_a_proxy_without_a_secret_is_refused() -> None:
    """A header alone can be sent by anyone who reaches the port."""
    with pytest.raises(AccessRefused, match="shorter"):
        Access.from_environment("127.0.0.1", {PASSWORD_VARIABLE: "short"})
    with pytest.raises(AccessRefused, match=PROXY_SECRET_VARIABLE):
        Access.from_environment("127.0.0.1", {PROXY_HEADER_VARIABLE: "X-Forwarded-User"})


def test_a_proxy_is_believed_only_with_its_secret() -> None:
    """Whoever reaches the port could name himself in a header."""
    reader = client(BEHIND_A_PROXY, host="0.0.0.0")
    assert reader.get("/", headers={"X-Forwarded-User": "cfo", PROXY_SECRET_HEADER: SECRET}).data == b"margin"
    for headers in (
        {"X-Forwarded-User": "cfo"}, {"X-Forwarded-User": "cfo", PROXY_SECRET_HEADER: "guessed"}, {PROXY_SECRET_HEADER: SECRET},
        {"X-Forwarded-User": " ", PROXY_SECRET_HEADER: SECRET},
    ):
        assert reader.get("/", headers=headers).status_code == 401


def group(name: str, customers: int, margin: str) -> dict:
    """A segment with its customers and margin."""
    return {"segment": name, "name": name, "tenant_count": customers, "gross_margin_cny": Decimal(margin)}


def test_small_groups_are_put_together_until_five_customers_hide_in_them() -> None:
    """One small group alone in "others" is that group by another name; the next larger has to join it."""
    rows = [group("a", 40, "100.00"), group("b", 9, "20.00"), group("c", 3, "1.10")]
    merged = merge_small(rows, 5, "others")
    assert [(row["name"], row["tenant_count"], row["gross_margin_cny"]) for row in merged] == [
        ("a", 40, Decimal("100.00")), ("others", 12, Decimal("21.10")),
    ]
    assert [row["tenant_count"] for row in merge_small([group("a", 40, "1"), group("c", 3, "1"), group("d", 2, "1")], 5, "others")] == [5, 40]
    assert merge_small([group("c", 3, "1"), group("d", 1, "1")], 5, "others") == []
    assert merge_small(rows[:2], 5, "others") == sorted(rows[:2], key=lambda row: -row["gross_margin_cny"])


def test_steps_stand_on_what_is_before_them_also_below_zero() -> None:
    """A loss drawn upwards looks like a gain."""
    steps = [
        Step("list", Decimal("10.00"), "10.00", is_total=True), Step("cost", Decimal("-13.00"), "−13.00"),
        Step("credit", Decimal("1.00"), "1.00"), Step("margin", Decimal("-2.00"), "−2.00", is_total=True),
    ]
    figure = steps_figure(steps, {"total": "t", "gain": "g", "loss": "l"}, "CNY")
    bars = {trace.meta: list(zip(trace.y, trace.base, trace.x, strict=True)) for trace in figure.data if trace.type == "bar"}
    assert bars == {
        "total": [("list", 0.0, 10.0), ("margin", 0.0, -2.0)], "loss": [("cost", 10.0, -13.0)], "gain": [("credit", -3.0, 1.0)],
    }


def test_a_tranches_cash_ends_at_its_book_on_its_day_and_never_beyond() -> None:
    """A curve that passes its payback day, or climbs above 100%, contradicts the bands below it."""
    today = date(2026, 11, 22)
    tranche = {
        "opening_book_cny": Decimal(1000), "cumulative_gross_cash_cny": Decimal(200), "weekly_gross_cash_cny": Decimal(7),
        "observed_from_date": today - timedelta(days=100), "life_ends_date": today + timedelta(days=70),
        "payback_date_base": today + timedelta(days=40), "payback_date_low": None, "payback_date_high": today - timedelta(days=1),
    }

    def back(path: str, days: int) -> float:
        return recovered_cny(tranche, path, today + timedelta(days=days), today)

    assert [back("base", days) for days in (-100, -50, 0, 20, 40, 400)] == [0, 100, 200, 600, 1000, 1000]
    assert [back("low", days) for days in (7, 70, 700)] == [207, 270, 270]
    assert back("high", 1) == 1000
    assert course(tranche, "base", today)[1:] == [(today, Decimal(200)), (today + timedelta(days=40), Decimal(1000))]
    assert course(tranche, "low", today)[1:] == [(today, Decimal(200)), (today + timedelta(days=70), Decimal(270))]
    for path in ("low", "base"):
        assert [recovered_cny(tranche, path, day, today) for day, _ in course(tranche, path, today)] == [float(cny) for _, cny in course(tranche, path, today)]
    days = month_starts(date(2026, 9, 28), date(2027, 1, 5), today)
    assert [str(day) for day in days] == ["2026-09-28", "2026-10-01", "2026-11-01", "2026-11-22", "2026-12-01", "2027-01-01", "2027-02-01"]


def target(measure: str, value: str, first: date, end: date, site: str = "all", file: str = "plan.csv") -> dict:
    """A row of finance.dim_margin_target."""
    return {
        "measure": measure, "site_id": site, "target_value": Decimal(value), "valid_from": first, "valid_to": end,
        "provided_by": f"{file} line 2", "delivered_date": date(2026, 1, 5), "source": "Budget",
    }


def test_a_target_is_that_of_the_days_of_the_period() -> None:
    """A month's revenue beside a week's target, or two halves of a budget counted whole, is a false alarm.

    By hand: 10 days from Monday, three at 700 a week and seven at 1,400: 300 + 1,400 = 1,700; of a ratio of .2 for
    three days and .3 for seven the mean is 2.7 / 10 = .27.
    """
    monday, change, end = date(2026, 11, 2), date(2026, 11, 5), date(2026, 11, 30)
    rows = [
        target("net_revenue_cny", "700", date(1, 1, 1), change), target("net_revenue_cny", "1400", change, end, file="new.csv"),
        target("gross_margin_ratio", "0.2", date(1, 1, 1), change), target("gross_margin_ratio", "0.3", change, end),
        target("net_revenue_cny", "70", date(1, 1, 1), end, site="cn-bj"), target("payback_months", "30", change, end),
    ]
    ten_days = targets_of(rows, monday, date(2026, 11, 11))
    assert ten_days.values == {"net_revenue_cny": Decimal(1700), "gross_margin_ratio": Decimal("0.27")}
    assert [origin[0] for origin in ten_days.origins] == ["new.csv", "plan.csv"]
    assert targets_of(rows, monday, monday, "cn-bj").values == {"net_revenue_cny": Decimal(10)}
    assert targets_of(rows, monday, end).values == {}
    assert targets_of(rows, monday, date(2026, 11, 8), "cn-sh").values == {}


def test_an_export_keeps_every_digit_and_runs_nothing() -> None:
    """A spreadsheet that reads -5 as text can't add it, one that runs =cmd| does more than add."""
    table = Table(
        (Column("name", "Name"), Column("amount_cny", "Amount", "money"), Column("ratio", "Ratio", "ratio"), Column("day", "Day")),
        tuple({"name": name, "amount_cny": Decimal("-5400409.720000001"), "ratio": -0.5, "day": date(2026, 11, 22)}
              for name in ("=1+1", "+1", "-2", "@x", "\tx", "\rx", 'plain "quoted", text', "中文")),
    )
    rows = list(csv.reader(io.StringIO(csv_of(table), newline="")))
    assert rows[0] == ["name", "amount_cny", "ratio", "day"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+1", "'-2", "'@x", "'\tx", "'\rx", 'plain "quoted", text', "中文"]
    assert {tuple(row[1:]) for row in rows[1:]} == {("-5400409.720000001", "-0.5", "2026-11-22")}


def test_an_address_can_hold_anything_and_is_a_choice_or_nothing() -> None:
    """Filters come from an address that anyone can write."""
    assert Choice.of(None) == Choice()
    assert Choice.of(["2026-W47"], site={"a": 1}, model=[1, None, "", "m", "m"]) == Choice(model=("m",))
    assert Choice.of("2026-W47", site="cn-gd", product=["b", "a"]) == Choice("2026-W47", site=("cn-gd",), product=("a", "b"))


def snapshot(first: date, last: date, audit: Audit | None = None) -> Snapshot:
    """A published file that holds these days."""
    return Snapshot(None, {"published_at": datetime(2026, 11, 24, 6, 30)}, first, last, audit)


def test_a_period_is_compared_with_one_as_long_that_the_data_hold_whole() -> None:
    """Three weeks of November beside all of October is a fall that nobody caused."""
    held = snapshot(date(2026, 9, 28), date(2026, 11, 22))
    assert list(held.periods)[:2] == ["2026-W47", "2026-W46"] and held.latest_period == "2026-W47"
    compared = {name: held.before(period) for name, period in held.periods.items()}
    assert (compared["2026-W47"].first_date, compared["2026-W47"].last_date) == (date(2026, 11, 9), date(2026, 11, 15))
    assert (compared["last-4"].first_date, compared["last-4"].last_date) == (date(2026, 9, 28), date(2026, 10, 25))
    assert (compared["2026-11"].first_date, compared["2026-11"].last_date) == (date(2026, 10, 1), date(2026, 10, 22))
    assert compared["2026-W40"] is None and compared["2026-10"] is None
    assert "2026-09" not in held.periods and "last-13" not in held.periods


def test_a_week_that_has_not_ended_is_not_what_opens() -> None:
    """On a Wednesday, half a week looks like half the revenue."""
    held = snapshot(date(2026, 11, 2), date(2026, 11, 18))
    assert held.periods["2026-W47"].to_date and held.latest_period == "2026-W46"


def test_only_a_failure_after_this_publish_makes_it_provisional() -> None:
    """A kill between a publish and its record would leave a good file provisional until the next."""
    for passed, hour, failed in ((False, 9, True), (False, 5, False), (True, 9, False)):
        audit = Audit(passed, datetime(2026, 11, 24, hour), ())
        assert (snapshot(date(2026, 11, 2), date(2026, 11, 22), audit).failed_audit is not None) == failed


def test_a_single_day_is_a_period_too() -> None:
    """The first delivery of a new installation must open, not fail its run."""
    held = snapshot(date(2026, 11, 22), date(2026, 11, 22))
    assert held.latest_period == "2026-W47"
    assert "date '2026-11-16'" in held.periods["2026-W47"].where
    assert held.before(held.periods["2026-W47"]) is None
