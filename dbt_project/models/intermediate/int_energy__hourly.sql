with
capacity as (select * from {{ ref('int_capacity__hourly') }}),

telemetry as (select * from {{ ref('int_telemetry__hourly') }}),

counters as (select * from {{ ref('int_energy__counters') }}),

accelerators as (select * from {{ ref('stg_reference__accelerators') }}),

accelerator_prices as (select * from {{ ref('stg_reference__accelerator_prices') }}),

pools as (
    select
        pool_id,
        min(group_id) as group_id
    from {{ ref('int_inventory__pools') }}
    group by pool_id
),

-- Energy and the device time that it was drawn in: their ratio is a power.
measurements as (
    select
        usage_hour,
        site_id,
        pool_id,
        accelerator_id,
        counted_device_microseconds,
        counted_millijoules,
        cast(0 as bigint) as power_known_seconds,
        cast(0 as decimal(38, 3)) as power_joules
    from counters
    union all
    select
        usage_hour,
        site_id,
        pool_id,
        accelerator_id,
        cast(0 as decimal(38, 0)) as counted_device_microseconds,
        cast(0 as decimal(38, 0)) as counted_millijoules,
        power_known_seconds,
        power_joules
    from telemetry
    where power_known_seconds > 0
),

tied as (
    select
        measurements.*,
        pools.group_id
    from measurements
    left join pools on measurements.pool_id = pools.pool_id
),

group_power as (
    select
        usage_hour,
        group_id,
        case
            when sum(counted_device_microseconds) > 0
                then cast(sum(counted_millijoules) as double) * 1000 / cast(sum(counted_device_microseconds) as double)
            else cast(sum(power_joules) as double) / cast(sum(power_known_seconds) as double)
        end as mean_watts
    from tied
    where group_id is not null
    group by usage_hour, group_id
),

-- Devices whose pool is not known speak for their accelerator at their site.
site_power as (
    select
        usage_hour,
        site_id,
        accelerator_id,
        case
            when sum(counted_device_microseconds) > 0
                then cast(sum(counted_millijoules) as double) * 1000 / cast(sum(counted_device_microseconds) as double)
            else cast(sum(power_joules) as double) / cast(sum(power_known_seconds) as double)
        end as mean_watts
    from tied
    where group_id is null
    group by usage_hour, site_id, accelerator_id
),

capacity_days as (
    select distinct
        {{ business_date('usage_hour') }} as usage_date,
        accelerator_id
    from capacity
),

curves as (
    select
        usage_date,
        accelerator_id,
        design_watts,
        idle_power_ratio
    from (
        select
            capacity_days.usage_date,
            capacity_days.accelerator_id,
            accelerators.power_watts as design_watts,
            cast(accelerator_prices.idle_power_ratio as double) as idle_power_ratio,
            row_number() over (
                partition by capacity_days.usage_date, capacity_days.accelerator_id
                order by {{ specificity('capacity_days.accelerator_id', 'accelerator_prices.accelerator_id') }}
            ) as preference
        from capacity_days
        inner join accelerators
            on
                capacity_days.accelerator_id = accelerators.accelerator_id
                and {{ holds_on('accelerators', 'capacity_days.usage_date') }}
        inner join accelerator_prices
            on
                accelerator_prices.accelerator_id in (capacity_days.accelerator_id, '*')
                and {{ holds_on('accelerator_prices', 'capacity_days.usage_date') }}
    ) as ranked
    where preference = 1
),

-- Of unknown activity is what the allocation says: what is held is taken to work.
powered as (
    select
        {{ business_date('capacity.usage_hour') }} as usage_date,
        {{ business_hour('capacity.usage_hour') }} as hour_of_day,
        capacity.site_id,
        capacity.accelerator_id,
        cast(capacity.available_accelerator_microseconds as double) / 3.6e9 as available_hours,
        cast(
            capacity.allocated_busy_accelerator_microseconds + capacity.unknown_activity_accelerator_microseconds
            as double
        ) / 3.6e9 as active_hours,
        coalesce(group_power.mean_watts, site_power.mean_watts) as measured_watts
    from capacity
    left join group_power
        on capacity.usage_hour = group_power.usage_hour and capacity.group_id = group_power.group_id
    left join site_power
        on
            capacity.usage_hour = site_power.usage_hour
            and capacity.site_id = site_power.site_id
            and capacity.accelerator_id = site_power.accelerator_id
    where capacity.available_accelerator_microseconds > 0
),

-- What is measured of some devices stands for all that are up. Where nothing is, the power curve does:
-- linear in activity, from idle to the design power.
drawn as (
    select
        powered.usage_date,
        powered.hour_of_day,
        powered.site_id,
        powered.accelerator_id,
        cast(round(powered.measured_watts * powered.available_hours / 1000, 6) as decimal(38, 6)) as measured_kwh,
        case
            when powered.measured_watts is null
                then cast(
                        round(
                            coalesce(curves.design_watts, {{ var('default_power_watts') }}) * (
                                coalesce(curves.idle_power_ratio, 0) * powered.available_hours
                                + (1 - coalesce(curves.idle_power_ratio, 0)) * powered.active_hours
                            ) / 1000, 6
                        ) as decimal(38, 6)
                    )
        end as curve_kwh
    from powered
    left join curves
        on powered.usage_date = curves.usage_date and powered.accelerator_id = curves.accelerator_id
)

-- Rounded before they are summed, so that the sum is exact and in any order the same.
select
    usage_date,
    hour_of_day,
    site_id,
    accelerator_id,
    cast(sum(coalesce(measured_kwh, curve_kwh)) as decimal(38, 6)) as energy_kwh,
    cast(sum(coalesce(curve_kwh, 0)) as decimal(38, 6)) as estimated_energy_kwh
from drawn
group by usage_date, hour_of_day, site_id, accelerator_id
