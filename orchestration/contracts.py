"""Raw tables: what every delivery is parsed into, declared once.

Dtypes, DDL, strict checks, Great Expectations suites and column docs follow from
these declarations. No parsing here (that is ``sources/``), and no business rules
(those start in dbt staging).

Every raw row also carries the columns of SYSTEM_COLUMNS, which the store adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

UTC_INSTANT = pl.Datetime("us", "UTC")
COUNT = pl.Decimal(18, 3)
# A price of a thousandth of a CNY per million tokens is 1e-9 CNY a token, the last digit of DECIMAL(38,9):
# tokens times such a price is exact and nothing is ever rounded.
PRICE = pl.Decimal(18, 3)
AMOUNT = pl.Decimal(18, 2)
RATIO = pl.Decimal(9, 6)
LARGEST_BIGINT = 2**63 - 1


@dataclass(frozen=True)
class Column:
    """One column: its type, meaning, unit and the range a strict parser accepts."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    unit: str | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    default: str | None = None


@dataclass(frozen=True)
class Table:
    """One raw table: its grain, its event time, and what each column means.

    ``rules`` are row conditions over typed columns: (reason code, SQL that must hold, message).
    """

    name: str
    feed: str
    grain: tuple[str, ...]
    event_time: str
    description: str
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str, str], ...] = ()
    sort: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when the table has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")


def duckdb_type(dtype: pl.DataType | type[pl.DataType]) -> str:
    """The DuckDB type of a contract's column; an instant is a naive TIMESTAMP that means UTC."""
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMP"
    names = {
        pl.String: "VARCHAR", pl.Int64: "BIGINT", pl.UInt64: "UBIGINT", pl.Float64: "DOUBLE",
        pl.Date: "DATE", pl.Boolean: "BOOLEAN",
    }
    return names[dtype.base_type()]


SYSTEM_COLUMNS = (
    Column("source_id", pl.String, "Producer of the record; identity is (source_id, event_id)."),
    Column("event_id", pl.String, "Stable id of the record within its source."),
    Column("payload_hash", pl.UInt64, "Hash of the record's content; another one is a conflict."),
    Column("delivery_id", pl.String, "sha256 of the delivery's decompressed bytes."),
    Column("line_number", pl.Int64, "First line (or row) of the delivery that the record is from."),
    Column("line_count", pl.Int64, "Lines (or rows) of the delivery that the record stands for."),
)


def _text(name: str, description: str, **more) -> Column:
    return Column(name, pl.String, description, **more)


def _tokens(name: str, description: str) -> Column:
    return Column(name, pl.Int64, description, unit="tokens", minimum=0, maximum=LARGEST_BIGINT)


def _instant(name: str, description: str, **more) -> Column:
    return Column(name, UTC_INSTANT, description, **more)


def _measure(name: str, description: str, unit: str, **more) -> Column:
    return Column(name, pl.Float64, description, unit=unit, **more)


def _integer(name: str, description: str, unit: str | None = None, **more) -> Column:
    return Column(name, pl.Int64, description, unit=unit, **more)


def _ratio(name: str, description: str, maximum: float = 1) -> Column:
    return _measure(name, description, "ratio", minimum=0, maximum=maximum)


TOKEN_USAGE = Table(
    name="token_usage",
    feed="token_usage",
    grain=("source_id", "event_id"),
    event_time="occurred_at",
    sort=("tenant_id", "occurred_at"),
    description="One metered record of token usage: one request, or a summary of many.",
    columns=(
        _instant("occurred_at", "Start of the request, or of the metered window.", required=True),
        _integer("window_seconds", "Length of the metered window; null for one request.", "s", minimum=1),
        _text("origin_site_id", "Hotspot that the request came from; null when not recorded."),
        _text("serving_site_id", "Site that served it; null when not recorded."),
        _text("tenant_id", "Pseudonym of the customer; null when not recorded."),
        _text("model_id", "Model that answered; null when not recorded."),
        _text("product", "How it is sold: payg, package, trial, internal; null when not recorded."),
        _text("status", "ok, throttled (429) or failed.", required=True, default="ok",
              allowed=("ok", "throttled", "failed")),
        _integer("request_count", "Requests the record stands for.", "requests", required=True,
                 minimum=0, default="1"),
        _tokens("input_tokens", "Uncached input tokens; null when not recorded."),
        _tokens("cached_input_tokens", "Input tokens read from the prompt cache; null when not recorded."),
        _tokens("output_tokens", "Output tokens, reasoning included; null when not recorded."),
        _tokens("reasoning_tokens", "Reasoning tokens, a part of output; null when not recorded."),
        _integer("time_to_first_token_us", "Time to first token.", "us", minimum=0),
        _integer("duration_us", "Time from request to last token.", "us", minimum=0),
    ),
    rules=(
        ("reasoning_above_output", "reasoning_tokens is null or output_tokens is null or reasoning_tokens <= output_tokens",
         "reasoning_tokens is part of output_tokens and can't be larger"),
    ),
)

