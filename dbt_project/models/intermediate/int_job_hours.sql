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
    where {{ in_dirty_days('event_day') }} and accelerator_count > 0
),

intervals as (
    select
        event_day,
        cluster_id,
        coalesce(partition, 'unknown') as partition,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        coalesce(tenant_id, 'unknown') as tenant_id,
        accelerator_count,
        true as is_held,
        started_at as from_at,
        held_until_at as until_at,
        wall_microseconds,
        run_microseconds as counted_microseconds,
        node_list is not null as has_node_list,
        cast(null as decimal(18, 3)) as waiting_accelerators_per_node
    from attempts
    where held_until_at > started_at
    union all
    select
        event_day,
        cluster_id,
        coalesce(partition, 'unknown') as partition,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        coalesce(tenant_id, 'unknown') as tenant_id,
        accelerator_count,
        false as is_held,
        waiting_from_at as from_at,
        waiting_until_at as until_at,
        waiting_microseconds as wall_microseconds,
        waiting_microseconds as counted_microseconds,
        false as has_node_list,
        -- A request that does not say over how many nodes could be spread to one accelerator a node.
        case
            when node_count > 0 then cast(accelerator_count / node_count as decimal(18, 3))
            else least(accelerator_count, 1)
        end as waiting_accelerators_per_node
    from attempts
    where waiting_until_at > waiting_from_at
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
        {{ microseconds_between('from_at', 'greatest(usage_hour, from_at)') }} as part_from_microseconds,
        {{ microseconds_between('from_at', "least(usage_hour + interval 1 hour, until_at)") }}
            as part_until_microseconds
    from hours
),

-- Where a job was suspended is not known, so the suspension is spread evenly over it. Differences of a
-- running share add up to the whole exactly.
parts as (
    select
        *,
        case
            when counted_microseconds = wall_microseconds then part_until_microseconds - part_from_microseconds
            else
                {{ share_of('counted_microseconds', 'part_until_microseconds', 'wall_microseconds') }}
                - {{ share_of('counted_microseconds', 'part_from_microseconds', 'wall_microseconds') }}
        end as part_microseconds
    from offsets
)

select
    event_day,
    usage_hour,
    cluster_id,
    partition,
    site_id,
    accelerator_id,
    tenant_id,
    cast(sum(case when is_held then part_microseconds * accelerator_count else 0 end) as decimal(38, 3))
        as held_accelerator_microseconds,
    cast(sum(case when is_held then 0 else part_microseconds * accelerator_count end) as decimal(38, 3))
        as waiting_accelerator_microseconds,
    cast(sum(case when has_node_list then part_microseconds * accelerator_count else 0 end) as decimal(38, 3))
        as located_accelerator_microseconds,
    min(waiting_accelerators_per_node) as smallest_waiting_accelerators_per_node
from parts
group by event_day, usage_hour, cluster_id, partition, site_id, accelerator_id, tenant_id
