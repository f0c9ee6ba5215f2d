"""What the margin dashboard reads: the published finance file, aggregated in DuckDB for a reader's choice.

The file is opened for as long as its sums take and then let go, so a reader never stands in the way of a
publish; when a new file has been moved into its place, it is read again. No wording and no figures here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from dashboards.margin_dashboard.targets import WHOLE_NETWORK, Targets, targets_of
from orchestration.finance.margin_bridge import KEYS, Bridge, Sold, bridge, total
from orchestration.sql import literal

BASELINE_WEEKS = 13
SPARKLINE_WEEKS = 13
LEAST_TENANTS = 5
"""A group of fewer customers is not shown by itself (RELIABILITY 54)."""
MONEY = (
    "list_revenue_cny", "discount_cny", "package_revenue_cny", "breakage_cny", "tax_cny", "net_revenue_cny",
    "energy_cny", "depreciation_cny", "network_cny", "operations_cny", "idle_cny", "cost_cny", "trial_cost_cny",
    "gross_margin_cny",
)
TOKENS = ("tokens", "priced_tokens", "package_tokens", "trial_tokens", "unpriced_tokens")
MEASURES = (*TOKENS, "held_accelerator_hours", *MONEY)
# Rows of models are those that tokens are priced and costed by, as in fct_unit_economics_weekly.
OF_MODELS = "model_id <> 'none'"
DIMENSIONS = {
    "site": "serving_site_id", "product": "product", "segment": "segment", "model": "model_id",
}


class FinanceAbsent(FileNotFoundError):
    """There is no published finance file to read."""


@dataclass(frozen=True)
class Period:
    """Business days from first to last, both included; ``to_date`` when its month has not ended."""

    name: str
    kind: str
    first_date: date
    last_date: date
    to_date: bool = False

    @property
    def day_count(self) -> int:
        """Days from first to last."""
        return (self.last_date - self.first_date).days + 1

    @property
    def where(self) -> str:
        """The condition on the cube's keys; none of it comes from a reader."""
        if self.kind == "month":
            part = " and is_to_date" if self.to_date else ""
            return f"month_start_date = date {literal(self.first_date.replace(day=1).isoformat())}{part}"
        monday = self.first_date - timedelta(days=self.first_date.weekday())
        return _between(monday, self.last_date)


@dataclass(frozen=True)
class Choice:
    """What a reader asks to see; an empty tuple is everything."""

    period: str = ""
    site: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    segment: tuple[str, ...] = ()
    model: tuple[str, ...] = ()

    @classmethod
    def of(cls, period: Any = None, **chosen: Any) -> Choice:
        """A choice from whatever an address or a control holds: unknown shapes are nothing chosen."""
        def names(value: Any) -> tuple[str, ...]:
            values = value if isinstance(value, (list, tuple)) else [value]
            return tuple(sorted({item for item in values if isinstance(item, str) and item}))

        return cls(period if isinstance(period, str) else "", **{name: names(chosen.get(name)) for name in DIMENSIONS})


@dataclass(frozen=True)
class Audit:
    """The last try to publish, as the pipeline recorded it beside the files."""

    passed: bool
    attempted_at: datetime
    failures: tuple[dict[str, str], ...]


