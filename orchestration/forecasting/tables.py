"""The tables that the forecast writes, declared once: grain, columns, types and meanings.

Whoever stores the frames takes names, types and column comments from here. No computing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from orchestration.contracts import Column

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
HORIZON_WEEKS = 13
LEVELS = ("site_accelerator", "site", "hub_region", "nation")
TOKEN_MEASURES = ("input_tokens", "output_tokens")
SITE_GROUPS = ("region", "hub_region")
ASKED_LEVELS = ("site", *SITE_GROUPS, "segment", "tenant", "model", "nation")
ACTIONS = ("add", "move_load", "move_accelerators", "none")
BASES = ("backtest", "forecast")
STAFFING_BASES = ("now", "order")
CONFIDENCES = ("high", "medium", "low")


@dataclass(frozen=True)
class ForecastTable:
    """One table of the forecast: its grain and what each column means."""

    name: str
    grain: tuple[str, ...]
    description: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pl.Schema:
        """Polars types by column, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def frame(self, rows: list[dict]) -> pl.DataFrame:
        """The rows as a frame of exactly this table's columns, sorted by its grain."""
        return pl.DataFrame(rows, schema=self.schema).sort(self.grain)



def token_level(measure: str, level: str) -> str:
    """The level's name in fct_forecast_accuracy, where forecasts of several things stand beside each other."""
    return f"{measure}_{level}"


_CUTOFF_DATE = Column("cutoff_date", pl.Date, "Last business day (Asia/Shanghai) that was known.", required=True)
_CUTOFF_WEEK = Column("cutoff_week", pl.String, "Last whole ISO week that was known.", required=True)
_LEVEL = Column("level", pl.String, "site_accelerator, site, hub_region or nation.", required=True, allowed=LEVELS)
_SERIES = Column(
    "series_id", pl.String,
    "site_id/accelerator_id, site_id, hub_region or nation.",
    required=True,
)
_MODEL = Column("model", pl.String, "seasonal_naive or weighted (of several methods, by past loss).", required=True)
_SITE = Column("site_id", pl.String, "The site.", required=True)
_ACCELERATOR = Column("accelerator_id", pl.String, "The type of accelerator.", required=True)
_TARGET_WEEK = Column("target_date", pl.Date, "Monday of the forecast week (business days).", required=True)
_QUANTILE = Column("quantile", pl.Float64, "Share of outcomes expected at or below the value.", required=True)

DEMAND_FORECAST = ForecastTable(
    name="fct_demand_forecast",
    grain=("cutoff_date", "level", "series_id", "target_date", "model", "quantile"),
    description=(
        "Quantiles of weekly busy-hour demand. One row per cutoff, level, series, target week, model and quantile. "
        "Demand is serving (throttled requests added back) plus training. The busy hour is the mean of an ordinary week "
        "(five workdays) times the pool's factor of the 95th percentile of a week's hours over its mean. Quantiles are read "
        "from sample paths, which add up exactly: a site, a hub region or the nation is the sum of its pools' busy hours, "
        "what is needed when pools do not help each other."
    ),
    columns=(
        _CUTOFF_DATE, _LEVEL, _SERIES,
        _TARGET_WEEK,
        _MODEL,
        _QUANTILE,
        Column("value", pl.Float64, "Busy-hour demand.", unit="accelerators", required=True, minimum=0),
        Column("is_in_use", pl.Boolean, "Whether decisions rest on this model: weighted, or seasonal_naive where weighted "
               "would lose to it at a level.", required=True),
    ),
)

_ASKED_SERIES = (
    Column("level", pl.String, "site (that asks), region or hub_region (of that site), segment, tenant, model or nation.",
           required=True, allowed=ASKED_LEVELS),
    Column("series_id", pl.String, "site_id, region, hub_region, segment, tenant_id, model_id or nation. The 100 largest tenants "
           "are named; those that remain of a segment are one series, other/ and its name.", required=True),
)
_TOKEN_SERIES = (
    Column("measure", pl.String, "input_tokens (uncached) or output_tokens.", required=True, allowed=TOKEN_MEASURES),
    *_ASKED_SERIES,
)
_WEEK_START = Column("week_start_date", pl.Date, "Monday of the week (business days).", required=True)
_HOURS_OF_WEEK = Column(
    "value", pl.Float64, "Work of the week, by the throughput of the types that serve it.", unit="accelerator hours", required=True,
    minimum=0)
