with
first_arrivals as (
    {{ first_arrivals('token_lengths') }}
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
