{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'token_usage': [0, 0], 'token_lengths': [0, 1]}},
    )
}}

with
token_usage as (
    select * from {{ ref('int_token_usage__hourly') }}
    where {{ in_dirty_days('event_day') }}
)

select
    usage_hour,
    {{ business_date('usage_hour') }} as usage_date,
    event_day,
    origin_site_id,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    request_count,
    throttled_request_count,
    failed_request_count,
    unmetered_request_count,
    input_tokens,
    cached_input_tokens,
    output_tokens,
    reasoning_tokens,
    estimated_input_tokens,
    estimated_output_tokens,
    estimated_reasoning_tokens
from token_usage
