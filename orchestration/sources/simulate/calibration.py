"""Every number the simulated network is set by, with where it comes from.

Sourced numbers name their source; the rest say ``assumption``, which means a value that we chose and
that a reader may dispute. No code beyond constants: what they do is in the modules that use them.
"""

from __future__ import annotations

from datetime import date

# Requests by hour of the day in China over the day's mean. Computed from github:alibaba/ServeGen@f891d118
# (Apache-2.0; Alibaba Cloud Model Studio production, 2025): language/m-large, m-mid, m-small (14 days
# each) and reason/deepseek-r1 (one day). That its hour 0 is midnight in China is likely, not certain.
DIURNAL_SHAPES = {
    "large": (
        0.994,
        1.002,
        0.986,
        0.936,
        0.908,
        0.883,
        0.854,
        0.817,
        0.788,
        0.868,
        1.046,
        1.106,
        0.971,
        0.981,
        1.047,
        1.047,
        1.109,
        1.078,
        1.040,
        1.143,
        1.133,
        1.074,
        1.103,
        1.086,
    ),
    "mid": (
        1.010,
        1.043,
        1.147,
        1.170,
        1.021,
        0.937,
        0.981,
        1.061,
        0.979,
        0.993,
        1.106,
        1.111,
        0.955,
        1.128,
        1.058,
        0.848,
        0.841,
        0.925,
        0.902,
        0.890,
        1.014,
        0.933,
        0.927,
        1.021,
    ),
    "small": (
        0.839,
        0.714,
        0.733,
        0.676,
        0.714,
        0.660,
        0.684,
        0.855,
        1.015,
        1.054,
        1.125,
        1.093,
        1.060,
        1.073,
        1.060,
        1.047,
        1.091,
        1.079,
        1.007,
        1.229,
        1.456,
        1.402,
        1.270,
        1.063,
    ),
    "reasoning": (
        1.206,
        1.389,
        2.034,
        1.788,
        1.064,
        0.908,
        0.749,
        0.577,
        0.596,
        0.664,
        0.810,
        0.830,
        0.447,
        0.545,
        0.684,
        0.704,
        0.878,
        0.553,
        0.749,
        0.587,
        1.240,
        1.621,
        2.194,
        1.181,
    ),
}

# assumption: one day of one model is noisier than a habit, so the reasoning shape is damped by this power.
REASONING_SHAPE_POWER = 0.5

# Mean tokens a request, input (cached included) and output: ServeGen, as above; input to output is
# 5.9, 6.0, 8.0 and 0.83.
INPUT_LENGTHS = {"large": 914.3, "mid": 306.7, "small": 119.7, "reasoning": 1268.2}
OUTPUT_LENGTHS = {"large": 155.1, "mid": 50.8, "small": 14.9, "reasoning": 1527.4}
# assumption: requests of late 2026 are this much longer than ServeGen's of 2025, at the same ratio.
LENGTH_GROWTH = 4.0
# Share of input read from the prompt cache: 0.563 is DeepSeek's published day; the others: assumption.
CACHED_SHARES = {"large": 0.563, "mid": 0.5, "small": 0.35, "reasoning": 0.563}
# assumption: reasoning is this share of a reasoning model's output.
REASONING_SHARE = 0.72
# Coding agents: 98.7% of their tokens are input (ServeGen); their lengths and cached share: assumption.
AGENT_INPUT_SHARE = 0.987
AGENT_INPUT_LENGTH = 24_000.0
AGENT_CACHED_SHARE = 0.93
# Which of the ten largest (by rank, from 0) are coding agents, and the share of agents among the others:
# assumption.
LARGEST_AGENTS = (2, 6)
AGENT_TENANT_SHARES = {
    "enterprise": 0.15,
    "ai_model_company": 0.25,
    "developer": 0.45,
    "internal": 0.2,
}

# assumption: how the tokens of each class are shared among the models of it.
MODEL_POPULARITY = {
    "qwen3.7-max": 6, "deepseek-v4-pro": 8, "kimi-k2.6": 4, "glm-5.2": 5, "doubao-seed-2.1-pro": 5,
    "minimax-m3": 2, "qwen3.5-plus": 12, "deepseek-v4-flash": 14, "glm-4.7": 5, "doubao-1.6": 8,
    "jiutian-75b": 7, "qwen3.5-flash": 18, "jiutian-8b": 9, "jiutian-edge-1.5b": 5, "deepseek-r1": 1.2,
    "kimi-k3": 1.0,
}  # fmt: skip

