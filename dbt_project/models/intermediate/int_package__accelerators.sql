with
demand as (select * from {{ ref('int_package__demand') }}),

flows as (select * from {{ ref('int_serving_demand__flows') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

span as (select * from {{ ref('int_calendar__span') }}),

additional as (
    select
        iso_week,
        tenant_id,
        origin_site_id,
        model_id,
        additional_input_tokens as input_tokens,
        additional_output_tokens as output_tokens
    from demand
    where additional_tokens > 0
),

-- Where what a site asks for was served in the last week, by the tokens that it was.
served as (
    select
        flows.origin_site_id,
        flows.model_id,
        flows.serving_site_id,
        sum(flows.gigabits) as gigabits
    from flows
    cross join span
    where flows.usage_date > span.last_date - 7
    group by flows.origin_site_id, flows.model_id, flows.serving_site_id
),

-- A model that nobody knows yet is any of those that the site asks for.
asked as (
    select
        additional.iso_week,
        additional.tenant_id,
        additional.origin_site_id,
        additional.model_id as asked_model_id,
        additional.input_tokens,
        additional.output_tokens,
        served.model_id,
        served.serving_site_id,
        served.gigabits,
        sum(served.gigabits) over (
            partition by
                additional.iso_week, additional.tenant_id, additional.origin_site_id, additional.model_id
        ) as all_gigabits
    from additional
    inner join served
        on
            additional.origin_site_id = served.origin_site_id
            and additional.model_id in (served.model_id, 'unknown')
),

newest as (
    select
        mix.*,
        max(mix.usage_date) over (partition by mix.site_id, mix.model_id) as newest_date
    from mix
),

converted as (
    select
        asked.iso_week,
        asked.tenant_id,
        asked.origin_site_id,
        asked.asked_model_id as model_id,
        asked.serving_site_id as site_id,
        newest.accelerator_id,
        cast(asked.gigabits as double) / cast(asked.all_gigabits as double)
        * {{ serving_seconds('asked.input_tokens', 'asked.output_tokens', 'newest') }} / 3600 as accelerator_hours
    from asked
    inner join newest
        on
            asked.serving_site_id = newest.site_id
            and asked.model_id = newest.model_id
            and newest.usage_date = newest.newest_date
    where asked.all_gigabits > 0
)

-- Rounded before they are summed, so that the sum is exact and in any order the same.
select
    iso_week,
    tenant_id,
    origin_site_id,
    model_id,
    site_id,
    accelerator_id,
    cast(sum(cast(accelerator_hours as decimal(38, 9))) as decimal(38, 9)) as additional_accelerator_hours
from converted
group by iso_week, tenant_id, origin_site_id, model_id, site_id, accelerator_id
