"""A week of matching: the marts' hours as a programme, what was done beside what would have been best.

Frames in, frames out. The rules that the programme of ``matching`` leaves open are here:

- A flow may run where the round trip meets the model's latency class. What was sent further in fact may go
  on as it did, up to as much: better scheduling alone cannot be asked to lose what customers accept.
- A pool may be filled to its target utilization, or as far as it was in that hour; a link likewise. So
  today's placement is one of those compared, and the optimum is never below it.
- A token asks for the work of its (origin, model)'s mean token of the week, in fact and in the optimum.

No Dagster, no SQL. Money is in floats while it is compared and becomes decimal in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import numpy as np
import polars as pl

from orchestration.forecasting.iso_weeks import week_of
from orchestration.forecasting.matching import (
    NEGLIGIBLE,
    Candidates,
    Matching,
    Programme,
    Routes,
    binding_constraints,
    shortest_routes,
    solve,
)
from orchestration.forecasting.matching_tables import (
    BINDING_CONSTRAINT,
    MATCHING_PLAN,
    SCHEDULING_SAVING,
    SHADOW_PRICE,
    UNSERVED_DEMAND,
)
from orchestration.forecasting.moves import TARGET_LINK_UTILIZATION_RATIO

TOKENS_A_UNIT = 1_000_000
"""A unit of flow is a million tokens, cached input included."""
WEEKS_A_YEAR = 365 / 7
WAVELENGTH_GBPS = 400
TOKEN_TYPES = ("input", "cached_input", "output")


@dataclass(frozen=True)
class Inputs:
    """What was asked, served, up and lit, hour by hour, and what it earns and costs.

    placement: usage_hour, origin_site_id, serving_site_id, model_id, accelerator_id, share_ratio,
        input_tokens, cached_input_tokens, output_tokens, tokens, unconstrained_tokens
    supply: usage_hour, site_id, accelerator_id, available_accelerator_hours, usable_accelerator_hours,
        energy_cny_per_accelerator_hour
    rates: model_id, accelerator_id, input_tokens_per_second, output_tokens_per_second
    models: model_id, latency_class_ms (null: the loosest)
    links: link_id, a_site_id, b_site_id, route_km, capacity_gbps
    link_hours: usage_hour, link_id, direction, mean_throughput_gbps, capacity_gbps
    token_values: model_id, token_type, value_cny_per_million
    link_costs: link_id, annual_cost_cny_per_wavelength, transport_cny_per_gigabit, gigabits_per_million_tokens
    accelerator_costs: site_id, accelerator_id, annual_cost_cny
    """

    placement: pl.DataFrame
    supply: pl.DataFrame
    rates: pl.DataFrame
    models: pl.DataFrame
    links: pl.DataFrame
    link_hours: pl.DataFrame
    token_values: pl.DataFrame
    link_costs: pl.DataFrame
    accelerator_costs: pl.DataFrame


@dataclass(frozen=True)
class Problem:
    """The week as arrays; axes are hour, commodity (origin, model), pool (site, accelerator), directed link, column."""

    hours: list[datetime]
    commodities: list[tuple[str, str]]
    pools: list[tuple[str, str]]
    routes: Routes
    programme: Programme
    candidates: Candidates
    column_site: np.ndarray
    column_origin: np.ndarray
    earns: np.ndarray
    """(column) CNY a unit of flow that is served."""
    transport: np.ndarray
    """(column) CNY a unit of flow."""
    energy: np.ndarray
    """(hour, pool) CNY an accelerator-hour of work."""
    demand: np.ndarray
    """(hour, commodity)"""
    asked_tokens: np.ndarray
    """(commodity) whole tokens of the week."""
    usable: np.ndarray
    """(hour, pool) accelerator-hours at the target utilization."""
    link_room: np.ndarray
    """(hour, directed link) gigabits beside all other traffic."""
    actual: np.ndarray
    """(hour, column) flow that was served in fact."""
    is_in_class: np.ndarray
    """(column) the round trip meets the latency class."""

    @property
    def profit(self) -> np.ndarray:
        """(hour, column) CNY a unit of flow: what it earns less transport and energy."""
        return self.earns - self.transport - self.energy[:, self.programme.pool] * self.programme.work

    def used(self, flow: np.ndarray) -> np.ndarray:
        """(hour, pool) accelerator-hours that flows take."""
        return _summed(flow * self.programme.work, self.programme.pool, self.programme.pool_count)

    def sent(self, flow: np.ndarray) -> np.ndarray:
        """(hour, directed link) gigabits that flows send."""
        loads = flow[:, self.programme.link_column] * self.programme.link_load
        return _summed(loads, self.programme.link, self.programme.link_count)

    def best(self) -> Matching:
        """The optimum of every hour."""
        return solve(
            self.programme, self.profit, self.demand,
            np.maximum(self.usable, self.used(self.actual)), np.maximum(self.link_room, self.sent(self.actual)),
            np.where(self.is_in_class, np.inf, self.actual),
        )


def _summed(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """(hour, group) sums over columns."""
    total = np.zeros((len(values), count))
    for hour, row in enumerate(values):
        total[hour] = np.bincount(group, row, count)
    return total


# --- from frames to arrays -----------------------------------------------------------------------


def problem(inputs: Inputs) -> Problem:
    """The programme of these hours; demand that no rate, link or class lets anyone serve is in it, unserved."""
    placement = inputs.placement.sort("usage_hour", "origin_site_id", "model_id", "serving_site_id", "accelerator_id")
    supply = inputs.supply.sort("usage_hour", "site_id", "accelerator_id")
    hours = sorted(placement["usage_hour"].unique())
    commodities = sorted(placement.select("origin_site_id", "model_id").unique().iter_rows())
    pools = sorted({
        *supply.select("site_id", "accelerator_id").unique().iter_rows(),
        *placement.select("serving_site_id", "accelerator_id").unique().iter_rows(),
    })
    sites = sorted({origin for origin, _ in commodities} | {site for site, _ in pools} | {
        *inputs.links["a_site_id"], *inputs.links["b_site_id"]
    })
    number = {
        "hour": {hour: index for index, hour in enumerate(hours)},
        "commodity": {pair: index for index, pair in enumerate(commodities)},
        "pool": {pair: index for index, pair in enumerate(pools)},
        "site": {site: index for index, site in enumerate(sites)},
    }
    routes = shortest_routes(sites, inputs.links)
    origin = np.array([number["site"][site] for site, _ in commodities], int)
    pool_site = np.array([number["site"][site] for site, _ in pools], int)
    mix = _mix(placement, commodities)
    work = _work(inputs.rates, mix, commodities, pools)

    latency = dict(inputs.models.select("model_id", "latency_class_ms").iter_rows())
    allowed_ms = np.array([latency.get(model) or np.inf for _, model in commodities], float)
    round_trip = routes.round_trip_ms[np.ix_(origin, pool_site)]
    runs = np.isfinite(work)
    reaches = runs & np.isfinite(round_trip)
    in_class = reaches & (round_trip <= allowed_ms[:, None] + 1e-9)
    served = _actual(placement, number)
    was_served = np.zeros_like(runs)
    was_served[served["commodity"], served["pool"]] = True

    commodity, pool = np.nonzero(in_class | (was_served & reaches))
    column_number = np.full(runs.shape, -1)
    column_number[commodity, pool] = np.arange(len(commodity))
    actual = np.zeros((len(hours), len(commodity)))
    column = column_number[served["commodity"].to_numpy(), served["pool"].to_numpy()]
    known = column >= 0
    np.add.at(actual, (served["hour"].to_numpy()[known], column[known]), served["flow"].to_numpy()[known])

    costs = {row["link_id"]: row for row in inputs.link_costs.iter_rows(named=True)}
    gigabits = float(next(iter(costs.values()))["gigabits_per_million_tokens"]) if costs else 0.0
    transport_of_link = np.array(
        [gigabits * costs[link_id]["transport_cny_per_gigabit"] if link_id in costs else 0.0 for link_id in routes.link_ids]
    )
    link_column, link, link_load, transport = [], [], [], np.zeros(len(commodity))
    for index, (k, p) in enumerate(zip(commodity.tolist(), pool.tolist(), strict=True)):
        output_share = mix[k, 2]
        for number_of_link, direction in routes.paths[origin[k], pool_site[p]]:
            # The question and its context go out, the answer comes back.
            link_column += [index, index]
            link += [2 * number_of_link + direction, 2 * number_of_link + 1 - direction]
            link_load += [gigabits * (1 - output_share), gigabits * output_share]
            transport[index] += transport_of_link[number_of_link]

    prices = {(model, kind): float(value) for model, kind, value in
              inputs.token_values.select("model_id", "token_type", "value_cny_per_million").iter_rows()}
    worth = np.array([[prices.get((model, kind), 0.0) for kind in TOKEN_TYPES] for _, model in commodities])
    demand, asked = _demand(placement, number, len(hours), len(commodities))
    usable, energy = _supply(supply, number, pools, len(hours))
    programme = Programme(
        commodity=commodity, pool=pool, work=work[commodity, pool], link_column=np.array(link_column, int),
        link=np.array(link, int), link_load=np.array(link_load), commodity_count=len(commodities), pool_count=len(pools),
        link_count=2 * len(routes.link_ids),
    )
    found = Problem(
        hours=hours, commodities=commodities, pools=pools, routes=routes, programme=programme,
        candidates=Candidates(runs.any(axis=1), reaches.any(axis=1), in_class.any(axis=1)),
        column_site=pool_site[pool], column_origin=origin[commodity], earns=(worth * mix).sum(axis=1)[commodity],
        transport=transport, energy=energy, demand=demand, asked_tokens=asked, usable=usable,
        link_room=np.zeros((len(hours), programme.link_count)), actual=actual, is_in_class=in_class[commodity, pool],
    )
    return replace(found, link_room=_link_room(inputs, routes, number, found.sent(actual)))


def _mix(placement: pl.DataFrame, commodities: list[tuple[str, str]]) -> np.ndarray:
    """(commodity, token type) shares of its tokens of the week; a commodity that was never served has its model's."""
    columns = [f"{kind}_tokens" for kind in TOKEN_TYPES]
    flows = placement.unique(["usage_hour", "origin_site_id", "serving_site_id", "model_id"]).with_columns(
        pl.col(*columns).fill_null(0).cast(pl.Int64)
    )
    own = {(row[0], row[1]): row[2:] for row in flows.group_by("origin_site_id", "model_id").agg(pl.col(*columns).sum()).iter_rows()}
    of_model = {row[0]: row[1:] for row in flows.group_by("model_id").agg(pl.col(*columns).sum()).iter_rows()}
    counts = np.array([own[pair] if sum(own[pair]) else of_model[pair[1]] for pair in commodities], float).reshape(-1, 3)
    # Nobody was served at all: a token is taken for uncached input.
    counts[counts.sum(axis=1) == 0, 0] = 1
    return counts / counts.sum(axis=1, keepdims=True)


