with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

throttled as (select * from {{ ref('int_demand__throttled') }}),

seconds as (select * from {{ ref('int_serving_demand__seconds') }}),

asked as (
    select
        usage_hour,
        origin_site_id,
        serving_site_id,
        tenant_id,
        model_id,
        request_count,
        throttled_request_count,
        coalesce(input_tokens, 0) as input_tokens,
        coalesce(output_tokens, 0) as output_tokens,
        0 as throttled_input_tokens,
        0 as throttled_output_tokens
    from token_usage
    union all
    select
        usage_hour,
        origin_site_id,
        serving_site_id,
        tenant_id,
        model_id,
        0 as request_count,
        0 as throttled_request_count,
        0 as input_tokens,
        0 as output_tokens,
        throttled_input_tokens,
        throttled_output_tokens
    from throttled
),

-- What a token takes depends on where it is served.
converted as (
    select
        asked.*,
        {{ business_date('asked.usage_hour') }} as usage_date,
        coalesce(seconds.seconds_per_input_token, 0) as seconds_per_input_token,
        coalesce(seconds.seconds_per_output_token, 0) as seconds_per_output_token
    from asked
    left join seconds
        on
            {{ business_date('asked.usage_hour') }} = seconds.usage_date
            and asked.serving_site_id = seconds.site_id
            and asked.model_id = seconds.model_id
),

-- Hours rounded before they are summed, so that the sum is exact and in any order the same.
worked as (
    select
        *,
        {{ token_accelerator_hours('input_tokens', 'output_tokens') }} as served_accelerator_hours,
        {{ token_accelerator_hours('throttled_input_tokens', 'throttled_output_tokens') }}
            as throttled_accelerator_hours
    from converted
)

select
    usage_hour,
    usage_date,
    origin_site_id,
    tenant_id,
    model_id,
    cast(sum(request_count) as bigint) as request_count,
    cast(sum(throttled_request_count) as bigint) as throttled_request_count,
    {{ exact_sum('input_tokens') }} as input_tokens,
    {{ exact_sum('output_tokens') }} as output_tokens,
    cast(sum(input_tokens) + sum(throttled_input_tokens) as decimal(38, 0)) as unconstrained_input_tokens,
    cast(sum(output_tokens) + sum(throttled_output_tokens) as decimal(38, 0)) as unconstrained_output_tokens,
    cast(sum(served_accelerator_hours) as decimal(38, 9)) as served_accelerator_hours,
    cast(sum(served_accelerator_hours) + sum(throttled_accelerator_hours) as decimal(38, 9))
        as serving_demand_accelerator_hours
from worked
group by usage_hour, usage_date, origin_site_id, tenant_id, model_id
