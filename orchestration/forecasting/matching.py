"""Supply matched with demand over the optical network: one linear programme an hour, and its prices.

A *commodity* is what one site asks of one model; a *pool* is what one site has of one accelerator type.
A column is the flow of one commodity into one pool along the shortest route, so what arrives at a pool is
what it computes and no row has to balance the two. Rows, all "at most":

- demand: the flows of a commodity, its tokens;
- capacity: flow times work (accelerator-hours a million tokens), what the pool may use;
- links: flow times load (gigabits a million tokens), each direction of each link on the route.

The objective is what a token earns, less transport and energy. Duals are prices: what one more unit of the
row would add. Arrays in, arrays out; where the numbers come from is ``matching_week``'s. No I/O, no Dagster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np
import polars as pl
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

FIBRE_MS_PER_KM = 0.0049
"""One way through fibre of refractive index 1.468 (FACTS 1.3)."""
EQUIPMENT_ROUND_TRIP_MS = 1.0
CONSTRAINTS = ("compatibility", "link", "latency", "worth", "capacity")
# Flows, room and prices below this are rounding of the solver.
NEGLIGIBLE = 1e-7
_INFINITY = highspy.kHighsInf


class _Solver(highspy.Highs):
    """HiGHS without its callbacks: nothing here listens, and setting them up prints to standard output."""

    def __init__(self):
        super(highspy.Highs, self).__init__()


class NotOptimal(RuntimeError):
    """The solver did not end at an optimum, which a programme with nothing but upper limits always has."""


# --- routes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Routes:
    """Shortest routes between all sites, by fibre length; several hops are one route."""

    site_ids: tuple[str, ...]
    link_ids: tuple[str, ...]
    route_km: np.ndarray
    """(origin, serving site); infinite where no links lead there."""
    paths: dict[tuple[int, int], tuple[tuple[int, int], ...]]
    """(origin, serving site) -> (link, 0 when travelled from a to b else 1), in order; absent when unreachable."""

    @property
    def round_trip_ms(self) -> np.ndarray:
        """(origin, serving site) there and back, equipment included."""
        return round_trip_ms(self.route_km)


def round_trip_ms(route_km: np.ndarray) -> np.ndarray:
    """Round trip over a route: twice the fibre's delay, and 1 ms of equipment."""
    return 2 * FIBRE_MS_PER_KM * np.asarray(route_km, float) + EQUIPMENT_ROUND_TRIP_MS


def shortest_routes(site_ids: Sequence[str], links: pl.DataFrame) -> Routes:
    """Routes over links (link_id, a_site_id, b_site_id, route_km); links of other sites or no length are left out.

    Of several links between two sites the shortest carries, and of equal ones the first by name.
    """
    number = {site_id: index for index, site_id in enumerate(site_ids)}
    usable = links.filter(
        pl.col("a_site_id").is_in(list(site_ids)) & pl.col("b_site_id").is_in(list(site_ids))
        & (pl.col("a_site_id") != pl.col("b_site_id")) & (pl.col("route_km") > 0)
    ).sort("link_id")
    edge: dict[tuple[int, int], tuple[float, int, int]] = {}
    for link, (a_site_id, b_site_id, km) in enumerate(usable.select("a_site_id", "b_site_id", "route_km").iter_rows()):
        a, b = number[a_site_id], number[b_site_id]
        for pair, direction in (((a, b), 0), ((b, a), 1)):
            if pair not in edge or km < edge[pair][0]:
                edge[pair] = (km, link, direction)
    count = len(number)
    pairs = sorted(edge)
    graph = csr_array(
        ([edge[pair][0] for pair in pairs], ([pair[0] for pair in pairs], [pair[1] for pair in pairs])), shape=(count, count)
    )
    route_km, before = dijkstra(graph, return_predecessors=True)
    paths = {}
    for origin in range(count):
        for site in range(count):
            if not np.isfinite(route_km[origin, site]):
                continue
            path, here = [], site
            while here != origin:
                previous = int(before[origin, here])
                path.append(edge[previous, here][1:])
                here = previous
            paths[origin, site] = tuple(reversed(path))
    return Routes(tuple(site_ids), tuple(usable["link_id"]), route_km, paths)


