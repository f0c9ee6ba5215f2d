with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

requests as (select * from {{ ref('int_serving_demand__requests') }}),

refused as (
    select
        usage_hour,
        origin_site_id,
        serving_site_id,
        tenant_id,
        model_id,
        cast(sum(throttled_request_count) as bigint) as throttled_request_count
    from token_usage
    where throttled_request_count > 0
    group by usage_hour, origin_site_id, serving_site_id, tenant_id, model_id
)

-- Whole tokens from here on, so that sums over any level are exact and in any order the same.
select
    refused.usage_hour,
    {{ business_date('refused.usage_hour') }} as usage_date,
    refused.origin_site_id,
    refused.serving_site_id,
    refused.tenant_id,
    refused.model_id,
    cast(round(refused.throttled_request_count * requests.mean_request_input_tokens, 0) as decimal(38, 0))
        as throttled_input_tokens,
    cast(round(refused.throttled_request_count * requests.mean_request_output_tokens, 0) as decimal(38, 0))
        as throttled_output_tokens
from refused
inner join requests
    on
        refused.usage_hour = requests.usage_hour
        and refused.serving_site_id = requests.serving_site_id
        and refused.model_id = requests.model_id
