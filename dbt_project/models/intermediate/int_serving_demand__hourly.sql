with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

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
),

unconstrained as (
    select
        usage.*,
        case
            when usage.throttled_request_count = 0 then cast(usage.input_tokens as double)
            when usage.request_count > 0
                then
                    cast(usage.input_tokens as double)
                    * (1 + cast(usage.throttled_request_count as double) / usage.request_count)
            else coalesce(usage.throttled_request_count * model_days.mean_input_tokens, 0) + usage.input_tokens
        end as unconstrained_input_tokens,
        case
            when usage.throttled_request_count = 0 then cast(usage.output_tokens as double)
            when usage.request_count > 0
                then
                    cast(usage.output_tokens as double)
                    * (1 + cast(usage.throttled_request_count as double) / usage.request_count)
            else coalesce(usage.throttled_request_count * model_days.mean_output_tokens, 0) + usage.output_tokens
        end as unconstrained_output_tokens
    from usage
    left join model_days on usage.usage_date = model_days.usage_date and usage.model_id = model_days.model_id
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
