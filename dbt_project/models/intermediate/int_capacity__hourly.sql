with
inventory as (select * from {{ ref('int_inventory__hourly') }}),

allocation as (select * from {{ ref('int_allocation__hourly') }}),

telemetry as (select * from {{ ref('int_telemetry__hourly') }}),

span as (select * from {{ ref('int_calendar__span') }}),

fragmentation as (select * from {{ ref('int_fragmentation__hourly') }}),

pools as (
    select
        pool_id,
        min(group_id) as group_id
    from {{ ref('int_inventory__pools') }}
    group by pool_id
),

group_hours as (
    select
        coalesce(inventory.usage_hour, allocation.usage_hour) as usage_hour,
        coalesce(inventory.group_id, allocation.group_id) as group_id,
        coalesce(inventory.cluster_id, allocation.cluster_id) as cluster_id,
        coalesce(inventory.site_id, allocation.site_id) as site_id,
        coalesce(inventory.accelerator_id, allocation.accelerator_id) as accelerator_id,
        coalesce(inventory.purpose, allocation.purpose) as purpose,
        coalesce(inventory.installed_accelerator_microseconds, 0) as installed_accelerator_microseconds,
        coalesce(allocation.held_accelerator_microseconds, 0) as held_accelerator_microseconds,
        coalesce(allocation.waiting_accelerator_microseconds, 0) as waiting_accelerator_microseconds
    from inventory
    full outer join allocation
        on inventory.usage_hour = allocation.usage_hour and inventory.group_id = allocation.group_id
),

telemetry_tied as (
    select
        telemetry.*,
        pools.group_id
    from telemetry
    left join pools on telemetry.pool_id = pools.pool_id
),

group_telemetry as (
    select
        usage_hour,
        group_id,
        sum(observed_seconds) as observed_seconds,
        sum(down_seconds) as down_seconds,
        sum(maintenance_seconds) as maintenance_seconds,
        sum(activity_known_seconds) as activity_known_seconds,
        sum(activity_seconds) as activity_seconds,
        sum(held_activity_known_seconds) as held_activity_known_seconds,
        sum(held_activity_seconds) as held_activity_seconds
    from telemetry_tied
    where group_id is not null
    group by usage_hour, group_id
),

-- Devices whose pool is not known speak for their accelerator at their site.
site_telemetry as (
    select
        usage_hour,
        site_id,
        accelerator_id,
        sum(observed_seconds) as observed_seconds,
        sum(down_seconds) as down_seconds,
        sum(maintenance_seconds) as maintenance_seconds,
        sum(activity_known_seconds) as activity_known_seconds,
        sum(activity_seconds) as activity_seconds,
        sum(held_activity_known_seconds) as held_activity_known_seconds,
        sum(held_activity_seconds) as held_activity_seconds
    from telemetry_tied
    where group_id is null and site_id <> 'unknown' and accelerator_id <> 'unknown'
    group by usage_hour, site_id, accelerator_id
),

measured as (
    select
        group_hours.*,
        coalesce(group_telemetry.observed_seconds, site_telemetry.observed_seconds) as observed_seconds,
        coalesce(group_telemetry.down_seconds, site_telemetry.down_seconds) as down_seconds,
        coalesce(group_telemetry.maintenance_seconds, site_telemetry.maintenance_seconds) as maintenance_seconds,
        coalesce(group_telemetry.activity_known_seconds, site_telemetry.activity_known_seconds)
            as activity_known_seconds,
        coalesce(group_telemetry.activity_seconds, site_telemetry.activity_seconds) as activity_seconds,
        coalesce(group_telemetry.held_activity_known_seconds, site_telemetry.held_activity_known_seconds)
            as held_activity_known_seconds,
        coalesce(group_telemetry.held_activity_seconds, site_telemetry.held_activity_seconds)
            as held_activity_seconds
    from group_hours
    left join group_telemetry
        on group_hours.usage_hour = group_telemetry.usage_hour and group_hours.group_id = group_telemetry.group_id
    left join site_telemetry
        on
            group_hours.usage_hour = site_telemetry.usage_hour
            and group_hours.site_id = site_telemetry.site_id
            and group_hours.accelerator_id = site_telemetry.accelerator_id
),

