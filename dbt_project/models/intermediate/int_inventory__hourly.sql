with
pools as (select * from {{ ref('int_inventory__pools') }}),

pool_telemetry as (select * from {{ ref('int_pool_telemetry__hourly') }}),

-- Pools of one group and one span add up before they are spread over days.
group_spans as (
    select
        group_id,
        cluster_id,
        site_id,
        accelerator_id,
        purpose,
        first_date,
        last_date,
        sum(accelerator_count) as accelerator_count
    from pools
    where listed_in = 'node_pools'
    group by group_id, cluster_id, site_id, accelerator_id, purpose, first_date, last_date
),

group_days as (
    select
        group_id,
        cluster_id,
        site_id,
        accelerator_id,
        purpose,
        accelerator_count,
        {{ each_day('first_date', 'last_date') }} as usage_date
    from group_spans
),

daily as (
    select
        usage_date,
        group_id,
        cluster_id,
        site_id,
        accelerator_id,
        purpose,
        cast(sum(accelerator_count) as bigint) as accelerator_count
    from group_days
    group by usage_date, group_id, cluster_id, site_id, accelerator_id, purpose
),

-- A business day begins at 16:00 UTC of the day before.
listed_hours as (
    select
        {{ each_hour('usage_date - interval 8 hours', 'usage_date + interval 16 hours') }} as usage_hour,
        group_id,
        cluster_id,
        site_id,
        accelerator_id,
        purpose,
        cast(accelerator_count * 3600000000 as decimal(38, 3)) as installed_accelerator_microseconds
    from daily
),

reported_hours as (
    select
        pool_telemetry.usage_hour,
        pools.group_id,
        pools.cluster_id,
        pools.site_id,
        pools.accelerator_id,
        pools.purpose,
        cast(sum(pool_telemetry.installed_accelerator_microseconds) as decimal(38, 3))
            as installed_accelerator_microseconds
    from pool_telemetry
    inner join pools
        on
            pool_telemetry.cluster_id = pools.cluster_id
            and pool_telemetry.pool_id = pools.pool_id
            and pool_telemetry.accelerator_id = pools.accelerator_id
            and pools.listed_in = 'pool_telemetry'
    group by
        pool_telemetry.usage_hour, pools.group_id, pools.cluster_id, pools.site_id, pools.accelerator_id,
        pools.purpose
)

select
    usage_hour,
    group_id,
    cluster_id,
    site_id,
    accelerator_id,
    purpose,
    installed_accelerator_microseconds
from listed_hours
union all
select
    usage_hour,
    group_id,
    cluster_id,
    site_id,
    accelerator_id,
    purpose,
    installed_accelerator_microseconds
from reported_hours
