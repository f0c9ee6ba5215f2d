{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'pool_telemetry': [0, 0]}},
    )
}}

with
samples as (
    select * from {{ ref('stg_telemetry__pool_samples') }}
    where {{ in_dirty_days('event_day') }}
),

summed as (
    select
        event_day,
        date_trunc('hour', sampled_at) as usage_hour,
        cluster_id,
        pool_id,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        count(*) as sample_count,
        cast(sum(line_count) as bigint) as line_count,
        cast(sum(installed_accelerator_count) as decimal(18, 0)) as installed_sum,
        cast(sum(allocated_accelerator_count) as decimal(18, 0)) as allocated_sum,
        count(allocated_accelerator_count) as allocated_sample_count,
        cast(sum(pending_accelerator_count) as decimal(18, 0)) as pending_sum,
        count(pending_accelerator_count) as pending_sample_count
    from samples
    group by event_day, date_trunc('hour', sampled_at), cluster_id, pool_id, site_id, accelerator_id
)

-- A mean over the hour's samples stands for the whole hour.
select
    event_day,
    usage_hour,
    cluster_id,
    pool_id,
    site_id,
    accelerator_id,
    sample_count,
    line_count,
    cast(round(installed_sum * 3600000000 / sample_count, 0) as decimal(38, 3)) as installed_accelerator_microseconds,
    case
        when allocated_sample_count > 0
            then cast(round(allocated_sum * 3600000000 / allocated_sample_count, 0) as decimal(38, 3))
    end as allocated_accelerator_microseconds,
    case
        when pending_sample_count > 0
            then cast(round(pending_sum * 3600000000 / pending_sample_count, 0) as decimal(38, 3))
    end as pending_accelerator_microseconds
from summed
