with
records as (select * from {{ source('raw', 'token_lengths') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }} where table_name = 'token_lengths'),

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
    window_started_at,
    window_seconds,
    tenant_id,
    model_id,
    mean_input_tokens,
    mean_output_tokens,
    mean_reasoning_ratio
from first_arrivals