TOKEN_LENGTHS = Table(
    name="token_lengths",
    feed="token_usage",
    grain=("source_id", "tenant_id", "model_id", "window_started_at"),
    event_time="window_started_at",
    description="Mean token lengths of a client's requests over a window (ServeGen histograms).",
    columns=(
        _instant("window_started_at", "Start of the window.", required=True),
        _integer("window_seconds", "Length of the window.", "s", required=True, minimum=1),
        _text("tenant_id", "The client.", required=True),
        _text("model_id", "The model.", required=True),
        Column("mean_input_tokens", pl.Decimal(18, 6), "Mean input tokens a request; null when the histogram is empty.",
               unit="tokens", minimum=0),
        Column("mean_output_tokens", pl.Decimal(18, 6), "Mean output tokens a request; null when the histogram is empty.",
               unit="tokens", minimum=0),
        Column("mean_reasoning_ratio", pl.Decimal(18, 6), "Mean share of output that is reasoning; null when not recorded.",
               unit="ratio", minimum=0, maximum=1),
    ),
)

JOB_STATES = (
    "PENDING", "RUNNING", "SUSPENDED", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL",
    "OUT_OF_MEMORY", "PREEMPTED", "REQUEUED", "BOOT_FAIL", "DEADLINE", "REVOKED", "RESIZING", "UNKNOWN",
)

JOB_LOGS = Table(
    name="job_logs",
    feed="job_logs",
    grain=("source_id", "event_id"),
    event_time="submitted_at",
    description=(
        "One sighting of a job attempt, keyed (cluster_id, job_id, submitted_at, restart_count). An open job "
        "is seen again later with more run time or its end; staging keeps the latest sighting."
    ),
    columns=(
        _text("cluster_id", "Cluster whose scheduler ran the job.", required=True),
        _text("job_id", "Id of the job in the cluster; array and het tasks keep their suffix.", required=True),
        _integer("restart_count", "Requeues before this attempt.", minimum=0, default="0"),
        _text("tenant_id", "Pseudonym of who pays: account or virtual cluster."),
        _text("site_id", "Site of the cluster; null when not recorded."),
        _text("partition", "Queue or partition the job was sent to."),
        _text("accelerator_id", "Type of accelerator; null when not recorded."),
        _instant("submitted_at", "Submission.", required=True),
        _instant("eligible_at", "When the job could first have started; null when not recorded."),
        _instant("started_at", "Start; null while pending."),
        _text("start_source", "recorded, or assumed to be the submission (the wait is then unknown).",
              required=True, allowed=("recorded", "assumed"), default="recorded"),
        _instant("ended_at", "End; null while open."),
        _instant("observed_at", "For an open job, the instant up to which it is known to run or wait."),
        _integer("suspended_seconds", "Time suspended between start and end.", "s", minimum=0),
        _text("state", "Slurm job state.", required=True, allowed=JOB_STATES),
        Column("accelerator_count", COUNT, "Accelerators held; a fraction when one is shared.", unit="accelerators",
               required=True, minimum=0),
        _integer("node_count", "Nodes held.", "nodes", minimum=0),
        _text("node_list", "Nodes held, expanded, joined by commas; null when not recorded."),
    ),
    rules=(
        ("end_before_start", "started_at is null or ended_at is null or ended_at >= started_at", "the job ends before it starts"),
        ("start_before_submit", "started_at is null or started_at >= submitted_at", "the job starts before its submission"),
    ),
)

DEVICE_STATES = ("up", "down", "maintenance")