_TOKENS_OF_WEEK = Column("value", pl.Float64, "Tokens of the week.", unit="tokens", required=True, minimum=0)
_ASKED_IN_USE = Column(
    "is_in_use", pl.Boolean,
    "Whether readers should go by this model: weighted, or seasonal_naive where weighted would lose to it at a level.", required=True)
_ASKED_SUMS = (
    "Throttled requests are added back; hours in which an origin dropped out are not known. The week is that of its own "
    "workdays, holidays and make-up workdays. Quantiles are read from sample paths that add up exactly: the nation is the sum "
    "of its sites, its segments, its tenants and its models."
)
_ASKED_HISTORY = (
    "Throttled requests are added back, and hours in which an origin dropped out count as the others of their day; "
    "a week in which one of a series' origins is not known has no row."
)

TOKEN_FORECAST = ForecastTable(
    name="fct_token_forecast",
    grain=("cutoff_date", "measure", "level", "series_id", "target_date", "model", "quantile"),
    description="Quantiles of the tokens asked for in a week. One row per cutoff, measure, level, series, target week, model and "
                "quantile. " + _ASKED_SUMS,
    columns=(_CUTOFF_DATE, *_TOKEN_SERIES, _TARGET_WEEK, _MODEL, _QUANTILE, _TOKENS_OF_WEEK, _ASKED_IN_USE),
)

TOKEN_DEMAND = ForecastTable(
    name="fct_token_demand_weekly",
    grain=("cutoff_date", "measure", "level", "series_id", "week_start_date"),
    description="The history that the token forecast saw. One row per cutoff, measure, level, series and week up to the cutoff "
                "week. " + _ASKED_HISTORY,
    columns=(_CUTOFF_DATE, *_TOKEN_SERIES, _WEEK_START, _TOKENS_OF_WEEK),
)

SERVING_FORECAST = ForecastTable(
    name="fct_serving_demand_forecast",
    grain=("cutoff_date", "level", "series_id", "target_date", "model", "quantile"),
    description="Quantiles of the hours of accelerators that a week's tokens ask for. One row per cutoff, level, series, target "
                "week, model and quantile. " + _ASKED_SUMS,
    columns=(_CUTOFF_DATE, *_ASKED_SERIES, _TARGET_WEEK, _MODEL, _QUANTILE, _HOURS_OF_WEEK, _ASKED_IN_USE),
)

SERVING_DEMAND = ForecastTable(
    name="fct_serving_demand_weekly",
    grain=("cutoff_date", "level", "series_id", "week_start_date"),
    description="The history that the forecast of serving demand saw. One row per cutoff, level, series and week up to the cutoff "
                "week. " + _ASKED_HISTORY,
    columns=(_CUTOFF_DATE, *_ASKED_SERIES, _WEEK_START, _HOURS_OF_WEEK),
)

ASKED_MEASURES = {
    **dict.fromkeys(TOKEN_MEASURES, (TOKEN_FORECAST, TOKEN_DEMAND)), "accelerator_hours": (SERVING_FORECAST, SERVING_DEMAND),
}
"""What is forecast of what is asked for: the table of its forecast and that of its history, by measure."""
ASKED_TABLES = (TOKEN_FORECAST, TOKEN_DEMAND, SERVING_FORECAST, SERVING_DEMAND)

BUSY_HOUR_DEMAND = ForecastTable(
    name="fct_busy_hour_demand_weekly",
    grain=("cutoff_date", "level", "series_id", "week_start_date"),
    description=(
        "The history that the forecast saw. One row per cutoff, level, series and week up to the cutoff week; "
        "a week that is not known has no row."
    ),
    columns=(
        _CUTOFF_DATE, _LEVEL, _SERIES,
        Column("week_start_date", pl.Date, "Monday of the week.", required=True),
        Column("demand_accelerator_count", pl.Float64, "Busy-hour demand, as in fct_demand_forecast.",
               unit="accelerators", required=True, minimum=0),
        Column("usable_accelerator_count", pl.Float64, "Mean usable accelerators of the week.",
               unit="accelerators", required=True, minimum=0),
        Column("available_accelerator_count", pl.Float64, "Mean accelerators up in the week.",
               unit="accelerators", required=True, minimum=0),
    ),
)

SUPPLY_PLAN = ForecastTable(
    name="fct_supply_plan_weekly",
    grain=("cutoff_date", "site_id", "accelerator_id", "target_date"),
    description=(
        "Usable supply to come. One row per cutoff, pool and week: what is usable now plus committed deliveries, "
        "counted from the first Monday on or after their planned date."
    ),
    columns=(
        _CUTOFF_DATE, _SITE, _ACCELERATOR,
        Column("target_date", pl.Date, "Monday of the week.", required=True),
        Column("usable_accelerator_count", pl.Float64, "Usable accelerators in the week.", unit="accelerators",
               required=True, minimum=0),
        Column("committed_accelerator_count", pl.Int64, "Accelerators of committed deliveries that first count "
               "in this week, as installed.", unit="accelerators", required=True, minimum=0),
    ),
)

