with
records as (select * from {{ source('raw', 'telemetry') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }} where table_name = 'telemetry'),

first_arrivals as (
    select records.*
    from records
    left join surplus
        on
            records.event_id = surplus.event_id
            and records.source_id = surplus.source_id
            and records.delivery_id = surplus.delivery_id
            and records.event_day = surplus.event_day
    where surplus.event_id is null
)

select
    event_day,
    source_id,
    event_id,
    delivery_id,
    line_number,
    line_count,
    sampled_at,
    device_id,
    node_id,
    site_id,
    pool_id,
    accelerator_id,
    interval_seconds,
    device_state,
    gpu_utilization_ratio,
    engine_active_ratio,
    sm_active_ratio,
    memory_used_bytes,
    memory_total_bytes,
    power_watts,
    energy_joules,
    temperature_celsius,
    sm_clock_mhz,
    memory_clock_mhz,
    xid_code,
    health_status,
    job_id
from first_arrivals
