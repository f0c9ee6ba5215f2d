with
node_pools as (select * from {{ ref('stg_reference__node_pools') }}),

pool_telemetry as (select * from {{ ref('int_pool_telemetry__hourly') }}),

attempts as (select * from {{ ref('int_jobs__attempts') }}),

span as (select * from {{ ref('int_calendar__span') }}),

cluster_instants as (
    select
        cluster_id,
        submitted_at as first_at,
        greatest(submitted_at, held_until_at) as last_at
    from attempts
    union all
    select
        cluster_id,
        usage_hour as first_at,
        usage_hour as last_at
    from pool_telemetry
),

cluster_spans as (
    select
        cluster_id,
        {{ business_date('min(first_at)') }} as first_date,
        {{ business_date('max(last_at)') }} as last_date
    from cluster_instants
    group by cluster_id
),

listed_pools as (
    select
        pool_id,
        coalesce(cluster_id, 'unknown') as cluster_id,
        coalesce(cluster_id, pool_id) as client_key,
        site_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        coalesce(purpose, 'training') as purpose,
        node_count,
        accelerators_per_node,
        greatest(commissioned_date, valid_from) as service_from_date,
        least(retired_date, valid_to) as service_until_date,
        'node_pools' as listed_in
    from node_pools
    where accelerators_per_node > 0
),

-- A scheduler that reports pools which no inventory lists: what it reports is the inventory.
reported_pools as (
    select
        pool_id,
        cluster_id,
        cluster_id as client_key,
        max(nullif(site_id, 'unknown')) as site_id,
        accelerator_id,
        'shared' as purpose,
        cast(null as bigint) as node_count,
        cast(null as bigint) as accelerators_per_node,
        cast(null as date) as service_from_date,
        cast(null as date) as service_until_date,
        'pool_telemetry' as listed_in
    from pool_telemetry
    where not exists (select 1 from listed_pools where listed_pools.cluster_id = pool_telemetry.cluster_id)
    group by pool_id, cluster_id, accelerator_id
),

pools as (
    select * from listed_pools
    union all
    select * from reported_pools
),

placed as (
    {{ placed_site_id('pools') }}
),

sited as (
    select
        pools.*,
        coalesce(pools.site_id, placed.placed_site_id, 'unknown') as located_site_id,
        span.first_date as data_first_date,
        span.last_date as data_last_date,
        cluster_spans.first_date as cluster_first_date,
        case
            when cluster_spans.last_date < span.last_date - interval {{ var('inventory_grace_days') }} day
                then cluster_spans.last_date
            else span.last_date
        end as cluster_last_date
    from pools
    cross join span
    left join placed on pools.client_key = placed.client_key
    left join cluster_spans on pools.cluster_id = cluster_spans.cluster_id
),

-- Without a date of commissioning a pool is in service while its cluster reports.
dated as (
    select
        pool_id,
        cluster_id,
        located_site_id as site_id,
        accelerator_id,
        purpose,
        cluster_id || '/' || located_site_id || '/' || accelerator_id || '/' || purpose as group_id,
        listed_in,
        node_count,
        accelerators_per_node,
        node_count * accelerators_per_node as accelerator_count,
        cast(
            greatest(coalesce(service_from_date, cluster_first_date, data_first_date), data_first_date) as date
        ) as first_date,
        cast(
            least(
                coalesce(
                    service_until_date - interval 1 day,
                    case when service_from_date is null then cluster_last_date else data_last_date end
                ),
                data_last_date
            ) as date
        ) as last_date
    from sited
)

select
    pool_id,
    cluster_id,
    site_id,
    accelerator_id,
    purpose,
    group_id,
    listed_in,
    node_count,
    accelerators_per_node,
    accelerator_count,
    first_date,
    last_date
from dated
where first_date <= last_date