# --- the programme -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Programme:
    """What stands still from hour to hour: which flows there are and what each takes of which row."""

    commodity: np.ndarray
    """(column)"""
    pool: np.ndarray
    """(column)"""
    work: np.ndarray
    """(column) accelerator-hours a unit of flow."""
    link_column: np.ndarray
    """(entry) column of a load."""
    link: np.ndarray
    """(entry) directed link of a load."""
    link_load: np.ndarray
    """(entry) gigabits a unit of flow."""
    commodity_count: int
    pool_count: int
    link_count: int

    @property
    def column_count(self) -> int:
        """Flows that may be."""
        return len(self.commodity)


@dataclass(frozen=True)
class Matching:
    """Optimal flows and prices by hour."""

    flow: np.ndarray
    """(hour, column)"""
    demand_price: np.ndarray
    """(hour, commodity)"""
    capacity_price: np.ndarray
    """(hour, pool) objective an accelerator-hour more."""
    link_price: np.ndarray
    """(hour, directed link) objective a gigabit more."""
    value: np.ndarray
    """(hour)"""

    def served(self, programme: Programme) -> np.ndarray:
        """(hour, commodity) flow that is served."""
        total = np.zeros((len(self.flow), programme.commodity_count))
        for hour, row in enumerate(self.flow):
            total[hour] = np.bincount(programme.commodity, row, programme.commodity_count)
        return total


def solve(
    programme: Programme, profit: np.ndarray, demand: np.ndarray, capacity: np.ndarray, link_capacity: np.ndarray,
    largest_flow: np.ndarray | None = None,
) -> Matching:
    """The best flows of each hour, each hour starting from the basis of the one before.

    Args:
        profit: (hour, column) objective a unit of flow.
        demand: (hour, commodity) flow asked for.
        capacity: (hour, pool) accelerator-hours that may be used.
        link_capacity: (hour, directed link) gigabits that may be sent.
        largest_flow: (hour, column) limit of each flow by itself; None: none.

    One thread, so that the same numbers give the same vertex. Raises NotOptimal when the solver stops short.
    """
    hours, columns = profit.shape[0], programme.column_count
    flow, value = np.zeros((hours, columns)), np.zeros(hours)
    prices = np.zeros((hours, programme.commodity_count + programme.pool_count + programme.link_count))
    if columns and hours:
        link_rows = np.flatnonzero(_may_fill(programme, demand, link_capacity))
        programme_rows = np.r_[0 : programme.commodity_count + programme.pool_count,
                               programme.commodity_count + programme.pool_count + link_rows]
        limits = np.hstack([demand, capacity, link_capacity[:, link_rows]]).astype(float)
        rows = limits.shape[1]
        solver = _solver(_with_links(programme, link_rows), profit[0], limits[0])
        every_row, no_lower = np.arange(rows, dtype=np.int32), np.full(rows, -_INFINITY)
        every_column, zero = np.arange(columns, dtype=np.int32), np.zeros(columns)
        for hour in range(hours):
            if hour:
                solver.changeRowsBounds(rows, every_row, no_lower, limits[hour])
                if not np.array_equal(profit[hour], profit[hour - 1]):
                    solver.changeColsCost(columns, every_column, profit[hour])
            if largest_flow is not None:
                solver.changeColsBounds(columns, every_column, zero, largest_flow[hour])
            solver.run()
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                # Carried on from the hour before, the simplex may end without an answer that it finds from scratch.
                solver.clearSolver()
                solver.run()
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                raise NotOptimal(f"hour {hour}: {solver.modelStatusToString(solver.getModelStatus())}")
            solution = solver.getSolution()
            flow[hour], prices[hour, programme_rows] = solution.col_value, solution.row_dual
            value[hour] = solver.getObjectiveValue()
    # The solver keeps limits to within 1e-7, so a flow of nothing may come as a little less.
    flow, prices = np.maximum(flow, 0), np.maximum(prices, 0)
    ends = np.cumsum([programme.commodity_count, programme.pool_count])
    return Matching(flow, prices[:, : ends[0]], prices[:, ends[0] : ends[1]], prices[:, ends[1] :], value)


def _may_fill(programme: Programme, demand: np.ndarray, link_capacity: np.ndarray) -> np.ndarray:
    """(directed link) whether it could be filled if every commodity took its heaviest flow over it, in any hour.

    The others are no constraint and their price is 0, so their rows are left out.
    """
    heaviest = np.zeros((programme.link_count, programme.commodity_count))
    np.maximum.at(heaviest, (programme.link, programme.commodity[programme.link_column]), programme.link_load)
    return (demand @ heaviest.T > link_capacity).any(axis=0)


