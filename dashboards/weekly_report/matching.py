"""Matching of supply and demand over the links: flows that should change, and what binds. No money.

What a binding pool or link is worth is in the finance edition; here are its hours and its rank only.
"""

from __future__ import annotations

import json

import polars as pl

from dashboards.bilingual import (
    LANGUAGES,
    Bilingual,
    compact,
    joined,
    named,
    percent,
    say,
    signed,
    signed_compact,
    signed_percent,
    whole,
)
from dashboards.figures.binding import binding_figure
from dashboards.figures.what_if import what_if_figure
from dashboards.weekly_report.parts import Chart, Names, Table
from dashboards.weekly_report.published import Readings

SHOWN_FLOWS = 10
SHOWN_BINDING = 10


def matching(readings: Readings, names: Names) -> dict:
    """The section; a reason where the published file holds no matching of this week."""
    flows = readings.matching_flows
    if flows.is_empty():
        return {"title": say("matching_none"), "chart": None, "flows": None, "unserved": None, "what_if": what_if(readings, names)}
    best, actual = flows["tokens"].sum(), flows["actual_tokens"].sum()
    unserved = readings.unserved
    asked = best + (unserved["tokens"].sum() if unserved.height else 0)
    binding = readings.binding.filter(pl.col("binding_hours_count") > 0)
    local = flows.filter(pl.col("origin_site_id") == pl.col("serving_site_id"))
    title = say(
        "title_matching", more=percent(best / actual - 1 if actual else None, 2), moved=percent(_moved(flows), 1),
        local=percent(local["tokens"].sum() / best if best else None), was=percent(
            local["actual_tokens"].sum() / actual if actual else None), share=percent(best / asked if asked else None, 2),
    )
    return {
        "title": title, "chart": _binding(binding, names), "binding_none": say("binding_none"),
        "flows": _flows(flows, names), "unserved": _unserved(unserved, asked), "what_if": what_if(readings, names),
    }


def _moved(flows: pl.DataFrame) -> float | None:
    """Share of the optimum's tokens that it serves elsewhere than they were served."""
    best = flows["tokens"].sum()
    return (flows["tokens"] - flows["actual_tokens"]).clip(lower_bound=0).sum() / best if best else None


def _resource(row: dict, names: Names) -> Bilingual:
    if row["resource_kind"] == "accelerator" and row["site_id"] is not None:
        return names.pool(row["site_id"], row["accelerator_id"] or "unknown")
    return named(row["resource_id"], row["resource_id"])


def _binding(binding: pl.DataFrame, names: Names) -> Chart | None:
    if binding.is_empty():
        return None
    rows = binding.sort("binding_hours_count", "resource_id", descending=[True, False]).to_dicts()
    shown = rows[:SHOWN_BINDING]
    pools = sum(row["resource_kind"] == "accelerator" for row in rows)
    table = Table(
        say("data_table_rows", count=whole(len(rows))),
        [(say("column_resource"), False), (say("column_resource_kind"), False), (say("column_binding_hours"), True),
         (say("column_peak_fill"), True), (say("column_value_rank"), True)],
        [[_resource(row, names), say(f"resource_{row['resource_kind']}"), whole(row["binding_hours_count"]),
          percent(row["peak_fill_ratio"]), whole(row["value_rank"])] for row in rows],
    )

    def frame(language: str) -> pl.DataFrame:
        return pl.DataFrame({
            "name": [_resource(row, names).plain()[language] for row in shown],
            "resource_kind": [row["resource_kind"] for row in shown],
            "binding_hours_count": [row["binding_hours_count"] for row in shown],
        })

    return Chart(
        "binding", say("binding_title"),
        say("binding_summary", pools=whole(pools), links=whole(len(rows) - pools), top=_resource(rows[0], names),
            hours=whole(rows[0]["binding_hours_count"])),
        {language: binding_figure(frame(language), language) for language in LANGUAGES}, table,
    )


