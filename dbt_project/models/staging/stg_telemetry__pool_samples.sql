with
records as (select * from {{ source('raw', 'pool_telemetry') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }} where table_name = 'pool_telemetry'),

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
