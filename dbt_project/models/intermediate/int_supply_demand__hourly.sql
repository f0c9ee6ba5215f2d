with
capacity as (select * from {{ ref('int_capacity__hourly') }}),

serving_demand as (select * from {{ ref('int_serving_demand__hourly') }}),

dropouts as (
    select
        site_id,
        usage_hour
    from {{ ref('int_usage__dropouts') }}
    where site_role = 'serving'
),

supply as (
    select
        usage_hour,
        site_id,
        accelerator_id,
        cast(sum(installed_accelerator_microseconds) as decimal(38, 3)) as installed_accelerator_microseconds,
        cast(
            sum(case when purpose = 'training' then 0 else available_accelerator_microseconds end) as decimal(38, 3)
        ) as serving_available_accelerator_microseconds,
        cast(
            sum(case when purpose = 'training' then available_accelerator_microseconds else 0 end) as decimal(38, 3)
        ) as training_available_accelerator_microseconds,
        cast(
            sum(held_accelerator_microseconds + waiting_accelerator_microseconds) as decimal(38, 3)
        ) as training_demand_accelerator_microseconds
    from capacity
    group by usage_hour, site_id, accelerator_id
),

joined as (
    select
        coalesce(supply.usage_hour, serving_demand.usage_hour) as usage_hour,
        coalesce(supply.site_id, serving_demand.site_id) as site_id,
        coalesce(supply.accelerator_id, serving_demand.accelerator_id) as accelerator_id,
        coalesce(supply.installed_accelerator_microseconds, 0) as installed_accelerator_microseconds,
        coalesce(supply.serving_available_accelerator_microseconds, 0) as serving_available_accelerator_microseconds,
        coalesce(supply.training_available_accelerator_microseconds, 0) as training_available_accelerator_microseconds,
        coalesce(supply.training_demand_accelerator_microseconds, 0) as training_demand_accelerator_microseconds,
        coalesce(serving_demand.served_accelerator_hours, 0) as served_accelerator_hours,
        coalesce(serving_demand.serving_demand_accelerator_hours, 0) as serving_demand_accelerator_hours
    from supply
    full outer join serving_demand
        on
            supply.usage_hour = serving_demand.usage_hour
            and supply.site_id = serving_demand.site_id
            and supply.accelerator_id = serving_demand.accelerator_id
),

-- Where usage dropped out, what serving pools were asked for is not known; training pools lose nothing by it.
known as (
    select
        joined.*,
        dropouts.site_id is null or joined.serving_available_accelerator_microseconds = 0 as is_demand_known
    from joined
    left join dropouts on joined.usage_hour = dropouts.usage_hour and joined.site_id = dropouts.site_id
)

select
    usage_hour,
    {{ business_date('usage_hour') }} as usage_date,
    site_id,
    accelerator_id,
    installed_accelerator_microseconds,
    serving_available_accelerator_microseconds,
    training_available_accelerator_microseconds,
    training_demand_accelerator_microseconds,
    served_accelerator_hours,
    serving_demand_accelerator_hours,
    is_demand_known,
    case
        when is_demand_known
            then
                (
                    cast(serving_demand_accelerator_hours as double) * 3.6e9
                    + cast(training_demand_accelerator_microseconds as double)
                ) / nullif(
                    cast(
                        serving_available_accelerator_microseconds + training_available_accelerator_microseconds
                        as double
                    ), 0
                )
    end as utilization_ratio
from known
