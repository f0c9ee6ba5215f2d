"""What may move over a link: which part of a pool's load the other site may serve in time, and what the link has free.

Frames in, a lookup out. Whether a pool should move anything is ``capacity_need``'s to decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from orchestration.forecasting.demand_series import POOL, pool_series_id
from orchestration.forecasting.matching import round_trip_ms, shortest_routes

TARGET_LINK_UTILIZATION_RATIO = 0.8
"""Share of a link that may be planned with. Assumption: room for bursts within the hour and for protection."""
BUSY_HOUR_QUANTILE = 0.95


@dataclass(frozen=True)
class Moves:
    """What a week showed of moves from a pool (its series_id) to a site one link away; what is not named may not move."""

    movable_ratio: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Part of the pool's demand whose models' latency class the other site meets, by (pool, site)."""
    gbps_per_accelerator: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """What a busy accelerator's worth of that part sends, by (pool, site)."""
    free_gbps: Mapping[str, float] = field(default_factory=dict)
    """Free in the link's busy hour, in the fuller direction, by link_id."""


def moves_of(load: pl.DataFrame, pool_hours: pl.DataFrame, models: pl.DataFrame, links: pl.DataFrame, link_hours: pl.DataFrame) -> Moves:
    """What the week of these frames says of moves over one link.

    A flow (origin, model) may be served at another site if the round trip from its origin, over the shortest fibre,
    meets the model's latency class; a model without a class has none to miss. Jobs do not move: their hours are in
    the pool's and not in the load. A link's free capacity is TARGET_LINK_UTILIZATION_RATIO of what is lit less the 95th
    percentile of its hours, in the direction that has less; one that is not counted in both directions has none.

    Args:
        load: origin_site_id, serving_site_id, model_id, accelerator_id, served_accelerator_hours, gigabits.
        pool_hours: site_id, accelerator_id, demand_accelerator_hours: serving and training together.
        models: model_id, latency_class_ms.
        links: link_id, a_site_id, b_site_id, route_km.
        link_hours: link_id, direction, mean_throughput_gbps, capacity_gbps; one row an hour.
    """
    sites = sorted({*links["a_site_id"].drop_nulls(), *links["b_site_id"].drop_nulls()})
    latency = dict(models.select("model_id", "latency_class_ms").iter_rows())
    whole = {pool_series_id(site, accelerator): hours for site, accelerator, hours in pool_hours.select(
        *POOL, "demand_accelerator_hours").iter_rows()}
    routes = shortest_routes(sites, links)
    number = {site: index for index, site in enumerate(sites)}
    delay = round_trip_ms(routes.route_km)
    beside: dict[str, set[str]] = {}
    for a_site, b_site in links.select("a_site_id", "b_site_id").drop_nulls().iter_rows():
        beside.setdefault(a_site, set()).add(b_site)
        beside.setdefault(b_site, set()).add(a_site)
    hours: dict[tuple[str, str], float] = {}
    gigabits: dict[tuple[str, str], float] = {}
    for origin, serving, model, accelerator, work, sent in load.select(
        "origin_site_id", "serving_site_id", "model_id", "accelerator_id", "served_accelerator_hours", "gigabits"
    ).sort(pl.all()).iter_rows():
        allowed = latency.get(model)
        for other in sorted(beside.get(serving, ())):
            if allowed is None or (origin in number and delay[number[origin], number[other]] <= allowed + 1e-9):
                key = (pool_series_id(serving, accelerator), other)
                hours[key] = hours.get(key, 0.0) + work
                gigabits[key] = gigabits.get(key, 0.0) + sent
    return Moves(
        {key: min(work / whole[key[0]], 1.0) for key, work in hours.items() if whole.get(key[0], 0) > 0},
        {key: gigabits[key] / (work * 3600) for key, work in hours.items() if work > 0},
        _free_gbps(link_hours),
    )


def _free_gbps(link_hours: pl.DataFrame) -> dict[str, float]:
    by_direction = (
        link_hours.drop_nulls("mean_throughput_gbps").group_by("link_id", "direction").agg(
            pl.col("mean_throughput_gbps").quantile(BUSY_HOUR_QUANTILE, "linear").alias("busy"),
            pl.col("capacity_gbps").min().alias("lit"),
        )
        .group_by("link_id").agg(
            (TARGET_LINK_UTILIZATION_RATIO * pl.col("lit") - pl.col("busy")).min().alias("free"), pl.len().alias("directions"))
        .filter(pl.col("directions") == 2).drop_nulls("free")
    )
    return {link: max(free, 0.0) for link, free in by_direction.select("link_id", "free").sort("link_id").iter_rows()}
