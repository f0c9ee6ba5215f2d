"""From demand paths to a decision per pool: when supply runs out, what to order or move, and why.

A pool is what one site has of one accelerator type. Frames and arrays in, rows out; no forecasting, no
wording: ``why`` is a code with numbers, and the report finds the words.

Not looked at here: moves over several links, and between accelerator types. Matching does that.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl

from orchestration.forecasting import staffing
from orchestration.forecasting.demand_series import pool_series_id
from orchestration.forecasting.iso_weeks import monday_of, week_of, weeks_after
from orchestration.forecasting.moves import Moves
from orchestration.forecasting.serving_staffing import Served, staffed_accelerators
from orchestration.forecasting.staffing import SERVER_ACCELERATORS
from orchestration.forecasting.tables import HORIZON_WEEKS

ORDER_QUANTILE = 0.8451
"""Newsvendor quantile: unserved demand costs 2,478.62 - 384 a node-day, an idle node 384 (FORECAST, O1)."""
FEWEST_WEEKS_FOR_ORDER_QUANTILE = 4
LEAD_TIME_WEEKS = 12
REVIEW_WEEKS = 1
MOVE_ACCELERATORS_WEEKS = 4
"""Weeks from the decision to move servers between sites to their service there. Assumption."""
IDLE_RATIO = 0.5
IDLE_WEEKS = 4
"""A pool is idle whose busy hour asked for at most IDLE_RATIO of its usable supply in each of these weeks."""
DEFAULT_USABLE_RATIO = 0.85
"""Usable over installed where no pool shows it. Assumption."""
DEFAULT_AVAILABLE_RATIO = 0.98273
"""Up over installed where no pool shows it: 11% of accelerators fail a year, 72 hours of repair, 1% planned (O3)."""

UNKNOWN = "unknown"
CROSSING_SHARES = (0.1, 0.5, 0.9)

HIGH_CONFIDENCE = (8, 0.15)
MEDIUM_CONFIDENCE = (4, 0.30)


@dataclass
class Pool:
    """One pool on the day after the cutoff week."""

    site_id: str
    accelerator_id: str
    usable: float
    usable_ratio: float
    now_p95_utilization_ratio: float | None
    demand: float | None
    known_weeks: int
    last_known_week: str
    weekly_growth_ratio: float
    wape: float | None
    paths: np.ndarray | None
    """Demand paths (path, week of the horizon); None when there is no forecast."""
    available_ratio: float = DEFAULT_AVAILABLE_RATIO
    largest_node: int = SERVER_ACCELERATORS
    """Accelerators that fail as one."""
    level_error: float = 0.0
    """Standard error of the demand of the cutoff week, in logs."""
    recent_use_ratio: float | None = None
    """The most of IDLE_WEEKS weeks' demand over usable supply; None when one of them is not known."""
    serving_ratio: float = 0.0
    """Share of the cutoff week's demand that serves requests; the rest is training."""
    served: Served | None = None
    """What it serves; None when no requests were counted."""
    committed: list[int] = field(default_factory=lambda: [0] * HORIZON_WEEKS)

    @property
    def supply(self) -> np.ndarray:
        """Usable accelerators in each week of the horizon, committed deliveries included."""
        return self.usable + np.cumsum(self.committed) * self.usable_ratio

    @property
    def installed_then(self) -> float:
        """Accelerators installed at the end of the horizon, committed deliveries included."""
        return self.usable / self.usable_ratio + sum(self.committed)

    def staffed(self, demand: float) -> float:
        """Accelerators that must be up for this much demand, with the slack that its requests' latency asks for."""
        return staffed_accelerators(self.served, demand * self.serving_ratio, demand * (1 - self.serving_ratio))


def demand_at(paths: np.ndarray, level: float) -> np.ndarray:
    """The demand quantile of each week, over paths."""
    return np.quantile(paths, level, axis=0)