def _work(
    rates: pl.DataFrame, mix: np.ndarray, commodities: list[tuple[str, str]], pools: list[tuple[str, str]]
) -> np.ndarray:
    """(commodity, pool) accelerator-hours a unit of flow; infinite where the pool's type cannot run the model."""
    speed = {(row[0], row[1]): row[2:] for row in rates.select(
        "model_id", "accelerator_id", "input_tokens_per_second", "output_tokens_per_second"
    ).iter_rows() if row[2] > 0 and row[3] > 0}
    work = np.full((len(commodities), len(pools)), np.inf)
    for k, (_, model) in enumerate(commodities):
        for p, (_, accelerator) in enumerate(pools):
            if (model, accelerator) in speed:
                into, out = speed[model, accelerator]
                work[k, p] = (mix[k, 0] / into + mix[k, 2] / out) * TOKENS_A_UNIT / 3600
    return work


def _actual(placement: pl.DataFrame, number: dict[str, dict]) -> pl.DataFrame:
    """(hour, commodity, pool, flow) as served in fact, split over the types of a site by its mix."""
    return pl.DataFrame({
        "hour": [number["hour"][hour] for hour in placement["usage_hour"]],
        "commodity": [number["commodity"][pair] for pair in placement.select("origin_site_id", "model_id").iter_rows()],
        "pool": [number["pool"][pair] for pair in placement.select("serving_site_id", "accelerator_id").iter_rows()],
        "flow": placement["tokens"].cast(pl.Float64).fill_null(0) / TOKENS_A_UNIT * placement["share_ratio"],
    }, schema={"hour": pl.Int64, "commodity": pl.Int64, "pool": pl.Int64, "flow": pl.Float64}).filter(pl.col("flow") > 0)


