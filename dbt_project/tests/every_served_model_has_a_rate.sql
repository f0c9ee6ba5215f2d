-- Catches tokens that no throughput turns into accelerator hours: they would be demand of nothing.
select
    usage.serving_site_id,
    usage.model_id
from (
    select distinct
        usage_date,
        serving_site_id,
        model_id
    from {{ ref('fct_token_usage_hourly') }}
) as usage
left join {{ ref('int_serving_demand__mix') }} as mix
    on
        usage.usage_date = mix.usage_date
        and usage.serving_site_id = mix.site_id
        and usage.model_id = mix.model_id
where mix.accelerator_id is null