def crossing_week(paths: np.ndarray, supply: np.ndarray, share: float) -> int | None:
    """The week ahead (1 is next week) by which that share of paths has exceeded supply; None when it never does."""
    crossed = np.maximum.accumulate(paths > supply, axis=1).mean(axis=0)
    by = np.flatnonzero(crossed >= share - 1e-12)
    return int(by[0]) + 1 if len(by) else None


def is_short_now(pool: Pool, share: float) -> bool:
    """Whether demand of the cutoff week exceeds usable supply with at least this probability."""
    if pool.demand is None or pool.demand <= 0:
        return False
    if pool.level_error <= 0 or pool.usable <= 0:
        return pool.demand > pool.usable
    return NormalDist().cdf(math.log(pool.demand / pool.usable) / pool.level_error) >= share


def order_up_to(target: float, usable: float, on_order: float, usable_ratio: float) -> int:
    """Accelerators to order so that usable supply reaches the target, in whole servers of eight.

    ``target``, ``usable`` and ``on_order`` are usable accelerators; a new one adds ``usable_ratio``.
    """
    servers = staffing.order_up_to(
        target / SERVER_ACCELERATORS, usable / SERVER_ACCELERATORS, on_order / SERVER_ACCELERATORS, usable_ratio
    )
    return servers * SERVER_ACCELERATORS


def spare_accelerators(target: float, installed: float, available_ratio: float, largest_node: int) -> int:
    """Accelerators beyond ``installed`` that failures ask for, in whole servers of eight.

    So that the target is carried, at full use, with 99.9% of certainty when servers fail one by one, and when the
    largest node fails (N+1). Large pools have both in the slack of their target utilization; small ones do not.
    """
    if target <= 0:
        return 0
    needed = staffed_spare_accelerators(target, installed, available_ratio)
    if installed * available_ratio - largest_node < target:
        needed = max(needed, largest_node)
    return staffing.servers_of(needed) * SERVER_ACCELERATORS


def staffed_spare_accelerators(staffed: float, installed: float, available_ratio: float) -> int:
    """Accelerators beyond ``installed`` so that the servers which hold ``staffed`` are up with 99.9% of certainty."""
    servers = staffing.installed_for(staffing.servers_of(staffed), available_ratio) - staffing.servers_of(installed)
    return max(servers, 0) * SERVER_ACCELERATORS


def expected_excess(demand: np.ndarray, supply: float) -> float:
    """The mean over paths of demand above supply."""
    return float(np.maximum(demand - supply, 0).mean())


def confidence_of(known_weeks: int, wape: float | None) -> str:
    """High, medium or low, by weeks of history and the error of the median in the backtest."""
    for name, (weeks, error) in (("high", HIGH_CONFIDENCE), ("medium", MEDIUM_CONFIDENCE)):
        if known_weeks >= weeks and wape is not None and wape <= error:
            return name
    return "low"


def current_supply(supply_demand_daily: pl.DataFrame, cutoff_week: str) -> pl.DataFrame:
    """Usable accelerators per pool at the end of the cutoff week, and usable over installed.

    What was installed on the last day of the week, times the share of the week's installed hours that
    were usable: a delivery on Thursday counts in full, a bad Sunday does not. A pool with nothing
    installed has the ratio of its accelerator type elsewhere, else of all pools, else the default.
    """
    monday = monday_of(cutoff_week)
    week = supply_demand_daily.filter(
        pl.col("usage_date").is_between(monday, monday + timedelta(days=6))
    ).with_columns(
        pl.col("installed_accelerator_hours", "usable_accelerator_hours").cast(pl.Float64).fill_null(0)
    )
    last_day = week["usage_date"].max()
    pools = (
        week.group_by("site_id", "accelerator_id")
        .agg(
            pl.col("installed_accelerator_hours").sum().alias("installed"),
            pl.col("usable_accelerator_hours").clip(lower_bound=0).sum().alias("usable_hours"),
            pl.col("installed_accelerator_hours").filter(pl.col("usage_date") == pl.lit(last_day, pl.Date)).sum().alias("last_day"),
        )
        .with_columns(pl.when(pl.col("installed") > 0).then(pl.col("usable_hours") / pl.col("installed")).alias("own"))
    )
    overall = pools.filter(pl.col("installed") > 0)
    total = overall["installed"].sum()
    network_ratio = overall["usable_hours"].sum() / total if total else DEFAULT_USABLE_RATIO
    by_type = overall.group_by("accelerator_id").agg(
        (pl.col("usable_hours").sum() / pl.col("installed").sum()).alias("of_type")
    )
    return (
        pools.join(by_type, on="accelerator_id", how="left")
        .with_columns(pl.coalesce("own", "of_type", pl.lit(network_ratio)).alias("ratio"))
        .select(
            "site_id", "accelerator_id",
            (pl.col("last_day") / 24 * pl.col("own").fill_null(0)).alias("usable"),
            pl.when(pl.col("ratio") > 0).then(pl.col("ratio")).otherwise(DEFAULT_USABLE_RATIO).alias("usable_ratio"),
        )
    )


