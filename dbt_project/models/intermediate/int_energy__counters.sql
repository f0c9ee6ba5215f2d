{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'telemetry': [-1, 1]}},
    )
}}

with
-- An interval between two readings may begin the day before and end the day after its hours.
readings as (
    select
        source_id,
        device_id,
        event_id,
        sampled_at,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(pool_id, 'unknown') as pool_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        cast(energy_joules as decimal(38, 3)) as energy_joules
    from {{ ref('stg_telemetry__samples') }}
    where {{ in_dirty_days('event_day', margin_days=1) }} and energy_joules is not null
),

neighbours as (
    select
        *,
        lag(sampled_at) over series as from_at,
        lag(energy_joules) over series as previous_energy_joules
    from readings
    window series as (partition by source_id, device_id order by sampled_at, event_id)
),

-- A counter that falls was reset in between: what it counted before is lost, so the interval tells nothing
-- and the other devices speak for this one. A reading more than a day back tells nothing either, on any build.
-- Devices that are read together add up before they are spread over hours.
intervals as (
    select
        site_id,
        pool_id,
        accelerator_id,
        from_at,
        sampled_at as until_at,
        count(*) as device_count,
        cast(sum(energy_joules - previous_energy_joules) as decimal(38, 3)) as increase_joules
    from neighbours
    where
        from_at < sampled_at
        and energy_joules >= previous_energy_joules
        and cast(from_at as date) >= cast(sampled_at as date) - interval 1 day
    group by site_id, pool_id, accelerator_id, from_at, sampled_at
),

hours as (
    select
        *,
        {{ each_hour('from_at', 'until_at') }} as usage_hour
    from intervals
),

offsets as (
    select
        *,
        {{ microseconds_between('from_at', 'until_at') }} as interval_microseconds,
        {{ microseconds_between('from_at', 'greatest(usage_hour, from_at)') }} as part_from_microseconds,
        {{ microseconds_between('from_at', "least(usage_hour + interval 1 hour, until_at)") }}
            as part_until_microseconds
    from hours
    where {{ in_dirty_days('cast(usage_hour as date)') }}
),

-- Millijoules, spread evenly over the interval: differences of a running share add up to the whole.
parts as (
    select
        *,
        {{ share_of('increase_joules * 1000', 'part_until_microseconds', 'interval_microseconds') }}
        - {{ share_of('increase_joules * 1000', 'part_from_microseconds', 'interval_microseconds') }}
            as part_millijoules
    from offsets
)

select
    cast(usage_hour as date) as event_day,
    usage_hour,
    site_id,
    pool_id,
    accelerator_id,
    cast(sum(device_count * (part_until_microseconds - part_from_microseconds)) as decimal(38, 0))
        as counted_device_microseconds,
    cast(sum(part_millijoules) as decimal(38, 0)) as counted_millijoules
from parts
group by usage_hour, site_id, pool_id, accelerator_id
