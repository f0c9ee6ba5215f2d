-- Catches hours that are held twice, or held where nothing is installed.
with
pools as (select * from {{ ref('int_cost__pools') }}),

holdings as (
    select
        usage_date,
        site_id,
        accelerator_id,
        sum(held_accelerator_hours) as held_accelerator_hours
    from {{ ref('int_cost__holdings') }}
    group by usage_date, site_id, accelerator_id
)

select
    holdings.usage_date,
    holdings.site_id,
    holdings.accelerator_id,
    holdings.held_accelerator_hours,
    pools.installed_accelerator_hours
from holdings
left join pools
    on
        holdings.usage_date = pools.usage_date
        and holdings.site_id = pools.site_id
        and holdings.accelerator_id = pools.accelerator_id
where holdings.held_accelerator_hours > coalesce(pools.installed_accelerator_hours, 0)
