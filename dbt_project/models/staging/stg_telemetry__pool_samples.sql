with
first_arrivals as (
    {{ first_arrivals('pool_telemetry') }}
)

select
    event_day,
    source_id,
    event_id,
    delivery_id,
    line_number,
    line_count,
    sampled_at,
    cluster_id,
    pool_id,
    site_id,
    accelerator_id,
    installed_accelerator_count,
    allocated_accelerator_count,
    pending_accelerator_count,
    idle_accelerator_count,
    running_job_count,
    pending_job_count
from first_arrivals
