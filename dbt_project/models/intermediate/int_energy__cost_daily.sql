with
energy as (select * from {{ ref('int_energy__hourly') }}),

tariffs as (select * from {{ ref('stg_reference__power_tariffs') }}),

site_power as (select * from {{ ref('stg_reference__site_power') }}),

site_days as (
    select distinct
        usage_date,
        site_id
    from energy
),

{{ tariff_owners_and_effectiveness('site_days') }},

-- A site without a figure is taken to draw what its accelerators draw; a gap in tariffs costs nothing and is
-- shown.
priced as (
    select
        energy.usage_date,
        energy.site_id,
        energy.accelerator_id,
        energy.energy_kwh,
        energy.estimated_energy_kwh,
        coalesce(effectiveness.pue_ratio, 1) as pue_ratio,
        tariffs.tariff_cny_per_kwh
    from energy
    left join tariff_owners on energy.usage_date = tariff_owners.usage_date and energy.site_id = tariff_owners.site_id
    left join tariffs
        on {{ tariff_of_hour('energy.site_id', 'energy.usage_date', 'energy.hour_of_day') }}
    left join effectiveness on energy.usage_date = effectiveness.usage_date and energy.site_id = effectiveness.site_id
)

select
    usage_date,
    site_id,
    accelerator_id,
    cast(sum(energy_kwh) as decimal(38, 6)) as energy_kwh,
    cast(sum(estimated_energy_kwh) as decimal(38, 6)) as estimated_energy_kwh,
    cast(sum(case when tariff_cny_per_kwh is null then energy_kwh else 0 end) as decimal(38, 6)) as unpriced_energy_kwh,
    cast(
        sum(
            round(
                cast(energy_kwh as decimal(20, 6)) * cast(pue_ratio as decimal(9, 6))
                * coalesce(tariff_cny_per_kwh, 0), 9
            )
        ) as decimal(38, 9)
    ) as energy_cny
from priced
group by usage_date, site_id, accelerator_id
