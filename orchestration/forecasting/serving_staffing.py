"""Accelerators that a pool's requests ask for so that none waits too long: queueing slack by size, not one percentage.

The measured load of a pool (its models with their requests, lengths and throughput) is scaled to its busy hour, or to
the demand an order is made for, and staffed by ``staffing``: Erlang-C for the first token, square-root for the rest.
Frames in, rows out. How many are ordered is ``capacity_need``'s to decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from orchestration.forecasting import staffing
from orchestration.forecasting.demand_series import pool_series_id
from orchestration.forecasting.staffing import SERVER_ACCELERATORS, Load

DEFAULT_TTFT_SECONDS = 2.0
"""To the first token, where the throughput's source names no limit: that of MLPerf Inference's server scenario for large
models. Assumption for an operator's own promise."""
DEFAULT_TPOT_SECONDS = 0.050
"""Between tokens, where the source names no limit: what most of the throughput table was measured under."""
TAIL_PROBABILITY = 0.01
"""Share of requests that may wait longer than the objective leaves (O3)."""
SERVICE_CV2 = 1.5
"""Squared coefficient of variation of prefill times within a model (O3); between models it is measured."""
PEAKEDNESS = staffing.variability(1.0, 1.0)
"""Of requests that decode: many tenants' arrivals together are near Poisson, whatever each of them does."""
PROMPT_SHARE = 0.5
"""Share of the first token's time that the longest prompt may take; more accelerators work on one until it does."""
TOGETHER = (1, 2, 4, SERVER_ACCELERATORS)
"""Accelerators that may work on one prompt: parts of a server."""
_LIMIT = re.compile(r"\b(TTFT|TPOT|ITL)\s*<=?\s*(\d+(?:\.\d+)?)\s*(ms|s)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Objective:
    """Seconds to the first token, and between tokens, that requests must keep."""

    ttft_seconds: float = DEFAULT_TTFT_SECONDS
    tpot_seconds: float = DEFAULT_TPOT_SECONDS


def objective_of(text: str | None) -> Objective:
    """The objective that a row of throughput was measured under: ``TTFT <= 450 ms, TPOT <= 40 ms``; defaults for the rest."""
    named = {
        "tpot_seconds" if name.upper() in ("TPOT", "ITL") else "ttft_seconds": float(number) * (0.001 if unit.lower() == "ms" else 1)
        for name, number, unit in _LIMIT.findall(text or "") if float(number) > 0
    }
    return Objective(**named)


@dataclass(frozen=True)
class Served:
    """What a pool serves: a load for each model, with rates in the proportions of a week, and the strictest objective."""

    loads: tuple[Load, ...]
    objective: Objective

    @property
    def accelerators(self) -> float:
        """Accelerators that the loads keep busy on average."""
        return sum(load.raw_prefill_accelerators + load.raw_decode_accelerators for load in self.loads)

    def at(self, accelerators: float) -> Served:
        """The same mix, so that it keeps that many accelerators busy."""
        factor = accelerators / self.accelerators
        return replace(self, loads=tuple(
            replace(load, requests_per_second=load.requests_per_second * factor) for load in self.loads))


@dataclass(frozen=True)
class Staffed:
    """Accelerators that keep a load's objective: for prompts (so many work on each together) and for decode."""

    prefill: int
    decode: float
    together: int

    @property
    def accelerators(self) -> float:
        """Both; a server may do either."""
        return self.prefill + self.decode


def served_of(loads: pl.DataFrame) -> dict[str, Served]:
    """What each pool served, by its series_id, from a week's rows of int_serving_demand__loads.

    A pool whose requests were not counted or had no tokens is left out.
    """
    key = ["site_id", "accelerator_id", "model_id", "input_tokens_per_second", "output_tokens_per_second", "objective"]
    # Decimals until they are added up: a sum of floats would depend on the order of rows.
    totals = (
        loads.group_by(key).agg(pl.col("request_count", "input_tokens", "output_tokens").sum().cast(pl.Float64))
        .filter((pl.col("request_count") > 0) & (pl.col("input_tokens") + pl.col("output_tokens") > 0)).sort(key)
    )
    found: dict[str, list[tuple[Load, Objective]]] = {}
    for row in totals.iter_rows(named=True):
        load = Load(
            requests_per_second=row["request_count"] / (7 * 86_400), input_length=row["input_tokens"] / row["request_count"],
            output_length=row["output_tokens"] / row["request_count"], cached_ratio=0.0,
            input_tokens_per_second=row["input_tokens_per_second"], output_tokens_per_second=row["output_tokens_per_second"],
        )
        found.setdefault(pool_series_id(row["site_id"], row["accelerator_id"]), []).append((load, objective_of(row["objective"])))
    return {
        pool: Served(tuple(load for load, _ in each), Objective(
            min(objective.ttft_seconds for _, objective in each), min(objective.tpot_seconds for _, objective in each)))
        for pool, each in found.items()
    }


def staffed(served: Served, accelerators: float) -> Staffed | None:
    """What the mix needs when it keeps that many accelerators busy; None where the type is too slow for the objective.

    The models share the pool: one queue for prompts, one set of slots for decode, strictest objective for all.
    """
    if accelerators <= 0:
        return Staffed(0, 0.0, 1)
    loads, objective = served.at(accelerators).loads, served.objective
    slowest = max(load.prefill_seconds for load in loads)
    together = next((count for count in TOGETHER if slowest / count <= PROMPT_SHARE * objective.ttft_seconds), TOGETHER[-1])
    if slowest / together >= objective.ttft_seconds:
        return None
    prefill = (
        staffing.prefill_accelerators(loads, objective.ttft_seconds, TAIL_PROBABILITY, SERVICE_CV2, together) if slowest > 0 else 0
    )
    return Staffed(
        prefill, staffing.decode_accelerators(loads, objective.tpot_seconds, TAIL_PROBABILITY, PEAKEDNESS), together)


def staffed_accelerators(served: Served | None, serving: float, other: float) -> float:
    """Accelerators that must be up for this much serving demand and other work (training, which may wait).

    Of a pool whose requests are not known, or whose type is too slow for any staffing to help, its demand itself.
    """
    found = None if served is None else staffed(served, serving)
    return other + (serving if found is None else max(found.accelerators, serving))


def staffing_rows(pools: Sequence[Mapping], served: Mapping[str, Served], cutoff_week: str) -> list[dict]:
    """Rows of fct_serving_staffing.

    Args:
        pools: site_id, accelerator_id, basis, serving_accelerator_count (demand), other_accelerator_count, available_accelerator_count,
            available_ratio.
    """
    rows = []
    for pool in pools:
        mix = served.get(pool_series_id(pool["site_id"], pool["accelerator_id"]))
        if mix is None or pool["serving_accelerator_count"] <= 0:
            continue
        loads = mix.at(pool["serving_accelerator_count"]).loads
        found = staffed(mix, pool["serving_accelerator_count"])
        needed = None if found is None else found.accelerators + pool["other_accelerator_count"]
        servers = None if needed is None else staffing.servers_of(needed)
        rows.append({
            "cutoff_week": cutoff_week, "site_id": pool["site_id"], "accelerator_id": pool["accelerator_id"], "basis": pool["basis"],
            "requests_per_second": sum(load.requests_per_second for load in loads),
            "uncached_input_tokens_per_second": sum(load.asked_input_tokens_per_second for load in loads),
            "output_tokens_per_second": sum(load.asked_output_tokens_per_second for load in loads),
            "prefill_accelerator_count": sum(load.raw_prefill_accelerators for load in loads),
            "decode_accelerator_count": sum(load.raw_decode_accelerators for load in loads),
            "ttft_objective_seconds": mix.objective.ttft_seconds, "tpot_objective_seconds": mix.objective.tpot_seconds,
            "together_accelerator_count": None if found is None else found.together,
            "staffed_prefill_accelerator_count": None if found is None else found.prefill,
            "staffed_decode_accelerator_count": None if found is None else found.decode,
            "other_accelerator_count": pool["other_accelerator_count"],
            "staffed_server_count": servers,
            "installed_server_count": None if servers is None else staffing.installed_for(servers, pool["available_ratio"]),
            "available_accelerator_count": pool["available_accelerator_count"],
            "is_objective_kept": needed is not None and needed <= pool["available_accelerator_count"] + 1e-9,
        })
    return rows
