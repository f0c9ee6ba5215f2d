"""Decisions: crossing weeks, order quantities and moves, against hand-computed numbers and oracles."""

from __future__ import annotations

import json
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from orchestration.forecasting.capacity_need import (
    ORDER_QUANTILE,
    Pool,
    available_ratio,
    capacity_need,
    commit,
    confidence_of,
    crossing_week,
    current_supply,
    demand_at,
    expected_excess,
    order_up_to,
    spare_accelerators,
)
from orchestration.forecasting.moves import Moves
from orchestration.forecasting.tables import HORIZON_WEEKS

CUTOFF = "2026-W47"
NO_LINKS = pl.DataFrame(schema={"link_id": pl.String, "a_site_id": pl.String, "b_site_id": pl.String,
                                "one_way_ms": pl.Float64})


def bands(median: list[float] | float, sigma: float = 0.0) -> np.ndarray:
    """Paths (path, week) that keep their rank: normal quantiles around the median, the same width in every week."""
    middle = np.broadcast_to(np.asarray(median, dtype=float), (HORIZON_WEEKS,))
    scores = np.array([NormalDist().inv_cdf((path + 0.5) / 1001) for path in range(1001)])
    return np.maximum(middle[None, :] + sigma * scores[:, None], 0)


def pool(site: str = "a", accelerator: str = "x", usable: float = 100.0, demand: float | None = 50.0,
         paths: np.ndarray | None = None, **more) -> Pool:
    """A pool with eight weeks of history whose installed accelerators are all usable and never fail."""
    facts = {"usable_ratio": 1.0, "now_p95_utilization_ratio": 0.5, "known_weeks": 8, "wape": 0.1,
             "last_known_week": CUTOFF, "weekly_growth_ratio": 0.0, "available_ratio": 1.0, "largest_node": 0} | more
    return Pool(site_id=site, accelerator_id=accelerator, usable=usable, demand=demand,
                paths=bands(50.0) if paths is None else paths, **facts)


def anything(links: pl.DataFrame, ratio: float = 1.0, free_gbps: float = 100.0) -> Moves:
    """Every pool may move that part of its load over any of the links, at a Gbps an accelerator."""
    ends = {site for pair in links.select("a_site_id", "b_site_id").iter_rows() for site in pair}
    pairs = [(f"{one}/{accelerator}", other) for one in ends for other in ends for accelerator in "xy"]
    return Moves(dict.fromkeys(pairs, ratio), dict.fromkeys(pairs, 1.0), dict.fromkeys(links["link_id"], free_gbps))


def need(*pools: Pool, links: pl.DataFrame = NO_LINKS, moves: Moves | None = None) -> dict[str, dict]:
    """Rows of fct_capacity_need by site, with why read."""
    named = {f"{one.site_id}/{one.accelerator_id}": one for one in pools}
    rows = capacity_need(named, links, anything(links) if moves is None else moves, CUTOFF, "weighted")
    return {row["site_id"]: row | {"why": json.loads(row["why"])} for row in rows}


def link(first: str, second: str, one_way_ms: float | None = 2.0) -> pl.DataFrame:
    """One link."""
    return pl.DataFrame([{"link_id": f"{first}--{second}", "a_site_id": first, "b_site_id": second,
                          "one_way_ms": one_way_ms}], schema=NO_LINKS.schema)


def test_the_order_quantity_matches_the_published_oracle() -> None:
    """O4: up to 45.236 servers with 31.447 usable and 10 on order is an order of 4 servers."""
    target = 36.314 * np.exp(0.06 * np.sqrt(13) * NormalDist().inv_cdf(0.8451))
    assert target == pytest.approx(45.236, abs=0.005)
    # In accelerators, eight to a server, so that "whole servers" is what rounds.
    assert order_up_to(8 * target, 8 * 31.447, 8 * 10, 0.98273) == 4 * 8


def test_nothing_is_ordered_when_enough_is_there_or_on_order() -> None:
    """An order for a gap of zero buys a server that nobody needs."""
    assert order_up_to(100, 100, 0, 1.0) == 0
    assert order_up_to(108, 100, 8, 1.0) == 0
    assert order_up_to(100.1, 100, 0, 1.0) == 8


def test_the_order_quantile_is_read_from_the_paths_of_the_week() -> None:
    """84.5% read as 90% buys too much, as 75% too little."""
    values = demand_at(bands(100.0, sigma=10.0), ORDER_QUANTILE)
    np.testing.assert_allclose(values, 100 + 10 * NormalDist().inv_cdf(0.8451), atol=0.05)


