with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

throttled as (select * from {{ ref('int_demand__throttled') }}),

seconds as (select * from {{ ref('int_serving_demand__seconds') }}),

-- By serving site first: what a token takes depends on it. Added up before anything is joined.
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

usage as (
    select
        usage_hour,
        {{ business_date('usage_hour') }} as usage_date,
        origin_site_id,
        serving_site_id,
        tenant_id,
        model_id,
        sum(request_count) as request_count,
        sum(throttled_request_count) as throttled_request_count,
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(input_tokens) + sum(throttled_input_tokens) as unconstrained_input_tokens,
        sum(output_tokens) + sum(throttled_output_tokens) as unconstrained_output_tokens
    from asked
    group by usage_hour, origin_site_id, serving_site_id, tenant_id, model_id
),

converted as (
    select
        usage.*,
        coalesce(seconds.seconds_per_input_token, 0) as seconds_per_input_token,
        coalesce(seconds.seconds_per_output_token, 0) as seconds_per_output_token
    from usage
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
    tenant_id,
    model_id,
    cast(sum(request_count) as bigint) as request_count,
    cast(sum(throttled_request_count) as bigint) as throttled_request_count,
    cast(sum(input_tokens) as decimal(38, 0)) as input_tokens,
    cast(sum(output_tokens) as decimal(38, 0)) as output_tokens,
    cast(sum(unconstrained_input_tokens) as decimal(38, 0)) as unconstrained_input_tokens,
    cast(sum(unconstrained_output_tokens) as decimal(38, 0)) as unconstrained_output_tokens,
    cast(sum({{ token_accelerator_hours('input_tokens', 'output_tokens') }}) as decimal(38, 9))
        as served_accelerator_hours,
    cast(
        sum({{ token_accelerator_hours('unconstrained_input_tokens', 'unconstrained_output_tokens') }})
        as decimal(38, 9)
    ) as serving_demand_accelerator_hours
from converted
group by usage_hour, usage_date, origin_site_id, tenant_id, model_id
