with
first_arrivals as (
    {{ first_arrivals('token_usage') }}
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
