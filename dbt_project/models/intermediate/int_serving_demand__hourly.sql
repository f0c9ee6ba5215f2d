with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

inventory as (select * from {{ ref('int_inventory__hourly') }}),

rates as (select * from {{ ref('int_serving_demand__rates') }}),

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

serving_inventory as (
    select
        usage_hour,
        site_id,
        accelerator_id,
        sum(installed_accelerator_microseconds) as installed_accelerator_microseconds
    from inventory
    where purpose in ('serving', 'shared') and installed_accelerator_microseconds > 0
    group by usage_hour, site_id, accelerator_id
),

-- The types at the site that can serve the model, each by what is installed of it.
mixed as (
    select
        unconstrained.*,
        serving_inventory.accelerator_id,
        rates.input_tokens_per_second,
        rates.output_tokens_per_second,
        cast(serving_inventory.installed_accelerator_microseconds as double)
        / sum(serving_inventory.installed_accelerator_microseconds) over (
            partition by unconstrained.usage_hour, unconstrained.serving_site_id, unconstrained.model_id
        ) as share_ratio
    from unconstrained
    inner join serving_inventory
        on
            unconstrained.usage_hour = serving_inventory.usage_hour
            and unconstrained.serving_site_id = serving_inventory.site_id
    inner join rates
        on
            unconstrained.usage_date = rates.usage_date
            and unconstrained.model_id = rates.model_id
            and serving_inventory.accelerator_id = rates.accelerator_id
            and rates.is_measured_for_class
),

planned as (
    select
        unconstrained.*,
        rates.accelerator_id,
        rates.input_tokens_per_second,
        rates.output_tokens_per_second,
        cast(1 as double) as share_ratio
    from unconstrained
    inner join rates
        on
            unconstrained.usage_date = rates.usage_date
            and unconstrained.model_id = rates.model_id
            and rates.accelerator_id = '{{ var("planning_accelerator") }}'
    where
        not exists (
            select 1
            from mixed
            where
                mixed.usage_hour = unconstrained.usage_hour
                and mixed.serving_site_id = unconstrained.serving_site_id
                and mixed.model_id = unconstrained.model_id
        )
),

converted as (
    select * from mixed
    union all
    select * from planned
)

select
    usage_hour,
    serving_site_id as site_id,
    accelerator_id,
    cast(sum(
        cast(
            share_ratio * (input_tokens / input_tokens_per_second + output_tokens / output_tokens_per_second) / 3600
            as decimal(38, 9)
        )
    ) as decimal(38, 9)) as served_accelerator_hours,
    cast(sum(
        cast(
            share_ratio * (
                unconstrained_input_tokens / input_tokens_per_second
                + unconstrained_output_tokens / output_tokens_per_second
            ) / 3600 as decimal(38, 9)
        )
    ) as decimal(38, 9)) as serving_demand_accelerator_hours
from converted
group by usage_hour, serving_site_id, accelerator_id
