with
requests as (select * from {{ ref('int_serving_demand__requests') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

unconstrained as (
    select
        *,
        {{ unconstrained_tokens('input_tokens', 'throttled_request_count', 'mean_request_input_tokens') }}
            as unconstrained_input_tokens,
        {{ unconstrained_tokens('output_tokens', 'throttled_request_count', 'mean_request_output_tokens') }}
            as unconstrained_output_tokens
    from requests
),

converted as (
    select
        unconstrained.usage_hour,
        unconstrained.serving_site_id as site_id,
        mix.accelerator_id,
        {{ serving_seconds('unconstrained.input_tokens', 'unconstrained.output_tokens', 'mix') }} / 3600
            as served_accelerator_hours,
        {{
            serving_seconds(
                'unconstrained.unconstrained_input_tokens', 'unconstrained.unconstrained_output_tokens', 'mix'
            )
        }} / 3600 as serving_demand_accelerator_hours
    from unconstrained
    inner join mix
        on
            unconstrained.usage_date = mix.usage_date
            and unconstrained.serving_site_id = mix.site_id
            and unconstrained.model_id = mix.model_id
)

-- Rounded before they are summed, so that the sum is exact and in any order the same.
select
    usage_hour,
    site_id,
    accelerator_id,
    cast(sum(cast(served_accelerator_hours as decimal(38, 9))) as decimal(38, 9)) as served_accelerator_hours,
    cast(sum(cast(serving_demand_accelerator_hours as decimal(38, 9))) as decimal(38, 9))
        as serving_demand_accelerator_hours
from converted
group by usage_hour, site_id, accelerator_id
