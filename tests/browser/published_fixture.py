"""A plausible published capacity.duckdb: 41 sites of two accelerator types over some weeks.

Only tests use it. Sites and links are the project's seeds; loads are drawn from a fixed seed, with three
pools that are about to run out, one site with demand and no supply, and one idle hub.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from orchestration.forecasting.forecast import forecast_all
from orchestration.forecasting.iso_weeks import monday_of, week_of
from orchestration.forecasting.token_forecast import AskedDemand
from orchestration.home import DBT_PROJECT

ACCELERATORS = {"ascend-910c": "Ascend 910C (CloudMatrix384)", "nvidia-h20": "H20 96GB"}
LAST_WEEK = "2026-W47"
GROWING = {("cn-gd", "ascend-910c"): 0.045, ("cn-zj", "nvidia-h20"): 0.06, ("yrd-demo", "ascend-910c"): 0.05}
HOT_SITES = ("cn-gd", "cn-zj", "yrd-demo", "cn-sh")
WITHOUT_SUPPLY = "cn-xz"
IDLE_HUB = "gs-qy"
SILENT_SITE, SILENT_HOURS = "cn-sh", 7
"""A site whose usage was not heard for some hours of one day."""
USABLE_SHARE = 0.85
SHANGHAI_OFFSET = timedelta(hours=8)
_DIURNAL = 1 + 0.32 * np.sin((np.arange(24) - 9) / 24 * 2 * np.pi)


def _seed(name: str) -> pl.DataFrame:
    return pl.read_csv(DBT_PROJECT / "seeds" / f"{name}.csv", infer_schema_length=None)


def _loads(sites: pl.DataFrame, weeks: int, randoms: np.random.Generator) -> list[dict]:
    """Hourly demand and usable supply per pool, as arrays over the whole time."""
    hours = np.tile(_DIURNAL, weeks * 7)
    pools = []
    for site in sites.iter_rows(named=True):
        for accelerator_id in ACCELERATORS:
            hub = site["site_kind"] == "hub"
            installed = int(randoms.integers(200, 400) if hub else randoms.integers(6, 60)) * 8
            if site["site_id"] == WITHOUT_SUPPLY:
                if accelerator_id == "nvidia-h20":
                    continue
                installed = 0
            growth = GROWING.get((site["site_id"], accelerator_id), randoms.normal(0.004, 0.003))
            level = randoms.uniform(0.35, 0.55)
            if hub and accelerator_id == "ascend-910c":
                level = 0.65
            if (site["site_id"], accelerator_id) in GROWING:
                level = 0.725
            elif site["site_id"] in HOT_SITES:
                level = 0.715
            if site["site_id"] == IDLE_HUB and accelerator_id == "nvidia-h20":
                level = 0.12
            base = level * (installed or 40) * USABLE_SHARE
            week = np.repeat(np.arange(weeks), 168)
            wobble = np.repeat(randoms.normal(1, 0.02, weeks), 168) * randoms.normal(1, 0.03, weeks * 168)
            demand = base * np.exp(growth * (week - weeks + 1)) * hours * wobble
            down = np.repeat(randoms.uniform(0, 0.03, weeks * 7), 24) * installed
            pools.append({"site_id": site["site_id"], "accelerator_id": accelerator_id, "installed": installed,
                          "demand": np.maximum(demand, 0), "down": down,
                          "available": np.maximum(installed - down, 0)})
    return pools


def _supply_demand(pools: list[dict], first_day: date, weeks: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    def rows(length_hours: int, keys) -> list[dict]:
        result = []
        for pool in pools:
            count = weeks * 168 // length_hours
            demand = pool["demand"].reshape(count, length_hours)
            available = pool["available"].reshape(count, length_hours)
            usable = available * USABLE_SHARE
            total, supply = demand.sum(axis=1), usable.sum(axis=1)
            for index in range(count):
                ratio = None
                if pool["installed"]:
                    ratio = float(np.quantile(demand[index] / available[index], 0.95))
                served = min(total[index], supply[index])
                result.append({
                    **keys(index), "site_id": pool["site_id"], "accelerator_id": pool["accelerator_id"],
                    "installed_accelerator_hours": float(pool["installed"] * length_hours),
                    "available_accelerator_hours": float(available[index].sum()),
                    "usable_accelerator_hours": float(supply[index]),
                    "serving_demand_accelerator_hours": float(total[index] * 0.8),
                    "served_accelerator_hours": float(served * 0.8),
                    "training_demand_accelerator_hours": float(total[index] * 0.2),
                    "unmet_accelerator_hours": float(max(0, total[index] - supply[index])),
                    "headroom_accelerator_hours": float(supply[index] - total[index]),
                    "p95_utilization_ratio": ratio,
                })
        return result

    daily = rows(24, lambda index: {"usage_date": first_day + timedelta(days=index), "known_hour_count": 24})
    for row in daily:
        if row["site_id"] == SILENT_SITE and row["usage_date"] == first_day + timedelta(days=weeks * 7 - 4):
            row["known_hour_count"] = 24 - SILENT_HOURS
    weekly = rows(168, lambda index: {
        "iso_week": week_of(first_day + timedelta(weeks=index)),
        "week_start_date": first_day + timedelta(weeks=index), "day_count": 7,
        "known_hour_count": 168})
    return pl.DataFrame(daily, infer_schema_length=None), pl.DataFrame(weekly, infer_schema_length=None)


def _accelerator_hours(pools: list[dict], first_day: date, randoms: np.random.Generator) -> pl.DataFrame:
    rows = []
    for pool in pools:
        if not pool["installed"]:
            continue
        for index, (demand, down) in enumerate(
            zip(pool["demand"].reshape(-1, 24).sum(axis=1), pool["down"].reshape(-1, 24).sum(axis=1), strict=True)
        ):
            installed = pool["installed"] * 24.0
            planned = installed * 0.01
            allocated = min(demand * 1.15, installed - down - planned)
            busy = allocated * float(randoms.uniform(0.6, 0.85))
            rest = installed - down - planned - allocated
            rows.append({
                "usage_date": first_day + timedelta(days=index), "site_id": pool["site_id"],
                "accelerator_id": pool["accelerator_id"], "installed_accelerator_hours": installed,
                "down_accelerator_hours": float(down), "planned_down_accelerator_hours": planned,
                "allocated_busy_accelerator_hours": busy, "allocated_idle_accelerator_hours": allocated - busy,
                "fragmented_accelerator_hours": rest * 0.1, "free_accelerator_hours": rest * 0.9,
                "unknown_activity_accelerator_hours": 0.0,
            })
    return pl.DataFrame(rows)


def _token_usage(pools: list[dict], first_day: date, weeks: int) -> pl.DataFrame:
    last_hours = min(weeks, 2) * 168
    start = datetime.combine(first_day + timedelta(weeks=weeks), datetime.min.time()) - timedelta(hours=last_hours)
    frames = []
    for pool in pools:
        if pool["accelerator_id"] != "ascend-910c":
            continue
        tokens = (pool["demand"][-last_hours:] * 4e6).astype(np.int64)
        local = [start + timedelta(hours=hour) for hour in range(last_hours)]
        frames.append(pl.DataFrame({
            "usage_hour": [hour - SHANGHAI_OFFSET for hour in local], "usage_date": [hour.date() for hour in local],
            "input_tokens": tokens, "cached_input_tokens": tokens // 2, "output_tokens": tokens // 6,
            "request_count": tokens // 1500, "throttled_request_count": tokens // 400_000,
            "failed_request_count": tokens // 900_000, "unmetered_request_count": tokens // 5_000_000,
        }).with_columns(
            pl.lit(pool["site_id"]).alias("origin_site_id"), pl.lit(pool["site_id"]).alias("serving_site_id"),
            pl.lit("tenant-0001").alias("tenant_id"), pl.lit("qwen3.5-plus").alias("model_id"),
            pl.lit("payg").alias("product"), (pl.col("output_tokens") // 3).alias("reasoning_tokens"),
        ))
    return pl.concat(frames)


TENANTS = (("tenant-0001", "enterprise", "qwen3.5-plus", 0.7), ("tenant-0002", "developer", "deepseek-v3", 0.3))
"""Tenant, segment, the model it uses, and its share of the tokens."""


def _demand_daily(daily: pl.DataFrame) -> pl.DataFrame:
    """Tokens asked for by day, tenant, model and origin site: four million of input an accelerator-hour."""
    sites = daily.group_by("usage_date", "site_id").agg(pl.sum("serving_demand_accelerator_hours").alias("hours"))
    return pl.concat([
        sites.select(
            "usage_date", pl.lit(tenant).alias("tenant_id"), pl.lit(model).alias("model_id"), pl.col("site_id").alias("origin_site_id"),
            (pl.col("hours") * 4e6 * share).cast(pl.Int64).alias("unconstrained_input_tokens"),
            (pl.col("hours") * 1e6 * share).cast(pl.Int64).alias("unconstrained_output_tokens"))
        for tenant, _, model, share in TENANTS
    ]).sort(pl.all())


def _asked(demand_daily: pl.DataFrame) -> AskedDemand:
    segments = {tenant: segment for tenant, segment, _, _ in TENANTS}
    tokens = {measure: pl.col(f"unconstrained_{measure}").cast(pl.Float64) for measure in ("input_tokens", "output_tokens")}
    return AskedDemand(demand_daily.select(
        "usage_date", "origin_site_id", pl.col("tenant_id").replace_strict(segments).alias("segment"), "model_id", "tenant_id",
        **tokens, accelerator_hours=tokens["output_tokens"] / 1e6))


def _link_utilization(links: pl.DataFrame, last_day: date, randoms: np.random.Generator) -> pl.DataFrame:
    rows = []
    start = datetime.combine(last_day - timedelta(days=6), datetime.min.time()) - SHANGHAI_OFFSET
    for index, link in enumerate(links.iter_rows(named=True)):
        busy = 0.97 if index in (1, 30, 31) else float(randoms.uniform(0.08, 0.6))
        for direction in ("a_to_b", "b_to_a"):
            for hour in range(0, 168, 6):
                mean = busy * float(randoms.uniform(0.7, 0.95))
                rows.append({"usage_hour": start + timedelta(hours=hour), "link_id": link["link_id"],
                             "direction": direction, "mean_utilization_ratio": mean, "p95_utilization_ratio": busy,
                             "capacity_gbps": float(link["capacity_gbps"]), "unknown_ratio": 0.0})
    return pl.DataFrame(rows)


def _quality(last_day: date) -> dict[str, pl.DataFrame]:
    feeds = {"token_usage": "token_usage", "job_logs": "job_logs", "telemetry": "telemetry", "reference": "sites"}
    deliveries, freshness, reconciliation = [], [], []
    for number, (feed, table) in enumerate(feeds.items()):
        for step in range(3):
            received = 120_000 + 7_000 * number
            duplicates, quarantined = 40 * number, (3 if step == 1 else 0)
            deliveries.append({
                "delivery_id": f"{feed}-{step}", "feed": feed, "table_name": table, "format": f"{table}_jsonl",
                "source_id": f"{feed}-source", "delivery_name": f"part-{step}.jsonl",
                "delivered_date": last_day - timedelta(days=step), "ingested_at": datetime(2026, 11, 23, 1, 5),
                "status": "loaded", "received_count": received,
                "loaded_count": received - duplicates - quarantined, "duplicate_count": duplicates,
                "quarantined_count": quarantined, "conflict_count": 0,
            })
        freshness.append({"feed": feed, "source_id": f"{feed}-source",
                          "last_event_at": datetime.combine(last_day, datetime.min.time()) + timedelta(hours=15),
                          "last_delivered_date": last_day})
        reconciliation.append({"feed": feed, "metric": "row_count", "landing_value": 360_000, "raw_value": 360_000,
                               "mart_value": 360_000, "difference": 0})
    return {
        "fct_deliveries": pl.DataFrame(deliveries), "fct_freshness": pl.DataFrame(freshness),
        "fct_reconciliation": pl.DataFrame(reconciliation),
    }


def planned_deliveries(last_day: date) -> pl.DataFrame:
    """Two committed orders and one that is only planned."""
    return pl.DataFrame([
        {"planned_delivery_id": "order-1", "site_id": "cn-gd", "accelerator_id": "ascend-910c", "purpose": "serving",
         "accelerator_count": 64, "planned_date": last_day + timedelta(days=30), "commitment": "committed"},
        {"planned_delivery_id": "order-2", "site_id": "jjj-zjk", "accelerator_id": "nvidia-h20", "purpose": "serving",
         "accelerator_count": 512, "planned_date": last_day + timedelta(days=52), "commitment": "committed"},
        {"planned_delivery_id": "order-3", "site_id": "cn-zj", "accelerator_id": "nvidia-h20", "purpose": "serving",
         "accelerator_count": 128, "planned_date": last_day + timedelta(days=40), "commitment": "planned"},
    ])


def _restatements(last_day: date) -> pl.DataFrame:
    """Two figures of one day that a late delivery moved, and one of a ratio, which does not add up."""
    rows = [
        ("serving_demand_accelerator_hours", 120.0, 150.0), ("unmet_accelerator_hours", 10.0, 12.5),
        ("p95_utilization_ratio", 0.7, 0.8),
    ]
    return pl.DataFrame([
        {"restated_at": datetime.combine(last_day, datetime.min.time()), "run_id": "8f3a52c1",
         "usage_date": last_day - timedelta(days=5), "is_closed_day": True, "reason": "late delivery part-9.jsonl",
         "mart": "capacity.fct_supply_demand_daily", "site_id": "cn-gd", "metric": metric, "before": before, "after": after,
         "gross_change": after - before} for metric, before, after in rows
    ])


def _matching(pools: list[dict], links: pl.DataFrame, randoms: np.random.Generator) -> dict[str, pl.DataFrame]:
    """What matching would have changed: flows to the first hubs, a full pool, a full link, two reasons."""
    hubs = ("gz-ga", "nmg-hlge", "gs-qy")
    flows, binding = [], []
    for number, pool in enumerate(pools):
        for serving in (pool["site_id"], hubs[number % 3]):
            actual = int(randoms.integers(10**9, 10**11))
            best = int(actual * randoms.uniform(0.6, 1.5))
            flows.append({"iso_week": LAST_WEEK, "origin_site_id": pool["site_id"], "serving_site_id": serving,
                          "model_id": f"model-{number}", "tokens": best, "actual_tokens": actual,
                          "link_id": None if serving == pool["site_id"] else links["link_id"][number % links.height],
                          "round_trip_ms": 0.0 if serving == pool["site_id"] else float(randoms.integers(5, 40))})
        if number % 5 == 0:
            binding.append({"iso_week": LAST_WEEK, "resource_kind": "accelerator",
                            "resource_id": f"{pool['site_id']}/{pool['accelerator_id']}", "site_id": pool["site_id"],
                            "accelerator_id": pool["accelerator_id"], "link_id": None,
                            "binding_hours_count": int(randoms.integers(1, 168)), "peak_fill_ratio": 1.0, "value_rank": number + 1})
    link_id = links["link_id"][0]
    binding.append({"iso_week": LAST_WEEK, "resource_kind": "wavelength", "resource_id": link_id, "site_id": None,
                    "accelerator_id": None, "link_id": link_id, "binding_hours_count": 9, "peak_fill_ratio": 1.0, "value_rank": 1})
    unserved = [{"iso_week": LAST_WEEK, "origin_site_id": "cn-gd", "model_id": "model-0", "constraint_kind": kind,
                 "resource_id": "none", "tokens": 10**9} for kind in ("capacity", "latency")]
    what_if = [
        {"cutoff_week": LAST_WEEK, "scenario": scenario, "metric": metric, "site_id": "cn-gd",
         "accelerator_id": "ascend-910c" if metric == "short_accelerators" else "all", "parameters": parameters,
         "base_value": 100.0, "scenario_value": 100.0 + more, "difference_value": float(more)}
        for scenario, parameters, more in (
            ("growth_10_percent", '{"growth_ratio": 0.1}', 40), ("largest_hub_lost", '{"lost_site_id": "gz-ga"}', 250),
            ("trial", '{"trial_tokens": 1000000000000.0}', 0), ("cut", '{"cut_ratio": 0.15, "elasticity": 1.0}', 20),
            ("late", '{"slip_weeks": 4, "odd": 1}', 10),
        ) for metric in ("short_accelerators", "unserved_tokens")
    ]
    return {
        "capacity.fct_what_if": pl.DataFrame(what_if),
        "capacity.fct_matching_plan": pl.DataFrame(flows, infer_schema_length=None),
        "capacity.fct_binding_constraint_weekly": pl.DataFrame(binding, infer_schema_length=None),
        "capacity.fct_unserved_demand_weekly": pl.DataFrame(unserved),
    }


def _packages(sites: pl.DataFrame, last_day: date) -> pl.DataFrame:
    """Tokens that packages hold, falling over six weeks."""
    return pl.DataFrame([
        {"iso_week": week_of(last_day + timedelta(days=1, weeks=step)), "origin_site_id": site_id, "model_id": "qwen3.5-plus",
         "expected_tokens": 10**11 // (step + 1)} for step in range(6) for site_id in sites["site_id"].head(20)
    ])


def forecast_before(folder: Path) -> tuple[dict[str, pl.DataFrame], dict[str, str]]:
    """The forecast after the week before, made again, of the network whose file is in the folder."""
    frames = {path.stem: pl.read_parquet(path) for path in sorted((folder / "before").glob("*.parquet"))}
    before = week_of(monday_of(LAST_WEEK) - timedelta(days=7))
    return frames, {before: "again"} if frames else {}


def build_published(
    folder: Path, weeks: int = 8, site_count: int = 41, site_names: dict[str, str] | None = None,
    with_links: bool = True, seed: int = 7,
) -> Path:
    """Writes folder/capacity.duckdb and returns its path.

    ``site_names``: other names (both languages) for some sites, by site_id; hostile ones in tests.
    """
    randoms = np.random.default_rng(seed)
    sites = _seed("sites").head(site_count)
    for site_id, name in (site_names or {}).items():
        changed = pl.when(pl.col("site_id") == site_id).then(pl.lit(name))
        sites = sites.with_columns(changed.otherwise(pl.col("site_name")).alias("site_name"),
                                   changed.otherwise(pl.col("site_name_cn")).alias("site_name_cn"))
    sites = sites.with_columns(pl.lit(True).alias("is_registered"))
    links = _seed("links").with_columns(pl.lit(True).alias("is_registered")).filter(
        pl.col("a_site_id").is_in(sites["site_id"].implode()) & pl.col("b_site_id").is_in(sites["site_id"].implode())
    )
    last_day = monday_of(LAST_WEEK) + timedelta(days=6)
    first_day = last_day - timedelta(days=weeks * 7 - 1)
    pools = _loads(sites, weeks, randoms)
    tables: dict[str, pl.DataFrame] = {
        "capacity.dim_site": sites.drop("valid_from", "valid_to", "source", "confidence"),
        "capacity.dim_link": links.drop("valid_from", "valid_to", "source", "confidence"),
        "capacity.dim_accelerator": pl.DataFrame(
            [{"accelerator_id": key, "accelerator_name": name, "is_registered": True}
             for key, name in ACCELERATORS.items()]),
    }
    if pools:
        daily, weekly = _supply_demand(pools, first_day, weeks)
        demand_daily = _demand_daily(daily)
        forecast = forecast_all(daily, weekly, planned_deliveries(last_day), links, sites, LAST_WEEK, demand=_asked(demand_daily))
        tables |= {
            "capacity.fct_demand_daily": demand_daily,
            "capacity.dim_tenant": pl.DataFrame([{"tenant_id": tenant, "tenant_name": tenant, "segment": segment} for tenant, segment, _, _ in TENANTS]),
            "capacity.fct_supply_demand_daily": daily, "capacity.fct_supply_demand_weekly": weekly,
            "capacity.fct_accelerator_hours_daily": _accelerator_hours(pools, first_day, randoms),
            "capacity.fct_token_usage_hourly": _token_usage(pools, first_day, weeks),
        }
        tables |= {f"capacity.{name}": frame for name, frame in forecast.by_table_name().items()}
        if weeks > 1:
            (folder / "before").mkdir(parents=True)
            before = forecast_all(
                daily, weekly, planned_deliveries(last_day).head(1), links, sites, week_of(monday_of(LAST_WEEK) - timedelta(days=7)))
            for name, frame in before.by_table_name().items():
                frame.write_parquet(folder / "before" / f"{name}.parquet")
        if with_links and links.height:
            tables |= _matching(pools, links, randoms)
        tables |= {
            "capacity.fct_package_demand": _packages(sites, last_day), "quality.fct_restatements": _restatements(last_day),
            "capacity.dim_model": pl.DataFrame([{"model_id": "qwen3.5-plus", "model_name": "Qwen3.5 Plus"}]),
        }
    if with_links and links.height:
        tables["capacity.fct_link_utilization_hourly"] = _link_utilization(links, last_day, randoms)
    tables |= {f"quality.{name}": frame for name, frame in _quality(last_day).items()}

    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "aside.duckdb"
    connection = duckdb.connect(str(aside))
    try:
        for schema in ("capacity", "quality", "meta"):
            connection.execute(f"create schema {schema}")
        for name, frame in tables.items():
            connection.register("frame", frame.to_arrow())
            connection.execute(f"create table {name} as select * from frame")
            connection.unregister("frame")
        connection.execute(
            "create table meta.publication (run_id VARCHAR, published_at TIMESTAMP, data_as_of TIMESTAMP,"
            " iso_week VARCHAR, edition VARCHAR, delivery_count BIGINT, check_count BIGINT)"
        )
        connection.execute(
            "insert into meta.publication values ('8f3a52c1', '2026-11-23 01:20:00', '2026-11-22 15:59:00', ?,"
            " 'capacity', 12, 17)", [LAST_WEEK if pools else None],
        )
    finally:
        connection.close()
    return aside.rename(folder / "capacity.duckdb")