TELEMETRY = Table(
    name="telemetry",
    feed="telemetry",
    grain=("source_id", "device_id", "sampled_at"),
    event_time="sampled_at",
    sort=("site_id", "device_id", "sampled_at"),
    description="One wide sample of one accelerator. What an exporter does not give is null, never 0.",
    columns=(
        _instant("sampled_at", "Instant of the sample.", required=True),
        _text("device_id", "Stable id of the accelerator (UUID where given).", required=True),
        _text("node_id", "Node that holds it."),
        _text("site_id", "Site; null when not recorded."),
        _text("pool_id", "Node pool; null when not recorded."),
        _text("accelerator_id", "Type of accelerator; null when not recorded."),
        _integer("interval_seconds", "Time the sample stands for; null for a bare instant.", "s", minimum=1),
        _text("device_state", "up, down or maintenance; null when not recorded.", allowed=DEVICE_STATES),
        _ratio("gpu_utilization_ratio", "DCGM_FI_DEV_GPU_UTIL / 100: share of time a kernel ran."),
        _ratio("engine_active_ratio", "DCGM_FI_PROF_GR_ENGINE_ACTIVE."),
        _ratio("sm_active_ratio", "DCGM_FI_PROF_SM_ACTIVE (AI core use on Ascend)."),
        _measure("memory_used_bytes", "Device memory in use.", "bytes", minimum=0),
        _measure("memory_total_bytes", "Device memory.", "bytes", minimum=0),
        _measure("power_watts", "Power draw.", "W", minimum=0),
        _measure("energy_joules", "Energy counter since the driver loaded.", "J", minimum=0),
        _measure("temperature_celsius", "Device temperature.", "degC", minimum=-50, maximum=200),
        _measure("sm_clock_mhz", "Core clock.", "MHz", minimum=0),
        _measure("memory_clock_mhz", "Memory clock.", "MHz", minimum=0),
        _integer("xid_code", "Last XID (or vendor error) code; 0 is none.", minimum=0),
        _integer("health_status", "1 healthy, 0 not (Ascend npu_chip_info_health_status).", minimum=0, maximum=1),
        _text("job_id", "Job that held the device, where the exporter says so."),
    ),
)

POOL_TELEMETRY = Table(
    name="pool_telemetry",
    feed="telemetry",
    grain=("source_id", "cluster_id", "pool_id", "sampled_at"),
    event_time="sampled_at",
    description="One sample of a pool's allocation, where a scheduler gives counts and no devices (Helios).",
    columns=(
        _instant("sampled_at", "Instant of the sample.", required=True),
        _text("cluster_id", "Cluster of the pool.", required=True),
        _text("pool_id", "Pool or virtual cluster.", required=True),
        _text("site_id", "Site; null when not recorded."),
        _text("accelerator_id", "Type of accelerator; null when not recorded."),
        _integer("installed_accelerator_count", "Accelerators in the pool.", "accelerators", required=True, minimum=0),
        _integer("allocated_accelerator_count", "Held by running jobs.", "accelerators", minimum=0),
        _integer("pending_accelerator_count", "Asked for by waiting jobs.", "accelerators", minimum=0),
        _integer("idle_accelerator_count", "Held by nobody.", "accelerators", minimum=0),
        _integer("running_job_count", "Running jobs.", "jobs", minimum=0),
        _integer("pending_job_count", "Waiting jobs.", "jobs", minimum=0),
    ),
    rules=(
        ("allocated_above_installed", "allocated_accelerator_count is null or allocated_accelerator_count <= installed_accelerator_count",
         "more accelerators allocated than installed"),
    ),
)

LINK_COUNTERS = Table(
    name="link_counters",
    feed="telemetry",
    grain=("source_id", "link_id", "sampled_at"),
    event_time="sampled_at",
    sort=("link_id", "sampled_at"),
    description="One sample of a link, both directions: octet counters (ifHCInOctets style), or rates.",
    columns=(
        _instant("sampled_at", "Instant of the sample.", required=True),
        _text("link_id", "Link, or the network interface where no link is known.", required=True),
        Column("octets_a_to_b", pl.UInt64, "64-bit octet counter from a to b (for an interface: in).", unit="bytes", minimum=0),
        Column("octets_b_to_a", pl.UInt64, "64-bit octet counter from b to a (for an interface: out).", unit="bytes", minimum=0),
        _measure("throughput_a_to_b_gbps", "Rate from a to b, where a rate and no counter is given.", "Gbit/s", minimum=0),
        _measure("throughput_b_to_a_gbps", "Rate from b to a, where a rate and no counter is given.", "Gbit/s", minimum=0),
        _measure("capacity_gbps", "Lit capacity at the instant, one direction; null: the inventory's.", "Gbit/s", minimum=0),
    ),
)

