with
records as (select * from {{ source('raw', 'token_usage') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }} where table_name = 'token_usage'),

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
    occurred_at,
    window_seconds,
    origin_site_id,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    status,
    request_count,
    input_tokens,
    cached_input_tokens,
    output_tokens,
    reasoning_tokens,
    time_to_first_token_us,
    duration_us
from first_arrivals
