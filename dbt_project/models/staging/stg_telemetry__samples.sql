with
first_arrivals as (
    {{ first_arrivals('telemetry') }}
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
