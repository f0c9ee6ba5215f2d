with
attempts as (select * from {{ ref('int_jobs__attempts') }}),

groups as (select * from {{ ref('int_holders__groups') }}),

-- One place and one type where all groups that may have held the job agree.
places as (
    select
        cluster_id,
        partition,
        site_id,
        accelerator_id,
        case when min(group_site_id) = max(group_site_id) then min(group_site_id) end as group_site_id,
        case when min(group_accelerator_id) = max(group_accelerator_id) then min(group_accelerator_id) end
            as group_accelerator_id
    from groups
    group by cluster_id, partition, site_id, accelerator_id
)

select
    attempts.cluster_id,
    attempts.job_id,
    attempts.submitted_at,
    attempts.restart_count,
    {{ business_date('attempts.submitted_at') }} as submitted_date,
    coalesce(attempts.tenant_id, 'unknown') as tenant_id,
    coalesce(attempts.site_id, places.group_site_id, 'unknown') as site_id,
    coalesce(attempts.accelerator_id, places.group_accelerator_id, 'unknown') as accelerator_id,
    coalesce(attempts.partition, 'unknown') as partition,
    attempts.state,
    attempts.is_open,
    attempts.eligible_at,
    attempts.started_at,
    attempts.ended_at,
    attempts.observed_at,
    case
        when attempts.started_at is not null
            then cast(cast(attempts.waiting_microseconds as double) / 1e6 as decimal(18, 3))
    end as wait_seconds,
    cast(cast(attempts.run_microseconds as double) / 1e6 as decimal(18, 3)) as run_seconds,
    attempts.accelerator_count,
    attempts.node_count,
    {{ accelerator_hours('coalesce(attempts.held_accelerator_microseconds, 0)') }} as accelerator_hours,
    {{ accelerator_hours('attempts.waiting_accelerator_microseconds') }} as waiting_accelerator_hours,
    attempts.sighting_count
from attempts
left join places
    on
        attempts.cluster_id = places.cluster_id
        and coalesce(attempts.partition, 'unknown') = places.partition
        and coalesce(attempts.site_id, 'unknown') = places.site_id
        and coalesce(attempts.accelerator_id, 'unknown') = places.accelerator_id
