with
first_arrivals as (
    {{ first_arrivals('job_logs') }}
)

select
    event_day,
    source_id,
    event_id,
    delivery_id,
    line_number,
    line_count,
    cluster_id,
    job_id,
    restart_count,
    tenant_id,
    site_id,
    partition,
    accelerator_id,
    submitted_at,
    eligible_at,
    started_at,
    start_source,
    ended_at,
    observed_at,
    suspended_seconds,
    state,
    accelerator_count,
    node_count,
    node_list
from first_arrivals
