with
capacity as (select * from {{ ref('int_capacity__hourly') }}),

depreciation as (select * from {{ ref('int_cost__depreciation') }}),

energy as (select * from {{ ref('int_energy__cost_daily') }}),

network as (select * from {{ ref('int_cost__network') }}),

operations_costs as (select * from {{ ref('stg_reference__operations_costs') }}),

installed as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        site_id,
        accelerator_id,
        {{ accelerator_hours('sum(installed_accelerator_microseconds)') }} as installed_accelerator_hours
    from capacity
    group by {{ business_date('usage_hour') }}, site_id, accelerator_id
),

rates as (
    select
        usage_date,
        site_id,
        accelerator_id,
        cost_cny_per_accelerator_hour
    from (
        select
            installed.usage_date,
            installed.site_id,
            installed.accelerator_id,
            operations_costs.cost_cny_per_accelerator_hour,
            row_number() over (
                partition by installed.usage_date, installed.site_id, installed.accelerator_id
                order by
                    {{ specificity('installed.site_id', 'operations_costs.site_id') }},
                    {{ specificity('installed.accelerator_id', 'operations_costs.accelerator_id') }}
            ) as preference
        from installed
        inner join operations_costs
            on
                operations_costs.site_id in (installed.site_id, '*')
                and operations_costs.accelerator_id in (installed.accelerator_id, '*')
                and {{ holds_on('operations_costs', 'installed.usage_date') }}
    ) as ranked
    where preference = 1
),

operations as (
    select
        installed.usage_date,
        installed.site_id,
        installed.accelerator_id,
        installed.installed_accelerator_hours,
        cast(
            round(
                cast(installed.installed_accelerator_hours as decimal(20, 6))
                * coalesce(rates.cost_cny_per_accelerator_hour, 0), 9
            ) as decimal(38, 9)
        ) as operations_cny
    from installed
    left join rates
        on
            installed.usage_date = rates.usage_date
            and installed.site_id = rates.site_id
            and installed.accelerator_id = rates.accelerator_id
),

components as (
    select
        usage_date,
        site_id,
        accelerator_id,
        installed_accelerator_hours,
        0 as depreciation_cny,
        0 as energy_cny,
        0 as network_cny,
        operations_cny,
        0 as derived_depreciation_cny,
        0 as energy_kwh,
        0 as estimated_energy_kwh,
        0 as unpriced_energy_kwh
    from operations
    union all
    select
        usage_date,
        site_id,
        accelerator_id,
        0 as installed_accelerator_hours,
        depreciation_cny,
        0 as energy_cny,
        0 as network_cny,
        0 as operations_cny,
        derived_depreciation_cny,
        0 as energy_kwh,
        0 as estimated_energy_kwh,
        0 as unpriced_energy_kwh
    from depreciation
    union all
    select
        usage_date,
        site_id,
        accelerator_id,
        0 as installed_accelerator_hours,
        0 as depreciation_cny,
        energy_cny,
        0 as network_cny,
        0 as operations_cny,
        0 as derived_depreciation_cny,
        energy_kwh,
        estimated_energy_kwh,
        unpriced_energy_kwh
    from energy
    union all
    select
        usage_date,
        site_id,
        'network' as accelerator_id,
        0 as installed_accelerator_hours,
        0 as depreciation_cny,
        0 as energy_cny,
        network_cny,
        0 as operations_cny,
        0 as derived_depreciation_cny,
        0 as energy_kwh,
        0 as estimated_energy_kwh,
        0 as unpriced_energy_kwh
    from network
)

select
    usage_date,
    site_id,
    accelerator_id,
    cast(sum(installed_accelerator_hours) as decimal(38, 6)) as installed_accelerator_hours,
    cast(sum(depreciation_cny) as decimal(38, 9)) as depreciation_cny,
    cast(sum(energy_cny) as decimal(38, 9)) as energy_cny,
    cast(sum(network_cny) as decimal(38, 9)) as network_cny,
    cast(sum(operations_cny) as decimal(38, 9)) as operations_cny,
    cast(sum(depreciation_cny + energy_cny + network_cny + operations_cny) as decimal(38, 9)) as pool_cny,
    cast(sum(derived_depreciation_cny) as decimal(38, 9)) as derived_depreciation_cny,
    cast(sum(energy_kwh) as decimal(38, 6)) as energy_kwh,
    cast(sum(estimated_energy_kwh) as decimal(38, 6)) as estimated_energy_kwh,
    cast(sum(unpriced_energy_kwh) as decimal(38, 6)) as unpriced_energy_kwh
from components
group by usage_date, site_id, accelerator_id
