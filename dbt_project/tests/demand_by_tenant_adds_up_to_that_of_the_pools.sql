-- Catches a fan-out of the throughput join or a lost tenant: demand of a day summed over who asked must be
-- demand of the day summed over the pools that serve, but for rounding (half a token a row, 1e-9 hours a sum).
with
by_tenant as (
    select
        usage_date,
        sum(serving_demand_accelerator_hours) as demand_accelerator_hours
    from {{ ref('fct_demand_daily') }}
    group by usage_date
),

by_pool as (
    select
        usage_date,
        sum(serving_demand_accelerator_hours) as demand_accelerator_hours
    from {{ ref('fct_supply_demand_daily') }}
    group by usage_date
)

select
    coalesce(by_tenant.usage_date, by_pool.usage_date) as usage_date,
    by_tenant.demand_accelerator_hours as by_tenant_accelerator_hours,
    by_pool.demand_accelerator_hours as by_pool_accelerator_hours
from by_tenant
full outer join by_pool on by_tenant.usage_date = by_pool.usage_date
where
    abs(coalesce(by_tenant.demand_accelerator_hours, 0) - coalesce(by_pool.demand_accelerator_hours, 0))
    > 0.001 + 0.000001 * coalesce(by_tenant.demand_accelerator_hours, 0)
