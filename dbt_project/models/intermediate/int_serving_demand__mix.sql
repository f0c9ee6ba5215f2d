with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

inventory as (select * from {{ ref('int_inventory__hourly') }}),

rates as (select * from {{ ref('int_serving_demand__rates') }}),

served as (
    select distinct
        {{ business_date('usage_hour') }} as usage_date,
        serving_site_id as site_id,
        model_id
    from token_usage
),

serving_inventory as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        site_id,
        accelerator_id,
        cast(sum(installed_accelerator_microseconds) as double) as weight
    from inventory
    where purpose in ('serving', 'shared') and installed_accelerator_microseconds > 0
    group by {{ business_date('usage_hour') }}, site_id, accelerator_id
),

-- The types at the site that can serve the model, each by the tokens that what is installed of it can make:
-- a scheduler that loads by count alone would leave the fast ones idle beside slow ones that are short.
able as (
    select
        served.usage_date,
        served.site_id,
        served.model_id,
        serving_inventory.accelerator_id,
        serving_inventory.weight * rates.output_tokens_per_second as weight,
        rates.input_tokens_per_second,
        rates.output_tokens_per_second
    from served
    inner join serving_inventory
        on served.usage_date = serving_inventory.usage_date and served.site_id = serving_inventory.site_id
    inner join rates
        on
            served.usage_date = rates.usage_date
            and served.model_id = rates.model_id
            and serving_inventory.accelerator_id = rates.accelerator_id
            and rates.is_measured_for_class
    where rates.output_tokens_per_second > 0
),

installed as (
    select
        usage_date,
        site_id,
        model_id,
        accelerator_id,
        weight / sum(weight) over (
            partition by usage_date, site_id, model_id
            order by accelerator_id rows between unbounded preceding and unbounded following
        ) as share_ratio,
        input_tokens_per_second,
        output_tokens_per_second
    from able
),

-- A site without any of them is planned in the type that would be ordered for it.
planned as (
    select
        served.usage_date,
        served.site_id,
        served.model_id,
        rates.accelerator_id,
        cast(1 as double) as share_ratio,
        rates.input_tokens_per_second,
        rates.output_tokens_per_second
    from served
    inner join rates
        on
            served.usage_date = rates.usage_date
            and served.model_id = rates.model_id
            and rates.accelerator_id = '{{ var("planning_accelerator") }}'
    where
        not exists (
            select 1 from installed
            where
                installed.usage_date = served.usage_date
                and installed.site_id = served.site_id
                and installed.model_id = served.model_id
        )
)

select
    usage_date,
    site_id,
    model_id,
    accelerator_id,
    share_ratio,
    input_tokens_per_second,
    output_tokens_per_second
from installed
union all
select
    usage_date,
    site_id,
    model_id,
    accelerator_id,
    share_ratio,
    input_tokens_per_second,
    output_tokens_per_second
from planned