_VALIDITY = (
    Column("valid_from", pl.Date, "First business day the row holds; null: always."),
    Column("valid_to", pl.Date, "First business day it no longer holds; null: still holds."),
    _text("source", "Where the row's facts come from."),
    _text("confidence", "high, medium, low, or assumption."),
)


def _reference(
    name: str, key: tuple[str, ...], description: str, *columns: Column, rules: tuple[tuple[str, str, str], ...] = ()
) -> Table:
    """A reference table; a landing delivery of it stands instead of the seed of the same name."""
    return Table(
        name=name, feed="reference", grain=(*key, "valid_from"), event_time="", description=description,
        columns=columns + _VALIDITY,
        rules=(("empty_validity", "valid_from is null or valid_to is null or valid_from < valid_to",
                "valid_to must be after valid_from"), *rules),
    )


SITES = _reference(
    "sites", ("site_id",), "One row per hub cluster or regional hotspot.",
    _text("site_id", "Id of the site.", required=True),
    _text("site_name", "Name in English.", required=True),
    _text("site_name_cn", "Name in Chinese."),
    _text("site_kind", "hub or hotspot.", required=True, allowed=("hub", "hotspot")),
    _text("hub_region", "National hub region that the site belongs to or is nearest to."),
    _text("region", "Region of the country."),
    _measure("latitude", "Latitude.", "deg", minimum=-90, maximum=90),
    _measure("longitude", "Longitude.", "deg", minimum=-180, maximum=180),
    _integer("population", "Residents of the province (hotspots).", "people", minimum=0),
    _text("nearest_hub_site_id", "Nearest hub cluster (hotspots)."),
)
LINKS = _reference(
    "links", ("link_id",), "One row per optical link.",
    _text("link_id", "Id of the link.", required=True),
    _text("a_site_id", "Site at end a.", required=True),
    _text("b_site_id", "Site at end b.", required=True),
    _text("link_class", "hub-hub, intra-hub, primary, protection or adjacency."),
    _measure("route_km", "Length of the route.", "km", minimum=0),
    _measure("one_way_ms", "One-way fibre delay.", "ms", minimum=0),
    _measure("capacity_gbps", "Lit capacity, one direction.", "Gbit/s", required=True, minimum=0),
    _measure("design_capacity_gbps", "Capacity with every wavelength lit, one direction.", "Gbit/s", minimum=0),
)
ACCELERATORS = _reference(
    "accelerators", ("accelerator_id",), "One row per accelerator type.",
    _text("accelerator_id", "Id of the type.", required=True),
    _text("accelerator_name", "Name.", required=True),
    _text("vendor", "Vendor."),
    _measure("memory_gb", "Memory.", "GB", minimum=0),
    _measure("bf16_tflops", "Dense BF16 or FP16 compute.", "TFLOPS", minimum=0),
    _measure("power_watts", "Thermal design power.", "W", minimum=0),
)
NODE_POOLS = _reference(
    "node_pools", ("pool_id",), "One row per group of equal nodes with its dates in service.",
    _text("pool_id", "Id of the pool (a node's name where the inventory lists nodes).", required=True),
    _text("cluster_id", "Cluster whose scheduler runs the pool."),
    _text("site_id", "Site; null when not recorded."),
    _text("accelerator_id", "Type of accelerator; null when the nodes hold none or it is not recorded."),
    _text("purpose", "serving, training or shared (both).", allowed=("serving", "training", "shared"), default="training"),
    _integer("node_count", "Nodes.", "nodes", required=True, minimum=0),
    _integer("accelerators_per_node", "Accelerators in each node.", "accelerators", required=True, minimum=0),
    Column("commissioned_date", pl.Date, "First business day in service; null: before the first record."),
    Column("retired_date", pl.Date, "First business day out of service; null: in service."),
)
PLANNED_DELIVERIES = _reference(
    "planned_deliveries", ("planned_delivery_id",), "One row per order of accelerators not yet in service.",
    _text("planned_delivery_id", "Id of the order.", required=True),
    _text("site_id", "Site that receives them.", required=True),
    _text("accelerator_id", "Type of accelerator.", required=True),
    _text("purpose", "serving or training.", allowed=("serving", "training"), default="serving"),
    _integer("accelerator_count", "Accelerators.", "accelerators", required=True, minimum=0),
    Column("planned_date", pl.Date, "Business day planned for service.", required=True),
    _text("commitment", "committed or planned.", allowed=("committed", "planned"), default="planned"),
)
TENANTS = _reference(
    "tenants", ("tenant_id",), "One row per customer, by pseudonym.",
    _text("tenant_id", "Pseudonym.", required=True),
    _text("tenant_name", "Name to show (a pseudonym too)."),
    _text("segment", "enterprise, ai_model_company, developer or internal.", required=True),
    _text("home_site_id", "Hotspot most of its requests come from."),
)
MODELS = _reference(
    "models", ("model_id",), "One row per model served.",
    _text("model_id", "Id of the model.", required=True),
    _text("model_name", "Name.", required=True),
    _text("vendor", "Vendor."),
    _text("model_class", "large, mid, small or reasoning.", allowed=("large", "mid", "small", "reasoning")),
    _integer("latency_class_ms", "Latency circle the service must stay in: 1, 5 or 20.", "ms", minimum=1),
)
THROUGHPUT = _reference(
    "throughput", ("model_id", "accelerator_id", "input_length", "output_length", "objective"),
    "Tokens per second of one accelerator that keeps the latency objective.",
    _text("model_id", "Model; * stands for any model of model_class.", required=True),
    _text("model_class", "Class that a * row stands for."),
    _text("accelerator_id", "Type of accelerator.", required=True),
    _integer("input_length", "Mean input length measured at.", "tokens", minimum=0),
    _integer("output_length", "Mean output length measured at.", "tokens", minimum=0),
    _text("objective", "Latency objective measured at."),
    _measure("input_tokens_per_second", "Uncached input tokens per second and accelerator (prefill).", "tokens/s",
             required=True, minimum=0),
    _measure("output_tokens_per_second", "Output tokens per second and accelerator (decode).", "tokens/s",
             required=True, minimum=0),
)
HOLIDAYS = _reference(
    "holidays", ("holiday_date",), "Days off and make-up workdays of the Chinese calendar.",
    Column("holiday_date", pl.Date, "The day.", required=True),
    _text("holiday_name", "Name in English.", required=True),
    _text("holiday_name_cn", "Name in Chinese."),
    _text("day_type", "off or make_up_workday.", required=True, allowed=("off", "make_up_workday")),
)