@dataclass
class Snapshot:
    """One published file, summed: an in-memory database, and what the file says of itself."""

    connection: duckdb.DuckDBPyConnection
    publication: dict[str, Any]
    first_date: date | None
    last_date: date | None
    audit: Audit | None
    labels: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """English and Chinese name by id, per dimension."""

    def has(self, table: str) -> bool:
        """Whether the published file holds what the table is made from."""
        return bool(self.query("select 1 from duckdb_tables() where table_name = ?", [table]))

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows as dictionaries, on a cursor of their own, so that threads don't share one."""
        result = self.connection.cursor().execute(sql, list(parameters))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def members(self, dimension: str) -> list[str]:
        """Every id of a dimension that anything is known of."""
        column = DIMENSIONS[dimension]
        return [row["member"] for row in self.query(f"select distinct {column} as member from cube where {column} is not null order by 1")]

    @cached_property
    def periods(self) -> dict[str, Period]:
        """Every period a reader can choose, the newest first: last weeks together, weeks, months."""
        if self.first_date is None or self.last_date is None:
            return {}
        monday = self.first_date + timedelta(days=-self.first_date.weekday() % 7)
        weeks = []
        while monday + timedelta(days=6) <= self.last_date:
            year, week, _ = monday.isocalendar()
            weeks.append(Period(f"{year}-W{week:02}", "week", monday, monday + timedelta(days=6)))
            monday += timedelta(days=7)
        if monday <= self.last_date:
            year, week, _ = monday.isocalendar()
            weeks.append(Period(f"{year}-W{week:02}", "week", monday, self.last_date, to_date=True))
        whole = [period for period in weeks if not period.to_date]
        several = [
            Period(f"last-{count}", "weeks", whole[-count].first_date, whole[-1].last_date)
            for count in (4, 13, 52) if len(whole) >= count
        ]
        months = []
        start = self.first_date.replace(day=1)
        while start <= self.last_date:
            following = (start + timedelta(days=31)).replace(day=1)
            last = min(following - timedelta(days=1), self.last_date)
            if start >= self.first_date:
                months.append(Period(f"{start:%Y-%m}", "month", start, last, to_date=last < following - timedelta(days=1)))
            start = following
        ordered = [*reversed(weeks), *several, *reversed(months)]
        if not ordered:
            year, week, _ = self.first_date.isocalendar()
            ordered = [Period(f"{year}-W{week:02}", "week", self.first_date, self.last_date, to_date=True)]
        return {period.name: period for period in ordered}

    @property
    def failed_audit(self) -> Audit | None:
        """A try to publish after this one that was blocked; None when this is the newest."""
        audit = self.audit
        return audit if audit and not audit.passed and audit.attempted_at > self.publication["published_at"] else None

    @property
    def latest_period(self) -> str:
        """The latest whole week; the latest of all where no week is whole."""
        whole = [period.name for period in self.periods.values() if period.kind == "week" and not period.to_date]
        return whole[0] if whole else next(iter(self.periods), "")

    def before(self, period: Period) -> Period | None:
        """The period to compare with, of the same length; None where the data do not reach back that far."""
        if period.kind == "month":
            start = (period.first_date - timedelta(days=1)).replace(day=1)
            last = start + timedelta(days=period.day_count - 1) if period.to_date else period.first_date - timedelta(days=1)
            last = min(last, period.first_date - timedelta(days=1))
            earlier = Period(f"{start:%Y-%m}", "month", start, last, period.to_date)
        else:
            length = timedelta(days=(period.last_date - period.first_date).days // 7 * 7 + 7)
            first, last = period.first_date - length, period.first_date - timedelta(days=1)
            year, week, _ = first.isocalendar()
            name = f"{year}-W{week:02}"
            if period.kind == "weeks":
                other_year, other_week, _ = last.isocalendar()
                name = f"{name}..{other_year}-W{other_week:02}"
            earlier = Period(name, period.kind, first, last)
        return earlier if self.first_date and earlier.first_date >= self.first_date else None


def read_snapshot(path: Path) -> Snapshot:
    """Reads and sums a published finance file; FinanceAbsent says what to do where there is none.

    The cube has one row per (week, month, whether the day of the month has come in the latest month,
    site, product, model, segment), and a second one with the tenant for the last step of the drill-down.
    """
    if not path.exists():
        raise FinanceAbsent(f"there is no published finance file at {path}")
    connection = duckdb.connect(":memory:")
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    connection.execute(f"attach {literal(str(path))} as edition (read_only)")
    held = {row[0] for row in connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = 'edition'"
    ).fetchall()}
    if "finance.fct_margin_daily" not in held:
        connection.close()
        raise FinanceAbsent(f"{path} is no published finance file: it holds no finance.fct_margin_daily")
    publication = _rows(connection, "select * from edition.meta.publication")[0]
    first_date, last_date = connection.execute(
        "select min(usage_date), max(usage_date) from edition.finance.fct_margin_daily"
    ).fetchone()
    sums = ", ".join(f"sum({measure})::decimal(38, 9) as {measure}" for measure in MEASURES)
    today = last_date.day if last_date else 31
    connection.execute(f"""
        create table tenant_cube as
        select
            date_trunc('week', usage_date)::date as week_start_date, date_trunc('month', usage_date)::date as month_start_date,
            day(usage_date) <= {today} as is_to_date, serving_site_id, product, model_id,
            coalesce(segment, 'unknown') as segment, tenant_id, {sums}
        from edition.finance.fct_margin_daily left join edition.capacity.dim_tenant using (tenant_id)
        group by all order by all
    """)
    connection.execute(f"""
        create table cube as
        select
            week_start_date, month_start_date, is_to_date, serving_site_id, product, model_id, segment, {sums}
        from tenant_cube group by all order by all
    """)
    for name, select in _SUMS.items():
        source, sql = select
        if source in held:
            connection.execute(f"create table {name} as {sql.format(today=today)}")
    labels = {
        "site": _labels(connection, "select site_id, site_name, site_name_cn from edition.capacity.dim_site"),
        "model": _labels(connection, "select model_id, model_name, model_name from edition.capacity.dim_model"),
    }
    connection.execute("detach edition")
    return Snapshot(connection, publication, first_date, last_date, read_audit(path), labels)


