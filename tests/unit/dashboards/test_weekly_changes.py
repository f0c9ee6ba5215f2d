"""What changed since last week: the bridge adds up, and every earlier action has an end or is open; what is sold fits."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta

import polars as pl
import pytest

from dashboards.figures.need_bridge import need_bridge_figure
from dashboards.figures.tokens import PRODUCTS, package_demand_figure, product_tokens_figure
from dashboards.weekly_report.changes import bridge_steps, fates, restated
from dashboards.weekly_report.packages import over_commitment
from dashboards.weekly_report.parts import Names
from dashboards.weekly_report.published import PLAN_SCHEMA, Readings

THEN, NOW = date(2026, 11, 15), date(2026, 11, 22)
TARGET = date(2027, 2, 8)


def readings(**given: object) -> Readings:
    """What the report reads, as far as a test gives it."""
    return Readings(**{field.name: given.get(field.name) for field in fields(Readings)})


def medians(*rows: tuple[date, str, str, float]) -> pl.DataFrame:
    """Median forecasts for the target week."""
    return pl.DataFrame(
        [(cutoff, series, model, TARGET, value) for cutoff, series, model, value in rows],
        schema={"cutoff_date": pl.Date, "series_id": pl.String, "model": pl.String, "target_date": pl.Date, "value": pl.Float64},
        orient="row",
    )


def plan(*rows: tuple[str, float, int]) -> pl.DataFrame:
    """Supply of the target week: site, usable, committed."""
    return pl.DataFrame([(site, "t", TARGET, usable, committed) for site, usable, committed in rows], schema=PLAN_SCHEMA, orient="row")


def need(site: str, action: str = "add", add: int = 8, usable: float = 10.0, demand: float = 20.0, model: str = "weighted",
         why: str = "{}") -> dict:
    """One decision."""
    return {"cutoff_week": "2026-W46", "site_id": site, "accelerator_id": "t", "action": action, "add_accelerator_count": add,
            "usable_accelerator_count": usable, "demand_accelerator_count": demand, "runs_out_week_p50": "2026-W48",
            "why": why, "model": model}


def restated_by(*rows: tuple[str, float]) -> dict:
    """Four weeks of 100 accelerator-hours at each of two sites, as known now, and what of it came after the forecast."""
    mondays = [date(2026, 11, 16) - timedelta(weeks=week) for week in range(5)]
    return {
        "week_start_date": mondays[0],
        "pools": pl.DataFrame(
            [(site, monday, 500.0 if monday == mondays[0] else 25.0) for site in ("a", "b") for monday in mondays],
            schema={"site_id": pl.String, "week_start_date": pl.Date, "demand": pl.Float64}, orient="row"),
        "restated_demand": pl.DataFrame(
            rows, schema={"site_id": pl.String, "change_accelerator_hours": pl.Float64}, orient="row"),
    }


def test_the_bridge_replaces_demand_then_method_then_supply_and_ends_at_this_weeks_gap() -> None:
    """A bridge that does not add up says that somebody's order is due to nothing."""
    found = bridge_steps(readings(
        **restated_by(),
        previous_need=[need("a", model="old")], need=[need("a", model="new")],
        pool_medians=medians(
            (THEN, "a/t", "old", 30), (THEN, "b/t", "old", 5), (NOW, "a/t", "old", 36), (NOW, "b/t", "old", 5),
            (NOW, "a/t", "new", 34), (NOW, "b/t", "new", 12)),
        previous_plan=plan(("a", 20, 0), ("b", 10, 0)), supply_plan=plan(("a", 25, 0), ("b", 9, 0)),
    ))
    # Gaps: 30-20 = 10; 36-20 = 16; 34-20 + 12-10 = 16; 34-25 + 12-9 = 12.
    assert found == (TARGET, [("bridge_then", 10.0), ("bridge_restated", 0.0), ("bridge_demand", 6.0), ("bridge_method", 0.0),
                              ("bridge_supply", -4.0)])
    figure = need_bridge_figure(found[1], "en")
    bars = sorted((trace.base[index], trace.y[index], trace.text[index]) for trace in figure.data for index in range(len(trace.x)))
    assert bars == [(0, 10, "10"), (0, 12, "12"), (10, 0, "+0"), (10, 6, "+6"), (12, 4, "−4"), (16, 0, "+0")]


def test_demand_that_was_restated_is_a_step_of_its_own_and_not_called_new() -> None:
    """A late file of last week would read as growth, and somebody would order for it."""
    _, steps = bridge_steps(readings(
        **restated_by(("a", 20.0), ("b", 100.0)), previous_need=[need("a")], need=[need("a")],
        pool_medians=medians((THEN, "a/t", "weighted", 32), (THEN, "b/t", "weighted", 6), (NOW, "a/t", "weighted", 41),
                             (NOW, "b/t", "weighted", 6)),
        previous_plan=plan(("a", 30, 0), ("b", 9, 0)), supply_plan=plan(("a", 30, 0), ("b", 9, 0)),
    ))
    # a: 80 hours were known of 100, so 32 reads 40, a gap of 10 for 2; b had no demand then, so its 6 stay.
    assert steps == [("bridge_then", 2.0), ("bridge_restated", 8.0), ("bridge_demand", 1.0), ("bridge_method", 0.0),
                     ("bridge_supply", 0.0)]


def test_there_is_no_bridge_without_an_earlier_forecast() -> None:
    """A gap of nothing last week would make the whole of this week's look new."""
    only_now = medians((NOW, "a/t", "weighted", 30))
    assert bridge_steps(readings(previous_need=[], need=[need("a")], pool_medians=only_now,
                                 previous_plan=plan(), supply_plan=plan(("a", 1, 0)))) is None


