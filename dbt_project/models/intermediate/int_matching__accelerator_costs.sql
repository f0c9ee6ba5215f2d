{{ config(materialized='view') }}

with
supply as (select * from {{ ref('int_matching__supply') }}),

accelerator_prices as (select * from {{ ref('stg_reference__accelerator_prices') }}),

operations_costs as (select * from {{ ref('stg_reference__operations_costs') }}),

-- A year of idling, at the mean tariff of the week's hours: what a job adds to it, the job pays.
pool_weeks as (
    select
        {{ iso_week('usage_date') }} as iso_week,
        site_id,
        accelerator_id,
        max(usage_date) as last_date,
        cast(round(sum(idle_energy_cny_per_accelerator_hour) * 8760 / count(*), 2) as decimal(38, 9))
            as idle_energy_cny_per_year
    from supply
    group by {{ iso_week('usage_date') }}, site_id, accelerator_id
),

bought as (
    select
        pool_weeks.*,
        accelerator_prices.price_cny,
        accelerator_prices.system_uplift_ratio,
        accelerator_prices.life_years,
        row_number() over (
            partition by pool_weeks.iso_week, pool_weeks.site_id, pool_weeks.accelerator_id
            order by {{ specificity('pool_weeks.accelerator_id', 'accelerator_prices.accelerator_id') }}
        ) as preference
    from pool_weeks
    inner join accelerator_prices
        on
            accelerator_prices.accelerator_id in (pool_weeks.accelerator_id, '*')
            and {{ holds_on('accelerator_prices', 'pool_weeks.last_date') }}
),

run as (
    select
        bought.*,
        operations_costs.cost_cny_per_accelerator_hour,
        row_number() over (
            partition by bought.iso_week, bought.site_id, bought.accelerator_id
            order by
                {{ specificity('bought.site_id', 'operations_costs.site_id') }},
                {{ specificity('bought.accelerator_id', 'operations_costs.accelerator_id') }}
        ) as operations_preference
    from bought
    left join operations_costs
        on
            operations_costs.site_id in (bought.site_id, '*')
            and operations_costs.accelerator_id in (bought.accelerator_id, '*')
            and {{ holds_on('operations_costs', 'bought.last_date') }}
    where bought.preference = 1
)

select
    iso_week,
    site_id,
    accelerator_id,
    cast(
        {{ money_share(money_times_ratio('price_cny', 'system_uplift_ratio'), '1000', 'life_years * 1000') }}
        + coalesce(cost_cny_per_accelerator_hour, 0) * 8760
        + idle_energy_cny_per_year as decimal(38, 9)
    ) as annual_cost_cny
from run
where operations_preference = 1
