with
records as (select * from {{ source('raw', 'pool_telemetry') }}),

first_arrivals as (
    select * from records
    where {{ is_first_arrival('pool_telemetry') }}
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