def test_the_crossing_is_the_week_by_which_a_share_of_paths_has_crossed() -> None:
    """Off by one, every order is a week late; read from weekly quantiles, a path that crossed and fell back is lost."""
    paths = np.array([[3.0, 1.0, 1.0], [1.0, 3.0, 1.0], [1.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
    supply = np.array([2.0, 2.0, 2.0])
    assert [crossing_week(paths, supply, share) for share in (0.25, 0.5, 0.75, 0.9)] == [1, 2, 3, None]
    assert crossing_week(np.array([[2.0]]), np.array([2.0]), 0.5) is None


def test_the_mean_excess_by_hand() -> None:
    """The line about doing nothing adds these up over pools."""
    assert expected_excess(np.full(5, 12.0), 10.0) == pytest.approx(2.0)
    assert expected_excess(np.full(5, 12.0), 12.0) == 0
    assert expected_excess(np.array([0.0, 10.0, 14.0, 20.0]), 10.0) == pytest.approx((4 + 10) / 4)


def test_small_pools_need_spares_that_large_ones_have_in_their_slack() -> None:
    """Two servers planned at 80% carry nothing when one of them is down."""
    # 12 needed are two servers: of three at 98% two are up with 99.88%, of four with 99.997%.
    assert spare_accelerators(12.0, 24.0, 0.98, largest_node=8) == 8
    assert spare_accelerators(12.0, 32.0, 0.98, largest_node=8) == 0
    # Without one of three nodes of 16, 31 are left for 36.
    assert spare_accelerators(36.0, 48.0, 0.98, largest_node=16) == 16
    assert spare_accelerators(640.0, 800.0, 0.98, largest_node=16) == 0
    assert spare_accelerators(0.0, 0.0, 0.98, largest_node=16) == 0


def test_availability_is_that_of_the_network() -> None:
    """A site that lost a node this week has no availability of 75% for ever."""
    days = pl.DataFrame({"installed_accelerator_hours": [24.0, 76.0], "available_accelerator_hours": [18.0, 76.0]})
    assert available_ratio(days) == pytest.approx(0.94)
    assert available_ratio(days.head(0)) == pytest.approx(0.98273)


def test_a_pool_that_holds_says_no_action() -> None:
    """Silence about a pool is not the same as a decision that it needs nothing."""
    row = need(pool())["a"]
    assert (row["action"], row["add_accelerator_count"], row["why"]["code"]) == ("none", 0, "enough")
    assert row["runs_out_week_p10"] is row["runs_out_week_p50"] is row["runs_out_week_p90"] is None


def test_a_growing_pool_is_ordered_for_with_its_dates() -> None:
    """The planner's row: when it runs out at each certainty, how many, and by when."""
    growing = [96.0 + 2 * week for week in range(HORIZON_WEEKS)]  # above 100 in the fourth week ahead
    row = need(pool(paths=bands(growing, sigma=3.0)))["a"]
    assert row["runs_out_week_p50"] == "2026-W51"
    assert row["runs_out_week_p10"] == "2026-W49"  # 98 + 1.2816 x 3 = 101.8 in the second
    assert row["runs_out_week_p90"] == "2026-W52"  # 104 - 1.2816 x 3 = 100.2 in the fifth
    assert row["action"] == "add"
    # 120 + 3 x 1.0156 - 100 = 23.05 accelerators: three servers; one more where a node of eight may fail.
    assert row["order_up_to_accelerator_count"] == pytest.approx(123.05, abs=0.02)
    assert (row["add_accelerator_count"], row["spare_accelerator_count"], row["order_quantile"]) == (24, 0, 0.8451)
    failing = need(pool(paths=bands(growing, sigma=3.0), largest_node=8))["a"]
    assert (failing["add_accelerator_count"], failing["spare_accelerator_count"]) == (32, 8)
    assert row["order_by_date"] == date(2026, 12, 14) - timedelta(weeks=12)
    assert row["why"]["code"] == "demand_crosses"


def test_a_pool_that_is_short_now_runs_out_in_the_cutoff_week() -> None:
    """A shortage that exists must not be shown as one to come."""
    row = need(pool(demand=120.0, paths=bands(120.0)))["a"]
    assert {row["runs_out_week_p10"], row["runs_out_week_p50"], row["runs_out_week_p90"]} == {CUTOFF}
    assert row["why"]["code"] == "already_short"


def test_a_level_that_is_not_known_to_the_percent_may_be_short_already() -> None:
    """At the edge the early warning has to say now: the week after next would be a certainty that nobody has."""
    row = need(pool(demand=98.0, paths=bands(98.0, sigma=2.0), level_error=0.02))["a"]
    # 98 +- 2% is above 100 with 16% of probability.
    assert (row["runs_out_week_p10"], row["runs_out_week_p50"]) == (CUTOFF, None)
    sure = need(pool(demand=101.0, paths=bands(101.0), level_error=0.02))["a"]
    assert (sure["runs_out_week_p50"], sure["runs_out_week_p90"]) == (CUTOFF, "2026-W48")


def test_demand_without_supply_has_a_reason_of_its_own() -> None:
    """A site with demand and nothing installed has no ratio, and must not vanish."""
    row = need(pool(usable=0.0, demand=5.0, paths=bands(5.0), now_p95_utilization_ratio=None))["a"]
    assert (row["action"], row["add_accelerator_count"], row["why"]["code"]) == ("add", 8, "no_supply")


def test_committed_deliveries_count_from_their_first_monday_and_lower_the_order() -> None:
    """Counted too early, a late delivery hides a shortage; not counted, it is ordered twice."""
    short = pool(paths=bands(120.0), demand=90.0)
    deliveries = pl.DataFrame(
        [("a", "x", 16, date(2026, 12, 2), "committed"), ("a", "x", 40, date(2026, 12, 2), "planned"),
         ("a", "x", 99, date(2026, 11, 20), "committed"), ("b", "x", 8, date(2026, 12, 2), "committed")],
        schema=["site_id", "accelerator_id", "accelerator_count", "planned_date", "commitment"], orient="row",
    )
    commit({"a/x": short}, deliveries, CUTOFF)
    # Wednesday 2 December counts from Monday 7 December, the third week ahead.
    assert short.supply.tolist() == [100.0, 100.0, *[116.0] * 11]
    assert need(short)["a"]["add_accelerator_count"] == 8


def test_load_moves_to_the_nearest_site_with_enough_to_spare() -> None:
    """Buying what a neighbour has idle is the costliest mistake the report can make."""
    links = pl.concat([link("a", "far", 9.0), link("near", "a", 1.0), link("a", "full", 0.5)])
    rows = need(
        pool("a", paths=bands(110.0), demand=90.0), pool("far"), pool("near"),
        pool("full", paths=bands(95.0)), links=links,
    )
    assert rows["a"]["action"] == "move_load"
    assert rows["a"]["add_accelerator_count"] == 0
    assert rows["a"]["why"]["to_site_id"] == "near"
    assert rows["a"]["why"]["link_id"] == "near--a"
    assert rows["a"]["why"]["move_accelerators"] == 10


def test_spare_capacity_is_used_once() -> None:
    """Two short sites sent to the same spare would both fail."""
    links = pl.concat([link("a", "spare"), link("b", "spare")])
    rows = need(pool("a", paths=bands(140.0), demand=90.0), pool("b", paths=bands(130.0), demand=90.0),
                pool("spare"), links=links)
    assert sorted(rows[site]["action"] for site in ("a", "b")) == ["add", "move_load"]
    assert rows["a"]["action"] == "move_load"  # the larger shortfall chooses first


def test_a_link_without_room_carries_no_move() -> None:
    """Ten accelerators' load on a link with room for nine drops packets of everybody."""
    links = link("a", "b")
    short = pool("a", paths=bands(110.0), demand=90.0), pool("b")
    full = need(*short, links=links, moves=anything(links, free_gbps=9.9))["a"]
    assert full["action"] == "add"
    moved = need(*short, links=links, moves=anything(links, free_gbps=10.0))["a"]
    assert moved["action"] == "move_load"
    assert (moved["why"]["move_gbps"], moved["why"]["link_free_gbps"]) == (10.0, 10.0)


def test_the_room_of_a_link_is_used_once() -> None:
    """Two pools of a site that each fit into a link do not fit together."""
    links = link("a", "b")
    pools = [pool("a", paths=bands(110.0), demand=90.0), pool("a", "y", paths=bands(106.0), demand=90.0), pool("b"), pool("b", "y")]
    named = {f"{one.site_id}/{one.accelerator_id}": one for one in pools}
    rows = capacity_need(named, links, anything(links, free_gbps=12.0), CUTOFF, "weighted")
    actions = {row["accelerator_id"]: row["action"] for row in rows if row["site_id"] == "a"}
    assert actions == {"x": "move_load", "y": "add"}


def test_load_that_would_miss_its_latency_class_stays() -> None:
    """A chat that answers too late is not served; so only as much moves as may."""
    links = link("a", "b")
    short = pool("a", paths=bands(110.0), demand=90.0), pool("b")
    assert need(*short, links=links, moves=anything(links, ratio=0.08))["a"]["action"] == "add"
    assert need(*short, links=links, moves=anything(links, ratio=0.1))["a"]["action"] == "move_load"


def test_nothing_moves_over_a_link_that_nobody_counts() -> None:
    """What is not known to be free is not free."""
    assert need(pool("a", paths=bands(110.0), demand=90.0), pool("b"), links=link("a", "b"), moves=Moves())["a"]["action"] == "add"


def test_another_type_of_accelerator_is_no_help() -> None:
    """Load does not move between types without a conversion that is not made here."""
    rows = need(pool("a", paths=bands(110.0), demand=90.0), pool("b", accelerator="y"), links=link("a", "b"))
    assert rows["a"]["action"] == "add"


def test_a_move_waits_until_the_median_crosses() -> None:
    """A move needs no lead time, so moving for a tail that may never come is work for nothing."""
    rows = need(pool("a", paths=bands(98.0, sigma=4.0), demand=90.0), pool("b"), links=link("a", "b"))
    assert (rows["a"]["action"], rows["a"]["why"]["code"]) == ("none", "may_cross")
    assert rows["a"]["why"]["to_site_id"] == "b"


def test_short_history_orders_up_to_the_median_only() -> None:
    """With one week the band is an assumption, and an order of its upper edge is a guess with money."""
    young = pool(paths=bands(98.0, sigma=40.0), known_weeks=1, wape=None)
    assert need(young)["a"]["action"] == "none"
    assert need(pool(paths=bands(98.0, sigma=40.0), known_weeks=4))["a"]["action"] == "add"


def test_ended_and_unplaced_pools_get_a_reason_and_no_order() -> None:
    """The unknown member keeps totals whole, but nobody can deliver servers to it."""
    ended = pool("old", demand=None)
    ended.paths = None
    rows = need(ended, pool("unknown", demand=500.0, paths=bands(500.0)), pool("idle", paths=bands(0.0)))
    assert [rows[site]["why"]["code"] for site in ("old", "unknown", "idle")] == ["ended", "unplaced", "no_demand"]
    assert {rows[site]["action"] for site in rows} == {"none"}


def test_confidence_needs_history_and_a_small_error() -> None:
    """A low error over two weeks, or eight weeks of large errors, is no ground for an order."""
    assert confidence_of(8, 0.15) == "high"
    assert confidence_of(8, 0.16) == "medium"
    assert confidence_of(7, 0.01) == "medium"
    assert confidence_of(3, 0.01) == "low"
    assert confidence_of(20, None) == "low"


def test_supply_now_is_the_last_day_installed_at_the_weeks_usable_share() -> None:
    """A delivery on Thursday counts in full at once; a bad Sunday does not count as the new normal."""
    days = []
    for step in range(7):
        installed = 240.0 if step < 3 else 480.0  # 10 accelerators, 20 from Thursday on
        usable = installed * (0.25 if step == 6 else 0.85)
        days.append({"usage_date": date(2026, 11, 16) + timedelta(days=step), "site_id": "a", "accelerator_id": "x",
                     "installed_accelerator_hours": installed, "usable_accelerator_hours": usable})
    row = current_supply(pl.DataFrame(days), CUTOFF).row(0, named=True)
    share = (3 * 240 * 0.85 + 3 * 480 * 0.85 + 480 * 0.25) / (3 * 240 + 4 * 480)
    assert row["usable"] == pytest.approx(20 * share)
    assert row["usable_ratio"] == pytest.approx(share)


def test_servers_of_an_idle_pool_are_moved_before_new_ones_are_bought() -> None:
    """A pool of the same type that stands idle elsewhere is cheaper than any order, and twelve weeks nearer."""
    growing = bands([96.0 + 2 * week for week in range(HORIZON_WEEKS)])
    rows = need(
        pool("hot", paths=growing, demand=94.0),
        pool("idle", usable=200.0, paths=bands(10.0), demand=10.0, recent_use_ratio=0.05),
        pool("busy_until_now", usable=400.0, paths=bands(10.0), demand=10.0, recent_use_ratio=0.9),
        pool("other_type", accelerator="y", usable=400.0, paths=bands(10.0), demand=10.0, recent_use_ratio=0.05),
    )
    hot = rows["hot"]
    assert (hot["action"], hot["add_accelerator_count"], hot["why"]["from_site_id"]) == ("move_accelerators", 0, "idle")
    assert hot["why"]["move_accelerators"] == 24  # 120 wanted, 100 there
    assert hot["order_by_date"] == date(2026, 12, 14) - timedelta(weeks=4)
    assert rows["idle"]["action"] == "none"


def test_an_idle_pool_gives_only_once() -> None:
    """Two sites promised the same servers would both be short."""
    growing = bands([96.0 + 2 * week for week in range(HORIZON_WEEKS)])
    rows = need(
        pool("a", paths=growing, demand=94.0), pool("b", paths=growing, demand=94.0),
        pool("idle", usable=50.0, paths=bands(5.0), demand=5.0, recent_use_ratio=0.1),
    )
    assert sorted(rows[site]["action"] for site in ("a", "b")) == ["add", "move_accelerators"]


def test_a_pool_nobody_has_known_a_week_of_gets_no_order() -> None:
    """What sites like it ask for says how large it may get, not that it needs anything."""
    row = need(pool(demand=None, known_weeks=0, last_known_week="", paths=bands(500.0), wape=None))["a"]
    assert (row["action"], row["why"]["code"], row["confidence"]) == ("none", "new_pool", "low")