def _demand(placement: pl.DataFrame, number: dict[str, dict], hours: int, commodities: int) -> tuple[np.ndarray, np.ndarray]:
    """(hour, commodity) flow asked for, and whole tokens of the week by commodity."""
    asked = (
        placement.unique(["usage_hour", "origin_site_id", "serving_site_id", "model_id"], maintain_order=True)
        .group_by("usage_hour", "origin_site_id", "model_id", maintain_order=True)
        .agg(pl.col("unconstrained_tokens").cast(pl.Int64).sum())
    )
    demand, whole = np.zeros((hours, commodities)), np.zeros(commodities, np.int64)
    for hour, origin, model, tokens in asked.iter_rows():
        k = number["commodity"][origin, model]
        demand[number["hour"][hour], k] += tokens / TOKENS_A_UNIT
        whole[k] += tokens
    return demand, whole


def _supply(
    supply: pl.DataFrame, number: dict[str, dict], pools: list[tuple[str, str]], hours: int
) -> tuple[np.ndarray, np.ndarray]:
    """(hour, pool) usable accelerator-hours, and CNY of energy an accelerator-hour of work.

    A pool that had nothing up in an hour pays what its type pays elsewhere then, or nothing if there is none.
    """
    usable, energy = np.zeros((hours, len(pools))), np.full((hours, len(pools)), np.nan)
    rows = supply.select("usage_hour", "site_id", "accelerator_id", "usable_accelerator_hours", "energy_cny_per_accelerator_hour")
    for hour, site, accelerator, hours_usable, price in rows.iter_rows():
        if hour in number["hour"]:
            at = number["hour"][hour], number["pool"][site, accelerator]
            usable[at], energy[at] = hours_usable, price
    kinds = sorted({accelerator for _, accelerator in pools})
    kind = np.array([kinds.index(accelerator) for _, accelerator in pools], int)
    for each in range(len(kinds)):
        of_kind = energy[:, kind == each]
        priced = np.isfinite(of_kind)
        mean = np.where(priced, of_kind, 0).sum(axis=1) / np.maximum(priced.sum(axis=1), 1)
        energy[:, kind == each] = np.where(priced, of_kind, mean[:, None])
    return usable, energy