def available_ratio(supply_demand_daily: pl.DataFrame) -> float:
    """Up over installed accelerator hours of all pools and days; the default where nothing is installed.

    Of all, because a pool has too few failures to know its own: one bad week of a small site is no availability.
    """
    installed, available = (
        supply_demand_daily[f"{name}_accelerator_hours"].cast(pl.Float64).fill_null(0).sum() for name in ("installed", "available")
    )
    return min(available / installed, 1.0) if installed > 0 and available > 0 else DEFAULT_AVAILABLE_RATIO


def commit(pools: dict[str, Pool], planned_deliveries: pl.DataFrame, cutoff_week: str) -> None:
    """Enter committed deliveries into the pools, each from the first Monday on or after its date.

    A date within the cutoff week or before is taken as already in service (the inventory has it, or it is
    late and has no new date); one beyond the horizon changes nothing yet.
    """
    after = weeks_after(monday_of(cutoff_week), 1)
    committed = planned_deliveries.filter((pl.col("commitment") == "committed") & (pl.col("planned_date") >= after))
    for row in committed.iter_rows(named=True):
        pool = pools.get(pool_series_id(row["site_id"], row["accelerator_id"]))
        week = math.ceil((row["planned_date"] - after).days / 7)
        if pool is not None and week < HORIZON_WEEKS:
            pool.committed[week] += row["accelerator_count"]


def _neighbours(links: pl.DataFrame) -> dict[str, list[tuple[float, str, str]]]:
    """Per site: (one-way ms, other site, link), nearest first; a link of unknown delay comes last."""
    around: dict[str, list[tuple[float, str, str]]] = {}
    for row in links.iter_rows(named=True):
        delay = math.inf if row["one_way_ms"] is None else row["one_way_ms"]
        for here, there in ((row["a_site_id"], row["b_site_id"]), (row["b_site_id"], row["a_site_id"])):
            if here and there:
                around.setdefault(here, []).append((delay, there, row["link_id"]))
    return {site: sorted(others) for site, others in around.items()}


def order_quantile(known_weeks: int) -> float:
    """The quantile of demand to order up to: the newsvendor's, or the median while history is short."""
    return ORDER_QUANTILE if known_weeks >= FEWEST_WEEKS_FOR_ORDER_QUANTILE else 0.5


def is_placed(pool: Pool) -> bool:
    """Whether the pool is a real place and type; the unknown members keep totals whole but get no order."""
    return UNKNOWN not in (pool.site_id, pool.accelerator_id)


def _reason(pool: Pool, crossing_p50: int | None, shortfall: float) -> str:
    if not is_placed(pool):
        return "unplaced"
    if not pool.known_weeks:
        return "new_pool"
    if pool.paths is None:
        return "ended"
    if pool.paths.max() <= 0:
        return "no_demand"
    if pool.supply.max() <= 0:
        return "no_supply"
    if pool.demand is not None and pool.demand > pool.usable:
        return "already_short"
    if crossing_p50 is not None:
        return "demand_crosses"
    return "may_cross" if shortfall > 0 else "enough"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


