"""What if: growth, a price cut, late deliveries, a lost hub, a new trial, as differences to the forecast as it is.

Two answers to each scenario, both over the 13 weeks of the forecast:

- need: the most by which a pool's demand at the order quantile exceeds its usable supply;
- matching: tokens that even the best scheduling leaves unserved, and what the served earn less transport and
  energy. A sample of last week's hours, taken evenly along its load duration curve, stands for the weeks ahead: an
  origin's demand grows as the forecast says of its site, committed serving deliveries come on their dates.

Frames in, frames out. No Dagster, no SQL. Assumptions are the constants below; each is shown with the answer.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import polars as pl

from orchestration.forecasting.capacity_need import ORDER_QUANTILE
from orchestration.forecasting.iso_weeks import monday_of
from orchestration.forecasting.matching import solve
from orchestration.forecasting.matching_tables import WHAT_IF, WHAT_IF_MARGIN
from orchestration.forecasting.matching_week import (
    TOKENS_A_UNIT,
    Inputs,
    Problem,
    problem,
    target_ratio,
)
from orchestration.forecasting.paths import read_at
from orchestration.forecasting.tables import HORIZON_WEEKS, QUANTILES

PRICE_ELASTICITY = 1.0
"""Relative rise of demand a relative cut of price, at constant elasticity: (1 - cut) ** -elasticity. Assumption:
no public estimate was found; 1 keeps list revenue where it was."""
SAMPLED_HOURS = 10
"""Hours that stand for the week: evenly along its load duration curve, so that peaks and nights have their weight."""
LOOKED_AT_WEEKS = (4, 9, 13)
"""Weeks ahead that are matched; each stands for the weeks since the one before."""


@dataclass(frozen=True)
class Scenario:
    """What is different. Ratios are of what the forecast says: 0.1 is a tenth more."""

    name: str
    growth_ratio: float = 0.0
    price_cut_ratio: float = 0.0
    slip_weeks: int = 0
    lost_site_id: str | None = None
    trial_tokens: float = 0.0
    elasticity: float = PRICE_ELASTICITY

    def __post_init__(self):
        if self.growth_ratio <= -1:
            raise ValueError(f"growth must be above -100%, not {self.growth_ratio:.0%}")
        if not 0 <= self.price_cut_ratio < 1:
            raise ValueError(f"a price cut must be from 0% to below 100%, not {self.price_cut_ratio:.0%}")
        if self.slip_weeks < 0 or self.trial_tokens < 0 or self.elasticity < 0:
            raise ValueError("weeks of slip, trial tokens and elasticity must not be negative")

    @property
    def paid_demand_ratio(self) -> float:
        """Demand over what the forecast says, without the trial."""
        return (1 + self.growth_ratio) * (1 - self.price_cut_ratio) ** -self.elasticity

    def parameters(self) -> str:
        """What differs from the forecast, as JSON; without a word of money."""
        words = {"price_cut_ratio": "cut_ratio"}
        plain = asdict(Scenario(self.name))
        return json.dumps(
            {words.get(key, key): value for key, value in asdict(self).items()
             if key != "name" and (value != plain[key] or (key == "elasticity" and self.price_cut_ratio))}, sort_keys=True,
        )


def standard_scenarios(largest_hub: str | None) -> list[Scenario]:
    """Those that the report shows each week."""
    scenarios = [
        Scenario("growth_10_percent", growth_ratio=0.10),
        Scenario("cut_15_percent", price_cut_ratio=0.15),
        Scenario("deliveries_slip_4_weeks", slip_weeks=4),
        Scenario("trial_of_1e12_tokens", trial_tokens=1e12),
    ]
    if largest_hub:
        scenarios.append(Scenario("largest_hub_lost", lost_site_id=largest_hub))
    return scenarios


@dataclass(frozen=True)
class Outlook:
    """What is known at the cutoff.

    matching: the last whole week's hours
    demand_forecast: level, series_id, target_date, model, quantile, value
    busy_hour_demand: level, series_id, week_start_date, demand_accelerator_count
    supply_plan: site_id, accelerator_id, target_date, usable_accelerator_count
    capacity_need: site_id, accelerator_id, usable_accelerator_count, model
    pool_demand: site_id, accelerator_id, serving_demand_accelerator_hours, training_demand_accelerator_hours of the week
    deliveries: committed, for serving: site_id, accelerator_id, accelerator_count, planned_date
    """

    cutoff_week: str
    matching: Inputs
    demand_forecast: pl.DataFrame
    busy_hour_demand: pl.DataFrame
    supply_plan: pl.DataFrame
    capacity_need: pl.DataFrame
    pool_demand: pl.DataFrame
    deliveries: pl.DataFrame

    @property
    def mondays(self) -> list[date]:
        """Of the weeks of the horizon."""
        return [monday_of(self.cutoff_week) + timedelta(weeks=week) for week in range(1, HORIZON_WEEKS + 1)]

    @property
    def largest_hub(self) -> str | None:
        """The hub with the most accelerators up; None without any."""
        links = self.matching.links
        spokes = dict(pl.concat([links["a_site_id"], links["b_site_id"]]).value_counts().iter_rows()) if links.height else {}
        sums = self.matching.supply.group_by("site_id").agg(pl.col("available_accelerator_hours").sum()).sort(
            ["available_accelerator_hours", "site_id"], descending=[True, False]
        )
        return next((site for site in sums["site_id"] if spokes.get(site)), None)


def what_if(outlook: Outlook, scenarios: list[Scenario]) -> dict[str, pl.DataFrame]:
    """Rows of both tables for these scenarios: as forecast, as supposed, and the difference."""
    need = {scenario.name: shortfalls(outlook, scenario) for scenario in (Scenario("as_forecast"), *scenarios)}
    matched = _matched(outlook, [Scenario("as_forecast"), *scenarios])
    rows, money = [], []
    for scenario in scenarios:
        common = {"cutoff_week": outlook.cutoff_week, "scenario": scenario.name}
        given = {"parameters": scenario.parameters()}
        pairs = [
            ("short_accelerators", "accelerators", need["as_forecast"], need[scenario.name]),
            ("unserved_tokens", "tokens", *(
                {(site, "all"): tokens for site, tokens in matched[name].unserved.items()}
                for name in ("as_forecast", scenario.name)
            )),
        ]
        for metric, unit, base, supposed in pairs:
            rows += [
                {**common, **given, "metric": metric, "site_id": site, "accelerator_id": accelerator, "unit": unit,
                 "base_value": base.get((site, accelerator), 0.0), "scenario_value": supposed.get((site, accelerator), 0.0),
                 "difference_value": supposed.get((site, accelerator), 0.0) - base.get((site, accelerator), 0.0)}
                for site, accelerator in sorted(base.keys() | supposed.keys())
            ]
        base_cny, supposed_cny = matched["as_forecast"].margin_cny, matched[scenario.name].margin_cny
        money.append({**common, **given, "base_margin_cny": base_cny, "scenario_margin_cny": supposed_cny,
                      "difference_cny": supposed_cny - base_cny})
    return {WHAT_IF.name: WHAT_IF.frame(rows), WHAT_IF_MARGIN.name: WHAT_IF_MARGIN.frame(money)}


# --- need ----------------------------------------------------------------------------------------


def shortfalls(outlook: Outlook, scenario: Scenario) -> dict[tuple[str, str], float]:
    """(site, accelerator) -> whole accelerators that are short in the worst of the 13 weeks, at the order quantile."""
    targets = {monday: week for week, monday in enumerate(outlook.mondays)}
    model = outlook.capacity_need["model"].drop_nulls().mode().sort()
    rows = outlook.demand_forecast.filter(pl.col("level") == "site_accelerator")
    if len(model):
        rows = rows.filter(pl.col("model") == model[0])
    quantiles: dict[str, np.ndarray] = {}
    for series_id, target, quantile, value in rows.select("series_id", "target_date", "quantile", "value").iter_rows():
        if target in targets and quantile in QUANTILES:
            quantiles.setdefault(series_id, np.zeros((HORIZON_WEEKS, len(QUANTILES))))[
                targets[target], QUANTILES.index(quantile)] = value
    usable = {(row[0], row[1]): row[2] for row in
              outlook.capacity_need.select("site_id", "accelerator_id", "usable_accelerator_count").iter_rows()}
    supply: dict[tuple[str, str], np.ndarray] = {}
    for site, accelerator, target, count in outlook.supply_plan.select(
        "site_id", "accelerator_id", "target_date", "usable_accelerator_count"
    ).iter_rows():
        if target in targets:
            supply.setdefault((site, accelerator), np.zeros(HORIZON_WEEKS))[targets[target]] = count
    serving = {
        (site, accelerator): float(served) / (float(served) + float(trained)) if served or trained else 0.0
        for site, accelerator, served, trained in outlook.pool_demand.select(
            "site_id", "accelerator_id", pl.col("serving_demand_accelerator_hours").fill_null(0),
            pl.col("training_demand_accelerator_hours").fill_null(0),
        ).iter_rows()
    }
    trial = _trial_ratio(outlook, scenario)
    short = {}
    for pool, planned in sorted(supply.items()):
        demand = np.zeros(HORIZON_WEEKS)
        if "/".join(pool) in quantiles:
            demand = read_at(quantiles["/".join(pool)], [ORDER_QUANTILE], QUANTILES)[..., 0]
        # Cheaper or free tokens are served; training grows with growth alone.
        share = serving.get(pool, 0.0)
        demand = demand * (share * (scenario.paid_demand_ratio + trial) + (1 - share) * (1 + scenario.growth_ratio))
        steps = np.diff(planned, prepend=usable.get(pool, planned[0]))
        late = np.concatenate([np.zeros(scenario.slip_weeks), steps])[:HORIZON_WEEKS]
        have = np.zeros(HORIZON_WEEKS) if pool[0] == scenario.lost_site_id else planned[0] - steps[0] + np.cumsum(late)
        short[pool] = float(math.ceil(max(0.0, float((demand - have).max())) - 1e-9))
    return short


def _trial_ratio(outlook: Outlook, scenario: Scenario) -> float:
    """Tokens of the trial over those asked in as many weeks as now; spread evenly over the horizon."""
    placement = outlook.matching.placement.unique(["usage_hour", "origin_site_id", "serving_site_id", "model_id"])
    weekly = float(placement["unconstrained_tokens"].cast(pl.Float64).sum() or 0)
    return scenario.trial_tokens / HORIZON_WEEKS / weekly if weekly else 0.0


# --- matching ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Matched:
    unserved: dict[str, float]
    """Tokens over the horizon by origin site."""
    margin_cny: Decimal


def _matched(outlook: Outlook, scenarios: list[Scenario]) -> dict[str, _Matched]:
    """What the best scheduling of the weeks ahead leaves unserved and earns, by scenario."""
    if outlook.matching.placement.is_empty():
        return {scenario.name: _Matched({}, Decimal(0)) for scenario in scenarios}
    week = problem(outlook.matching)
    within = _within_class(week)
    # The same hours for every scenario: without a hub others are the busy ones, and hours would be compared, not scenarios.
    hours = representative_hours(within)
    found: dict[str, _Matched] = {}
    for lost in sorted({scenario.lost_site_id for scenario in scenarios}, key=lambda site: site or ""):
        if lost and lost not in week.routes.site_ids:
            raise ValueError(f"no site is called {lost!r}")
        basis = _within_class(problem(_without_site(outlook.matching, lost))) if lost else within
        found |= _match_ahead(outlook, [each for each in scenarios if each.lost_site_id == lost], basis, hours)
    return found


def _within_class(week: Problem) -> Problem:
    """The week without the flows that only today's placement allows: what comes is planned within the class."""
    kept = np.flatnonzero(week.is_in_class)
    number = np.full(len(week.is_in_class), -1)
    number[kept] = np.arange(len(kept))
    entries = number[week.programme.link_column] >= 0
    programme = replace(
        week.programme, commodity=week.programme.commodity[kept], pool=week.programme.pool[kept], work=week.programme.work[kept],
        link_column=number[week.programme.link_column[entries]], link=week.programme.link[entries],
        link_load=week.programme.link_load[entries],
    )
    return replace(
        week, programme=programme, column_site=week.column_site[kept], column_origin=week.column_origin[kept],
        earns=week.earns[kept], transport=week.transport[kept], actual=week.actual[:, kept], is_in_class=week.is_in_class[kept],
    )