def _link_room(inputs: Inputs, routes: Routes, number: dict[str, dict], own: np.ndarray) -> np.ndarray:
    """(hour, directed link) gigabits an hour at the target utilization beside what others sent.

    An hour without samples has the link's mean traffic; a link that nobody measures is taken to be empty.
    """
    lit = dict(inputs.links.select("link_id", "capacity_gbps").iter_rows())
    link_number = {link_id: index for index, link_id in enumerate(routes.link_ids)}
    capacity = np.tile(np.repeat([lit[link_id] or 0.0 for link_id in routes.link_ids], 2), (len(own), 1)).astype(float)
    carried = np.full(own.shape, np.nan)
    rows = inputs.link_hours.select("usage_hour", "link_id", "direction", "mean_throughput_gbps", "capacity_gbps")
    for hour, link_id, direction, gbps, reported in rows.iter_rows():
        if hour in number["hour"] and link_id in link_number:
            at = number["hour"][hour], 2 * link_number[link_id] + (direction == "b_to_a")
            carried[at] = np.nan if gbps is None else gbps
            capacity[at] = capacity[at] if reported is None else reported
    known = np.isfinite(carried)
    mean = np.where(known, carried, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    others = np.maximum(np.where(known, carried, mean) * 3600 - own, 0)
    return np.maximum(capacity * 3600 * TARGET_LINK_UTILIZATION_RATIO - others, 0)


# --- from arrays to tables -----------------------------------------------------------------------


def match_week(inputs: Inputs, iso_week: str | None = None) -> dict[str, dict[str, pl.DataFrame]]:
    """schema -> table -> rows: the week's plan, what stayed unserved and why, what bound, and what that is worth."""
    tables = {table.name: table.frame([]) for table in (MATCHING_PLAN, UNSERVED_DEMAND, BINDING_CONSTRAINT)}
    money = {table.name: table.frame([]) for table in (SHADOW_PRICE, SCHEDULING_SAVING)}
    if inputs.placement.is_empty():
        return {"capacity": tables, "finance": money}
    week = problem(inputs)
    iso_week = iso_week or week_of(week.hours[len(week.hours) // 2].date())
    best = week.best()
    plan, unserved = plan_rows(week, best, inputs.models)
    prices = resource_rows(week, best, inputs)
    tables[MATCHING_PLAN.name] = MATCHING_PLAN.frame([{"iso_week": iso_week, **row} for row in plan])
    tables[UNSERVED_DEMAND.name] = UNSERVED_DEMAND.frame([{"iso_week": iso_week, **row} for row in unserved])
    tables[BINDING_CONSTRAINT.name] = BINDING_CONSTRAINT.frame(
        [{"iso_week": iso_week, **{column.name: row[column.name] for column in BINDING_CONSTRAINT.columns[1:]}} for row in prices]
    )
    money[SHADOW_PRICE.name] = SHADOW_PRICE.frame(
        [{"iso_week": iso_week, **{column.name: row[column.name] for column in SHADOW_PRICE.columns[1:]}} for row in prices]
    )
    money[SCHEDULING_SAVING.name] = SCHEDULING_SAVING.frame([{"iso_week": iso_week, **row} for row in saving_rows(week, best)])
    return {"capacity": tables, "finance": money}


def whole_parts(parts: np.ndarray, whole: int) -> list[int]:
    """Whole tokens of each part, by differences of the rounded running sum; together never more than the whole."""
    running = np.minimum(np.rint(np.cumsum(parts) * TOKENS_A_UNIT), whole).astype(np.int64)
    return np.diff(running, prepend=0).tolist()


def plan_rows(week: Problem, best: Matching, models: pl.DataFrame) -> tuple[list[dict], list[dict]]:
    """Where each (origin, model) was served and should have been, and what of it no place served and why."""
    programme, routes = week.programme, week.routes
    latency = dict(models.select("model_id", "latency_class_ms").iter_rows())
    planned, actual = best.flow.sum(axis=0), week.actual.sum(axis=0)
    left: dict[int, dict[tuple[str, int], float]] = {}
    short = np.maximum(week.demand - best.served(programme), 0)
    for hour in range(len(week.hours)):
        for k, constraint, row, amount in binding_constraints(programme, week.candidates, best, week.profit, hour, short[hour]):
            reasons = left.setdefault(k, {})
            reasons[constraint, row] = reasons.get((constraint, row), 0.0) + amount
    rows, unserved = [], []
    by_commodity = np.argsort(programme.commodity, kind="stable")
    starts = np.searchsorted(programme.commodity[by_commodity], np.arange(programme.commodity_count + 1))
    for k, (origin, model) in enumerate(week.commodities):
        whole = int(week.asked_tokens[k])
        columns = by_commodity[starts[k] : starts[k + 1]]
        sites = np.unique(week.column_site[columns])
        sums = np.array([[flow[columns[week.column_site[columns] == site]].sum() for site in sites] for flow in (planned, actual)])
        tokens, actual_tokens = whole_parts(sums[0], whole), whole_parts(sums[1], whole)
        for site, best_tokens, today in zip(sites.tolist(), tokens, actual_tokens, strict=True):
            if not best_tokens and not today:
                continue
            here = routes.site_ids.index(origin)
            path = [routes.link_ids[link] for link, _ in routes.paths[here, site]]
            delay = float(routes.round_trip_ms[here, site])
            allowed = latency.get(model)
            rows.append({
                "origin_site_id": origin, "serving_site_id": routes.site_ids[site], "model_id": model,
                "tokens": best_tokens, "share_ratio": best_tokens / whole if whole else 0.0, "actual_tokens": today,
                "actual_share_ratio": today / whole if whole else 0.0, "link_id": path[0] if path else None,
                "route": " ".join(path), "route_km": float(routes.route_km[here, site]), "round_trip_ms": delay,
                "is_within_latency_class": allowed is None or delay <= allowed + 1e-9,
            })
        missing = whole - sum(tokens)
        reasons = sorted(left.get(k, {}).items())
        amounts = np.array([amount for _, amount in reasons])
        if missing > 0 and len(reasons):
            parts = whole_parts(amounts * (missing / TOKENS_A_UNIT / amounts.sum()), missing)
            for ((constraint, row), _), part in zip(reasons, parts, strict=True):
                if part:
                    unserved.append({"origin_site_id": origin, "model_id": model, "constraint_kind": constraint,
                                     "resource_id": _resource(week, constraint, row), "tokens": part})
    return rows, unserved


def _resource(week: Problem, constraint: str, row: int) -> str:
    """The pool or link that binds; none when nothing would need to be larger."""
    if row < 0:
        return "none"
    return "/".join(week.pools[row]) if constraint == "capacity" else week.routes.link_ids[row // 2]


def resource_rows(week: Problem, best: Matching, inputs: Inputs) -> list[dict]:
    """What one more accelerator of each pool, and one more wavelength on each link, would have been worth, and costs."""
    limits = np.maximum(week.usable, week.used(week.actual))
    used, sent = week.used(best.flow), week.sent(best.flow)
    room = np.maximum(week.link_room, week.sent(week.actual))
    target = target_ratio(inputs.supply)
    costs = {(row[0], row[1]): row[2] for row in
             inputs.accelerator_costs.select("site_id", "accelerator_id", "annual_cost_cny").iter_rows()}
    link_costs = dict(inputs.link_costs.select("link_id", "annual_cost_cny_per_wavelength").iter_rows())
    years = WEEKS_A_YEAR * 168 / max(len(week.hours), 1)
    rows = []
    for p, (site, accelerator) in enumerate(week.pools):
        price = best.capacity_price[:, p]
        rows.append(_priced({
            "resource_kind": "accelerator", "resource_id": f"{site}/{accelerator}", "site_id": site,
            "accelerator_id": accelerator, "link_id": None,
            "binding_hours_count": int((price > NEGLIGIBLE).sum()),
            "peak_fill_ratio": _peak(used[:, p], limits[:, p]),
        }, price.sum() * target * years, costs.get((site, accelerator))))
    for link, link_id in enumerate(week.routes.link_ids):
        both = slice(2 * link, 2 * link + 2)
        price = best.link_price[:, both]
        rows.append(_priced({
            "resource_kind": "wavelength", "resource_id": link_id, "site_id": None, "accelerator_id": None,
            "link_id": link_id, "binding_hours_count": int((price > NEGLIGIBLE).any(axis=1).sum()),
            "peak_fill_ratio": _peak(sent[:, both], room[:, both]),
        }, price.sum() * WAVELENGTH_GBPS * TARGET_LINK_UTILIZATION_RATIO * 3600 * years, link_costs.get(link_id)))
    for kind in ("accelerator", "wavelength"):
        ordered = sorted((row for row in rows if row["resource_kind"] == kind),
                         key=lambda row: (-row["value_cny_per_year"], row["resource_id"]))
        for rank, row in enumerate(ordered, start=1):
            row["value_rank"] = rank if row["value_cny_per_year"] > 0 else None
    return rows


def _priced(row: dict, value_a_year: float, annual_cost: Decimal | None) -> dict:
    value = round(Decimal(float(value_a_year)), 2)
    if not value:
        verdict = "wait"
    elif annual_cost is not None and value > annual_cost:
        verdict = "build"
    else:
        verdict = "move"
    return {**row, "value_cny_per_year": value, "annual_cost_cny": annual_cost, "verdict": verdict}


def target_ratio(supply: pl.DataFrame) -> float:
    """Usable over available accelerator-hours: what one more accelerator that is up adds."""
    available = supply["available_accelerator_hours"].sum()
    return float(supply["usable_accelerator_hours"].sum() / available) if available else 1.0


def _peak(used: np.ndarray, limit: np.ndarray) -> float:
    """The fullest hour of the optimum; 0 where there is nothing to fill."""
    ratio = np.divide(used, limit, out=np.zeros_like(used), where=limit > NEGLIGIBLE)
    return float(np.round(ratio.max(initial=0.0), 6))


def saving_rows(week: Problem, best: Matching) -> list[dict]:
    """By model: what was served in fact and would have been at best, what it earned, and what moving it cost."""
    model_ids = sorted({model for _, model in week.commodities})
    model = np.array([model_ids.index(each) for _, each in week.commodities], int)[week.programme.commodity]
    energy = week.energy[:, week.programme.pool] * week.programme.work
    asked = np.zeros(len(model_ids), np.int64)
    np.add.at(asked, [model_ids.index(each) for _, each in week.commodities], week.asked_tokens)

    def by_model(amounts: np.ndarray) -> np.ndarray:
        return np.bincount(model, amounts.sum(axis=0), len(model_ids))

    rows = [{"model_id": model_id, "asked_tokens": int(tokens)} for model_id, tokens in zip(model_ids, asked, strict=True)]
    for name, flow in (("actual", week.actual), ("best", best.flow)):
        sums = {
            "tokens": by_model(flow), "earned_cny": by_model(flow * week.earns), "energy_cny": by_model(flow * energy),
            "transport_cny": by_model(flow * week.transport),
        }
        for number, row in enumerate(rows):
            row[f"{name}_tokens"] = min(round(float(sums["tokens"][number]) * TOKENS_A_UNIT), row["asked_tokens"])
            row |= {f"{name}_{key}": round(Decimal(float(sums[key][number])), 6) for key in ("earned_cny", "energy_cny", "transport_cny")}
    for row in rows:
        row["saving_cny"] = _net(row, "best") - _net(row, "actual")
    return rows


def _net(row: dict, name: str) -> Decimal:
    return row[f"{name}_earned_cny"] - row[f"{name}_energy_cny"] - row[f"{name}_transport_cny"]
