"""What-if on the small network of the matching tests: each lever moves what it should, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.tables import HORIZON_WEEKS, QUANTILES
from orchestration.forecasting.what_if import (
    SAMPLED_HOURS,
    Outlook,
    Scenario,
    sampled_hours,
    standard_scenarios,
    what_if,
)
from tests.unit.forecasting.test_matching_week import WEEK, inputs, placed

MONDAY = date(2026, 11, 23)
DEMAND, USABLE, ORDERED = 10.0, 12.0, 8.0


@pytest.fixture(scope="module")
def outlook() -> Outlook:
    """Site a asks for 4,000 million tokens an hour; a and h make 2,880 each; h gets 8 accelerators more in week 6."""
    weeks = [MONDAY + timedelta(weeks=week) for week in range(HORIZON_WEEKS)]
    pools = (("a", "fast"), ("h", "fast"))
    series = [("site_accelerator", "/".join(pool)) for pool in pools] + [("site", "a"), ("nation", "nation")]
    return Outlook(
        cutoff_week=WEEK,
        matching=inputs(placed("a", "a", "near", 2_000_000_000) + placed("a", "h", "near", 2_000_000_000), {pool: 1.0 for pool in pools}),
        demand_forecast=pl.DataFrame([
            {"level": level, "series_id": series_id, "target_date": week, "model": "weighted", "quantile": quantile, "value": DEMAND}
            for level, series_id in series for week in weeks for quantile in QUANTILES
        ]),
        busy_hour_demand=pl.DataFrame([
            {"level": level, "series_id": series_id, "week_start_date": MONDAY - timedelta(weeks=1), "demand_accelerator_count": DEMAND}
            for level, series_id in series
        ]),
        supply_plan=pl.DataFrame([
            {"site_id": site, "accelerator_id": kind, "target_date": week,
             "usable_accelerator_count": USABLE - 4 + (ORDERED if site == "h" and number >= 5 else 0)}
            for site, kind in pools for number, week in enumerate(weeks)
        ]),
        capacity_need=pl.DataFrame([
            {"site_id": site, "accelerator_id": kind, "usable_accelerator_count": USABLE - 4, "model": "weighted"} for site, kind in pools
        ]),
        pool_demand=pl.DataFrame([
            {"site_id": site, "accelerator_id": kind, "serving_demand_accelerator_hours": 1.0, "training_demand_accelerator_hours": 1.0}
            for site, kind in pools
        ]),
        deliveries=pl.DataFrame([{"site_id": "h", "accelerator_id": "fast", "accelerator_count": 8, "planned_date": MONDAY + timedelta(weeks=5)}]),
    )


def answered(outlook: Outlook, scenario: Scenario) -> tuple[dict, dict, dict]:
    """Short accelerators by pool and unserved tokens by origin, as (forecast, supposed); and the margin row."""
    tables = what_if(outlook, [scenario])
    found = {metric: {} for metric in ("short_accelerators", "unserved_tokens")}
    for row in tables["fct_what_if"].iter_rows(named=True):
        found[row["metric"]][row["site_id"]] = (row["base_value"], row["scenario_value"])
    return found["short_accelerators"], found["unserved_tokens"], tables["fct_what_if_margin"].row(0, named=True)


def test_growth_raises_the_need_of_every_pool_and_the_tokens_asked(outlook):
    """Half more of 10 accelerators against 8 usable is short by 7 and not by 2."""
    short, unserved, earned = answered(outlook, Scenario("x", growth_ratio=0.5))
    assert short == {"a": (2, 7), "h": (2, 7)}
    # 6,000 million asked an hour: the two pools make 5,760 until h has nine times as much.
    assert unserved["a"][0] == 0 and unserved["a"][1] == pytest.approx(4 * 4 * 240e6, rel=1e-6)
    assert earned["difference_cny"] > 0


def test_a_price_cut_raises_serving_by_the_elasticity_and_leaves_training_alone(outlook):
    """Half of each pool is serving: a cut by half at elasticity 1 doubles it, so 10 becomes 15."""
    assert answered(outlook, Scenario("x", price_cut_ratio=0.5))[0] == {"a": (2, 7), "h": (2, 7)}
    short, _, earned = answered(outlook, Scenario("x", price_cut_ratio=0.5, elasticity=0))
    assert short == {"a": (2, 2), "h": (2, 2)} and earned["difference_cny"] < 0


def test_a_slip_shows_in_the_weeks_that_wait_for_the_delivery_and_a_lost_hub_in_all(outlook):
    """Demand does not change, so only supply may."""
    later = answered(outlook, Scenario("x", slip_weeks=8))
    assert later[0] == {"a": (2, 2), "h": (2, 2)} and later[1] == {"a": (0, 0)}
    short, unserved, earned = answered(outlook, Scenario("x", lost_site_id="h"))
    assert short == {"a": (2, 2), "h": (2, 10)}
    # 4,000 asked, 2,880 made at a: 1,120 million an hour, four hours, thirteen weeks.
    assert unserved["a"][1] == pytest.approx(13 * 4 * 1_120e6, rel=1e-6)
    assert earned["difference_cny"] < 0


def test_a_lost_hub_is_judged_in_the_same_hours_as_the_network_with_it(outlook, monkeypatch):
    """Hours chosen anew without the hub's own demand were quieter ones, and its loss seemed to serve more."""
    monkeypatch.setattr("orchestration.forecasting.what_if.SAMPLED_HOURS", 1)
    rows = placed("a", "a", "near", 0) + placed("h", "a", "near", 0)
    # The third busiest hour is the first; without what h asks it would be the third, in which a asks for next to nothing.
    for row, million in zip(rows, (6_000, 5_000, 100, 100, 0, 0, 9_000, 9_000), strict=True):
        row["tokens"] = row["input_tokens"] = row["unconstrained_tokens"] = million * 1_000_000
    uneven = replace(outlook, matching=inputs(rows, {("a", "fast"): 1.0, ("h", "fast"): 1.0}))
    _, unserved, _ = answered(uneven, Scenario("x", lost_site_id="h"))
    assert unserved["a"][1] == pytest.approx(13 * 4 * 3_120e6, rel=1e-6) and unserved["a"][0] < unserved["a"][1]