def _without_site(inputs: Inputs, site_id: str) -> Inputs:
    """The week without the site's accelerators and its links; what it asks for is still asked."""
    return replace(
        inputs, supply=inputs.supply.filter(pl.col("site_id") != site_id),
        links=inputs.links.filter((pl.col("a_site_id") != site_id) & (pl.col("b_site_id") != site_id)),
    )


def _match_ahead(outlook: Outlook, scenarios: list[Scenario], week: Problem, hours: np.ndarray) -> dict[str, _Matched]:
    """Each scenario's weeks ahead, all in one run: an hour of one scenario is near the same hour of the next."""
    growth = _growth_by_origin(outlook, [origin for origin, _ in week.commodities])
    target = target_ratio(outlook.matching.supply)
    costs = (week.earns - week.profit)[hours]
    asked, free, usable, weight = [], [], [], []
    for ahead, before in zip(LOOKED_AT_WEEKS, (0, *LOOKED_AT_WEEKS), strict=False):
        for scenario in scenarios:
            trial = _trial_ratio(outlook, scenario) * week.demand[hours]
            asked.append(week.demand[hours] * growth[ahead - 1] * scenario.paid_demand_ratio + trial)
            free.append(trial)
            usable.append(week.usable[hours] + target * _arrived(outlook, scenario, week, ahead))
        weight.append(np.full(len(hours), (ahead - before) * len(week.hours) / len(hours)))
    earns = np.array([week.earns * (1 - scenario.price_cut_ratio) for scenario in scenarios])
    # (week, scenario, hour) becomes (week, hour, scenario), in one axis.
    shape = (len(LOOKED_AT_WEEKS), len(scenarios), len(hours))

    def turned(values: list[np.ndarray]) -> np.ndarray:
        array = np.array(values)
        return array.reshape(*shape, array.shape[-1]).swapaxes(1, 2).reshape(math.prod(shape), array.shape[-1])

    rows = turned([costs] * (shape[0] * shape[1]))
    profit = np.tile(earns, (shape[0] * shape[2], 1)) - rows
    asked_rows, free_rows = turned(asked), turned(free)
    link_room = turned([week.link_room[hours]] * (shape[0] * shape[1]))
    best = solve(week.programme, profit, asked_rows, turned(usable), link_room)
    short = np.maximum(asked_rows - best.served(week.programme), 0)
    unpaid = np.divide(free_rows, asked_rows, out=np.zeros_like(asked_rows), where=asked_rows > 0)[:, week.programme.commodity]
    earned = (best.flow * (profit - unpaid * np.tile(earns, (shape[0] * shape[2], 1)))).sum(axis=1)
    found = {}
    for number, scenario in enumerate(scenarios):
        own = slice(number, None, len(scenarios))
        found[scenario.name] = _Matched(
            _by_origin(week, np.concatenate(weight) @ short[own]),
            round(Decimal(float(earned[own] @ np.concatenate(weight))), 2),
        )
    return found


