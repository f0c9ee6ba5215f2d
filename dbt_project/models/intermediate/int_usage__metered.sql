{{ config(materialized='table') }}

with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

usage as (
    select
        usage_hour,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        context_floor_tokens,
        {{ exact_sum('input_tokens') }} as input_tokens,
        {{ exact_sum('cached_input_tokens') }} as cached_input_tokens,
        {{ exact_sum('output_tokens') }} as output_tokens
    from token_usage
    group by usage_hour, serving_site_id, tenant_id, model_id, product, context_floor_tokens
),

metered as (
    {% for token_type in ['input', 'cached_input', 'output'] %}
    select
        usage_hour,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        context_floor_tokens,
        '{{ token_type }}' as token_type,
        {{ token_type }}_tokens as tokens
    from usage
    where {{ token_type }}_tokens > 0
    {{ "union all" if not loop.last }}
    {% endfor %}
)

select
    usage_hour,
    {{ business_date('usage_hour') }} as usage_date,
    {{ business_hour('usage_hour') }} as hour_of_day,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    cast(context_floor_tokens as bigint) as context_floor_tokens,
    token_type,
    tokens
from metered