# Tenants. Concentration: the ten largest clients carry 63-93% of requests (ServeGen); the exponent puts
# them near 70%. The number of tenants and the mix of segments: assumption.
TENANT_COUNT = 480
TENANT_EXPONENT = 1.35
LARGEST_SEGMENTS = (
    "ai_model_company", "enterprise", "ai_model_company", "enterprise", "ai_model_company",
    "internal", "enterprise", "ai_model_company", "enterprise", "ai_model_company",
)  # fmt: skip
SEGMENT_SHARES = {"enterprise": 0.45, "ai_model_company": 0.08, "developer": 0.42, "internal": 0.05}
# assumption: product by segment, as (product, share of its tenants).
PRODUCT_SHARES = {
    "enterprise": (("payg", 0.40), ("package", 0.35), ("trial", 0.25)),
    "ai_model_company": (("payg", 0.55), ("package", 0.25), ("trial", 0.20)),
    "developer": (("payg", 0.45), ("package", 0.15), ("trial", 0.40)),
    "internal": (("internal", 1.0),),
}
# Trials, turn by turn: (days of use granted, days of use before the customer leaves, expiry; all as shares of the
# programme's 56 days, more than 1 lying beyond the end; whether it converts). assumption: one in five converts. No operator
# publishes how many token trials turn into paid use; that most end unused or half used, and a minority pays, is what
# makes the funnel worth looking at. Who leaves asks for nothing more, and others at its sites take up its load, so
# that the plan of each site stays what it is.
TRIAL_COURSES = (
    (0.25, 1.0, 2.0, True),
    (0.5, 0.25, 0.6, False),
    (0.5, 0.05, 0.5, False),
    (3.0, 3.0, 2.0, False),
    (0.7, 0.3, 2.0, False),
)
# A customer whose reference row has not come yet, at this share of all requests (planted).
UNREGISTERED_TENANT = "tenant-unregistered"
UNREGISTERED_TENANT_SHARE = 0.0008

# Burstiness. Hourly noise of a tenant (log standard deviation, correlation with the hour before) set so
# that a model's peak hour over its 14-day mean falls in the measured 1.74-1.98 (ServeGen).
LARGE_TENANT_SIGMA = 0.36
SMALL_TENANT_SIGMA = 0.5
HOURLY_CORRELATION = 0.55
DAILY_SIGMA = 0.05
# Noise of one record around its cell (log standard deviation): assumption.
RECORD_SIGMA = 0.15
LENGTH_SIGMA = 0.12

# assumption: a day off carries this share of a workday's requests.
DAY_OFF_SHARES = {"enterprise": 0.68, "ai_model_company": 0.93, "developer": 0.85, "internal": 0.6}
# assumption: Double 11 lifts requests (the day: reference holidays, an event of the shops).
EVENT_FACTORS = {date(2026, 11, 11): 1.12}

# Growth slows: 0.38 log-points a month in 2025, 0.11 a month in the first quarter of 2026 (NDA totals).
# assumption: it goes on slowing with this time constant; the rates by site are in network_plan.
GROWTH_TIME_CONSTANT_WEEKS = 40.0

# assumption: a gateway throttles above this share of what the accelerators of a site can do in an hour.
THROTTLING_RATIO = 0.97
# assumption: share of requests that fail, and of records kept for throttled and failed ones at most.
FAILED_SHARE = 0.003
FAILED_RECORD_SHARE = 0.01
THROTTLED_RECORD_SHARE = 0.06

# assumption: the utilization above which a planner calls a site full.
TARGET_UTILIZATION_RATIO = 0.8
HORIZON_WEEKS = 26

# Faults of delivery, as shares of the day's records (assumption; at least one of each a day).
LATE_SHARE = 0.005
LATE_DAYS = (1, 30)
DUPLICATE_SHARE = 0.002
OVERLAP_SHARE = 0.0005
CONFLICT_SHARE = 0.0001
BROKEN_SHARE = 0.0005
RESEND_EVERY_DAYS = 7

# Outages of nodes: assumption, near 0.2% of node-hours.
NODE_OUTAGES_PER_YEAR = 0.6
OUTAGE_MEDIAN_HOURS = 20.0
OUTAGE_SIGMA = 0.7

# Training jobs: assumption, in the manner of public traces (many small, few large hold the hours).
JOB_SIZES = (1, 2, 4, 8, 16, 32, 64)
JOB_SIZE_SHARES = (0.24, 0.11, 0.13, 0.28, 0.13, 0.08, 0.03)
# No job is larger than this share of its pool.
LARGEST_JOB_SHARE = 0.17
SMALL_JOB_MEDIAN_HOURS = 1.5
LARGE_JOB_MEDIAN_HOURS = 3.0
JOB_SIGMA = 0.9
LONGEST_JOB_HOURS = 48.0

# Traffic. assumption: bytes that move with each token (context, retrieved text, images).
BYTES_PER_TOKEN = 2_000
LINK_INTERVAL_SECONDS = 1_800
# Eight, so that each hour sees as many devices of a node of eight as of any other.
TELEMETRY_INTERVAL_HOURS = 8