@pytest.mark.parametrize(("now", "arriving", "words"), [
    (need("a"), 0, "open, unchanged"),
    (need("a", add=24), 0, "open, 16 more needed"),
    (need("a", action="move_load", add=0), 0, "open, with another action"),
    (need("a"), 64, "ordered: 64 more committed"),
    (need("a", action="none", add=0, usable=18.0), 0, "closed: usable supply +8"),
    (need("a", action="none", add=0, demand=15.0), 0, "closed: demand −25.0%"),
    (need("a", action="none", add=0), 0, "closed: the forecast no longer crosses"),
    (None, 0, "the pool is gone"),
])
def test_every_action_of_last_week_is_open_or_closed_for_a_reason(now: dict | None, arriving: int, words: str) -> None:
    """An order that nobody placed must not read as one that is no longer needed."""
    if now and now["action"] == "move_load":
        now = {**now, "why": '{"to_site_id": "b", "link_id": "a-b", "move_accelerators": 8}'}
    sites = pl.DataFrame({"site_id": ["a", "b"], "site_name": ["A", "B"], "site_name_cn": ["A", "B"], "site_kind": ["hub", "hub"],
                          "hub_region": ["Gansu", "Gansu"]})
    given = readings(
        previous_need=[need("a"), need("b", action="none", add=0)], need=[now] if now else [], sites=sites, accelerators={"t": "T"},
        previous_plan=plan(("a", 10, 0)), supply_plan=plan(("a", 10 + arriving, arriving)),
    )
    (row,) = fates(given, Names(given)).rows
    assert row[-1].plain()["en"] == words


def test_a_move_that_grew_is_not_called_unchanged() -> None:
    """A move adds no accelerators, so that one of 4 in place of one of 2 looked like the same decision."""
    two, four = (need("a", action="move_load", add=0, why=f'{{"to_site_id": "b", "move_accelerators": {count}}}') for count in (2, 4))
    sites = pl.DataFrame({"site_id": ["a", "b"], "site_name": ["A", "B"], "site_name_cn": ["A", "B"], "site_kind": ["hub", "hub"],
                          "hub_region": ["Gansu", "Gansu"]})
    given = readings(previous_need=[two], need=[four], sites=sites, accelerators={"t": "T"}, previous_plan=plan(("a", 10, 0)),
                     supply_plan=plan(("a", 10, 0)))
    (row,) = fates(given, Names(given)).rows
    assert row[-1].plain()["en"] == "open, 2 more needed"


def test_restated_demand_is_summed_and_other_measures_are_only_listed() -> None:
    """Accelerator-hours and tokens added together are a number of nothing."""
    rows = [{"usage_date": date(2026, 11, 18), "mart": "capacity.fct_supply_demand_daily", "metric": metric, "reason": "late",
             "value_before": 10, "value_after": after, "gross_change": 5}
            for metric, after in (("serving_demand_accelerator_hours", 15), ("unmet_accelerator_hours", 99))]
    found = restated(readings(restatements=rows, missing_tables=()))
    assert found["sentence"].plain()["en"] == "2 figures of 1 days were restated; demand moved by +5 accelerator-hours net."
    assert len(found["table"].rows) == 2
    assert restated(readings(restatements=[], missing_tables=("quality.fct_restatements",)))["table"] is None


def test_products_keep_their_trace_whatever_the_data_and_strangers_are_counted() -> None:
    """A product that the chart does not know would vanish from the total."""
    tokens = pl.DataFrame({"iso_week": ["2026-W46", "2026-W47", "2026-W47"], "product": ["payg", "payg", "brand-new"],
                           "tokens": [1e9, 2e9, 3e9]})
    figure = product_tokens_figure(tokens, "en")
    assert [trace.meta for trace in figure.data] == [product for product, _, _ in PRODUCTS]
    by_product = {trace.meta: dict(zip(trace.x, trace.y, strict=True)) for trace in figure.data}
    assert by_product["payg"] == {"W46": 1, "W47": 2} and by_product["unknown"] == {"W47": 3}


def test_package_demand_has_a_bar_a_week() -> None:
    """A week without a bar reads as one without demand."""
    weeks = pl.DataFrame({"iso_week": ["2026-W48", "2026-W49"], "expected_tokens": [2.5e9, 5e8]})
    (trace,) = package_demand_figure(weeks, "zh").data
    assert (list(trace.x), list(trace.y)) == (["W48", "W49"], [2.5, 0.5])


@pytest.mark.parametrize(("usable", "peak", "words"), [
    (30.0, 900.0, "Not over-committed: usable supply that stood free this week could serve 1.00k tokens (100 an accelerator-hour)"),
    (30.0, 1100.0, "Over-committed: usable supply that stood free"),
    (20.0, 900.0, "Over-committed: no usable supply stood free this week."),
])
def test_what_is_sold_is_held_against_what_stood_free(usable: float, peak: float, words: str) -> None:
    """Packages sold beyond what can be served are a refund; one pool's shortage must not eat another's spare."""
    monday = date(2026, 11, 16)
    pools = pl.DataFrame({"week_start_date": [monday, monday], "demand": [20.0, 50.0], "served": [10.0, 10.0], "usable": [usable, 10.0]})
    given = readings(week_start_date=monday, pools=pools)
    assert over_commitment(given, 2000.0, 2500.0, peak).plain()["en"].startswith(words)
    assert over_commitment(given, None, 2500.0, peak) is None
