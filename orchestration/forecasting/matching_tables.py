"""The tables that matching writes, declared once: grain, columns, types and meanings.

Those of ``MATCHING_TABLES`` go to the capacity edition and hold no money; those of ``MATCHING_MONEY_TABLES``
to the finance edition. No computing.
"""

from __future__ import annotations

import polars as pl

from orchestration.contracts import Column
from orchestration.forecasting.tables import ForecastTable

MONEY = pl.Decimal(38, 9)
TOKENS = pl.Decimal(38, 0)
CONSTRAINT_KINDS = ("compatibility", "link", "latency", "worth", "capacity")
RESOURCE_KINDS = ("accelerator", "wavelength")
VERDICTS = ("build", "move", "wait")

_WEEK = Column("iso_week", pl.String, "The last whole ISO week of business days.", required=True)
_ORIGIN = Column("origin_site_id", pl.String, "Site that asks.", required=True)
_MODEL = Column("model_id", pl.String, "Model asked for.", required=True)
_RESOURCE_KIND = Column("resource_kind", pl.String, "accelerator (one more at a site) or wavelength (400 Gbit/s more on a link).",
                        required=True, allowed=RESOURCE_KINDS)
_RESOURCE = Column("resource_id", pl.String, "site_id/accelerator_id, or link_id.", required=True)
_SITE = Column("site_id", pl.String, "The site; null for a link.")
_ACCELERATOR = Column("accelerator_id", pl.String, "The type of accelerator; null for a link.")
_LINK = Column("link_id", pl.String, "The link; null for an accelerator.")
_BINDING_HOURS = Column("binding_hours_count", pl.Int64, "Hours of the week in which more of it would have earned more.",
                        unit="hours", required=True, minimum=0)

MATCHING_PLAN = ForecastTable(
    name="fct_matching_plan",
    grain=("iso_week", "origin_site_id", "serving_site_id", "model_id"),
    description=(
        "Where last week's demand was served, and where it would best have been. One row per week, origin, serving "
        "site and model that either used. The optimum is an hour-by-hour linear programme over what was asked "
        "(throttled requests added back), what was up and what was free on the links."
    ),
    columns=(
        _WEEK, _ORIGIN,
        Column("serving_site_id", pl.String, "Site that serves.", required=True),
        _MODEL,
        Column("tokens", TOKENS, "Tokens that the optimum serves there, cached input included.", unit="tokens", required=True, minimum=0),
        Column("share_ratio", pl.Float64, "Of what the origin asked of the model.", unit="ratio", required=True, minimum=0),
        Column("actual_tokens", TOKENS, "Tokens that were served there.", unit="tokens", required=True, minimum=0),
        Column("actual_share_ratio", pl.Float64, "Of what the origin asked of the model.", unit="ratio", required=True, minimum=0),
        Column("link_id", pl.String, "First link of the route; null where the origin serves itself."),
        Column("route", pl.String, "Links of the shortest route in order, apart by a space; empty where the origin serves itself.",
               required=True),
        Column("route_km", pl.Float64, "Fibre of the route.", unit="km", required=True, minimum=0),
        Column("round_trip_ms", pl.Float64, "There and back at 4.9 us a kilometre, and 1 ms.", unit="ms", required=True, minimum=0),
        Column("is_within_latency_class", pl.Boolean, "Whether the round trip meets the model's latency class. The plan "
               "sends nothing beyond it that was not sent there in the same hour in fact.", required=True),
    ),
)

UNSERVED_DEMAND = ForecastTable(
    name="fct_unserved_demand_weekly",
    grain=("iso_week", "origin_site_id", "model_id", "constraint_kind", "resource_id"),
    description=(
        "What even the optimum could not serve, and what binds. One row per week, origin, model, constraint and the pool "
        "or link it lies in. Tokens of fct_matching_plan and of this table add up to what was asked."
    ),
    columns=(
        _WEEK, _ORIGIN, _MODEL,
        Column("constraint_kind", pl.String, "compatibility: no accelerator anywhere runs the model; link: no route leads "
               "to one, or its link is full; latency: none within the latency class; worth: serving would cost more than it "
               "earns; capacity: the pool is full.", required=True, allowed=CONSTRAINT_KINDS),
        Column("resource_id", pl.String, "The pool (site_id/accelerator_id) or link that is full; none when nothing is.", required=True),
        Column("tokens", TOKENS, "Tokens not served.", unit="tokens", required=True, minimum=0),
    ),
)

BINDING_CONSTRAINT = ForecastTable(
    name="fct_binding_constraint_weekly",
    grain=("iso_week", "resource_kind", "resource_id"),
    description=(
        "Which pools and links hold the optimum back. One row per week and pool or link. What more of it is worth is in "
        "the finance edition (fct_shadow_price); here is its order only."
    ),
    columns=(
        _WEEK, _RESOURCE_KIND, _RESOURCE, _SITE, _ACCELERATOR, _LINK, _BINDING_HOURS,
        Column("peak_fill_ratio", pl.Float64, "Fullest hour of the optimum over what may be used of it.", unit="ratio",
               required=True, minimum=0),
        Column("value_rank", pl.Int64, "1 is the pool (or link) of which more would help most; null: more would not help."),
    ),
)

