{{ config(materialized='view') }}

with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

usage as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        origin_site_id,
        serving_site_id,
        model_id,
        coalesce({{ exact_sum('input_tokens') }}, 0) as input_tokens,
        coalesce({{ exact_sum('cached_input_tokens') }}, 0) as cached_input_tokens,
        coalesce({{ exact_sum('output_tokens') }}, 0) as output_tokens
    from token_usage
    group by {{ business_date('usage_hour') }}, origin_site_id, serving_site_id, model_id
)

-- Rounded before anybody sums them, so that a sum is the same in any order.
select
    usage.usage_date,
    usage.origin_site_id,
    usage.serving_site_id,
    usage.model_id,
    mix.accelerator_id,
    cast({{ serving_seconds('usage.input_tokens', 'usage.output_tokens', 'mix') }} / 3600 as decimal(38, 9))
        as served_accelerator_hours,
    cast(
        mix.share_ratio * cast(usage.input_tokens + usage.cached_input_tokens + usage.output_tokens as double)
        * {{ var('bytes_per_token') }} * 8 / 1e9 as decimal(38, 9)
    ) as gigabits
from usage
inner join mix
    on
        usage.usage_date = mix.usage_date
        and usage.serving_site_id = mix.site_id
        and usage.model_id = mix.model_id
