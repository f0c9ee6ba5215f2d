"""Burning of token packages: which grant takes which tokens, and what each token earns.

Pure: frames in, one frame of ledger entries out. What is left of a grant depends on every token before,
and what a renewal holds depends on what its predecessor left, so this is a walk over the grants of a
tenant and no query. Which weight and which version of a package hold is decided before (dbt joins), and
every sum over the entries after (dbt aggregates).

A tenant's grants burn in a fixed order (priority, earliest expiry, earliest grant, id), so between two
carry-overs a grant sees exactly what the grants before it left: one pass a grant with running sums gives
what an event-by-event simulation would. Whole numbers throughout: quota in millionths of a token (weights
have six decimals), money in thousand-millionths of a CNY.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import polars as pl

MILLION = 10**6
NANO = 10**9
_LARGEST_INT128 = 2**127 - 1

USAGE_KEY = (
    "usage_hour", "serving_site_id", "tenant_id", "model_id", "product", "context_floor_tokens", "token_type",
)
_BURN_SEQUENCE = ("usage_hour", "serving_site_id", "model_id", "product", "context_floor_tokens", "token_type")
_WEIGHT_KEY = ("usage_date", "hour_of_day", "model_id", "token_type")

# What `burn` returns. A consumed or blocked entry has the key of its usage, others have nulls there.
ENTRY_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "subscription_id": pl.String,
    "parent_subscription_id": pl.String,
    "entry": pl.String,
    "usage_date": pl.Date,
    "usage_hour": pl.Datetime("us"),
    "serving_site_id": pl.String,
    "tenant_id": pl.String,
    "model_id": pl.String,
    "product": pl.String,
    "context_floor_tokens": pl.Int64,
    "token_type": pl.String,
    "settlement": pl.String,
    "tokens": pl.Decimal(38, 0),
    "quota_tokens": pl.Decimal(38, 6),
    "package_revenue_cny": pl.Decimal(38, 9),
    "breakage_cny": pl.Decimal(38, 9),
    "transfer_cny": pl.Decimal(38, 9),
}


def _nano(amount: Decimal | None) -> int:
    return int((amount or Decimal(0)) * NANO)


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True)
class _Phase:
    """A stretch of a grant with one price and one quota; a carry-over that arrives begins the next.

    All amounts are what was left when it began, so what was recognised before stays as it was.
    """

    price_nano: int
    quota_units: int
    expected_units: int

    def __post_init__(self) -> None:
        if 2 * self.price_nano * self.quota_units + self.expected_units > _LARGEST_INT128:
            raise OverflowError("price times quota of a grant is beyond 128 bits")

    def recognised(self, consumed_units: int) -> tuple[int, int]:
        """Revenue of use, and of breakage beside it, after that consumption (IFRS 15 B44-B47)."""
        used = _rounded(self.price_nano * consumed_units, self.quota_units)
        total = min(self.price_nano, _rounded(self.price_nano * consumed_units, self.expected_units))
        return used, total - used


@dataclass
class _Grant:
    """One grant and its state as the walk goes on."""

    number: int
    subscription_id: str
    tenant_id: str
    package_id: str
    settlement: str
    granted_date: date
    starts_date: date
    expires_date: date
    voided_date: date | None
    granted_units: int
    price_nano: int
    refund_nano: int
    carries_over: bool
    renews_subscription_id: str | None
    over_quota_policy: str
    expected_breakage_millionths: int
    add_on: dict | None
    parent_subscription_id: str | None = None
    received_units: int = 0
    consumed_units: int = 0
    remaining_units: int = 0
    phases: list[_Phase] = field(default_factory=list)
    phase_consumed_units: int = 0
    used_nano: int = 0
    breakage_nano: int = 0
    deferred_nano: int = 0

    @property
    def ends_date(self) -> date:
        """First business day at which it can no longer be used."""
        return min(self.expires_date, self.voided_date) if self.voided_date else self.expires_date

    @property
    def is_voided_early(self) -> bool:
        """Whether it was voided before it would have expired."""
        return self.ends_date < self.expires_date

    def receive(self, units: int, money_nano: int) -> None:
        """Begins a phase with more quota and its money."""
        self.received_units += units
        self.remaining_units += units
        self.deferred_nano += money_nano
        expected = self.received_units * (MILLION - self.expected_breakage_millionths) // MILLION
        expected_left = min(max(expected - self.consumed_units, 1), self.remaining_units)
        self.phases.append(_Phase(self.deferred_nano, self.remaining_units, expected_left))
        self.phase_consumed_units = 0

    def consume(self, units: int) -> None:
        """Takes quota, and recognises what that earns."""
        phase = self.phases[-1]
        before = phase.recognised(self.phase_consumed_units)
        self.phase_consumed_units += units
        after = phase.recognised(self.phase_consumed_units)
        used, breakage = after[0] - before[0], after[1] - before[1]
        self.consumed_units += units
        self.remaining_units -= units
        self.used_nano += used
        self.breakage_nano += breakage
        self.deferred_nano -= used + breakage

    def forfeit(self) -> tuple[int, int]:
        """Quota that nobody can use any more, and the money that it leaves as breakage."""
        units, breakage = self.remaining_units, self.deferred_nano
        self.remaining_units = self.deferred_nano = 0
        self.breakage_nano += breakage
        return units, breakage

    def void(self) -> tuple[int, int, int]:
        """Quota voided; revenue of use and breakage that the refund leaves to recognise, or takes back."""
        units, rest = self.remaining_units, self.deferred_nano - self.refund_nano
        breakage = max(rest, -self.breakage_nano)
        used = rest - breakage
        self.remaining_units = self.deferred_nano = 0
        self.breakage_nano += breakage
        self.used_nano += used
        return units, used, breakage


@dataclass(frozen=True)
class _Burn:
    grant: _Grant
    from_date: date
    to_date: date


@dataclass(frozen=True)
class _CarryOver:
    grant: _Grant
    renewal: _Grant
    on_date: date


def burn(usage: pl.DataFrame, grants: pl.DataFrame, weights: pl.DataFrame, last_date: date) -> pl.DataFrame:
    """Ledger of every grant to the end of `last_date`: one row per entry, columns ENTRY_SCHEMA.

    Entries are granted, carried_in, consumed, expired, voided, carried_out and blocked (tokens served
    beyond an exhausted grant whose policy is to block; no quota). All quantities are positive; for each
    grant granted + carried_in = consumed + expired + voided + carried_out + remaining, and the sum of
    transfer_cny (price, money carried in and out, refunds) less revenue and breakage is what is deferred.
    Tokens that no grant takes have no entry. A grant is exhausted when the next eligible token no longer
    fits; what is left then expires at once.

    Args:
        usage: metered tokens; USAGE_KEY, usage_date, hour_of_day, tokens.
        grants: one row per subscription with the terms of its package, columns of int_package__grants.
        weights: quota tokens per token by package_id, usage_date, hour_of_day, model_id, token_type; what
            has no row is not eligible.
        last_date: last business day of the data; what comes later has not happened.
    """
    book = [_grant(number, row) for number, row in enumerate(
        grants.filter(pl.col("granted_date") <= last_date)
        .sort("tenant_id", "priority", "expires_date", "granted_date", "subscription_id").to_dicts()
    )]
    movements = _Movements()
    for grant in book:
        grant.receive(grant.granted_units, grant.price_nano)
        movements.add(grant, "granted", grant.granted_date, grant.granted_units, transfer_nano=grant.price_nano)

    # The walk passes over the rows again and again, so it sees numbers where the usage has text.
    cells = weights.select(_WEIGHT_KEY).unique().with_row_index("cell")
    tenants = grants.select("tenant_id").unique().sort("tenant_id").with_row_index("tenant")
    rows = (
        usage.filter(pl.col("product") != "internal", pl.col("usage_date") <= last_date)
        .join(tenants, on="tenant_id").join(cells, on=_WEIGHT_KEY)
        .sort("tenant", *_BURN_SEQUENCE).with_row_index("row")
    )
    weights = weights.join(cells, on=_WEIGHT_KEY).select(
        "package_id", "cell", weight=(pl.col("weight_ratio").cast(pl.Decimal(38, 6)) * pl.lit(Decimal(MILLION))).cast(pl.Int128)
    )
    offered = rows.select(
        "row", "tenant", "cell", "usage_date", left=pl.col("tokens").cast(pl.Int128), governor=pl.lit(None, pl.Int64),
    )
    _guard_sums(offered, weights)

    taken, beyond = _walk(book, offered, dict(tenants.select("tenant_id", "tenant").iter_rows()), weights, movements, last_date)
    bought, taken_by_add_ons = _buy_add_ons(book, beyond, weights, movements)
    book += bought
    for grant in book:
        _close(grant, movements, last_date)

    taken = pl.concat([*taken, taken_by_add_ons], how="vertical")
    return pl.concat(
        [movements.frame(), _consumed(book, rows, taken), _blocked(book, rows, beyond)], how="vertical"
    )


def _guard_sums(rows: pl.DataFrame, weights: pl.DataFrame) -> None:
    # Polars wraps around without a word when a sum outgrows its type.
    if rows.is_empty() or weights.is_empty():
        return
    if rows["left"].max() * rows.height * weights["weight"].max() > _LARGEST_INT128:
        raise OverflowError("weighted tokens may add up to more than 128 bits hold")


def _grant(number: int, row: dict) -> _Grant:
    add_on = None
    if row["over_quota_policy"] == "add_on":
        add_on = {
            "package_id": row["add_on_package_id"], "settlement": row["add_on_settlement"],
            "granted_units": row["add_on_tokens"] * MILLION, "price_nano": _nano(row["add_on_price_cny"]),
            "expected_breakage_millionths": int((row["add_on_expected_breakage_ratio"] or 0) * MILLION),
        }
    return _Grant(
        number=number, subscription_id=row["subscription_id"], tenant_id=row["tenant_id"],
        package_id=row["package_id"], settlement=row["settlement"], granted_date=row["granted_date"],
        starts_date=row["starts_date"], expires_date=row["expires_date"], voided_date=row["voided_date"],
        granted_units=row["granted_tokens"] * MILLION, price_nano=_nano(row["price_cny"]),
        refund_nano=_nano(row["refund_cny"]) if row["voided_date"] else 0,
        carries_over=row["carry_over"] == "yes", renews_subscription_id=row["renews_subscription_id"],
        over_quota_policy=row["over_quota_policy"],
        expected_breakage_millionths=int((row["expected_breakage_ratio"] or 0) * MILLION), add_on=add_on,
    )


class _Movements:
    """Entries without usage, gathered as the walk meets them."""

    def __init__(self) -> None:
        self._rows: list[tuple] = []

    def add(
        self, grant: _Grant, entry: str, on_date: date, units: int, *,
        used_nano: int = 0, breakage_nano: int = 0, transfer_nano: int = 0,
    ) -> None:
        """Books one entry; one that moves neither quota nor money is none."""
        if units or used_nano or breakage_nano or transfer_nano:
            self._rows.append((
                grant.subscription_id, grant.parent_subscription_id, entry, on_date, grant.tenant_id,
                grant.settlement, units, used_nano, breakage_nano, transfer_nano,
            ))

    def frame(self) -> pl.DataFrame:
        """The entries, columns ENTRY_SCHEMA."""
        schema = {
            "subscription_id": pl.String, "parent_subscription_id": pl.String, "entry": pl.String,
            "usage_date": pl.Date, "tenant_id": pl.String, "settlement": pl.String, "units": pl.Int128,
            "used_nano": pl.Int128, "breakage_nano": pl.Int128, "transfer_nano": pl.Int128,
        }
        return _entries(pl.DataFrame(self._rows, schema=schema, orient="row").with_columns(
            tokens=pl.lit(0, pl.Int128),
            **{name: pl.lit(None, ENTRY_SCHEMA[name]) for name in USAGE_KEY if name != "tenant_id"},
        ))


def _entries(frame: pl.DataFrame) -> pl.DataFrame:
    """Whole numbers back to decimals, columns in the order of ENTRY_SCHEMA."""

    def decimal(column: str, scale: int) -> pl.Expr:
        whole = pl.col(column).cast(pl.Decimal(38, 0))
        return (whole * pl.lit(Decimal(1).scaleb(-scale))).cast(pl.Decimal(38, scale))

    return frame.with_columns(
        pl.col("tokens").cast(pl.Decimal(38, 0)), quota_tokens=decimal("units", 6),
        package_revenue_cny=decimal("used_nano", 9), breakage_cny=decimal("breakage_nano", 9),
        transfer_cny=decimal("transfer_nano", 9),
    ).select(pl.col(name).cast(dtype) for name, dtype in ENTRY_SCHEMA.items())


def _renewals(book: list[_Grant], last_date: date) -> dict[str, _Grant]:
    """For each grant that has something to pass on in time, the first grant that renews it."""
    by_id = {grant.subscription_id: grant for grant in book}
    renewals: dict[str, _Grant] = {}
    for renewal in book:
        grant = by_id.get(renewal.renews_subscription_id)
        if (
            grant is not None and grant.tenant_id == renewal.tenant_id and grant.carries_over
            and not grant.is_voided_early and grant.expires_date <= last_date
            and renewal.ends_date > grant.expires_date and renewal.granted_date <= grant.expires_date
        ):
            renewals.setdefault(grant.subscription_id, renewal)
    return renewals


def _actions(grants: list[_Grant], renewals: dict[str, _Grant]) -> Iterator[_Burn | _CarryOver]:
    """What happens to a tenant's grants, in an order that gives each what it depends on.

    Carry-overs cut time into stretches. Within one, grants burn in their order; at a cut, what expires
    with a renewal moves to it, also where that renewal burns earlier than the grant it renews.
    """
    carried = [grant for grant in grants if grant.subscription_id in renewals]
    cuts = sorted({grant.expires_date for grant in carried})
    for begins, ends in zip([date.min, *cuts], [*cuts, date.max], strict=True):
        for grant in carried:
            if grant.expires_date == begins:
                yield _CarryOver(grant, renewals[grant.subscription_id], begins)
        for grant in grants:
            from_date, to_date = max(grant.starts_date, begins), min(grant.ends_date, ends)
            if from_date < to_date:
                yield _Burn(grant, from_date, to_date)


def _walk(
    book: list[_Grant], rows: pl.DataFrame, tenants: dict[str, int], weights: pl.DataFrame,
    movements: _Movements, last_date: date,
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """What each grant takes, and the rows with what no grant takes (`left`, and the last grant beyond it).

    All tenants take their n-th action together, so the number of passes is that of the busiest tenant.
    """
    by_tenant: dict[int, list[_Grant]] = defaultdict(list)
    for grant in book:
        by_tenant[tenants[grant.tenant_id]].append(grant)
    renewals = _renewals(book, last_date)
    waiting = {tenant: list(_actions(grants, renewals)) for tenant, grants in by_tenant.items()}
    taken: list[pl.DataFrame] = [_no_takings()]
    done: list[pl.DataFrame] = []
    for turn in range(max(map(len, waiting.values()), default=0)):
        burns: dict[int, _Burn] = {}
        active = [tenant for tenant, actions in waiting.items() if turn < len(actions)]
        for tenant in active:
            action = waiting[tenant][turn]
            if isinstance(action, _CarryOver):
                _carry_over(action, movements)
            else:
                burns[tenant] = action
        is_active = pl.col("tenant").is_in(pl.lit(pl.Series(active, dtype=pl.get_index_type())).implode())
        done.append(rows.filter(~is_active))
        rows, takings = _take(rows.filter(is_active), burns, weights, movements)
        taken.append(takings)
    return taken, pl.concat([*done, rows], how="vertical")


def _no_takings() -> pl.DataFrame:
    return pl.DataFrame(schema={
        "row": pl.get_index_type(), "grant": pl.Int64, "phase": pl.Int64, "taken": pl.Int128, "units": pl.Int128,
    })


def _take(
    rows: pl.DataFrame, burns: dict[int, _Burn], weights: pl.DataFrame, movements: _Movements
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One grant of each tenant takes from the rows what fits: the rows that keep something, and what was taken."""
    columns = rows.columns
    takers = pl.DataFrame(
        [
            (tenant, each.grant.package_id, each.grant.number, len(each.grant.phases) - 1,
             each.from_date, each.to_date, each.grant.remaining_units)
            for tenant, each in burns.items()
        ],
        schema={
            "tenant": pl.get_index_type(), "package_id": pl.String, "grant": pl.Int64, "phase": pl.Int64,
            "from_date": pl.Date, "to_date": pl.Date, "quota": pl.Int128,
        }, orient="row",
    )
    zero = pl.lit(0, pl.Int128)
    offered = (
        rows.join(takers, on="tenant", how="left", maintain_order="left")
        .join(weights, on=["package_id", "cell"], how="left", maintain_order="left")
        .with_columns(weight=pl.when(
            pl.col("usage_date") >= pl.col("from_date"), pl.col("usage_date") < pl.col("to_date")
        ).then("weight"))
        .with_columns(asked=pl.when(pl.col("weight").is_not_null()).then(pl.col("left") * pl.col("weight")).otherwise(zero))
        .with_columns(asked_so_far=pl.col("asked").cum_sum().over("tenant"))
        .with_columns(room=pl.col("quota") - pl.col("asked_so_far") + pl.col("asked"))
        .with_columns(
            taken=pl.when(pl.col("weight").is_null() | (pl.col("room") <= 0)).then(zero)
            .when(pl.col("asked") <= pl.col("room")).then("left")
            # Room only shrinks, so this is the one row that crosses the end of the grant.
            .otherwise(pl.col("room") // pl.col("weight")),
            governor=pl.when(pl.col("weight").is_not_null()).then("grant").otherwise("governor"),
        )
        .with_columns(units=pl.col("taken") * pl.col("weight"))
    )
    takings = offered.filter(pl.col("taken") > 0).select(_no_takings().columns)
    totals = {
        number: (units, exhausted_date) for number, units, exhausted_date in offered.filter(
            pl.col("weight").is_not_null()
        ).group_by("grant").agg(
            pl.col("units").sum(),
            pl.col("usage_date").filter(pl.col("asked") >= pl.col("room")).min().alias("exhausted_date"),
        ).iter_rows()
    }
    for each in burns.values():
        units, exhausted_date = totals.get(each.grant.number, (0, None))
        each.grant.consume(units)
        if exhausted_date is not None and (units or each.grant.remaining_units):
            _exhaust(each.grant, exhausted_date, movements)
    kept = offered.with_columns(left=pl.col("left") - pl.col("taken")).filter(pl.col("left") > 0).select(columns)
    return kept, takings


def _exhaust(grant: _Grant, on_date: date, movements: _Movements) -> None:
    units, breakage = grant.forfeit()
    movements.add(grant, "expired", on_date, units, breakage_nano=breakage)


def _carry_over(action: _CarryOver, movements: _Movements) -> None:
    grant, renewal = action.grant, action.renewal
    units, money = grant.remaining_units, grant.deferred_nano
    if not units:
        return
    grant.remaining_units = grant.deferred_nano = 0
    renewal.receive(units, money)
    movements.add(grant, "carried_out", action.on_date, units, transfer_nano=-money)
    movements.add(renewal, "carried_in", action.on_date, units, transfer_nano=money)


def _close(grant: _Grant, movements: _Movements, last_date: date) -> None:
    """Books what the end of a grant does to the rest of it, once that day has come."""
    if grant.expires_date <= last_date and not grant.is_voided_early:
        units, breakage = grant.forfeit()
        movements.add(grant, "expired", grant.expires_date, units, breakage_nano=breakage)
    if grant.voided_date is not None and grant.voided_date <= last_date:
        units, used, breakage = grant.void()
        movements.add(
            grant, "voided", grant.voided_date, units, used_nano=used, breakage_nano=breakage,
            transfer_nano=-grant.refund_nano,
        )


def _buy_add_ons(
    book: list[_Grant], beyond: pl.DataFrame, weights: pl.DataFrame, movements: _Movements
) -> tuple[list[_Grant], pl.DataFrame]:
    """Packs bought for what goes beyond grants whose policy is add_on, when no other grant takes a token.

    A day's purchase is as many packs as the day needs beyond what is left of the one before, and ends with
    the grant that it was made for. One pack at a time would make millions of grants of a customer's busy day.
    """
    bought: list[_Grant] = []
    takings: list[tuple] = []
    parents = {grant.number: grant for grant in book if grant.over_quota_policy == "add_on"}
    packages = pl.DataFrame(
        [(number, grant.add_on["package_id"]) for number, grant in parents.items()],
        schema={"governor": pl.Int64, "package_id": pl.String}, orient="row",
    )
    asked = (
        beyond.join(packages, on="governor")
        .join(weights, on=["package_id", "cell"])
        .sort("row")
        .with_columns(needed=pl.col("left") * pl.col("weight"))
        .with_columns(needed=pl.col("needed").cum_sum(reverse=True).over("governor", "usage_date"))
        .select("governor", "row", "usage_date", "left", "weight", "needed")
    )
    open_packs: dict[int, _Grant] = {}
    counts: dict[int, int] = defaultdict(int)
    for number, row, usage_date, left, weight, needed in asked.iter_rows():
        parent = parents[number]
        taken_before = 0
        while left:
            pack = open_packs.get(number)
            if pack is None:
                counts[number] += 1
                # Rounded up, so that the rest of the day fits.
                pack_count = -(-(needed - taken_before) // parent.add_on["granted_units"])
                pack = _add_on(parent, counts[number], pack_count, len(book) + len(bought), usage_date, movements)
                open_packs[number] = pack
                bought.append(pack)
            fitting = min(left, pack.remaining_units // weight)
            if fitting:
                takings.append((row, pack.number, 0, fitting, fitting * weight))
                pack.consume(fitting * weight)
                left -= fitting
                taken_before += fitting * weight
            if left or not pack.remaining_units:
                _exhaust(pack, usage_date, movements)
                del open_packs[number]
    return bought, pl.DataFrame(takings, schema=_no_takings().schema, orient="row")


def _add_on(
    parent: _Grant, purchase: int, pack_count: int, number: int, on_date: date, movements: _Movements
) -> _Grant:
    terms = {
        **parent.add_on, "granted_units": pack_count * parent.add_on["granted_units"],
        "price_nano": pack_count * parent.add_on["price_nano"],
    }
    pack = _Grant(
        number=number, subscription_id=f"{parent.subscription_id}/add-on-{purchase}", tenant_id=parent.tenant_id,
        granted_date=on_date, starts_date=on_date, expires_date=parent.ends_date, voided_date=None, refund_nano=0,
        carries_over=False, renews_subscription_id=None, over_quota_policy="list_price", add_on=None,
        parent_subscription_id=parent.subscription_id, **terms,
    )
    pack.receive(pack.granted_units, pack.price_nano)
    movements.add(pack, "granted", on_date, pack.granted_units, transfer_nano=pack.price_nano)
    return pack


def _named(book: Iterable[_Grant]) -> pl.DataFrame:
    return pl.DataFrame(
        [(grant.number, grant.subscription_id, grant.parent_subscription_id, grant.settlement) for grant in book],
        schema={"grant": pl.Int64, "subscription_id": pl.String, "parent_subscription_id": pl.String,
                "settlement": pl.String}, orient="row",
    )


def _consumed(book: list[_Grant], rows: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Entries of use: recognised revenue is the difference of neighbours of a running, rounded total."""
    phases = pl.DataFrame(
        [
            (grant.number, number, phase.price_nano, phase.quota_units, phase.expected_units)
            for grant in book for number, phase in enumerate(grant.phases)
        ],
        schema={"grant": pl.Int64, "phase": pl.Int64, "price": pl.Int128, "quota": pl.Int128, "expected": pl.Int128},
        orient="row",
    )

    def share(whole: str) -> pl.Expr:
        two = pl.lit(2, pl.Int128)
        return (two * pl.col("price") * pl.col("consumed") + pl.col(whole)) // (two * pl.col(whole))

    def step(column: str) -> pl.Expr:
        return pl.col(column) - pl.col(column).shift(1, fill_value=0).over("grant", "phase")

    return _entries(
        taken.sort("grant", "row").join(phases, on=["grant", "phase"], how="left", maintain_order="left")
        .with_columns(consumed=pl.col("units").cum_sum().over("grant", "phase"))
        .with_columns(used=share("quota"), total=pl.min_horizontal("price", share("expected")))
        .with_columns(used_nano=step("used"), total_nano=step("total"))
        .with_columns(
            breakage_nano=pl.col("total_nano") - pl.col("used_nano"), transfer_nano=pl.lit(0, pl.Int128),
            entry=pl.lit("consumed"), tokens=pl.col("taken"),
        )
        .join(_named(book), on="grant", how="left", maintain_order="left")
        .join(rows.select("row", "usage_date", *USAGE_KEY), on="row", how="left", maintain_order="left")
    )


def _blocked(book: list[_Grant], rows: pl.DataFrame, beyond: pl.DataFrame) -> pl.DataFrame:
    """Entries of tokens that were served although the last grant they fell under was used up and blocks."""
    blocking = [grant for grant in book if grant.over_quota_policy == "block"]
    nothing = pl.lit(0, pl.Int128)
    return _entries(
        beyond.select("row", "left", grant="governor").join(_named(blocking).drop("settlement"), on="grant")
        .join(rows.select("row", "usage_date", *USAGE_KEY), on="row")
        .with_columns(
            entry=pl.lit("blocked"), settlement=pl.lit("blocked"), tokens=pl.col("left"), units=nothing,
            used_nano=nothing, breakage_nano=nothing, transfer_nano=nothing,
        )
    )