# Tables beside the cube: the mart that each comes from, and its sum. {today} is the day of the month of the data's end.
_SUMS: dict[str, tuple[str, str]] = {
    "burn": ("finance.fct_package_burndown_daily", """
        select
            date_trunc('week', usage_date)::date as week_start_date, date_trunc('month', usage_date)::date as month_start_date,
            day(usage_date) <= {today} as is_to_date, segment, settlement, sum(day_consumed_tokens) as consumed_tokens
        from edition.finance.fct_package_burndown_daily group by all order by all
    """),
    "cohorts": ("finance.fct_package_burndown_daily", """
        select
            date_trunc('month', starts_date)::date as cohort_month, settlement, segment,
            (date_diff('day', starts_date, usage_date) // 7)::bigint as age_weeks, date_trunc('week', usage_date)::date as week_start_date,
            sum(granted_tokens + coalesce(carried_in_tokens, 0)) as granted_tokens, sum(remaining_tokens) as remaining_tokens
        from edition.finance.fct_package_burndown_daily
        where usage_date >= starts_date and date_diff('day', starts_date, usage_date) % 7 = 0
        group by all order by all
    """),
    "standing": ("finance.fct_package_burndown_daily", """
        select
            usage_date, settlement, segment, date_trunc('week', expires_date)::date as expires_week_start_date, state,
            count(*) as grant_count, sum(granted_tokens) as granted_tokens, sum(consumed_tokens) as consumed_tokens,
            sum(expired_tokens) as expired_tokens, sum(remaining_tokens) as remaining_tokens, sum(recognised_cny)::decimal(38, 9) as recognised_cny,
            sum(deferred_cny)::decimal(38, 9) as deferred_cny
        from edition.finance.fct_package_burndown_daily
        where isodow(usage_date) = 7 or usage_date = last_day(usage_date)
            or usage_date = (select max(usage_date) from edition.finance.fct_package_burndown_daily)
        group by all order by all
    """),
    "running_out": ("finance.fct_package_burndown_daily", """
        select
            usage_date, segment, expires_date, projected_exhaustion_date_early as early_date, projected_exhaustion_date as base_date,
            projected_exhaustion_date_late as late_date, count(*) as grant_count, sum(remaining_tokens) as remaining_tokens
        from edition.finance.fct_package_burndown_daily
        -- On its first day a grant's burn has no spread yet, and so no band.
        where state = 'active' and usage_date > starts_date and (
            isodow(usage_date) = 7 or usage_date = last_day(usage_date)
            or usage_date = (select max(usage_date) from edition.finance.fct_package_burndown_daily)
        )
        group by all order by all
    """),
    "conversion": ("finance.fct_trial_conversion", "select * from edition.finance.fct_trial_conversion order by all"),
    "economics": ("finance.fct_unit_economics_weekly", """
        select
            strptime(iso_week || '-1', '%G-W%V-%u')::date as week_start_date, site_id as serving_site_id, model_id, tokens,
            net_revenue_cny, cost_cny, usage_cost_cny
        from edition.finance.fct_unit_economics_weekly order by all
    """),
    "metered": ("finance.focus_cost_and_usage", """
        select
            date_trunc('week', "ChargePeriodStart" + interval 8 hours)::date as week_start_date,
            date_trunc('month', "ChargePeriodStart" + interval 8 hours)::date as month_start_date,
            day("ChargePeriodStart" + interval 8 hours) <= {today} as is_to_date, "RegionId" as serving_site_id,
            "x_Product" as product, regexp_replace("SkuId", '/[^/]*$', '') as model_id, regexp_extract("SkuId", '([^/]*)$', 1) as token_type,
            sum("ConsumedQuantity")::decimal(38, 6) as tokens, sum("ListCost")::decimal(38, 9) as list_cost_cny,
            sum("EffectiveCost")::decimal(38, 9) as earned_cny
        from edition.finance.focus_cost_and_usage
        where "ConsumedUnit" = 'Tokens' and "ChargeCategory" = 'Usage' group by all order by all
    """),
    "prices": ("finance.fct_price_position", "select * from edition.finance.fct_price_position order by all"),
    "payback": ("finance.fct_capital_payback", """
        select payback.*, cash.life_ends_date
        from edition.finance.fct_capital_payback as payback
        left join edition.finance.fct_tranche_cash as cash using (tranche_id)
        order by tranche_id
    """),
    "targets": ("finance.dim_margin_target", "select * from edition.finance.dim_margin_target order by all"),
    "scenarios": ("finance.fct_what_if_margin", "select * from edition.finance.fct_what_if_margin order by all"),
    "savings": ("finance.fct_scheduling_saving", "select * from edition.finance.fct_scheduling_saving order by all"),
    "shadow": ("finance.fct_shadow_price", "select *, site_id as serving_site_id from edition.finance.fct_shadow_price order by all"),
    "restated": ("quality.fct_restatements", """
        select usage_date, restated_at, reason, metric, count(*) as figure_count, sum(coalesce(after, 0) - coalesce(before, 0)) as change
        from edition.quality.fct_restatements where mart = 'finance.fct_margin_daily' group by all
    """),
}


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    result = connection.execute(sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _labels(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, tuple[str, str]]:
    return {
        row[0]: (row[1] or row[2] or row[0], row[2] or row[1] or row[0]) for row in connection.execute(sql).fetchall()
    }


def audit_record(path: Path) -> Path:
    """Where the pipeline says how the last try to publish went: beside the published file."""
    return path.with_name("last_audit.json")


def read_audit(path: Path) -> Audit | None:
    """How the last try to publish went; None where it left no record."""
    record = audit_record(path)
    try:
        told = json.loads(record.read_text("utf-8"))
    except FileNotFoundError:
        return None
    attempted_at = datetime.fromisoformat(told["attempted_at"]).replace(tzinfo=None)
    return Audit(told["passed"], attempted_at, tuple(told["failures"]))


class Book:
    """The newest published file, read again when another has taken its place. Safe to share among threads."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._signature: tuple | None = None
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """What is published now."""
        signature = tuple(_signature(path) for path in (self.path, audit_record(self.path)))
        with self._lock:
            if self._snapshot is None or (signature != self._signature and signature[0] is not None):
                self._snapshot = read_snapshot(self.path)
                self._signature = signature
            return self._snapshot

    def reading(self, choice: Choice) -> Reading:
        """The figures of a choice."""
        return Reading(self.snapshot(), choice)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _between(first_monday: date, last_monday: date) -> str:
    return (
        f"week_start_date between date {literal(first_monday.isoformat())} and date {literal(last_monday.isoformat())}"
    )


class Reading:
    """The figures of one choice, each summed when it is first asked for."""

    def __init__(self, snapshot: Snapshot, choice: Choice):
        self.snapshot = snapshot
        self.choice = choice
        self.period_is_known = not choice.period or choice.period in snapshot.periods
        name = choice.period if choice.period in snapshot.periods else snapshot.latest_period
        self.period: Period | None = snapshot.periods.get(name)
        self.previous = snapshot.before(self.period) if self.period else None

    def _where(self, period_where: str, skip: Iterable[str] = ()) -> tuple[str, list[Any]]:
        conditions, parameters = [period_where], []
        for name, column in DIMENSIONS.items():
            chosen = getattr(self.choice, name)
            if chosen and name not in skip:
                conditions.append(f"{column} in ({', '.join('?' * len(chosen))})")
                parameters += chosen
        return " and ".join(conditions), parameters

    def sums(self, where: str, by: Sequence[str] = (), also: str = "true", table: str = "cube") -> list[dict[str, Any]]:
        """Every measure of the rows chosen under a condition on the period, by some of the keys."""
        condition, parameters = self._where(where)
        keys = "".join(f"{column}, " for column in by)
        sums = ", ".join(f"coalesce(sum({measure}), 0)::decimal(38, 9) as {measure}" for measure in MEASURES)
        grouped = f"group by {', '.join(by)} order by {', '.join(by)}" if by else ""
        return self.snapshot.query(f"select {keys}{sums} from {table} where {condition} and {also} {grouped}", parameters)

    @cached_property
    def now(self) -> dict[str, Decimal]:
        """Every measure of the period."""
        return self.sums(self.period.where)[0] if self.period else {}

    @cached_property
    def then(self) -> dict[str, Decimal] | None:
        """Every measure of the period before; None where there is none."""
        return self.sums(self.previous.where)[0] if self.previous else None

    @cached_property
    def weeks(self) -> list[dict[str, Any]]:
        """Every measure by week, the last whole weeks up to the end of the period."""
        return self._by_week("true")

    @cached_property
    def weeks_of_models(self) -> list[dict[str, Any]]:
        """The same of what models served."""
        return self._by_week(OF_MODELS)

    def _by_week(self, also: str) -> list[dict[str, Any]]:
        if self.period is None:
            return []
        last_monday = self.period.last_date - timedelta(days=6)
        first_monday = max(last_monday - timedelta(days=7 * SPARKLINE_WEEKS - 1), self.snapshot.first_date)
        return self.sums(_between(first_monday, last_monday), by=("week_start_date",), also=also)

    @property
    def _baseline_mondays(self) -> tuple[date, date]:
        following = self.period.first_date - timedelta(days=self.period.first_date.weekday())
        earliest = max(following - timedelta(days=7 * BASELINE_WEEKS), self.snapshot.first_date)
        return earliest + timedelta(days=-earliest.weekday() % 7), following

    @property
    def baseline_where(self) -> str:
        """The condition on the whole weeks before the period, at most 13."""
        first, following = self._baseline_mondays
        return _between(first, following - timedelta(days=1))

    @cached_property
    def baseline(self) -> tuple[int, dict[str, Decimal]]:
        """How many whole weeks before the period there are, at most 13, and every measure of them together."""
        if self.period is None:
            return 0, {}
        first, following = self._baseline_mondays
        count = max((following - first).days // 7, 0)
        return count, self.sums(self.baseline_where)[0] if count else {}

    @cached_property
    def targets(self) -> Targets:
        """Targets of the whole network in the period, whatever the filters."""
        return self._targets(WHOLE_NETWORK)

    @cached_property
    def targets_of_choice(self) -> Targets:
        """Targets of what is chosen: of the network or one site; nobody sets one by product, segment or model."""
        choice = self.choice
        if choice.product or choice.segment or choice.model or len(choice.site) > 1:
            return Targets({})
        return self._targets(*choice.site)

    def _targets(self, site: str = WHOLE_NETWORK) -> Targets:
        if self.period is None or not self.snapshot.has("targets"):
            return Targets({})
        return targets_of(self.snapshot.query("select * from targets"), self.period.first_date, self.period.last_date, site)

    def of_models(self, where: str) -> dict[str, Decimal]:
        """Every measure of what models served, which is what a million tokens is priced and costed by."""
        return self.sums(where, also=OF_MODELS)[0]

    @cached_property
    def bridge(self) -> tuple[dict[tuple, Bridge], Bridge] | None:
        """Why margin moved since the period before, by site, model and product, and in total."""
        if self.period is None or self.previous is None:
            return None
        by_key = bridge(self._sold(self.previous), self._sold(self.period))
        return by_key, total(by_key.values())

    def _sold(self, period: Period) -> dict[tuple, Sold]:
        condition, parameters = self._where(period.where)
        keys = ", ".join(KEYS)
        rows = self.snapshot.connection.cursor().execute(
            f"select {keys}, sum(tokens), sum(held_accelerator_hours), sum(net_revenue_cny)::decimal(38, 9), "
            f"sum(cost_cny)::decimal(38, 9) from cube where {condition} group by {keys} order by {keys}", parameters,
        ).fetchall()
        return {tuple(row[:-4]): Sold(int(row[-4]), *row[-3:]) for row in rows}

    @cached_property
    def restated(self) -> list[dict[str, Any]]:
        """Figures of the period's days that were corrected after they had been published, by reason."""
        if self.period is None or not self.snapshot.has("restated"):
            return []
        return self.snapshot.query(
            "select reason, metric, max(restated_at) as restated_at, min(usage_date) as first_date, max(usage_date) as last_date, "
            "sum(figure_count) as figure_count, sum(change) as change from restated "
            "where usage_date between ? and ? group by reason, metric order by restated_at desc, reason, metric",
            [self.period.first_date, self.period.last_date],
        )

    def by_cell(self) -> list[dict[str, Any]]:
        """Every measure of the period by site and product, with how many customers there are."""
        if self.period is None:
            return []
        return self._with_customers(("serving_site_id", "product"))

    def by_segment(self) -> list[dict[str, Any]]:
        """Every measure of the period by segment, with how many customers there are."""
        return self._with_customers(("segment",)) if self.period else []

    def by_tenant(self) -> list[dict[str, Any]]:
        """Every measure of the period by customer, the largest margin first; the pseudonyms are the mart's."""
        if self.period is None:
            return []
        rows = self.sums(self.period.where, by=("tenant_id", "segment"), also="tenant_id <> 'unallocated'", table="tenant_cube")
        return sorted(rows, key=lambda row: (-row["gross_margin_cny"], row["tenant_id"]))

    def by_model(self) -> list[dict[str, Any]]:
        """Every measure of the period by model, of what models served."""
        return self.sums(self.period.where, by=("model_id",), also=OF_MODELS) if self.period else []

    def _with_customers(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        condition, parameters = self._where(self.period.where)
        columns = ", ".join(keys)
        counted = self.snapshot.query(
            f"select {columns}, count(distinct tenant_id) filter (where tenant_id <> 'unallocated') as tenant_count from tenant_cube "
            f"where {condition} group by {columns}", parameters,
        )
        counts = {tuple(row[key] for key in keys): row["tenant_count"] for row in counted}
        return [row | {"tenant_count": counts[tuple(row[key] for key in keys)]} for row in self.sums(self.period.where, by=keys)]

    def _select(self, table: str, columns: str, where: str, skip: Iterable[str] = (), tail: str = "") -> list[dict[str, Any]]:
        """Rows of a table beside the cube, under the filters it knows; none where the file lacks its mart."""
        if self.period is None or not self.snapshot.has(table):
            return []
        condition, parameters = self._where(where, skip)
        return self.snapshot.query(f"select {columns} from {table} where {condition} {tail}", parameters)

    @property
    def _whole_weeks_of_period(self) -> str:
        """The weeks that the period touches, for what is known by week only; none without a period."""
        if self.period is None:
            return "false"
        first = self.period.first_date - timedelta(days=self.period.first_date.weekday())
        return _between(first, self.period.last_date)

    def break_even(self) -> dict[str, tuple[float | None, float | None]]:
        """Utilization and break-even utilization by model, over the weeks that the period touches."""
        rows = self._select(
            "economics",
            "model_id, sum(usage_cost_cny)::double / nullif(sum(cost_cny)::double, 0) as utilization_ratio, "
            "sum(usage_cost_cny)::double / nullif(sum(net_revenue_cny)::double, 0) as break_even_ratio",
            self._whole_weeks_of_period, skip=("product", "segment"), tail="group by model_id order by model_id",
        )
        return {row["model_id"]: (row["utilization_ratio"], row["break_even_ratio"]) for row in rows}

    def by_token_type(self) -> list[dict[str, Any]]:
        """Tokens, what they cost at list price and what they earned, by model and type of token."""
        return self._select(
            "metered",
            "model_id, token_type, sum(tokens) as tokens, sum(list_cost_cny)::decimal(38, 9) as list_cost_cny, "
            "sum(earned_cny)::decimal(38, 9) as earned_cny",
            self.period.where if self.period else "true", skip=("segment",), tail="group by all order by all",
        )

    def cohorts(self) -> list[dict[str, Any]]:
        """What is left of the grants of each month, by weeks since they began; only weeks that all of a cohort has reached."""
        return self._select(
            "cohorts",
            "cohort_month, settlement, age_weeks, sum(granted_tokens) as granted_tokens, sum(remaining_tokens) as remaining_tokens",
            f"week_start_date <= date {literal(self.period.last_date.isoformat())}" if self.period else "true",
            skip=("site", "product", "model"), tail="group by all order by all",
        )

    @cached_property
    def standing_date(self) -> date | None:
        """The last day up to the end of the period whose standing of the packages is kept."""
        if self.period is None or not self.snapshot.has("standing"):
            return None
        return self.snapshot.query("select max(usage_date) as day from standing where usage_date <= ?", [self.period.last_date])[0]["day"]

    def standing(self, keys: str) -> list[dict[str, Any]]:
        """Grants as they stood on the standing date, by some of settlement, state and week of expiry."""
        if self.standing_date is None:
            return []
        return self._select(
            "standing",
            f"{keys}, sum(grant_count) as grant_count, sum(granted_tokens) as granted_tokens, sum(consumed_tokens) as consumed_tokens, "
            "sum(expired_tokens) as expired_tokens, sum(remaining_tokens) as remaining_tokens, "
            "sum(recognised_cny)::decimal(38, 9) as recognised_cny, sum(deferred_cny)::decimal(38, 9) as deferred_cny",
            f"usage_date = date {literal(self.standing_date.isoformat())}", skip=("site", "product", "model"),
            tail=f"group by {keys} order by {keys}",
        )

    def running_out(self) -> list[dict[str, Any]]:
        """Grants in force on the standing date and the day before, by the days on which they would be used up and expire."""
        if self.standing_date is None:
            return []
        return self._select(
            "running_out", "*", f"usage_date = date {literal(self.standing_date.isoformat())}", skip=("site", "product", "model"),
        )

    def funnel(self) -> list[dict[str, Any]]:
        """Trials by segment, of the cohorts of 13 weeks up to the end of the period."""
        if self.period is None:
            return []
        monday = self.period.last_date - timedelta(days=self.period.last_date.weekday())
        weeks = [(monday - timedelta(days=7 * ago)).isocalendar() for ago in range(BASELINE_WEEKS)]
        names = ", ".join(literal(f"{year}-W{week:02}") for year, week, _ in weeks)
        counts = ("granted", "activated", "half_burned", "exhausted", "expired", "converted", "retained", "retention_due")
        return self._select(
            "conversion",
            "segment, " + ", ".join(f"sum({name}_count)::bigint as {name}_count" for name in counts)
            + ", sum(trial_cost_cny)::decimal(38, 9) as trial_cost_cny, sum(revenue_after_conversion_cny)::decimal(38, 9) as revenue_after_conversion_cny",
            f"cohort_week in ({names})", skip=("site", "product", "model"), tail="group by segment order by segment",
        )

    def tranches(self) -> list[dict[str, Any]]:
        """Every tranche of the sites chosen, with its payback dates and the end of its life."""
        if not self.snapshot.has("payback"):
            return []
        chosen = self.choice.site
        where = f"site_id in ({', '.join('?' * len(chosen))})" if chosen else "true"
        return self.snapshot.query(f"select * from payback where {where} order by payback_date_base nulls last, tranche_id", chosen)

    def scenarios(self) -> list[dict[str, Any]]:
        """What margin would be if things went otherwise; like all of matching of the last whole week published, whatever the period."""
        return self._select("scenarios", "*", "true", skip=DIMENSIONS)

    def savings(self) -> list[dict[str, Any]]:
        """What the best scheduling would have saved, by model."""
        return self._select("savings", "*", "true", skip=("site", "product", "segment"))

    def shadow_prices(self) -> list[dict[str, Any]]:
        """What more of each pool and link would earn a year; links belong to no site."""
        return self._select("shadow", "*", "true", skip=("product", "segment", "model"))

    def price_positions(self) -> list[dict[str, Any]]:
        """Our list price beside each competitor's, as last compared up to the end of the period."""
        if self.period is None or not self.snapshot.has("prices"):
            return []
        day = self.snapshot.query("select max(price_date) as day from prices where price_date <= ?", [self.period.last_date])[0]["day"]
        if day is None:
            return []
        return self._select(
            "prices", "*", f"price_date = date {literal(day.isoformat())}", skip=("site", "product", "segment"),
            tail="order by model_id, token_type, price_ratio, vendor, model_name",
        )

    def burned(self, where: str) -> Decimal | None:
        """Quota tokens of packages consumed under a condition on the period; only segments are told apart."""
        if not self.snapshot.has("burn"):
            return None
        condition, parameters = self._where(where, skip=("site", "product", "model"))
        return self.snapshot.query(f"select coalesce(sum(consumed_tokens), 0) as consumed from burn where {condition}", parameters)[0]["consumed"]

    @cached_property
    def burned_by_week(self) -> dict[date, Decimal]:
        """The same by week."""
        if not self.snapshot.has("burn"):
            return {}
        condition, parameters = self._where("true", skip=("site", "product", "model"))
        rows = self.snapshot.query(
            f"select week_start_date, sum(consumed_tokens) as consumed from burn where {condition} group by 1 order by 1", parameters
        )
        return {row["week_start_date"]: row["consumed"] for row in rows}

    @cached_property
    def capital(self) -> dict[str, Any] | None:
        """All tranches together: capital, what is to come back, cash so far and a week, and months of life left."""
        if not self.snapshot.has("payback"):
            return None
        row = self.snapshot.query("""
            select
                count(*) as tranche_count, sum(capital_cny)::decimal(38, 9) as capital_cny,
                sum(opening_book_cny)::decimal(38, 9) as opening_book_cny,
                sum(cumulative_gross_cash_cny)::decimal(38, 9) as cumulative_gross_cash_cny,
                sum(weekly_gross_cash_cny)::decimal(38, 9) as weekly_gross_cash_cny,
                sum(date_diff('day', ?::date, life_ends_date) * capital_cny::double) / sum(capital_cny::double) / 30.4375
                    as life_left_months
            from payback
        """, [self.snapshot.last_date])[0]
        return row if row["tranche_count"] else None