@dataclass(frozen=True)
class Taker:
    """Where load moves, over which link, and what it adds to the link."""

    site_id: str
    link_id: str
    gbps: float


@dataclass
class _Plan:
    """What is still free to give, while pools choose in the order of urgency."""

    pools: dict[str, Pool]
    spare: dict[str, float]
    around: dict[str, list[tuple[float, str, str]]]
    moves: Moves
    free_gbps: dict[str, float]

    def load_taker(self, pool: Pool, shortfall: float, demand: float) -> Taker | None:
        """The nearest site one link away that can take the shortfall, and over which link.

        It keeps that much to spare in the same type; that much of the pool's demand meets its latency classes there;
        and the link has room for what it sends.
        """
        pool_id = pool_series_id(pool.site_id, pool.accelerator_id)
        for _, site, link in self.around.get(pool.site_id, ()):
            gbps = shortfall * self.moves.gbps_per_accelerator.get((pool_id, site), math.inf)
            if (
                self.spare.get(pool_series_id(site, pool.accelerator_id), 0) >= shortfall
                and self.moves.movable_ratio.get((pool_id, site), 0) * demand >= shortfall
                and self.free_gbps.get(link, 0) >= gbps
            ):
                return Taker(site, link, gbps)
        return None

    def idle_donor(self, pool: Pool, count: int) -> str | None:
        """The pool with the most to spare that has stood idle in the same type and can give ``count`` accelerators."""
        donors = [
            (self.spare[key], key) for key, other in self.pools.items()
            if key in self.spare and other.accelerator_id == pool.accelerator_id and other.site_id != pool.site_id
            and other.recent_use_ratio is not None and other.recent_use_ratio <= IDLE_RATIO
            and self.spare[key] >= count * other.usable_ratio
        ]
        return max(donors)[1] if donors else None