_CURRENCY = _text("currency", "Currency of the amounts; only CNY.", allowed=("CNY",), default="CNY", required=True)
CURRENCIES = ("CNY", "USD")
"""Other vendors bill in them; our own prices and costs are in CNY alone."""
_HOURS = (
    _text("time_band", "Name of the hours the row holds in, such as peak; all for the whole day.", default="all"),
    _integer("hour_from", "First hour of the business day (Asia/Shanghai) the row holds.", "h", minimum=0, maximum=23,
             default="0", required=True),
    _integer("hour_to", "Hour of the business day at which it no longer holds.", "h", minimum=1, maximum=24,
             default="24", required=True),
)
_HOURS_IN_ORDER = ("empty_hours", "hour_from < hour_to", "hour_to must be after hour_from; split a band over midnight in two")
TOKEN_TYPES = ("input", "cached_input", "output")


def _price_tier(meaning: str) -> Column:
    return _integer("above_input_tokens", meaning, "tokens", minimum=0, default="0", required=True)


PRICE_BOOK = _reference(
    "price_book", ("model_id", "token_type", "above_input_tokens", "hour_from"),
    "List price of a model's tokens, by token type, context tier and time band; VAT included.",
    _text("model_id", "Model.", required=True),
    _text("token_type", "input (uncached), cached_input or output.", required=True, allowed=TOKEN_TYPES),
    _price_tier("Context tier: holds for requests of more input tokens (cached included) than this, up to the next tier."),
    *_HOURS,
    Column("price_cny_per_million", PRICE, "List price.", unit="CNY/1000000 tokens", required=True, minimum=0),
    _CURRENCY,
    rules=(_HOURS_IN_ORDER,),
)
RENTAL_PRICES = _reference(
    "rental_prices", ("accelerator_id",), "List price of an accelerator held by a job; VAT included.",
    _text("accelerator_id", "Type of accelerator.", required=True),
    Column("price_cny_per_accelerator_hour", PRICE, "List price.", unit="CNY/h", required=True, minimum=0),
    _CURRENCY,
)
DISCOUNTS = _reference(
    "discounts", ("tenant_id", "segment", "model_id"),
    "Share of list price that a contract takes off; the tenant's own row wins over its segment's, a model's over *.",
    _text("contract_id", "Contract that grants it."),
    _text("tenant_id", "Tenant; * for any.", required=True, default="*"),
    _text("segment", "Segment; * for any.", required=True, default="*"),
    _text("model_id", "Model; * for any.", required=True, default="*"),
    Column("discount_ratio", RATIO, "Share of list price taken off.", unit="ratio", required=True, minimum=0, maximum=1),
)
TAX_RATES = _reference(
    "tax_rates", ("tax_id",), "Value-added tax that list and package prices include.",
    _text("tax_id", "vat.", required=True, allowed=("vat",)),
    Column("rate_ratio", RATIO, "Tax over the price without it.", unit="ratio", required=True, minimum=0, maximum=1),
)
PACKAGES = _reference(
    "packages", ("package_id",), "One row per token package on sale: the trial and paid packs.",
    _text("package_id", "Id of the package.", required=True),
    _text("package_name", "Name."),
    _text("package_kind", "trial or paid.", required=True, allowed=("trial", "paid")),
    _text("programme_id", "Programme whose pool the grants draw on; null: no pool."),
    _integer("programme_quota_tokens", "Tokens in the programme's pool.", "tokens", minimum=1),
    _integer("quota_tokens", "Tokens of one grant, weighted.", "tokens", required=True, minimum=1),
    Column("price_cny", AMOUNT, "Price of one grant, VAT included; 0 for a trial.", unit="CNY", required=True, minimum=0),
    _CURRENCY,
    _integer("priority", "Burn order: the lowest first.", required=True, minimum=0, default="100"),
    _integer("validity_days", "Days from start to expiry.", "d", required=True, minimum=1),
    _text("carry_over", "Whether what is left goes to the renewal: yes or no.", required=True, allowed=("yes", "no"), default="no"),
    _text("over_quota_policy", "What follows an exhausted grant: block, list_price or add_on.", required=True,
          allowed=("block", "list_price", "add_on"), default="list_price"),
    _text("add_on_package_id", "Package bought when the policy is add_on."),
    Column("expected_breakage_ratio", RATIO, "Share expected never to be used; null: not expected (IFRS 15 B46).",
           unit="ratio", minimum=0, maximum=0.999999),
    rules=(
        ("add_on_without_package", "over_quota_policy <> 'add_on' or add_on_package_id is not null",
         "the policy add_on needs add_on_package_id"),
        ("priced_trial", "package_kind <> 'trial' or price_cny = 0", "a trial has no price"),
    ),
)
PACKAGE_WEIGHTS = _reference(
    "package_weights", ("package_id", "model_id", "token_type", "hour_from"),
    "Quota tokens that one token takes; a model without a row is not eligible. The most specific row wins.",
    _text("package_id", "Package.", required=True),
    _text("model_id", "Model; * for any.", required=True, default="*"),
    _text("token_type", "input, cached_input, output, or * for any.", required=True, allowed=(*TOKEN_TYPES, "*"), default="*"),
    *_HOURS,
    Column("weight_ratio", RATIO, "Quota tokens per token.", unit="ratio", required=True, minimum=0.000001, maximum=999),
    rules=(_HOURS_IN_ORDER,),
)
SUBSCRIPTIONS = _reference(
    "subscriptions", ("subscription_id",), "One row per grant of a package to a tenant.",
    _text("subscription_id", "Id of the grant.", required=True),
    _text("package_id", "Package granted.", required=True),
    _text("tenant_id", "Tenant that holds it.", required=True),
    Column("granted_date", pl.Date, "Business day it was granted or bought.", required=True),
    Column("starts_date", pl.Date, "First business day it can be used.", required=True),
    Column("expires_date", pl.Date, "Business day at whose first midnight (Asia/Shanghai) it ends.", required=True),
    _integer("granted_tokens", "Tokens granted, weighted; null: the package's quota.", "tokens", minimum=1),
    Column("price_cny", AMOUNT, "Price agreed, VAT included; null: the package's.", unit="CNY", minimum=0),
    _CURRENCY,
    _text("funding", "none, invoice or external.", required=True, allowed=("none", "invoice", "external"), default="invoice"),
    _text("renews_subscription_id", "Earlier grant that this one renews; takes what that carries over."),
    Column("voided_date", pl.Date, "Business day at whose first midnight it was voided; null: it was not."),
    Column("refund_cny", AMOUNT, "Paid back when voided, VAT included.", unit="CNY", minimum=0),
    rules=(
        ("expires_before_start", "starts_date < expires_date", "the grant expires before it starts"),
        ("granted_after_start", "granted_date <= starts_date", "the grant starts before it was granted"),
        ("refund_without_void", "refund_cny is null or voided_date is not null", "a refund needs voided_date"),
    ),
)
POWER_TARIFFS = _reference(
    "power_tariffs", ("site_id", "hour_from"), "Price of electricity by site and hour band.",
    _text("site_id", "Site; * for any without rows of its own.", required=True),
    *_HOURS,
    Column("tariff_cny_per_kwh", RATIO, "Price of a kilowatt hour.", unit="CNY/kWh", required=True, minimum=0),
    _CURRENCY,
    rules=(_HOURS_IN_ORDER,),
)
SITE_POWER = _reference(
    "site_power", ("site_id",), "Power usage effectiveness: what a site draws over what its accelerators draw.",
    _text("site_id", "Site; * for any without a row of its own.", required=True),
    Column("pue_ratio", RATIO, "Power usage effectiveness.", unit="ratio", required=True, minimum=1, maximum=10),
)
OPERATIONS_COSTS = _reference(
    "operations_costs", ("site_id", "accelerator_id"), "Operations (staff, maintenance, space) per installed accelerator.",
    _text("site_id", "Site; * for any.", required=True, default="*"),
    _text("accelerator_id", "Type of accelerator; * for any.", required=True, default="*"),
    Column("cost_cny_per_accelerator_hour", RATIO, "Cost of an installed hour.", unit="CNY/h", required=True, minimum=0),
    _CURRENCY,
)
LINK_COSTS = _reference(
    "link_costs", ("link_id", "link_class"), "Annual cost of a lit 400G wavelength; a link's own row wins over its class's.",
    _text("link_id", "Link; * for any.", required=True, default="*"),
    _text("link_class", "Class of link; * for any.", required=True, default="*"),
    Column("annual_cost_cny_per_wavelength", AMOUNT, "Cost of one lit 400 Gbit/s wavelength for a year.", unit="CNY/year",
           required=True, minimum=0),
    _CURRENCY,
)
CAPITAL_ASSETS = _reference(
    "capital_assets", ("tranche_id",), "One row per tranche of accelerators bought; depreciated straight-line.",
    _text("tranche_id", "Id of the tranche.", required=True),
    _text("site_id", "Site that holds it.", required=True),
    _text("accelerator_id", "Type of accelerator.", required=True),
    _integer("accelerator_count", "Accelerators in it.", "accelerators", required=True, minimum=1),
    Column("capital_cny", AMOUNT, "Capital spent, systems and network around the accelerators included.", unit="CNY",
           required=True, minimum=0),
    _CURRENCY,
    Column("life_years", pl.Decimal(6, 3), "Useful life.", unit="years", required=True, minimum=0.001),
    Column("commissioned_date", pl.Date, "First business day in service.", required=True),
)
ACCELERATOR_PRICES = _reference(
    "accelerator_prices", ("accelerator_id",),
    "Price of an accelerator, for capital where no tranche is recorded; and how it draws power, for gaps in telemetry.",
    _text("accelerator_id", "Type of accelerator; * for any without a row of its own.", required=True),
    Column("price_cny", AMOUNT, "Price of one.", unit="CNY", required=True, minimum=0),
    _CURRENCY,
    Column("system_uplift_ratio", RATIO, "Capital of the whole system over the price of its accelerators.", unit="ratio",
           required=True, minimum=1, maximum=10),
    Column("life_years", pl.Decimal(6, 3), "Useful life.", unit="years", required=True, minimum=0.001),
    Column("idle_power_ratio", RATIO, "Power drawn idle over the design power (power curve, linear in activity).", unit="ratio",
           required=True, minimum=0, maximum=1),
)
COMPETITOR_PRICES = _reference(
    "competitor_prices", ("vendor", "model_name", "token_type", "above_input_tokens", "observed_date"),
    "One row per list price of another vendor, as observed on a day.",
    _text("vendor", "Who sells it.", required=True),
    _text("model_name", "Model as the vendor names it.", required=True),
    _text("model_class", "large, mid, small or reasoning: what it is compared with.", allowed=("large", "mid", "small", "reasoning")),
    _text("comparable_model_id", "Our model that is the same one; null: compared by class only."),
    _text("token_type", "input (uncached), cached_input or output.", required=True, allowed=TOKEN_TYPES),
    _price_tier("Context tier: holds for requests of more input tokens than this, up to the next tier."),
    Column("list_price_per_million", pl.Decimal(18, 9), "List price, as billed: in the row's currency.",
           unit="currency/1000000 tokens", required=True, minimum=0),
    _text("currency", "Currency that the vendor bills in; exchange_rates turns it into CNY.", allowed=CURRENCIES, default="CNY",
          required=True),
    Column("observed_date", pl.Date, "Day the price was read off the vendor's page.", required=True),
)

