{{ config(materialized='view') }}

with
supply as (select * from {{ ref('int_supply_demand__hourly') }}),

accelerators as (select * from {{ ref('stg_reference__accelerators') }}),

accelerator_prices as (select * from {{ ref('stg_reference__accelerator_prices') }}),

tariffs as (select * from {{ ref('stg_reference__power_tariffs') }}),

site_power as (select * from {{ ref('stg_reference__site_power') }}),

pools as (
    select
        usage_hour,
        usage_date,
        {{ business_hour('usage_hour') }} as hour_of_day,
        site_id,
        accelerator_id,
        cast(serving_available_accelerator_microseconds as double) / 3.6e9 as available_accelerator_hours
    from supply
    where serving_available_accelerator_microseconds > 0
),

site_days as (
    select distinct
        usage_date,
        site_id
    from pools
),

{{ tariff_owners_and_effectiveness('site_days') }},

accelerator_days as (
    select distinct
        usage_date,
        accelerator_id
    from pools
),

idle_ratios as (
    select
        usage_date,
        accelerator_id,
        idle_power_ratio
    from (
        select
            accelerator_days.usage_date,
            accelerator_days.accelerator_id,
            accelerator_prices.idle_power_ratio,
            row_number() over (
                partition by accelerator_days.usage_date, accelerator_days.accelerator_id
                order by {{ specificity('accelerator_days.accelerator_id', 'accelerator_prices.accelerator_id') }}
            ) as preference
        from accelerator_days
        inner join accelerator_prices
            on
                accelerator_prices.accelerator_id in (accelerator_days.accelerator_id, '*')
                and {{ holds_on('accelerator_prices', 'accelerator_days.usage_date') }}
    ) as ranked
    where preference = 1
),

powered as (
    select
        pools.*,
        coalesce(accelerators.power_watts, {{ var('default_power_watts') }}) as power_watts,
        coalesce(cast(idle_ratios.idle_power_ratio as double), 0) as idle_power_ratio,
        coalesce(cast(effectiveness.pue_ratio as double), 1) as pue_ratio,
        coalesce(cast(tariffs.tariff_cny_per_kwh as double), 0) as tariff_cny_per_kwh
    from pools
    left join accelerators
        on
            pools.accelerator_id = accelerators.accelerator_id
            and {{ holds_on('accelerators', 'pools.usage_date') }}
    left join idle_ratios
        on pools.usage_date = idle_ratios.usage_date and pools.accelerator_id = idle_ratios.accelerator_id
    left join effectiveness on pools.usage_date = effectiveness.usage_date and pools.site_id = effectiveness.site_id
    left join tariff_owners on pools.usage_date = tariff_owners.usage_date and pools.site_id = tariff_owners.site_id
    left join tariffs on {{ tariff_of_hour('pools.site_id', 'pools.usage_date', 'pools.hour_of_day') }}
)

select
    usage_hour,
    usage_date,
    site_id,
    accelerator_id,
    available_accelerator_hours,
    available_accelerator_hours * {{ var('serving_target_utilization_ratio') }} as usable_accelerator_hours,
    cast(
        round(power_watts / 1000 * (1 - idle_power_ratio) * pue_ratio * tariff_cny_per_kwh, 9) as decimal(38, 9)
    ) as energy_cny_per_accelerator_hour,
    cast(round(power_watts / 1000 * idle_power_ratio * pue_ratio * tariff_cny_per_kwh, 9) as decimal(38, 9))
        as idle_energy_cny_per_accelerator_hour
from powered
