"""What may move over a link: latency by class, what the load sends, and what the link has free in its busy hour."""

from __future__ import annotations

import polars as pl
import pytest

from orchestration.forecasting.moves import moves_of

LINKS = pl.DataFrame([
    {"link_id": "a--b", "a_site_id": "a", "b_site_id": "b", "route_km": 300.0},
    {"link_id": "b--c", "a_site_id": "b", "b_site_id": "c", "route_km": 300.0},
])
MODELS = pl.DataFrame({"model_id": ["edge", "near", "far"], "latency_class_ms": [1, 5, 20]})


def load(*flows: tuple[str, str, str, float, float]) -> pl.DataFrame:
    """Rows of origin, serving site, model, hours of work and gigabits, all on one type."""
    return pl.DataFrame(
        [(origin, serving, model, "x", hours, sent) for origin, serving, model, hours, sent in flows], orient="row",
        schema=["origin_site_id", "serving_site_id", "model_id", "accelerator_id", "served_accelerator_hours", "gigabits"])


def hours_of(*throughputs: tuple[str, str, list[float]], lit: float = 100.0) -> pl.DataFrame:
    """Link hours by link and direction."""
    return pl.DataFrame(
        [(link, direction, each, lit) for link, direction, series in throughputs for each in series], orient="row",
        schema={"link_id": pl.String, "direction": pl.String, "mean_throughput_gbps": pl.Float64, "capacity_gbps": pl.Float64})


def demand(hours: float) -> pl.DataFrame:
    """What the pool at b is asked for in all, jobs included."""
    return pl.DataFrame({"site_id": ["b"], "accelerator_id": ["x"], "demand_accelerator_hours": [hours]})


def test_only_load_whose_class_the_other_site_meets_may_move() -> None:
    """300 km are 3.94 ms there and back with equipment, 600 km 6.88: beyond 5 ms, within 20."""
    flows = load(("a", "b", "near", 30.0, 0.0), ("b", "b", "near", 20.0, 0.0), ("a", "b", "far", 10.0, 0.0), ("b", "b", "edge", 40.0, 0.0))
    ratio = moves_of(flows, demand(100.0), MODELS, LINKS, hours_of()).movable_ratio
    # To a: what a asked for comes home, b's own near is 3.94 ms away; to c: a's near would be 6.88 ms away.
    assert ratio["b/x", "a"] == pytest.approx(0.6)
    assert ratio["b/x", "c"] == pytest.approx(0.3)


def test_jobs_do_not_move() -> None:
    """Half of the pool's demand is training: only the served half can go over a link."""
    ratio = moves_of(load(("b", "b", "far", 50.0, 0.0)), demand(100.0), MODELS, LINKS, hours_of()).movable_ratio
    assert ratio["b/x", "a"] == pytest.approx(0.5)


def test_what_an_accelerator_sends_is_its_gigabits_over_its_seconds() -> None:
    """7,200 gigabits in two hours of work are one Gbps for an accelerator at work."""
    rate = moves_of(load(("b", "b", "far", 2.0, 7200.0)), demand(2.0), MODELS, LINKS, hours_of()).gbps_per_accelerator
    assert rate["b/x", "a"] == pytest.approx(1.0)


def test_free_is_what_the_busy_hour_of_the_fuller_direction_leaves_of_80_percent() -> None:
    """The mean of a day hides the evening in which the link is full."""
    quiet, full = [10.0] * 100, [20.0] * 90 + [70.0] * 10
    free = moves_of(load(), demand(1.0), MODELS, LINKS, hours_of(("a--b", "a_to_b", quiet), ("a--b", "b_to_a", full))).free_gbps
    assert free == {"a--b": pytest.approx(10.0)}
    over = moves_of(load(), demand(1.0), MODELS, LINKS, hours_of(("a--b", "a_to_b", [95.0]), ("a--b", "b_to_a", [1.0]))).free_gbps
    assert over == {"a--b": 0.0}


def test_a_link_that_is_counted_in_one_direction_is_not_known() -> None:
    """A counter that is missing is no empty link."""
    assert moves_of(load(), demand(1.0), MODELS, LINKS, hours_of(("a--b", "a_to_b", [1.0]))).free_gbps == {}