EXCHANGE_RATES = _reference(
    "exchange_rates", ("currency",), "What one unit of a currency is worth in CNY, from the day it was read.",
    _text("currency", "ISO 4217 code.", required=True, allowed=CURRENCIES),
    Column("cny_per_unit", pl.Decimal(18, 6), "Worth of one unit.", unit="CNY", required=True, minimum=0.000001),
)

TARGET_AMOUNTS = (
    "list_revenue_cny", "discount_cny", "package_revenue_cny", "breakage_cny", "tax_cny", "net_revenue_cny", "energy_cny",
    "depreciation_cny", "network_cny", "operations_cny", "idle_cny", "gross_margin_cny", "package_consumed_tokens",
)
"""Measures whose target is an amount a week: a period's is that of its days."""
TARGET_LEVELS = ("gross_margin_ratio", "gross_margin_cny_per_million_tokens", "utilization_ratio", "payback_months")
"""Measures whose target does not grow with the period."""
PERFORMANCE_TARGETS = _reference(
    "performance_targets", ("measure", "site_id"), "What management sets out to reach (a budget or plan), by measure and site.",
    _text("measure", "An amount of finance.fct_margin_daily or package_consumed_tokens, a week; or gross_margin_ratio, "
          "gross_margin_cny_per_million_tokens, utilization_ratio, payback_months.", required=True,
          allowed=(*TARGET_AMOUNTS, *TARGET_LEVELS)),
    _text("site_id", "Site; all for the whole network.", required=True, default="all"),
    Column("target_value", pl.Decimal(18, 4), "What is to be reached; costs, discounts and tax are positive.",
           unit="that of the measure; amounts are for 7 days", required=True),
    rules=(
        ("ratio_above_one", "measure not in ('gross_margin_ratio', 'utilization_ratio') or target_value <= 1", "a ratio is at most 1: write 0.35 for 35%"),
        ("negative_target", "starts_with(measure, 'gross_margin_') or target_value >= 0", "only a margin can be negative"),
    ),
)

FINANCE_REFERENCE_TABLES = (
    PRICE_BOOK, RENTAL_PRICES, DISCOUNTS, TAX_RATES, PACKAGES, PACKAGE_WEIGHTS, SUBSCRIPTIONS, POWER_TARIFFS, SITE_POWER,
    OPERATIONS_COSTS, LINK_COSTS, CAPITAL_ASSETS, ACCELERATOR_PRICES, COMPETITOR_PRICES,
    EXCHANGE_RATES, PERFORMANCE_TARGETS,
)
REFERENCE_TABLES = (
    SITES, LINKS, ACCELERATORS, NODE_POOLS, PLANNED_DELIVERIES, TENANTS, MODELS, THROUGHPUT, HOLIDAYS,
    *FINANCE_REFERENCE_TABLES,
)
EVENT_TABLES = (TOKEN_USAGE, TOKEN_LENGTHS, JOB_LOGS, TELEMETRY, POOL_TELEMETRY, LINK_COUNTERS)
TABLES = {table.name: table for table in EVENT_TABLES + REFERENCE_TABLES}
FEEDS = ("token_usage", "job_logs", "telemetry", "reference")
