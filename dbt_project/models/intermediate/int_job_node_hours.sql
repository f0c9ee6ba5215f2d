{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'job_logs': [0, 0]}},
    )
}}

with
attempts as (
    select * from {{ ref('int_jobs__attempts') }}
    where
        {{ in_dirty_days('event_day') }}
        and accelerator_count > 0 and held_until_at > started_at and node_list is not null
),

hours as (
    select
        event_day,
        cluster_id,
        coalesce(partition, 'unknown') as partition,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        accelerator_count,
        node_list,
        {{ list_length('node_list') }} as listed_node_count,
        started_at as from_at,
        held_until_at as until_at,
        {{ each_hour('started_at', 'held_until_at') }} as usage_hour
    from attempts
),

-- Nodes of one job hold equal parts of it; to the microsecond is near enough for what is left free.
parts as (
    select
        event_day,
        usage_hour,
        cluster_id,
        partition,
        site_id,
        accelerator_id,
        {{ each_listed('node_list') }} as node_id,
        cast(accelerator_count as double) / listed_node_count as accelerators_per_node,
        {{ microseconds_between('greatest(usage_hour, from_at)', "least(usage_hour + interval 1 hour, until_at)") }}
            as part_microseconds
    from hours
)

select
    event_day,
    usage_hour,
    cluster_id,
    partition,
    site_id,
    accelerator_id,
    node_id,
    cast(sum(cast(round(accelerators_per_node * part_microseconds, 0) as bigint)) as bigint)
        as held_accelerator_microseconds
from parts
group by event_day, usage_hour, cluster_id, partition, site_id, accelerator_id, node_id