def test_a_trial_adds_its_tokens_and_earns_nothing(outlook):
    """A trial that was counted as revenue would make giving tokens away look like growth."""
    asked = 4 * 4_000e6
    short, _, earned = answered(outlook, Scenario("x", trial_tokens=13 * asked * 0.1))
    assert short == {"a": (2, 3), "h": (2, 3)}
    assert earned["difference_cny"] < 0


def test_levers_out_of_range_and_unknown_sites_are_refused(outlook):
    """A typing error must not become a plan."""
    for wrong in ({"growth_ratio": -1}, {"price_cut_ratio": 1.0}, {"slip_weeks": -1}, {"trial_tokens": -1.0}):
        with pytest.raises(ValueError):
            Scenario("x", **wrong)
    with pytest.raises(ValueError, match="nowhere"):
        what_if(outlook, [Scenario("x", lost_site_id="nowhere")])


def test_the_standard_scenarios_name_the_largest_hub_and_a_scenario_without_change_changes_nothing(outlook):
    """The report shows them every week, so a run must be the same each time."""
    assert outlook.largest_hub == "a"
    names = [scenario.name for scenario in standard_scenarios(outlook.largest_hub)]
    assert len(names) == len(set(names)) == 5
    tables = what_if(outlook, [Scenario("same")])
    assert set(tables["fct_what_if"]["difference_value"]) == {0.0}
    assert float(tables["fct_what_if_margin"]["difference_cny"][0]) == 0
    again = what_if(outlook, [Scenario("same")])
    assert all(frame.equals(again[name]) for name, frame in tables.items())


def test_sampled_hours_stand_for_the_load_duration_curve():
    """A sample of nights, or of peaks alone, would move every unserved token."""
    load = np.random.default_rng(3).lognormal(0, 0.5, 168)
    assert load[sampled_hours(load)].mean() == pytest.approx(load.mean(), rel=0.03)
    assert len(sampled_hours(load)) == SAMPLED_HOURS and len(sampled_hours(load[:4])) == 4
