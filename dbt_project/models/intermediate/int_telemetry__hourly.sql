{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'telemetry': [0, 0]}},
    )
}}

with
samples as (
    select * from {{ ref('stg_telemetry__samples') }}
    where {{ in_dirty_days('event_day') }}
),

judged as (
    select
        event_day,
        date_trunc('hour', sampled_at) as usage_hour,
        coalesce(site_id, 'unknown') as site_id,
        coalesce(pool_id, 'unknown') as pool_id,
        coalesce(accelerator_id, 'unknown') as accelerator_id,
        device_id,
        line_count,
        job_id is not null as is_held,
        coalesce(interval_seconds, {{ var('default_sample_seconds') }}) as sample_seconds,
        {{ is_down('device_state', 'health_status', 'xid_code') }} as is_down,
        coalesce(device_state = 'maintenance', false) as is_in_maintenance,
        cast(coalesce(engine_active_ratio, sm_active_ratio, gpu_utilization_ratio) as decimal(9, 6)) as activity_ratio,
        case
            when engine_active_ratio is not null then 'engine_active'
            when sm_active_ratio is not null then 'sm_active'
            when gpu_utilization_ratio is not null then 'gpu_utilization'
        end as activity_source,
        cast(power_watts as decimal(18, 3)) as power_watts
    from samples
),

weighed as (
    select
        *,
        activity_ratio is not null and not is_down and not is_in_maintenance as is_activity_known,
        sample_seconds * activity_ratio as activity_seconds
    from judged
)

select
    event_day,
    usage_hour,
    site_id,
    pool_id,
    accelerator_id,
    count(distinct device_id) as device_count,
    count(*) as sample_count,
    cast(sum(line_count) as bigint) as line_count,
    cast(sum(sample_seconds) as bigint) as observed_seconds,
    cast(sum(case when is_down then sample_seconds else 0 end) as bigint) as down_seconds,
    cast(sum(case when is_in_maintenance then sample_seconds else 0 end) as bigint) as maintenance_seconds,
    cast(sum(case when is_activity_known then sample_seconds else 0 end) as bigint) as activity_known_seconds,
    cast(sum(case when is_activity_known then activity_seconds else 0 end) as decimal(38, 6)) as activity_seconds,
    cast(sum(case when is_activity_known and is_held then sample_seconds else 0 end) as bigint)
        as held_activity_known_seconds,
    cast(sum(case when is_activity_known and is_held then activity_seconds else 0 end) as decimal(38, 6))
        as held_activity_seconds,
    case
        when min(activity_source) = max(activity_source) then min(activity_source)
        when min(activity_source) is not null then 'mixed'
    end as activity_source,
    cast(sum(case when power_watts is not null then sample_seconds else 0 end) as bigint) as power_known_seconds,
    cast(sum(coalesce(power_watts * sample_seconds, 0)) as decimal(38, 3)) as power_joules
from weighed
group by event_day, usage_hour, site_id, pool_id, accelerator_id
