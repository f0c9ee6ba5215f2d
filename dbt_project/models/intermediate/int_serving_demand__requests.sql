with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

usage as (
    select
        usage_hour,
        {{ business_date('usage_hour') }} as usage_date,
        serving_site_id,
        model_id,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(throttled_request_count) as bigint) as throttled_request_count,
        coalesce(cast(sum(input_tokens) as decimal(38, 0)), 0) as input_tokens,
        coalesce(cast(sum(output_tokens) as decimal(38, 0)), 0) as output_tokens
    from token_usage
    group by usage_hour, {{ business_date('usage_hour') }}, serving_site_id, model_id
),

-- Where an hour turned every request away, the model's mean request of that day stands in.
model_days as (
    select
        usage_date,
        model_id,
        cast(sum(input_tokens) as double) / nullif(sum(request_count), 0) as mean_input_tokens,
        cast(sum(output_tokens) as double) / nullif(sum(request_count), 0) as mean_output_tokens
    from usage
    group by usage_date, model_id
)

select
    usage.usage_hour,
    usage.usage_date,
    usage.serving_site_id,
    usage.model_id,
    usage.request_count,
    usage.throttled_request_count,
    usage.input_tokens,
    usage.output_tokens,
    case
        when usage.request_count > 0 then cast(usage.input_tokens as double) / usage.request_count
        else coalesce(model_days.mean_input_tokens, 0)
    end as mean_request_input_tokens,
    case
        when usage.request_count > 0 then cast(usage.output_tokens as double) / usage.request_count
        else coalesce(model_days.mean_output_tokens, 0)
    end as mean_request_output_tokens
from usage
left join model_days on usage.usage_date = model_days.usage_date and usage.model_id = model_days.model_id