-- The share of the observed devices stands for the whole group. Activity is that of the devices held
-- by a job where the exporter names jobs, else of all that are up.
down as (
    select
        *,
        case
            when observed_seconds > 0
                then cast(
                        round(cast(installed_accelerator_microseconds as double) * down_seconds / observed_seconds, 0)
                        as decimal(38, 3)
                    )
            else 0
        end as down_accelerator_microseconds,
        case
            when held_activity_known_seconds > 0
                then cast(held_activity_seconds as double) / held_activity_known_seconds
            when activity_known_seconds > 0
                then cast(activity_seconds as double) / activity_known_seconds
        end as activity_ratio
    from measured
),

planned_down as (
    select
        *,
        case
            when observed_seconds > 0
                then least(
                        cast(
                            round(
                                cast(installed_accelerator_microseconds as double)
                                * maintenance_seconds / observed_seconds, 0
                            ) as decimal(38, 3)
                        ),
                        installed_accelerator_microseconds - down_accelerator_microseconds
                    )
            else 0
        end as planned_down_accelerator_microseconds
    from down
),

available as (
    select
        *,
        installed_accelerator_microseconds - down_accelerator_microseconds - planned_down_accelerator_microseconds
            as available_accelerator_microseconds
    from planned_down
),

-- A serving pool is held whole by the service. What jobs say they held beyond what is there is shown,
-- not counted.
allocated as (
    select
        *,
        case
            when purpose = 'serving' then available_accelerator_microseconds
            else least(held_accelerator_microseconds, available_accelerator_microseconds)
        end as allocated_accelerator_microseconds,
        case
            when purpose = 'serving' then held_accelerator_microseconds
            else greatest(held_accelerator_microseconds - available_accelerator_microseconds, 0)
        end as over_allocated_accelerator_microseconds
    from available
),

busy as (
    select
        *,
        case
            when activity_ratio is null then 0
            else cast(
                    round(cast(allocated_accelerator_microseconds as double) * activity_ratio, 0) as decimal(38, 3)
                )
        end as busy_accelerator_microseconds
    from allocated
),

capped as (
    select
        busy.*,
        least(busy.busy_accelerator_microseconds, busy.allocated_accelerator_microseconds)
            as allocated_busy_accelerator_microseconds,
        least(
            coalesce(fragmentation.fragmented_accelerator_microseconds, 0),
            busy.available_accelerator_microseconds - busy.allocated_accelerator_microseconds
        ) as fragmented_accelerator_microseconds
    from busy
    left join fragmentation
        on busy.usage_hour = fragmentation.usage_hour and busy.group_id = fragmentation.group_id
)

select
    usage_hour,
    group_id,
    cluster_id,
    site_id,
    accelerator_id,
    purpose,
    installed_accelerator_microseconds,
    down_accelerator_microseconds,
    planned_down_accelerator_microseconds,
    available_accelerator_microseconds,
    allocated_busy_accelerator_microseconds,
    allocated_accelerator_microseconds - allocated_busy_accelerator_microseconds
        as allocated_idle_accelerator_microseconds,
    fragmented_accelerator_microseconds,
    available_accelerator_microseconds - allocated_accelerator_microseconds - fragmented_accelerator_microseconds
        as free_accelerator_microseconds,
    case when activity_ratio is null then allocated_accelerator_microseconds else 0 end
        as unknown_activity_accelerator_microseconds,
    over_allocated_accelerator_microseconds,
    held_accelerator_microseconds,
    waiting_accelerator_microseconds,
    activity_ratio
from capped
inner join span on {{ business_date('capped.usage_hour') }} <= span.last_date