def representative_hours(week: Problem) -> np.ndarray:
    """Hours that stand for the week, by the least work that its demand asks for."""
    least_work = np.full(week.programme.commodity_count, np.inf)
    np.minimum.at(least_work, week.programme.commodity, week.programme.work)
    return sampled_hours(week.demand @ np.where(np.isfinite(least_work), least_work, 0))


def sampled_hours(load: np.ndarray) -> np.ndarray:
    """Hours in the middle of equal parts of the load duration curve, the busiest first."""
    ordered = np.argsort(-load, kind="stable")
    count = min(SAMPLED_HOURS, len(load))
    return ordered[((np.arange(count) + 0.5) * len(load) / count).astype(int)]


def _by_origin(week: Problem, flow: np.ndarray) -> dict[str, float]:
    """Whole tokens by the site that asks."""
    sums: dict[str, float] = {}
    for (origin, _), amount in zip(week.commodities, flow.tolist(), strict=True):
        sums[origin] = sums.get(origin, 0.0) + amount
    return {origin: float(round(amount * TOKENS_A_UNIT)) for origin, amount in sums.items()}


def _arrived(outlook: Outlook, scenario: Scenario, week: Problem, ahead: int) -> np.ndarray:
    """(pool) accelerators of committed serving deliveries that have come by that week, if they slip as supposed."""
    number = {pool: index for index, pool in enumerate(week.pools)}
    counts = np.zeros(len(week.pools))
    by = outlook.mondays[ahead - 1] - timedelta(weeks=scenario.slip_weeks)
    for site, accelerator, count, planned in outlook.deliveries.select(
        "site_id", "accelerator_id", "accelerator_count", "planned_date"
    ).iter_rows():
        if (site, accelerator) in number and site != scenario.lost_site_id and planned <= by:
            counts[number[site, accelerator]] += count
    return counts


def _growth_by_origin(outlook: Outlook, origins: list[str]) -> np.ndarray:
    """(week, commodity) median demand of the origin's own site over the last known week's; of the nation without one."""
    model = outlook.capacity_need["model"].drop_nulls().mode().sort()
    targets = {monday: week for week, monday in enumerate(outlook.mondays)}
    last = {(row[0], row[1]): row[2] for row in outlook.busy_hour_demand.filter(
        pl.col("week_start_date") == monday_of(outlook.cutoff_week)
    ).select("level", "series_id", "demand_accelerator_count").iter_rows()}
    ratios: dict[tuple[str, str], np.ndarray] = {}
    rows = outlook.demand_forecast.filter(pl.col("quantile") == 0.5)
    if len(model):
        rows = rows.filter(pl.col("model") == model[0])
    for level, series_id, target, value in rows.select("level", "series_id", "target_date", "value").iter_rows():
        if target in targets and last.get((level, series_id), 0) > 0:
            ratios.setdefault((level, series_id), np.ones(HORIZON_WEEKS))[targets[target]] = value / last[level, series_id]
    nation = ratios.get(("nation", "nation"), np.ones(HORIZON_WEEKS))
    return np.array([ratios.get(("site", origin), nation) for origin in origins]).T
