with
records as (select * from {{ source('raw', 'token_lengths') }}),

first_arrivals as (
    select * from records
    where {{ is_first_arrival('token_lengths') }}
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
