with
capacity as (select * from {{ ref('int_capacity__hourly') }}),

daily as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        site_id,
        accelerator_id,
        cast(sum(installed_accelerator_microseconds) as decimal(38, 3)) as installed,
        cast(sum(down_accelerator_microseconds) as decimal(38, 3)) as down,
        cast(sum(planned_down_accelerator_microseconds) as decimal(38, 3)) as planned_down,
        cast(sum(allocated_busy_accelerator_microseconds) as decimal(38, 3)) as allocated_busy,
        cast(sum(allocated_idle_accelerator_microseconds) as decimal(38, 3)) as allocated_idle,
        cast(sum(fragmented_accelerator_microseconds) as decimal(38, 3)) as fragmented,
        cast(sum(unknown_activity_accelerator_microseconds) as decimal(38, 3)) as unknown_activity,
        cast(sum(over_allocated_accelerator_microseconds) as decimal(38, 3)) as over_allocated
    from capacity
    group by {{ business_date('usage_hour') }}, site_id, accelerator_id
),

-- Hours of six decimals don't divide exactly, so the running sum of the parts is rounded and each part
-- is a difference of neighbours: none is negative and they add up to what is installed.
running as (
    select
        usage_date,
        site_id,
        accelerator_id,
        {{ accelerator_hours('down') }} as to_down,
        {{ accelerator_hours('down + planned_down') }} as to_planned_down,
        {{ accelerator_hours('down + planned_down + allocated_busy') }} as to_busy,
        {{ accelerator_hours('down + planned_down + allocated_busy + allocated_idle') }} as to_idle,
        {{ accelerator_hours('down + planned_down + allocated_busy + allocated_idle + fragmented') }}
            as to_fragmented,
        {{ accelerator_hours('installed') }} as to_installed,
        {{ accelerator_hours('unknown_activity') }} as unknown_activity,
        {{ accelerator_hours('over_allocated') }} as over_allocated
    from daily
)

select
    usage_date,
    site_id,
    accelerator_id,
    to_installed as installed_accelerator_hours,
    to_down as down_accelerator_hours,
    cast(to_planned_down - to_down as decimal(38, 6)) as planned_down_accelerator_hours,
    cast(to_busy - to_planned_down as decimal(38, 6)) as allocated_busy_accelerator_hours,
    cast(to_idle - to_busy as decimal(38, 6)) as allocated_idle_accelerator_hours,
    cast(to_fragmented - to_idle as decimal(38, 6)) as fragmented_accelerator_hours,
    cast(to_installed - to_fragmented as decimal(38, 6)) as free_accelerator_hours,
    unknown_activity as unknown_activity_accelerator_hours,
    over_allocated as over_allocated_accelerator_hours
from running
