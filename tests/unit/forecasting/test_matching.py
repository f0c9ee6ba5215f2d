"""The matching programme: its oracle, its prices, and networks that lack something."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.forecasting.matching import (
    Candidates,
    Matching,
    Programme,
    binding_constraints,
    round_trip_ms,
    shortest_routes,
    solve,
)

STEP = 0.01


def solve_hour(programme: Programme, profit, demand, capacity, links) -> Matching:
    """One hour."""
    return solve(*(programme, *(np.array([values], float) for values in (profit, demand, capacity, links))))


def oracle() -> tuple[Programme, list[float], list[float], list[float], list[float]]:
    """FORECAST O5: sites A, B and H; A asks for 10 and B for 6; flows AA, AB, AH, BB."""
    programme = Programme(
        commodity=np.array([0, 0, 0, 1]), pool=np.array([0, 1, 2, 1]), work=np.ones(4),
        link_column=np.array([2, 1]), link=np.array([0, 1]), link_load=np.ones(2),
        commodity_count=2, pool_count=3, link_count=2,
    )
    return programme, [5, 4.5, 4, 5], [10, 6], [4, 8, 5], [3, 1]


def test_oracle_o5_to_the_digit():
    """A wrong sign or a missing row would still give flows; only the published value, flows and prices tell."""
    programme, profit, demand, capacity, links = oracle()

    found = solve_hour(programme, profit, demand, capacity, links)

    assert found.value[0] == pytest.approx(66.5, abs=1e-9)
    assert found.flow[0] == pytest.approx([4, 1, 3, 6], abs=1e-9)
    assert found.capacity_price[0] == pytest.approx([5, 0, 0], abs=1e-9)
    assert found.link_price[0] == pytest.approx([4, 4.5], abs=1e-9)
    assert found.demand_price[0] == pytest.approx([0, 5], abs=1e-9)


def test_oracle_o5_names_what_binds():
    """Two tokens of A stay unserved; the planner must read that its own pool is full, not that links are."""
    programme, profit, demand, capacity, links = oracle()
    found = solve_hour(programme, profit, demand, capacity, links)
    everything = Candidates(*(np.ones(2, bool) for _ in range(3)))
    unserved = np.array(demand) - found.served(programme)[0]

    assert binding_constraints(programme, everything, found, np.array([profit]), 0, unserved) == [
        (0, "capacity", 0, pytest.approx(2.0))
    ]


amounts = st.floats(0.1, 10, allow_nan=False)


@st.composite
def networks(draw) -> tuple[Programme, list[float], list[float], list[float], list[float]]:
    """Up to four commodities, four pools and three links, joined at random."""
    commodities, pools, links = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    pairs = [(k, p) for k in range(commodities) for p in range(pools)]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=len(pairs), unique=True))
    loads = [(column, link) for column in range(len(chosen)) for link in range(links)]
    loaded = draw(st.lists(st.sampled_from(loads), max_size=len(loads), unique=True))

    def some(count: int) -> list[float]:
        return draw(st.lists(amounts, min_size=count, max_size=count))

    programme = Programme(
        commodity=np.array([k for k, _ in chosen]), pool=np.array([p for _, p in chosen]), work=np.array(some(len(chosen))),
        link_column=np.array([c for c, _ in loaded], int), link=np.array([link for _, link in loaded], int),
        link_load=np.array(some(len(loaded))), commodity_count=commodities, pool_count=pools, link_count=links,
    )
    return programme, some(len(chosen)), some(commodities), some(pools), some(links)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks())
def test_prices_are_finite_differences_at_a_step_of_a_hundredth(network):
    """A price that is no slope of the optimum would have the operator build where nothing is gained.

    The optimum is concave in each limit, so a price lies between the slope of a step up and of a step down;
    where these agree, as they do but at a kink, it equals both.
    """
    programme, profit, *limits = network
    lengths = [len(values) for values in limits]
    base = np.concatenate(limits)
    steps = STEP * np.eye(len(base))
    hours = np.vstack([base, base + steps, base - steps])
    found = solve(programme, np.tile(profit, (len(hours), 1)), *np.split(hours, np.cumsum(lengths)[:-1], axis=1))
    prices = np.concatenate([found.demand_price[0], found.capacity_price[0], found.link_price[0]])
    up, down = np.split((found.value[1:] - found.value[0]) / STEP, 2)
    down = -down
    assert (up - 1e-6 <= prices).all() and (prices <= down + 1e-6).all()
    smooth = down - up < 1e-9
    assert prices[smooth] == pytest.approx(up[smooth], abs=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(networks(), st.floats(0.2, 3))
def test_value_equals_the_prices_of_what_is_used_and_nothing_is_over_its_limit(network, factor):
    """Strong duality: a matching that breaks a limit, or stops short of the optimum, does not pass."""
    programme, profit, *limits = network
    hours = [np.array([values, [factor * value for value in values]]) for values in limits]
    found = solve(programme, np.array([profit, profit]), *hours)

    for hour in range(2):
        priced = sum(
            float(price[hour] @ limit[hour])
            for price, limit in zip((found.demand_price, found.capacity_price, found.link_price), hours, strict=True)
        )
        assert found.value[hour] == pytest.approx(priced, rel=1e-6, abs=1e-6)
        served = np.bincount(programme.commodity, found.flow[hour], programme.commodity_count)
        used = np.bincount(programme.pool, found.flow[hour] * programme.work, programme.pool_count)
        sent = np.bincount(
            programme.link, found.flow[hour, programme.link_column] * programme.link_load, programme.link_count
        )
        for amount, limit in zip((served, used, sent), hours, strict=True):
            assert (amount <= limit[hour] + 1e-6).all()


def test_an_hour_after_others_is_solved_as_if_it_were_the_first():
    """The basis kept from the hour before must speed the next one up and not move its answer."""
    programme, profit, demand, capacity, links = oracle()
    random = np.random.default_rng(5)
    factors = random.uniform(0.2, 2, 24)
    hours = [np.outer(factors, values) for values in (demand, capacity, links)]
    profits = np.outer(random.uniform(0.5, 1.5, 24), profit)
    together = solve(programme, profits, *hours)
    for hour in range(24):
        alone = solve(programme, profits[[hour]], *(values[[hour]] for values in hours))
        assert together.value[hour] == pytest.approx(alone.value[0], rel=1e-9)
    again = solve(programme, profits, *hours)
    assert np.array_equal(together.flow, again.flow) and np.array_equal(together.capacity_price, again.capacity_price)


def test_nothing_to_serve_or_nowhere_to_serve_it_is_an_answer():
    """A network without accelerators, without demand or without hours must give zeros and not an error."""
    programme, profit, demand, capacity, links = oracle()

    assert solve_hour(programme, profit, [0, 0], capacity, links).value[0] == 0
    assert solve_hour(programme, profit, demand, [0, 0, 0], links).flow[0].sum() == 0
    no_links = solve_hour(programme, profit, demand, capacity, [0, 0])
    assert no_links.flow[0] == pytest.approx([4, 0, 0, 6])
    none = np.zeros(0, int)
    empty = Programme(none, none, none, none, none, none, commodity_count=2, pool_count=0, link_count=0)
    found = solve(empty, np.zeros((3, 0)), np.ones((3, 2)), np.zeros((3, 0)), np.zeros((3, 0)))
    assert found.flow.shape == (3, 0) and found.served(empty).sum() == 0
    assert solve(programme, np.zeros((0, 4)), np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 2))).value.shape == (0,)


def test_each_constraint_is_named_by_the_first_test_that_fails():
    """A planner told "capacity" where the model runs on no accelerator there is would order in vain."""
    programme = Programme(
        commodity=np.array([3, 4]), pool=np.array([0, 1]), work=np.ones(2), link_column=np.array([1]),
        link=np.array([0]), link_load=np.ones(1), commodity_count=5, pool_count=2, link_count=1,
    )
    candidates = Candidates(
        is_compatible=np.array([False, True, True, True, True]), is_reachable=np.array([False, False, True, True, True]),
        is_in_class=np.array([False, False, False, True, True]),
    )
    profit = np.array([[-1.0, 2.0]])
    demand = np.ones((1, 5))
    found = solve(programme, profit, demand, np.ones((1, 2)), np.full((1, 1), 0.25))
    unserved = demand[0] - found.served(programme)[0]

    assert [row[:3] for row in binding_constraints(programme, candidates, found, profit, 0, unserved)] == [
        (0, "compatibility", -1), (1, "link", -1), (2, "latency", -1), (3, "worth", -1), (4, "link", 0),
    ]


def test_routes_take_the_shortest_fibre_over_several_links():
    """A detour counted by hops would put traffic, and its delay, on the wrong links."""
    links = pl.DataFrame({
        "link_id": ["ab", "bc", "ac", "cd-long", "cd"], "a_site_id": ["a", "b", "c", "c", "d"],
        "b_site_id": ["b", "c", "a", "d", "c"], "route_km": [100.0, 100.0, 250.0, 90.0, 50.0],
    })
    found = shortest_routes(["a", "b", "c", "d", "alone"], links)
    named = {pair: [(found.link_ids[link], way) for link, way in path] for pair, path in found.paths.items()}

    assert found.route_km[0, 3] == 250 and named[0, 3] == [("ab", 0), ("bc", 0), ("cd", 1)]
    assert named[3, 0] == [("cd", 0), ("bc", 1), ("ab", 1)] and named[0, 0] == []
    assert (0, 4) not in found.paths and np.isinf(found.route_km[0, 4])
    assert round_trip_ms(np.array([0.0, 408.0])) == pytest.approx([1.0, 4.9984])
