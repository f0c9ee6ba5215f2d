with
job_hours as (select * from {{ ref('int_job_hours') }}),

attempts as (select * from {{ ref('int_jobs__attempts') }}),

pool_telemetry as (select * from {{ ref('int_pool_telemetry__hourly') }}),

pools as (
    select distinct
        pool_id,
        cluster_id,
        site_id,
        accelerator_id,
        purpose,
        group_id
    from {{ ref('int_inventory__pools') }}
    where purpose in ('training', 'shared')
),

holders as (
    select distinct
        cluster_id,
        partition,
        site_id,
        accelerator_id
    from job_hours
    union
    select distinct
        cluster_id,
        coalesce(partition, 'unknown') as partition,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id
    from attempts
    union
    select distinct
        cluster_id,
        pool_id as partition,
        site_id,
        accelerator_id
    from pool_telemetry
),

-- From the surest tie to the loosest: the pool that is named like the partition, the pools of the
-- cluster, the pools of that accelerator at that site.
ties as (
    select
        holders.cluster_id,
        holders.partition,
        holders.site_id,
        holders.accelerator_id,
        pools.group_id,
        pools.cluster_id as group_cluster_id,
        pools.site_id as group_site_id,
        pools.accelerator_id as group_accelerator_id,
        pools.purpose,
        1 as looseness
    from holders
    inner join pools
        on holders.partition = pools.pool_id and pools.cluster_id in (holders.cluster_id, 'unknown')
    union all
    select
        holders.cluster_id,
        holders.partition,
        holders.site_id,
        holders.accelerator_id,
        pools.group_id,
        pools.cluster_id as group_cluster_id,
        pools.site_id as group_site_id,
        pools.accelerator_id as group_accelerator_id,
        pools.purpose,
        2 as looseness
    from holders
    inner join pools
        on
            holders.cluster_id = pools.cluster_id
            and holders.site_id in (pools.site_id, 'unknown')
            and holders.accelerator_id in (pools.accelerator_id, 'unknown')
    union all
    select
        holders.cluster_id,
        holders.partition,
        holders.site_id,
        holders.accelerator_id,
        pools.group_id,
        pools.cluster_id as group_cluster_id,
        pools.site_id as group_site_id,
        pools.accelerator_id as group_accelerator_id,
        pools.purpose,
        3 as looseness
    from holders
    inner join pools on holders.site_id = pools.site_id and holders.accelerator_id = pools.accelerator_id
),

placed as (
    {{ placed_site_id('holders', 'cluster_id') }}
),

-- Tied to nothing: a group of its own, with nothing installed.
untied as (
    select
        holders.cluster_id,
        holders.partition,
        holders.site_id,
        holders.accelerator_id,
        coalesce(nullif(holders.site_id, 'unknown'), placed.placed_site_id, 'unknown') as group_site_id
    from holders
    left join placed on holders.cluster_id = placed.client_key
),

all_ties as (
    select * from ties
    union all
    select
        cluster_id,
        partition,
        site_id,
        accelerator_id,
        cluster_id || '/' || group_site_id || '/' || accelerator_id || '/training' as group_id,
        cluster_id as group_cluster_id,
        group_site_id,
        accelerator_id as group_accelerator_id,
        'training' as purpose,
        4 as looseness
    from untied
),

closest as (
    select
        *,
        min(looseness) over (partition by cluster_id, partition, site_id, accelerator_id) as least_looseness
    from all_ties
)

select distinct
    cluster_id,
    partition,
    site_id,
    accelerator_id,
    group_id,
    group_cluster_id,
    group_site_id,
    group_accelerator_id,
    purpose,
    looseness
from closest
where looseness = least_looseness