SHADOW_PRICE = ForecastTable(
    name="fct_shadow_price",
    grain=("iso_week", "resource_kind", "resource_id"),
    description=(
        "What one more accelerator at a site, or one more 400G wavelength on a link, would earn in a year of weeks like this "
        "one, beside what it costs. One row per week and pool or link. The value is the sum of the hours' duals: the slope at "
        "the margin, so it falls as units are added."
    ),
    columns=(
        _WEEK, _RESOURCE_KIND, _RESOURCE, _SITE, _ACCELERATOR, _LINK, _BINDING_HOURS,
        Column("value_cny_per_year", MONEY, "Earned by one more, used to the target utilization, less transport and energy.",
               unit="CNY/year", required=True),
        Column("annual_cost_cny", MONEY, "One more for a year: depreciation, operations and idle energy; or the wavelength's "
               "transfer price. Null: no price known.", unit="CNY/year"),
        Column("verdict", pl.String, "build: worth more than it costs; move: it binds but is worth less, so move load; wait: "
               "it never binds.", required=True, allowed=VERDICTS),
    ),
)

SCHEDULING_SAVING = ForecastTable(
    name="fct_scheduling_saving",
    grain=("iso_week", "model_id"),
    description=(
        "What better scheduling alone would have saved. One row per week and model; a model may lose where others gain more, "
        "the sum over models is never below 0. A token earns its tenants' list price less discount and tax, under a grant "
        "too; costs are those that scheduling moves: energy above idle, and transport at the wavelengths' transfer price."
    ),
    columns=(
        _WEEK, _MODEL,
        Column("asked_tokens", TOKENS, "Tokens asked for, throttled requests added back.", unit="tokens", required=True, minimum=0),
        *(
            column
            for name, what in (("actual", "in fact"), ("best", "in the optimum"))
            for column in (
                Column(f"{name}_tokens", TOKENS, f"Tokens served {what}.", unit="tokens", required=True, minimum=0),
                Column(f"{name}_earned_cny", MONEY, f"What these earn, {what}.", unit="CNY", required=True),
                Column(f"{name}_energy_cny", MONEY, f"Energy above idle, {what}.", unit="CNY", required=True),
                Column(f"{name}_transport_cny", MONEY, f"Transport, {what}.", unit="CNY", required=True),
            )
        ),
        Column("saving_cny", MONEY, "Earned less energy and transport: the optimum's above what was.", unit="CNY", required=True),
    ),
)

_CUTOFF = Column("cutoff_week", pl.String, "Last whole ISO week that was known.", required=True)
_SCENARIO = Column("scenario", pl.String, "Name of the scenario.", required=True)
_PARAMETERS = Column("parameters", pl.String, "JSON: what differs from the forecast, assumptions included.", required=True)

WHAT_IF = ForecastTable(
    name="fct_what_if",
    grain=("cutoff_week", "scenario", "metric", "site_id", "accelerator_id"),
    description=(
        "What the next 13 weeks would need if things went otherwise. One row per cutoff week, scenario, metric and pool (or "
        "origin site): as forecast, as supposed, and the difference."
    ),
    columns=(
        _CUTOFF, _SCENARIO,
        Column("metric", pl.String, "short_accelerators: whole accelerators short in the worst week at the order quantile; "
               "unserved_tokens: of an origin site, left by the best scheduling over the 13 weeks.", required=True,
               allowed=("short_accelerators", "unserved_tokens")),
        Column("site_id", pl.String, "The pool's site, or the site that asks.", required=True),
        Column("accelerator_id", pl.String, "The type of accelerator; all for tokens.", required=True),
        _PARAMETERS,
        Column("unit", pl.String, "Unit of the three values.", required=True, allowed=("accelerators", "tokens")),
        Column("base_value", pl.Float64, "As forecast.", unit="see unit", required=True, minimum=0),
        Column("scenario_value", pl.Float64, "As supposed.", unit="see unit", required=True, minimum=0),
        Column("difference_value", pl.Float64, "Supposed less forecast.", unit="see unit", required=True),
    ),
)

WHAT_IF_MARGIN = ForecastTable(
    name="fct_what_if_margin",
    grain=("cutoff_week", "scenario"),
    description=(
        "What the next 13 weeks would earn if things went otherwise, under the best scheduling: what the served tokens earn "
        "less transport and energy above idle. One row per cutoff week and scenario. Tokens of a supposed trial earn nothing."
    ),
    columns=(
        _CUTOFF, _SCENARIO, _PARAMETERS,
        Column("base_margin_cny", MONEY, "As forecast.", unit="CNY", required=True),
        Column("scenario_margin_cny", MONEY, "As supposed.", unit="CNY", required=True),
        Column("difference_cny", MONEY, "Supposed less forecast.", unit="CNY", required=True),
    ),
)

MATCHING_TABLES = (MATCHING_PLAN, UNSERVED_DEMAND, BINDING_CONSTRAINT, WHAT_IF)
MATCHING_MONEY_TABLES = (SHADOW_PRICE, SCHEDULING_SAVING, WHAT_IF_MARGIN)
