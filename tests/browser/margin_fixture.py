"""A published finance.duckdb made up for tests: a network that sells tokens, with known corners.

Only tests use it. Money adds up row by row as in fct_margin_daily; amounts come from hashes of the keys, so
the same wishes give the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb

from orchestration.sql import literal

LAST_DATE = date(2026, 11, 22)
SEGMENTS = ("enterprise", "ai_model_company", "developer")
PRODUCTS = ("payg", "package")
SMALL_CELL = ("site-01", "small")
"""A site and product that three customers use: too few to be shown by themselves."""


def build_finance(
    folder: Path, weeks: int = 15, site_count: int = 4, model_count: int = 3, tenant_count: int = 24,
    site_names: Mapping[str, str] | None = None, model_ids: Sequence[str] | None = None,
    tenant_ids: Sequence[str] | None = None, unpriced: bool = False, restated: bool = False, planned: bool = False,
) -> Path:
    """Writes published/finance.duckdb below the folder and returns its path."""
    path = folder / "published" / "finance.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    first_date = LAST_DATE - timedelta(days=7 * weeks - 1)
    sites = [f"site-{index:02}" for index in range(1, site_count + 1)]
    models = list(model_ids or (f"model-{index:02}" for index in range(1, model_count + 1)))
    tenants = list(tenant_ids or ()) + [f"tenant-{index:03}" for index in range(1, tenant_count + 1)]
    names = dict(site_names or {})
    with duckdb.connect() as connection:
        # Opened directly, finance.duckdb is a catalog named like its schema.
        connection.execute(f"attach {literal(str(path))} as edition")
        connection.execute("use edition")
        for schema in ("capacity", "finance", "quality", "meta"):
            connection.execute(f"create schema {schema}")
        _members(connection, "dim_site", [(site, names.get(site, f"Site {site[-2:]}"), names.get(site, f"站点 {site[-2:]}")) for site in sites],
                 ("site_id", "site_name", "site_name_cn"))
        _members(connection, "dim_model", [(model, model) for model in models], ("model_id", "model_name"))
        _members(connection, "dim_tenant", [
            (tenant, tenant, SEGMENTS[index % len(SEGMENTS)]) for index, tenant in enumerate(tenants)
        ], ("tenant_id", "tenant_name", "segment"))
        _margin(connection, first_date, sites, models, tenants, unpriced)
        _packages(connection, first_date)
        _capital(connection, sites, first_date)
        _economics(connection)
        _prices(connection, models)
        _charges(connection)
        _planning(connection, sites, models)
        _targets(connection, planned)
        _quality(connection, restated)
        connection.execute(
            "create table meta.publication as select 'run-of-the-test' as run_id, timestamp '2026-11-24 06:30:00' as published_at, "
            "timestamp '2026-11-22 15:59:00' as data_as_of, '2026-W47' as iso_week, 'stamp' as forecast_stamp, "
            "12::bigint as delivery_count, 23::bigint as check_count"
        )
    return path


def record_audit(path: Path, passed: bool) -> None:
    """Writes what the pipeline leaves beside the files after a try to publish."""
    failures = [] if passed else [
        {"name": "margin = net revenue - cost, to the last digit", "figure": "3 rows do not add up", "next_step": "See finance.fct_margin_daily."}
    ]
    path.with_name("last_audit.json").write_text(json.dumps({
        "run_id": "later-run", "attempted_at": "2026-11-24T09:00:00Z", "edition": "finance", "passed": passed, "failures": failures,
    }))


def _members(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple], columns: Sequence[str]) -> None:
    connection.execute(f"create table capacity.{table} ({', '.join(f'{column} varchar' for column in columns)})")
    connection.executemany(f"insert into capacity.{table} values ({', '.join('?' * len(columns))})", rows)


def _listed(values: Sequence[str]) -> str:
    return "[" + ", ".join(literal(value) for value in values) + "]"


def _margin(
    connection: duckdb.DuckDBPyConnection, first_date: date, sites: Sequence[str], models: Sequence[str],
    tenants: Sequence[str], unpriced: bool,
) -> None:
    cny = "decimal(38, 9)"
    connection.execute(f"""
        create table finance.fct_margin_daily as
        with keys as (
            select day::date as usage_date, site, model, product
            from generate_series(date {literal(first_date.isoformat())}, date {literal(LAST_DATE.isoformat())}, interval 1 day) as days(day),
                (select unnest({_listed(sites)}) as site), (select unnest({_listed(models)}) as model),
                (select unnest({_listed(PRODUCTS)}) as product)
            union all
            select day::date, 'site-01', {literal(models[0])}, 'small'
            from generate_series(date {literal(LAST_DATE.isoformat())} - interval 20 day, date {literal(LAST_DATE.isoformat())}, interval 1 day) as days(day)
        ),
        tenanted as (
            select
                keys.*,
                {_listed(tenants)}[1 + (hash(site, model, product, usage_date) % case when product = 'small' then 3 else {len(tenants)} end)::int] as tenant,
                hash(site, model, product) % 1000 as level, hash(usage_date, site, model, product, 'x') % 1000 as wobble,
                date_diff('day', date {literal(first_date.isoformat())}, usage_date) as age
            from keys
        ),
        sold as (
            select
                *, (1000000 * (200 + level) * (1 + age / 400.0) * (0.9 + wobble / 5000.0))::bigint as tokens,
                (2 + level / 300.0)::{cny} as price
            from tenanted
        ),
        priced as (
            select
                *, case when {str(unpriced).lower()} and wobble < 40 then tokens else 0 end as unpriced,
                (case when product = 'payg' then tokens / 1000000 * price else 0 end)::{cny} as list_revenue,
                (case when product <> 'payg' then tokens / 1000000 * price * 0.7 else 0 end)::{cny} as package_revenue,
                (tokens / 1000000 * (0.5 + level / 900.0))::{cny} as cost
            from sold
        )
        select
            usage_date, strftime(usage_date, '%G-W%V') as iso_week, site as serving_site_id, tenant as tenant_id, model as model_id,
            product, tokens::decimal(38, 0) as tokens,
            (case when product = 'payg' then tokens - unpriced else 0 end)::decimal(38, 0) as priced_tokens,
            (case when product <> 'payg' then tokens - unpriced else 0 end)::decimal(38, 0) as package_tokens,
            0::decimal(38, 0) as trial_tokens, unpriced::decimal(38, 0) as unpriced_tokens,
            (tokens / 1e9)::decimal(38, 6) as held_accelerator_hours,
            list_revenue as list_revenue_cny, (list_revenue * 0.12)::{cny} as discount_cny, package_revenue as package_revenue_cny,
            (package_revenue * 0.03)::{cny} as breakage_cny, ((list_revenue + package_revenue) * 0.05)::{cny} as tax_cny,
            list_revenue - discount_cny - tax_cny + package_revenue + breakage_cny as net_revenue_cny,
            (cost * 0.55)::{cny} as depreciation_cny, (cost * 0.1)::{cny} as energy_cny, (cost * 0.02)::{cny} as network_cny,
            (cost * 0.15)::{cny} as operations_cny, (cost * 0.18)::{cny} as idle_cny,
            depreciation_cny + energy_cny + network_cny + operations_cny + idle_cny as cost_cny, 0::{cny} as trial_cost_cny,
            net_revenue_cny - cost_cny as gross_margin_cny
        from priced
        order by usage_date, serving_site_id, tenant_id, model_id, product
    """)


def _packages(connection: duckdb.DuckDBPyConnection, first_date: date) -> None:
    connection.execute(f"""
        create table finance.fct_package_burndown_daily as
        with grants as (
            select
                'grant-' || lpad(number::varchar, 3, '0') as subscription_id, 1 + number % 24 as tenant_number, number,
                case when number % 3 = 0 then 'trial' else 'package' end as settlement,
                date {literal(first_date.isoformat())} + (number * 2 % 60)::int as starts_date,
                date {literal(LAST_DATE.isoformat())} + (number * 5 % 70 - 10)::int as expires_date,
                (1000000000 * (1 + number % 5))::decimal(38, 6) as granted
            from range(60) as numbers(number)
        ),
        days as (
            select *, greatest(date_diff('day', starts_date, day::date) + 1, 0) as age
            from grants, generate_series(date {literal(first_date.isoformat())}, date {literal(LAST_DATE.isoformat())}, interval 1 day) as days(day)
            where day >= starts_date
        ),
        burned as (
            select *, least(granted, granted * age * (1 + number % 4) / 120)::decimal(38, 6) as consumed,
                least(granted, granted * greatest(age - 1, 0) * (1 + number % 4) / 120)::decimal(38, 6) as consumed_before
            from days
        )
        select
            day::date as usage_date, subscription_id, null::varchar as parent_subscription_id,
            'tenant-' || lpad(tenant_number::varchar, 3, '0') as tenant_id,
            {_listed(SEGMENTS)}[1 + (tenant_number - 1) % 3] as segment, 'pack-' || number % 4 as package_id, settlement, starts_date,
            expires_date, case when day >= expires_date then 'expired' when consumed = granted then 'exhausted' else 'active' end as state,
            granted as granted_tokens, 0::decimal(38, 6) as carried_in_tokens, consumed as consumed_tokens,
            (case when day >= expires_date then granted - consumed else 0 end)::decimal(38, 6) as expired_tokens,
            (case when day >= expires_date then 0 else granted - consumed end)::decimal(38, 6) as remaining_tokens,
            consumed - consumed_before as day_consumed_tokens, 100::decimal(38, 9) as price_cny,
            (100 * consumed / granted)::decimal(38, 9) as recognised_cny, (100 - 100 * consumed / granted)::decimal(38, 9) as deferred_cny,
            case when consumed > 0 then day::date + (10 + number)::int end as projected_exhaustion_date,
            case when consumed > 0 then day::date + (7 + number)::int end as projected_exhaustion_date_early,
            case when consumed > 0 then day::date + (16 + number)::int end as projected_exhaustion_date_late
        from burned order by 1, 2
    """)
    connection.execute(f"""
        create table finance.fct_trial_conversion as
        select
            strftime(week, '%G-W%V') as cohort_week, segment, 40::bigint as granted_count, 34::bigint as activated_count,
            25::bigint as half_burned_count, 20::bigint as exhausted_count, 8::bigint as expired_count, 15::bigint as converted_count,
            2::bigint as retained_count, 10::bigint as retention_due_count, 4e9::decimal(38, 6) as granted_tokens,
            3000000000::decimal(38, 0) as given_away_tokens, 120.5::decimal(38, 9) as trial_cost_cny,
            900.25::decimal(38, 9) as revenue_after_conversion_cny
        from generate_series(date_trunc('week', date {literal(first_date.isoformat())}), date_trunc('week', date {literal(LAST_DATE.isoformat())}), interval 7 day) as weeks(week),
            (select unnest({_listed(SEGMENTS)}) as segment)
        order by 1, 2
    """)


def _capital(connection: duckdb.DuckDBPyConnection, sites: Sequence[str], first_date: date) -> None:
    connection.execute(f"""
        create table finance.fct_tranche_cash as
        select
            'tranche-' || site as tranche_id, site as site_id, 'accelerator-a' as accelerator_id, 64::bigint as accelerator_count,
            date '2025-06-01' as commissioned_date, date '2030-06-01' as life_ends_date, 9000000::decimal(38, 9) as capital_cny,
            6500000::decimal(38, 9) as opening_book_cny, date {literal(first_date.isoformat())} as observed_from_date,
            (900000 + 50000 * number)::decimal(38, 9) as cumulative_gross_cash_cny,
            (case when number = 2 then 0 else 60000 + 9000 * number end)::decimal(38, 9) as weekly_gross_cash_cny
        from (select unnest({_listed(sites)}) as site, generate_subscripts({_listed(sites)}, 1) as number)
    """)
    connection.execute(f"""
        create table finance.fct_capital_payback as
        select
            * exclude (life_ends_date),
            case when weekly_gross_cash_cny > 0 then date {literal(LAST_DATE.isoformat())} + 900 end as payback_date_low,
            case when weekly_gross_cash_cny > 0 then date {literal(LAST_DATE.isoformat())} + 700 end as payback_date_base,
            case when weekly_gross_cash_cny > 0 then date {literal(LAST_DATE.isoformat())} + 560 end as payback_date_high
        from finance.fct_tranche_cash
    """)


def _economics(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("""
        create table finance.fct_unit_economics_weekly as
        select
            iso_week, serving_site_id as site_id, model_id, sum(tokens)::decimal(38, 0) as tokens,
            sum(net_revenue_cny)::decimal(38, 9) as net_revenue_cny, sum(cost_cny)::decimal(38, 9) as cost_cny,
            (sum(cost_cny) * 0.4)::decimal(38, 9) as usage_cost_cny
        from finance.fct_margin_daily where model_id <> 'none' group by all order by 1, 2, 3
    """)


def _charges(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("""
        create table finance.focus_cost_and_usage as
        select
            usage_date - interval 8 hours as "ChargePeriodStart", serving_site_id as "RegionId", product as "x_Product",
            model_id || '/' || token_type as "SkuId", 'Tokens' as "ConsumedUnit", 'Usage' as "ChargeCategory",
            (tokens * share)::decimal(38, 6) as "ConsumedQuantity", (list_revenue_cny * share)::decimal(38, 9) as "ListCost",
            (list_revenue_cny * share)::decimal(38, 9) as "EffectiveCost"
        from finance.fct_margin_daily, (values ('input', 0.5), ('cached_input', 0.2), ('output', 0.3)) as types(token_type, share)
    """)


def _targets(connection: duckdb.DuckDBPyConnection, planned: bool) -> None:
    rows = [("list_revenue_cny", 310_000), ("net_revenue_cny", 480_000), ("gross_margin_cny", 330_000.5), ("gross_margin_ratio", 0.65)]
    connection.execute("""
        create table finance.dim_margin_target (
            measure varchar, site_id varchar, valid_from date, valid_to date, target_value decimal(38, 9), source varchar,
            confidence varchar, provided_by varchar, delivered_date date
        )
    """)
    for line, (measure, value) in enumerate(rows if planned else [], start=2):
        connection.execute(
            "insert into finance.dim_margin_target values (?, 'all', '0001-01-01', '9999-12-31', ?, 'Budget 2026', 'high', ?, '2026-10-01')",
            [measure, value, f"performance_targets.csv line {line}"],
        )


def _prices(connection: duckdb.DuckDBPyConnection, models: Sequence[str]) -> None:
    connection.execute(f"""
        create table finance.fct_price_position as
        select
            price_date::date as price_date, model as model_id, token_type, vendor, vendor || ' One' as model_name, 'same_class' as comparison,
            (3 * weight)::decimal(38, 9) as price_cny_per_million, (weight * factor)::decimal(38, 9) as competitor_price_cny_per_million,
            3.0 / factor as price_ratio, 2::bigint as our_rank, 3::bigint as ranked_count, price_date::date - age as observed_date,
            age::bigint as age_days, age > 14 as is_stale, 'https://prices.example/' || vendor as competitor_source
        from (select unnest({_listed(models)}) as model),
            (values ('input', 1.0), ('cached_input', 0.1), ('output', 4.0)) as types(token_type, weight),
            (values ('Fresh Cloud', 2.0, 5), ('Stale Cloud', 4.5, 60)) as vendors(vendor, factor, age),
            generate_series(date {literal(LAST_DATE.isoformat())} - interval 21 day, date {literal(LAST_DATE.isoformat())}, interval 7 day) as dates(price_date)
        order by all
    """)


def _planning(connection: duckdb.DuckDBPyConnection, sites: Sequence[str], models: Sequence[str]) -> None:
    """Scenarios of which two cost and one earns, savings by model, a pool that pays, one that does not, and an idle link."""
    money = "::decimal(38, 9)"
    connection.execute(f"""
        create table finance.fct_what_if_margin as
        select '2026-W47' as cutoff_week, scenario, parameters, 1000000{money} as base_margin_cny,
            (1000000 + difference){money} as scenario_margin_cny, difference{money} as difference_cny
        from (values
            ('cut', '{{"cut_ratio": 0.15, "elasticity": 1.0}}', -1000.25), ('growth', '{{"growth_ratio": 0.1}}', 90000),
            ('lost', '{{"lost_site_id": "site-02", "unheard_of": 1}}', -50000.5)) as scenarios(scenario, parameters, difference)
    """)
    connection.execute(f"""
        create table finance.fct_scheduling_saving as
        select '2026-W47' as iso_week, model as model_id, 1000::decimal(38, 0) as asked_tokens, 900::decimal(38, 0) as actual_tokens,
            500{money} as actual_earned_cny, 40{money} as actual_energy_cny, 7{money} as actual_transport_cny,
            1000::decimal(38, 0) as best_tokens, 520{money} as best_earned_cny, 35{money} as best_energy_cny, 9{money} as best_transport_cny,
            23{money} as saving_cny
        from (select unnest({_listed(models)}) as model)
    """)
    connection.execute(f"""
        create table finance.fct_shadow_price as
        select '2026-W47' as iso_week, kind as resource_kind, resource as resource_id, site as site_id, accelerator as accelerator_id,
            link as link_id, hours::bigint as binding_hours_count, worth{money} as value_cny_per_year, cost{money} as annual_cost_cny, verdict
        from (values
            ('accelerator', 'pays', {literal(sites[0])}, 'accelerator-a', null, 100, 150000, 100000, 'build'),
            ('accelerator', 'binds', {literal(sites[-1])}, 'accelerator-a', null, 9, 500, 100000, 'move'),
            ('wavelength', 'a--b', null, null, 'a--b', 0, 0, null, 'wait')
        ) as prices(kind, resource, site, accelerator, link, hours, worth, cost, verdict)
    """)


def _quality(connection: duckdb.DuckDBPyConnection, restated: bool) -> None:
    connection.execute("""
        create table quality.fct_restatements (
            restated_at timestamp, run_id varchar, usage_date date, is_closed_day boolean, reason varchar, mart varchar, site_id varchar,
            metric varchar, before decimal(38, 9), after decimal(38, 9), gross_change decimal(38, 9)
        )
    """)
    if restated:
        connection.execute(
            "insert into quality.fct_restatements values (timestamp '2026-11-24 05:00:00', 'r', date '2026-11-18', true, "
            "'late delivery of site-02', 'finance.fct_margin_daily', 'site-02', 'net_revenue_cny', 100, 120, 20)"
        )