CAPACITY_NEED = ForecastTable(
    name="fct_capacity_need",
    grain=("cutoff_week", "site_id", "accelerator_id"),
    description="The decision per pool. One row per cutoff week, site and accelerator type; no action is a row too.",
    columns=(
        _CUTOFF_WEEK, _SITE, _ACCELERATOR,
        Column("now_p95_utilization_ratio", pl.Float64, "p95_utilization_ratio of the cutoff week: busy-hour "
               "demand over the accelerators that were up; null when none was or the week is unknown.", unit="ratio", minimum=0),
        Column("demand_accelerator_count", pl.Float64, "Busy-hour demand of the cutoff week; null when unknown.",
               unit="accelerators", minimum=0),
        Column("usable_accelerator_count", pl.Float64, "Usable accelerators at the end of the cutoff week.",
               unit="accelerators", required=True, minimum=0),
        Column("runs_out_week_p10", pl.String, "ISO week by which 10% of demand paths have exceeded usable supply: the "
               "early warning. Null: not within 13 weeks."),
        Column("runs_out_week_p50", pl.String, "ISO week by which half of the demand paths have exceeded usable supply. "
               "Null: not within 13 weeks. The cutoff week itself: already short."),
        Column("runs_out_week_p90", pl.String, "ISO week by which 90% of demand paths have exceeded usable supply, so it is "
               "never before p50. Null: not within 13 weeks."),
        Column("order_quantile", pl.Float64, "Newsvendor quantile: what unserved demand loses over that and what idle "
               "capacity costs, .8451 (DeepSeek's published day: 2,094.62 and 384 USD a node-day); the median while fewer than 4 "
               "weeks are known; null without a forecast.", unit="ratio"),
        Column("order_up_to_accelerator_count", pl.Float64, "Busy-hour demand at that quantile after lead time and review, 13 "
               "weeks ahead.", unit="accelerators", minimum=0),
        Column("add_accelerator_count", pl.Int64, "Accelerators to order, in whole servers of eight: up to that quantile, "
               "less what is usable and committed, spares, and slack for latency.", unit="accelerators", required=True, minimum=0),
        Column("spare_accelerator_count", pl.Int64, "Of them, because servers fail: so that demand is carried with 99.9% of "
               "certainty, and when the largest node is down.", unit="accelerators", required=True, minimum=0),
        Column("latency_accelerator_count", pl.Int64, "Of them, because requests queue: what the busy hour's latency objective "
               "asks for beyond the slack of the target utilization and the spares (fct_serving_staffing).", unit="accelerators",
               required=True, minimum=0),
        Column("order_by_date", pl.Date, "Monday of runs_out_week_p50 less the lead time: 12 weeks to order, 4 to move "
               "accelerators; a past date means it is late. Null: neither, or the median does not cross within 13 weeks."),
        Column("expected_shortfall_accelerator_count", pl.Float64, "Mean of busy-hour demand above usable supply in "
               "the 13th week if nothing is done; means add over pools.", unit="accelerators", required=True, minimum=0),
        Column("action", pl.String, "add, move_load (over a link), move_accelerators (from an idle pool) or none.", required=True, allowed=ACTIONS),
        Column("why", pl.String, "JSON: a reason code and the numbers behind it, for rendering in any language.",
               required=True),
        Column("confidence", pl.String, "high: at least 8 known weeks and a median backtest error (WAPE) of at most "
               "15%; medium: 4 weeks and 30%; else low.", required=True, allowed=CONFIDENCES),
        Column("model", pl.String, "The forecast model that the decision rests on; null when there is none."),
    ),
)

