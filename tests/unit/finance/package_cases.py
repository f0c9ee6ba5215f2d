"""Grants, weights and usage for tests of packages, and a plain simulation to hold the real one against."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from orchestration.finance.packages import burn

FIRST = date(2026, 8, 24)
TERMS = {
    "package_id": "pack", "settlement": "package", "priority": 100, "granted_date": FIRST, "starts_date": FIRST,
    "expires_date": date(2026, 12, 1), "voided_date": None, "granted_tokens": 1_000_000, "price_cny": Decimal("0.00"),
    "refund_cny": None, "carry_over": "no", "renews_subscription_id": None, "over_quota_policy": "list_price",
    "expected_breakage_ratio": None, "add_on_package_id": None, "add_on_settlement": None, "add_on_tokens": None,
    "add_on_price_cny": None, "add_on_expected_breakage_ratio": None,
}
GRANT_SCHEMA = {
    "subscription_id": pl.String, "tenant_id": pl.String, "package_id": pl.String, "settlement": pl.String,
    "priority": pl.Int64, "granted_date": pl.Date, "starts_date": pl.Date, "expires_date": pl.Date,
    "voided_date": pl.Date, "granted_tokens": pl.Int64, "price_cny": pl.Decimal(18, 2),
    "refund_cny": pl.Decimal(18, 2), "carry_over": pl.String, "renews_subscription_id": pl.String,
    "over_quota_policy": pl.String, "expected_breakage_ratio": pl.Decimal(9, 6), "add_on_package_id": pl.String,
    "add_on_settlement": pl.String, "add_on_tokens": pl.Int64, "add_on_price_cny": pl.Decimal(18, 2),
    "add_on_expected_breakage_ratio": pl.Decimal(9, 6),
}
USAGE_SCHEMA = {
    "usage_hour": pl.Datetime("us"), "usage_date": pl.Date, "hour_of_day": pl.Int32, "serving_site_id": pl.String,
    "tenant_id": pl.String, "model_id": pl.String, "product": pl.String, "context_floor_tokens": pl.Int64,
    "token_type": pl.String, "tokens": pl.Decimal(38, 0),
}
WEIGHT_SCHEMA = {
    "package_id": pl.String, "usage_date": pl.Date, "hour_of_day": pl.Int32, "model_id": pl.String,
    "token_type": pl.String, "weight_ratio": pl.Decimal(9, 6),
}


def grant(subscription_id: str, tenant_id: str = "t", **terms: object) -> dict:
    """One grant: the given terms on top of TERMS."""
    return {"subscription_id": subscription_id, "tenant_id": tenant_id, **TERMS, **terms}


def used(at: str | datetime, tokens: int, **key: object) -> dict:
    """One metered row at a UTC instant; model m, input tokens, site s unless said otherwise."""
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    hour = instant.replace(minute=0, second=0, microsecond=0)
    shanghai = hour + timedelta(hours=8)
    return {
        "usage_hour": hour, "usage_date": shanghai.date(), "hour_of_day": shanghai.hour, "serving_site_id": "s",
        "tenant_id": "t", "model_id": "m", "product": "payg", "context_floor_tokens": 0, "token_type": "input",
        "tokens": Decimal(tokens), **key,
    }


def metered(records: list[dict]) -> pl.DataFrame:
    """Records added up to the grain of int_usage__metered, whatever their order."""
    frame = pl.DataFrame(records, schema=USAGE_SCHEMA, orient="row")
    key = [name for name in USAGE_SCHEMA if name != "tokens"]
    return frame.group_by(key).agg(pl.col("tokens").cast(pl.Int128).sum().cast(pl.Decimal(38, 0)))


def weights_for(usage: pl.DataFrame, ratios: dict[tuple[str, str], Decimal | str] | None = None) -> pl.DataFrame:
    """Weight of every metered hour, by (package, model); package pack takes model m at 1 unless said otherwise."""
    given = ratios or {("pack", "m"): "1"}
    hours = usage.select("usage_date", "hour_of_day", "model_id", "token_type").unique()
    table = pl.DataFrame(
        [(package, model, Decimal(ratio)) for (package, model), ratio in given.items()],
        schema={"package_id": pl.String, "model_id": pl.String, "weight_ratio": pl.Decimal(9, 6)}, orient="row",
    )
    return hours.join(table, on="model_id").select(*WEIGHT_SCHEMA).cast(WEIGHT_SCHEMA)


def burnt(
    records: list[dict], grants: list[dict], ratios: dict[tuple[str, str], Decimal | str] | None = None,
    last_date: date = date(2026, 9, 30),
) -> pl.DataFrame:
    """The ledger for these records and grants."""
    usage = metered(records)
    return burn(usage, pl.DataFrame(grants, schema=GRANT_SCHEMA, orient="row"), weights_for(usage, ratios), last_date)


def totals(ledger: pl.DataFrame, subscription_id: str) -> dict[str, Decimal]:
    """Quota by entry of one grant, and `remaining`; money as recognised (`used`, `breakage`) and `deferred`."""
    rows = ledger.filter(pl.col("subscription_id") == subscription_id)
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows.iter_rows(named=True):
        found[row["entry"]] += row["quota_tokens"]
        found["used"] += row["package_revenue_cny"]
        found["breakage"] += row["breakage_cny"]
        found["deferred"] += row["transfer_cny"] - row["package_revenue_cny"] - row["breakage_cny"]
    coming_in = found["granted"] + found["carried_in"]
    found["remaining"] = coming_in - sum(
        (found[entry] for entry in ("consumed", "expired", "voided", "carried_out")), Decimal(0)
    )
    return found


def takings(ledger: pl.DataFrame, entry: str = "consumed") -> dict[tuple, int]:
    """Tokens by grant, hour, site, model and token type."""
    rows = ledger.filter(pl.col("entry") == entry).iter_rows(named=True)
    return {
        (row["subscription_id"], row["usage_hour"], row["serving_site_id"], row["model_id"], row["token_type"]): int(row["tokens"])
        for row in rows
    }