def _flows(flows: pl.DataFrame, names: Names) -> Table:
    moved = (
        flows.with_columns((pl.col("tokens") - pl.col("actual_tokens")).alias("change"))
        .filter(pl.col("origin_site_id") != pl.col("serving_site_id"))
        .sort(pl.col("change").abs(), "origin_site_id", "serving_site_id", descending=[True, False, False]).head(SHOWN_FLOWS)
    )
    return Table(
        say("flows_caption", count=whole(moved.height)),
        [(say("column_origin"), False), (say("column_serving"), False), (say("column_actual_tokens"), True),
         (say("column_best_tokens"), True), (say("column_change"), True), (say("column_link"), "id"), (say("column_round_trip"), True)],
        [[names.site(row["origin_site_id"]), names.site(row["serving_site_id"]), compact(row["actual_tokens"]),
          compact(row["tokens"]), signed_compact(row["change"]),
          named(row["link_id"] or "–", None), whole(row["round_trip_ms"])] for row in moved.iter_rows(named=True)],
    )


def _unserved(unserved: pl.DataFrame, asked: float) -> Bilingual:
    rows = unserved.filter(pl.col("tokens") > 0).sort("tokens", descending=True)
    if rows.is_empty():
        return say("unserved_none")
    parts = [
        say("unserved_part", kind=say(f"constraint_{kind}"), tokens=compact(tokens), share=percent(tokens / asked if asked else None, 2))
        for kind, tokens in rows.select("constraint_kind", "tokens").iter_rows()
    ]
    return say("unserved_some", parts=joined(parts, "name_separator"))


# --- what if -------------------------------------------------------------------------------------


def what_if(readings: Readings, names: Names) -> Chart | None:
    """Scenarios beside the forecast, the one that asks for most first; None where none is published."""
    frame = readings.what_if
    if frame.is_empty():
        return None
    scenarios = [
        _scenario(scenario, rows, names)
        for (scenario,), rows in frame.partition_by("scenario", as_dict=True, maintain_order=True).items()
    ]
    scenarios.sort(key=lambda one: (-one["short"], -one["unserved"], one["key"]))
    worst = scenarios[0]
    def frame(language: str) -> pl.DataFrame:
        return pl.DataFrame({
            "name": [one["words"].plain()[language] for one in scenarios],
            "base_value": [one["base"] for one in scenarios], "scenario_value": [one["supposed"] for one in scenarios],
        })

    table = Table(
        say("what_if_caption"),
        [(say("column_scenario"), False), (say("column_short"), True), (say("column_more"), True), (say("column_hit"), False),
         (say("column_unserved_tokens"), True), (say("column_more"), True)], [one["cells"] for one in scenarios],
    )
    key = "title_what_if" if worst["short"] >= 0.5 else "title_what_if_none"
    return Chart(
        "what_if", say(key, scenario=worst["words"], short=whole(worst["short"])),
        say("what_if_summary", count=whole(len(scenarios)), base=whole(worst["base"]), most=whole(worst["supposed"])),
        {language: what_if_figure(frame(language), language) for language in LANGUAGES}, table,
    )


def _scenario(scenario: str, rows: pl.DataFrame, names: Names) -> dict:
    short = rows.filter(pl.col("metric") == "short_accelerators")
    unserved = rows.filter(pl.col("metric") == "unserved_tokens")
    hit = short.filter(pl.col("difference_value") > 0).sort(
        "difference_value", "site_id", "accelerator_id", descending=[True, False, False])
    words = _supposed(json.loads(rows["parameters"][0]), names)
    more, more_tokens = short["difference_value"].sum(), unserved["difference_value"].sum()
    return {
        "key": scenario, "words": words, "short": more, "unserved": more_tokens, "base": short["base_value"].sum(),
        "supposed": short["scenario_value"].sum(),
        "cells": [
            words, whole(short["scenario_value"].sum()), signed(more),
            names.site(hit["site_id"][0]) if hit.height else named("–", None),
            compact(unserved["scenario_value"].sum()), signed_compact(more_tokens),
        ],
    }


def _supposed(parameters: dict, names: Names) -> Bilingual:
    """What a scenario supposes, in words; a parameter without words is shown by name."""
    said = {
        "growth_ratio": lambda value: say("suppose_growth", change=signed_percent(value, 0)),
        "cut_ratio": lambda value: say("suppose_cut", change=signed_percent(-value, 0)),
        "elasticity": lambda value: say("suppose_elasticity", value=f"{value:g}"),
        "slip_weeks": lambda value: say("suppose_slip", weeks=whole(value)),
        "trial_tokens": lambda value: say("suppose_trial", tokens=compact(value)),
        "lost_site_id": lambda value: say("suppose_lost", site=names.site(value)),
    }
    parts = [said[key](value) if key in said else named(f"{key} {value}", None) for key, value in parameters.items()]
    return joined(parts) if parts else say("suppose_nothing")