SERVING_STAFFING = ForecastTable(
    name="fct_serving_staffing",
    grain=("cutoff_week", "site_id", "accelerator_id", "basis"),
    description=(
        "From tokens to accelerators by queueing. One row per cutoff week, pool that served requests, and basis: now (busy-hour "
        "demand of the cutoff week, what is up) or order (demand at the order quantile in the 13th week, what will be up with "
        "committed deliveries and the order). The mix of models and lengths is that of the cutoff week; rates are those of the "
        "throughput table. Prompts wait in one queue (Erlang-C, 1% may wait longer than the objective leaves); decode keeps square-root "
        "slack. A pool without requests or demand has no row."
    ),
    columns=(
        _CUTOFF_WEEK, _SITE, _ACCELERATOR,
        Column("basis", pl.String, "now or order.", required=True, allowed=STAFFING_BASES),
        Column("requests_per_second", pl.Float64, "Requests asked for in the busy hour.", unit="requests/s", required=True, minimum=0),
        Column("uncached_input_tokens_per_second", pl.Float64, "Input tokens to be computed.", unit="tokens/s", required=True, minimum=0),
        Column("output_tokens_per_second", pl.Float64, "Output tokens.", unit="tokens/s", required=True, minimum=0),
        Column("prefill_accelerator_count", pl.Float64, "Accelerators that prompts keep busy on average.", unit="accelerators",
               required=True, minimum=0),
        Column("decode_accelerator_count", pl.Float64, "Accelerators that decode keeps busy on average.", unit="accelerators",
               required=True, minimum=0),
        Column("ttft_objective_seconds", pl.Float64, "To the first token: the strictest of its models, as the throughput's source "
               "says; 2 s where none does (assumption).", unit="s", required=True, minimum=0),
        Column("tpot_objective_seconds", pl.Float64, "Between tokens: likewise; 50 ms where none does (assumption).", unit="s",
               required=True, minimum=0),
        Column("together_accelerator_count", pl.Int64, "Accelerators that work on one prompt, so that the slowest model's takes at most "
               "half the time to the first token; null when even eight are too slow.", unit="accelerators", minimum=1),
        Column("staffed_prefill_accelerator_count", pl.Int64, "Accelerators that prompts need to keep the objective; null when no "
               "number does.", unit="accelerators", minimum=0),
        Column("staffed_decode_accelerator_count", pl.Float64, "Accelerators that decode needs; null when no number does.",
               unit="accelerators", minimum=0),
        Column("other_accelerator_count", pl.Float64, "Accelerators that training asks for in the same pool.", unit="accelerators",
               required=True, minimum=0),
        Column("staffed_server_count", pl.Int64, "Whole servers of eight that must be up for all three; null when no number does.",
               unit="servers", minimum=0),
        Column("installed_server_count", pl.Int64, "Servers to install so that those are up with 99.9% of certainty.", unit="servers",
               minimum=0),
        Column("available_accelerator_count", pl.Float64, "Accelerators up on average: installed x availability.",
               unit="accelerators", required=True, minimum=0),
        Column("is_objective_kept", pl.Boolean, "Whether what is up is at least what all three need.", required=True),
    ),
)

FORECAST_ACCURACY = ForecastTable(
    name="fct_forecast_accuracy",
    grain=("cutoff_date", "basis", "level", "series_id", "model", "metric"),
    description=(
        "What forecasts were worth. One row per cutoff, basis, level, series, model and metric. Basis backtest: past origins "
        "up to the newest cutoff, calibrated only on earlier ones. Basis forecast: the forecast that was made after "
        "that cutoff, kept since, against the weeks that have come. Metrics: wape (of the median), wape_week_NN (of the "
        "NN-th week ahead; series all only), relative_quantile_loss (to seasonal naive; all is the geometric mean over "
        "series), coverage_80_ratio, coverage_95_ratio, order_regret (cost of ordering at the order quantile beyond "
        "the best constant capacity, over demand; also of the rules last_peak and mean_x_1.3), scored_count (weeks scored)."
    ),
    columns=(
        _CUTOFF_DATE,
        Column("basis", pl.String, "backtest or forecast.", required=True, allowed=BASES),
        Column("level", pl.String, "A level of fct_demand_forecast; of fct_token_forecast measure and level, like "
               "input_tokens_model; of fct_serving_demand_forecast likewise, like accelerator_hours_model.",
               required=True, allowed=(*LEVELS, *(token_level(measure, level) for measure in ASKED_MEASURES for level in ASKED_LEVELS))),
        Column("series_id", pl.String, "As in the forecast's table, or all: every series of the level.", required=True),
        Column("model", pl.String, "seasonal_naive or weighted; for order_regret also last_peak and mean_x_1.3.", required=True),
        Column("metric", pl.String, "What is measured.", required=True),
        Column("value", pl.Float64, "The measure.", required=True),
    ),
)

TABLES = (DEMAND_FORECAST, *ASKED_TABLES, BUSY_HOUR_DEMAND, SUPPLY_PLAN, CAPACITY_NEED, SERVING_STAFFING, FORECAST_ACCURACY)
