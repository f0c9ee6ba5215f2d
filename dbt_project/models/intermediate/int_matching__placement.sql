{{ config(materialized='view') }}

with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

span as (select * from {{ ref('int_calendar__span') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

-- What is not recorded adds nothing: a feed without cached input still has tokens.
usage as (
    select
        usage_hour,
        {{ business_date('usage_hour') }} as usage_date,
        origin_site_id,
        serving_site_id,
        model_id,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(throttled_request_count) as bigint) as throttled_request_count,
        coalesce({{ exact_sum('input_tokens') }}, 0) as input_tokens,
        coalesce({{ exact_sum('cached_input_tokens') }}, 0) as cached_input_tokens,
        coalesce({{ exact_sum('output_tokens') }}, 0) as output_tokens
    from token_usage
    cross join span
    where {{ business_date('usage_hour') }} > span.last_date - {{ var('matching_days') }}
    group by usage_hour, {{ business_date('usage_hour') }}, origin_site_id, serving_site_id, model_id
),

-- Where an hour turned every request away, the model's mean request of that day stands in.
model_days as (
    select
        usage_date,
        model_id,
        cast(sum(input_tokens + cached_input_tokens + output_tokens) as double) / nullif(sum(request_count), 0)
            as mean_tokens
    from usage
    group by usage_date, model_id
),

unconstrained as (
    select
        usage.usage_hour,
        usage.usage_date,
        usage.origin_site_id,
        usage.serving_site_id,
        usage.model_id,
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.input_tokens + usage.cached_input_tokens + usage.output_tokens as tokens,
        case
            when usage.throttled_request_count = 0 then 0
            when usage.request_count > 0
                then
                    cast(usage.input_tokens + usage.cached_input_tokens + usage.output_tokens as double)
                    * usage.throttled_request_count / usage.request_count
            else coalesce(usage.throttled_request_count * model_days.mean_tokens, 0)
        end as throttled_tokens
    from usage
    left join model_days on usage.usage_date = model_days.usage_date and usage.model_id = model_days.model_id
)

select
    unconstrained.usage_hour,
    unconstrained.usage_date,
    unconstrained.origin_site_id,
    unconstrained.serving_site_id,
    unconstrained.model_id,
    mix.accelerator_id,
    mix.share_ratio,
    unconstrained.input_tokens,
    unconstrained.cached_input_tokens,
    unconstrained.output_tokens,
    unconstrained.tokens,
    cast(unconstrained.tokens + cast(round(unconstrained.throttled_tokens, 0) as decimal(38, 0)) as decimal(38, 0))
        as unconstrained_tokens
from unconstrained
inner join mix
    on
        unconstrained.usage_date = mix.usage_date
        and unconstrained.serving_site_id = mix.site_id
        and unconstrained.model_id = mix.model_id
