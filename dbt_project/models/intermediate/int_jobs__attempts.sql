{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'job_logs': [0, 0]}},
    )
}}

with
sightings as (
    select * from {{ ref('stg_job_logs__sightings') }}
    where {{ in_dirty_days('event_day') }}
),

receipts as (select * from {{ ref('stg_ledger__receipts') }}),

-- The latest word on an attempt: its end beats any open sighting, later beats earlier.
ranked as (
    select
        sightings.*,
        count(*) over attempt as sighting_count,
        cast(sum(sightings.line_count) over attempt as bigint) as sighting_line_count,
        row_number() over (
            attempt
            order by
                case when sightings.ended_at is null then 1 else 0 end,
                sightings.observed_at desc nulls last,
                receipts.delivered_date desc,
                receipts.delivery_name desc,
                receipts.delivery_id desc,
                sightings.line_number desc,
                sightings.event_id desc
        ) as recency
    from sightings
    inner join receipts on sightings.delivery_id = receipts.delivery_id
    window attempt as (
        partition by
            sightings.cluster_id, sightings.job_id, sightings.submitted_at, coalesce(sightings.restart_count, 0)
    )
),

latest as (
    select
        *,
        coalesce(restart_count, 0) as attempt_restart_count,
        ended_at is null as is_open,
        greatest(coalesce(ended_at, observed_at, started_at), started_at) as held_until_at,
        coalesce(eligible_at, submitted_at) as waiting_from_at,
        greatest(
            coalesce(started_at, ended_at, observed_at, eligible_at, submitted_at),
            coalesce(eligible_at, submitted_at)
        ) as waiting_until_at
    from ranked
    where recency = 1
),

measured as (
    select
        *,
        {{ microseconds_between('started_at', 'held_until_at') }} as wall_microseconds,
        {{ microseconds_between('waiting_from_at', 'waiting_until_at') }} as waiting_microseconds
    from latest
)

select
    event_day,
    cluster_id,
    job_id,
    submitted_at,
    attempt_restart_count as restart_count,
    source_id,
    tenant_id,
    site_id,
    partition,
    accelerator_id,
    state,
    is_open,
    eligible_at,
    started_at,
    ended_at,
    observed_at,
    waiting_from_at,
    waiting_until_at,
    held_until_at,
    accelerator_count,
    node_count,
    node_list,
    suspended_seconds,
    sighting_count,
    sighting_line_count as line_count,
    waiting_microseconds,
    wall_microseconds,
    -- Suspended time is no run time (as in sacct's Elapsed), and never more than there was.
    greatest(wall_microseconds - coalesce(suspended_seconds, 0) * 1000000, 0) as run_microseconds,
    cast(
        greatest(wall_microseconds - coalesce(suspended_seconds, 0) * 1000000, 0) * accelerator_count as decimal(38, 3)
    ) as held_accelerator_microseconds,
    cast(waiting_microseconds * accelerator_count as decimal(38, 3)) as waiting_accelerator_microseconds
from measured