def _with_links(programme: Programme, links: np.ndarray) -> Programme:
    """The programme with the rows of these directed links only."""
    number = np.full(programme.link_count, -1)
    number[links] = np.arange(len(links))
    kept = number[programme.link] >= 0
    return replace(
        programme, link_column=programme.link_column[kept], link=number[programme.link[kept]],
        link_load=programme.link_load[kept], link_count=len(links),
    )


def _solver(programme: Programme, profit: np.ndarray, limits: np.ndarray) -> highspy.Highs:
    columns, rows = programme.column_count, len(limits)
    every_column = np.arange(columns)
    row = np.concatenate([
        programme.commodity, programme.commodity_count + programme.pool,
        programme.commodity_count + programme.pool_count + programme.link,
    ])
    column = np.concatenate([every_column, every_column, programme.link_column])
    entry = np.concatenate([np.ones(columns), programme.work, programme.link_load])
    order = np.lexsort((row, column))
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = columns, rows
    model.sense_ = highspy.ObjSense.kMaximize
    model.col_cost_ = profit
    model.col_lower_, model.col_upper_ = np.zeros(columns), np.full(columns, _INFINITY)
    model.row_lower_, model.row_upper_ = np.full(rows, -_INFINITY), limits
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.searchsorted(column[order], np.arange(columns + 1))
    model.a_matrix_.index_ = row[order]
    model.a_matrix_.value_ = entry[order]
    solver = _Solver()
    for option, setting in {
        "output_flag": False, "solver": "simplex", "presolve": "off", "parallel": "off", "threads": 1,
    }.items():
        solver.setOptionValue(option, setting)
    solver.passModel(model)
    return solver


# --- why not -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidates:
    """Why a commodity has the columns it has: what each test leaves of the pools, before any hour is solved."""

    is_compatible: np.ndarray
    """(commodity) some pool of the network can run the model."""
    is_reachable: np.ndarray
    """(commodity) links lead to such a pool, or one stands where it is asked for."""
    is_in_class: np.ndarray
    """(commodity) one of these is within the latency class."""


def binding_constraints(
    programme: Programme, candidates: Candidates, matching: Matching, profit: np.ndarray, hour: int, unserved: np.ndarray,
) -> list[tuple[int, str, int, float]]:
    """What keeps each unserved commodity of an hour from being served: (commodity, constraint, row, flow unserved).

    The tests come in the order of ``CONSTRAINTS``: no pool can run it; no links lead to one; none is within its
    latency class; serving it would earn nothing; else the row with the largest price on its most profitable flow.
    ``row`` is the pool (capacity), the directed link (link, when one is full) or -1.
    """
    found = []
    short = np.flatnonzero(unserved > NEGLIGIBLE)
    if not len(short):
        return found
    by_commodity = np.argsort(programme.commodity, kind="stable")
    starts = np.searchsorted(programme.commodity[by_commodity], np.arange(programme.commodity_count + 1))
    entries_by_column = np.argsort(programme.link_column, kind="stable")
    entry_starts = np.searchsorted(programme.link_column[entries_by_column], np.arange(programme.column_count + 1))
    for commodity in short.tolist():
        amount = float(unserved[commodity])
        if not candidates.is_compatible[commodity]:
            found.append((commodity, "compatibility", -1, amount))
            continue
        if not candidates.is_reachable[commodity]:
            found.append((commodity, "link", -1, amount))
            continue
        if not candidates.is_in_class[commodity]:
            found.append((commodity, "latency", -1, amount))
            continue
        columns = by_commodity[starts[commodity] : starts[commodity + 1]]
        best = int(columns[np.argmax(profit[hour, columns])])
        if profit[hour, best] <= 0:
            found.append((commodity, "worth", -1, amount))
            continue
        pool = int(programme.pool[best])
        charge, constraint, row = programme.work[best] * matching.capacity_price[hour, pool], "capacity", pool
        for entry in entries_by_column[entry_starts[best] : entry_starts[best + 1]].tolist():
            link = int(programme.link[entry])
            if programme.link_load[entry] * matching.link_price[hour, link] > charge:
                charge = programme.link_load[entry] * matching.link_price[hour, link]
                constraint, row = "link", link
        found.append((commodity, constraint, row, amount))
    return found
