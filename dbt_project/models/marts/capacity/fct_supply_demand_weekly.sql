with
daily as (select * from {{ ref('fct_supply_demand_daily') }}),

hourly as (select * from {{ ref('int_supply_demand__hourly') }}),

busy_hours as (
    select
        {{ iso_week('usage_date') }} as iso_week,
        site_id,
        accelerator_id,
        {{ percentile('utilization_ratio', 0.95) }} as p95_utilization_ratio
    from hourly
    group by {{ iso_week('usage_date') }}, site_id, accelerator_id
),

weekly as (
    select
        {{ iso_week('usage_date') }} as iso_week,
        cast(date_trunc('week', usage_date) as date) as week_start_date,
        site_id,
        accelerator_id,
        count(*) as day_count,
        cast(sum(installed_accelerator_hours) as decimal(38, 6)) as installed_accelerator_hours,
        cast(sum(available_accelerator_hours) as decimal(38, 6)) as available_accelerator_hours,
        cast(sum(usable_accelerator_hours) as decimal(38, 6)) as usable_accelerator_hours,
        cast(sum(serving_demand_accelerator_hours) as decimal(38, 6)) as serving_demand_accelerator_hours,
        cast(sum(served_accelerator_hours) as decimal(38, 6)) as served_accelerator_hours,
        cast(sum(training_demand_accelerator_hours) as decimal(38, 6)) as training_demand_accelerator_hours,
        cast(sum(unmet_accelerator_hours) as decimal(38, 6)) as unmet_accelerator_hours,
        cast(sum(headroom_accelerator_hours) as decimal(38, 6)) as headroom_accelerator_hours,
        cast(sum(known_hour_count) as bigint) as known_hour_count
    from daily
    group by {{ iso_week('usage_date') }}, cast(date_trunc('week', usage_date) as date), site_id, accelerator_id
)

select
    weekly.iso_week,
    weekly.week_start_date,
    weekly.site_id,
    weekly.accelerator_id,
    weekly.day_count,
    weekly.installed_accelerator_hours,
    weekly.available_accelerator_hours,
    weekly.usable_accelerator_hours,
    weekly.serving_demand_accelerator_hours,
    weekly.served_accelerator_hours,
    weekly.training_demand_accelerator_hours,
    weekly.unmet_accelerator_hours,
    weekly.headroom_accelerator_hours,
    weekly.known_hour_count,
    busy_hours.p95_utilization_ratio
from weekly
inner join busy_hours
    on
        weekly.iso_week = busy_hours.iso_week
        and weekly.site_id = busy_hours.site_id
        and weekly.accelerator_id = busy_hours.accelerator_id
