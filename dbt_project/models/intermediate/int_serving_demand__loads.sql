{{ config(materialized='view') }}

with
requests as (select * from {{ ref('int_serving_demand__requests') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

rates as (select * from {{ ref('int_serving_demand__rates') }}),

asked as (
    select
        usage_date,
        serving_site_id as site_id,
        model_id,
        cast(sum(request_count + throttled_request_count) as double) as request_count,
        sum(
            cast(
                {{ unconstrained_tokens('input_tokens', 'throttled_request_count', 'mean_request_input_tokens') }}
                as decimal(38, 3)
            )
        ) as input_tokens,
        sum(
            cast(
                {{ unconstrained_tokens('output_tokens', 'throttled_request_count', 'mean_request_output_tokens') }}
                as decimal(38, 3)
            )
        ) as output_tokens
    from requests
    group by usage_date, serving_site_id, model_id
)

-- Rounded before anybody sums them, so that a sum is the same in any order.
select
    asked.usage_date,
    asked.site_id,
    mix.accelerator_id,
    asked.model_id,
    cast(asked.request_count * mix.share_ratio as decimal(38, 9)) as request_count,
    cast(cast(asked.input_tokens as double) * mix.share_ratio as decimal(38, 3)) as input_tokens,
    cast(cast(asked.output_tokens as double) * mix.share_ratio as decimal(38, 3)) as output_tokens,
    mix.input_tokens_per_second,
    mix.output_tokens_per_second,
    rates.objective
from asked
inner join mix
    on
        asked.usage_date = mix.usage_date
        and asked.site_id = mix.site_id
        and asked.model_id = mix.model_id
inner join rates
    on
        mix.usage_date = rates.usage_date
        and mix.model_id = rates.model_id
        and mix.accelerator_id = rates.accelerator_id
where asked.request_count > 0
