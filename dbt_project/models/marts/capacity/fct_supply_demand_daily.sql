with
hourly as (select * from {{ ref('int_supply_demand__hourly') }}),

summed as (
    select
        usage_date,
        site_id,
        accelerator_id,
        {{ accelerator_hours('sum(installed_accelerator_microseconds)') }} as installed_accelerator_hours,
        cast(sum(serving_available_accelerator_microseconds) as decimal(38, 3)) as serving_available,
        cast(sum(training_available_accelerator_microseconds) as decimal(38, 3)) as training_available,
        {{ accelerator_hours('sum(training_demand_accelerator_microseconds)') }} as training_demand_accelerator_hours,
        cast(sum(serving_demand_accelerator_hours) as decimal(38, 6)) as serving_demand_accelerator_hours,
        cast(sum(served_accelerator_hours) as decimal(38, 6)) as served_accelerator_hours,
        cast(sum(case when is_demand_known then 1 else 0 end) as bigint) as known_hour_count,
        {{ percentile('utilization_ratio', 0.95) }} as p95_utilization_ratio
    from hourly
    group by usage_date, site_id, accelerator_id
),

-- Usable: what is up, up to the share that its purpose can plan with, less what is held back.
usable as (
    select
        *,
        {{ accelerator_hours('serving_available + training_available') }} as available_accelerator_hours,
        greatest(
            cast(
                round(
                    (
                        cast(serving_available as double) * {{ var('serving_target_utilization_ratio') }}
                        + cast(training_available as double) * {{ var('training_target_utilization_ratio') }}
                    ) / 3.6e9 - {{ var('reserved_headroom_accelerator_hours') }},
                    6
                ) as decimal(38, 6)
            ),
            0
        ) as usable_accelerator_hours
    from summed
),

daily as (
    select
        *,
        usable_accelerator_hours - serving_demand_accelerator_hours - training_demand_accelerator_hours
            as headroom_accelerator_hours
    from usable
)

select
    usage_date,
    site_id,
    accelerator_id,
    installed_accelerator_hours,
    available_accelerator_hours,
    usable_accelerator_hours,
    serving_demand_accelerator_hours,
    served_accelerator_hours,
    training_demand_accelerator_hours,
    greatest(-headroom_accelerator_hours, 0) as unmet_accelerator_hours,
    headroom_accelerator_hours,
    known_hour_count,
    p95_utilization_ratio
from daily