def capacity_need(pools: dict[str, Pool], links: pl.DataFrame, moves: Moves, cutoff_week: str, model: str) -> list[dict]:
    """One row of fct_capacity_need per pool.

    Order: up to the ORDER_QUANTILE of busy-hour demand after lead time and review, the spares that failures ask for, and
    what requests need beyond both to keep their latency objective; up to the median where history is too short for a
    measured spread, because nobody should buy on an assumed one, and nothing where no week is known. Instead, where possible: move load to a site one link away that keeps,
    at the same quantile and in every week, at least the largest shortfall free in the same accelerator type, if that
    much of the load meets its latency classes there and fits into what the link has free in its busy hour; else
    move accelerators from a pool of the type that has stood idle and keeps enough. The most urgent pool chooses
    first and what it takes is gone. A move needs less lead time than an order, so a pool whose median does not cross
    waits (none) as long as one is possible.
    """
    monday = monday_of(cutoff_week)
    horizon = LEAD_TIME_WEEKS + REVIEW_WEEKS
    safe_demand = {key: demand_at(pool.paths, order_quantile(pool.known_weeks))
                   for key, pool in pools.items() if pool.paths is not None and is_placed(pool) and pool.known_weeks}
    spare = {key: float((pools[key].supply - demand).min()) for key, demand in safe_demand.items()}
    plan = _Plan(pools, spare, _neighbours(links), moves, dict(moves.free_gbps))
    crossings: dict[str, dict[float, int | None]] = {}
    for key, pool in pools.items():
        crossings[key] = {
            share: (0 if is_short_now(pool, share) else crossing_week(pool.paths, pool.supply, share))
            if key in safe_demand else None
            for share in CROSSING_SHARES
        }

    def urgency(key: str) -> tuple:
        crossing = crossings[key][0.5]
        return (math.inf if crossing is None else crossing, spare.get(key, math.inf), key)

    rows = []
    for key in sorted(pools, key=urgency):
        pool = pools[key]
        crossing = crossings[key]
        weeks = {share: None if step is None else week_of(weeks_after(monday, step))
                 for share, step in crossing.items()}
        shortfall = max(0.0, -spare[key]) if key in spare else 0.0
        why: dict = {
            "code": _reason(pool, crossing[0.5], shortfall),
            "known_weeks": pool.known_weeks,
            "last_known_week": pool.last_known_week,
            "weekly_growth_ratio": _rounded(pool.weekly_growth_ratio, 4),
            "shortfall_accelerators": _rounded(shortfall, 1),
            "committed_accelerators": sum(pool.committed),
        }
        action, add_count, spare_count, latency_count, order_by, excess = "none", 0, 0, 0, None, 0.0
        target = None
        if key in safe_demand:
            target = float(safe_demand[key][horizon - 1])
            on_order = float(pool.supply[horizon - 1] - pool.usable)
            excess = expected_excess(pool.paths[:, horizon - 1], float(pool.supply[horizon - 1]))
            add_count = order_up_to(target, pool.usable, on_order, pool.usable_ratio)
            if add_count:
                then = pool.installed_then + add_count
                spare_count = spare_accelerators(target, then, pool.available_ratio, pool.largest_node)
                latency_count = max(
                    staffed_spare_accelerators(pool.staffed(target), then, pool.available_ratio) - spare_count, 0)
                add_count += spare_count + latency_count
            largest = float(safe_demand[key][(pool.supply - safe_demand[key]).argmin()])
            taker = plan.load_taker(pool, shortfall, largest) if shortfall > 0 else None
            donor = plan.idle_donor(pool, add_count) if add_count and not taker else None
            if taker:
                why |= {"to_site_id": taker.site_id, "link_id": taker.link_id, "move_accelerators": math.ceil(shortfall),
                        "move_gbps": _rounded(taker.gbps, 3), "link_free_gbps": _rounded(plan.free_gbps[taker.link_id], 1)}
                if crossing[0.5] is not None:
                    action = "move_load"
                    spare[pool_series_id(taker.site_id, pool.accelerator_id)] -= shortfall
                    plan.free_gbps[taker.link_id] -= taker.gbps
            elif donor:
                why |= {"from_site_id": pools[donor].site_id, "move_accelerators": add_count}
                if crossing[0.5] is not None:
                    action = "move_accelerators"
                    order_by = _order_by(monday, crossing[0.5], MOVE_ACCELERATORS_WEEKS)
                    spare[donor] -= add_count * pools[donor].usable_ratio
            elif add_count:
                action = "add"
                order_by = _order_by(monday, crossing[0.5], LEAD_TIME_WEEKS)
        rows.append({
            "cutoff_week": cutoff_week,
            "site_id": pool.site_id,
            "accelerator_id": pool.accelerator_id,
            "now_p95_utilization_ratio": pool.now_p95_utilization_ratio,
            "demand_accelerator_count": _rounded(pool.demand, 2),
            "usable_accelerator_count": round(pool.usable, 1),
            "runs_out_week_p10": weeks[0.1],
            "runs_out_week_p50": weeks[0.5],
            "runs_out_week_p90": weeks[0.9],
            "order_quantile": order_quantile(pool.known_weeks) if key in safe_demand else None,
            "order_up_to_accelerator_count": _rounded(target, 2),
            "add_accelerator_count": add_count if action == "add" else 0,
            "spare_accelerator_count": spare_count if action == "add" else 0,
            "latency_accelerator_count": latency_count if action == "add" else 0,
            "order_by_date": order_by,
            "expected_shortfall_accelerator_count": round(excess, 2),
            "action": action,
            "why": json.dumps(why, sort_keys=True, ensure_ascii=False),
            "confidence": confidence_of(pool.known_weeks, pool.wape),
            "model": model if key in safe_demand else None,
        })
    return rows


def _order_by(cutoff_monday: date, crossing_p50: int | None, lead_weeks: int) -> date | None:
    if crossing_p50 is None:
        return None
    return weeks_after(cutoff_monday, crossing_p50 - lead_weeks)
