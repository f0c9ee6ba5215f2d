with
records as (select * from {{ source('raw', 'job_logs') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }} where table_name = 'job_logs'),

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
