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
    cast(sum(request_count) as bigint) as request_count,
    cast(sum(throttled_request_count) as bigint) as throttled_request_count,
    cast(sum(failed_request_count) as bigint) as failed_request_count,
    cast(sum(unmetered_request_count) as bigint) as unmetered_request_count,
    {{ exact_sum('input_tokens') }} as input_tokens,
    {{ exact_sum('cached_input_tokens') }} as cached_input_tokens,
    {{ exact_sum('output_tokens') }} as output_tokens,
    {{ exact_sum('reasoning_tokens') }} as reasoning_tokens,
    {{ exact_sum('estimated_input_tokens') }} as estimated_input_tokens,
    {{ exact_sum('estimated_output_tokens') }} as estimated_output_tokens,
    {{ exact_sum('estimated_reasoning_tokens') }} as estimated_reasoning_tokens
from token_usage
group by usage_hour, event_day, origin_site_id, serving_site_id, tenant_id, model_id, product
