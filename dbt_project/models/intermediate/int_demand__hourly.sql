{{ config(materialized='view') }}

with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

throttled as (select * from {{ ref('int_demand__throttled') }}),

seconds as (select * from {{ ref('int_serving_demand__seconds') }}),

usage as (
    select
        usage_hour,
        {{ business_date('usage_hour') }} as usage_date,
        origin_site_id,
        serving_site_id,
        tenant_id,
        model_id,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(throttled_request_count) as bigint) as throttled_request_count,
        coalesce(cast(sum(input_tokens) as decimal(38, 0)), 0) as input_tokens,
        coalesce(cast(sum(output_tokens) as decimal(38, 0)), 0) as output_tokens
    from token_usage
    group by
        usage_hour, {{ business_date('usage_hour') }}, origin_site_id, serving_site_id, tenant_id, model_id
),

unconstrained as (
    select
        usage.*,
        usage.input_tokens + coalesce(throttled.throttled_input_tokens, 0) as unconstrained_input_tokens,
        usage.output_tokens + coalesce(throttled.throttled_output_tokens, 0) as unconstrained_output_tokens,
        coalesce(seconds.seconds_per_input_token, 0) as seconds_per_input_token,
        coalesce(seconds.seconds_per_output_token, 0) as seconds_per_output_token
    from usage
    left join throttled
        on
            usage.usage_hour = throttled.usage_hour
            and usage.origin_site_id = throttled.origin_site_id
            and usage.serving_site_id = throttled.serving_site_id
            and usage.tenant_id = throttled.tenant_id
            and usage.model_id = throttled.model_id
    left join seconds
        on
            usage.usage_date = seconds.usage_date
            and usage.serving_site_id = seconds.site_id
            and usage.model_id = seconds.model_id
)

select
    usage_hour,
    usage_date,
    origin_site_id,
    serving_site_id,
    tenant_id,
    model_id,
    request_count,
    throttled_request_count,
    input_tokens,
    output_tokens,
    cast(unconstrained_input_tokens as decimal(38, 0)) as unconstrained_input_tokens,
    cast(unconstrained_output_tokens as decimal(38, 0)) as unconstrained_output_tokens,
    {{ token_accelerator_hours('input_tokens', 'output_tokens') }} as served_accelerator_hours,
    {{ token_accelerator_hours('unconstrained_input_tokens', 'unconstrained_output_tokens') }}
        as serving_demand_accelerator_hours
from unconstrained
