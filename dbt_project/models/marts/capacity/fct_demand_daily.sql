with
demand as (select * from {{ ref('fct_demand_hourly') }})

select
    usage_date,
    origin_site_id,
    tenant_id,
    model_id,
    cast(sum(request_count) as bigint) as request_count,
    cast(sum(throttled_request_count) as bigint) as throttled_request_count,
    {{ exact_sum('input_tokens') }} as input_tokens,
    {{ exact_sum('output_tokens') }} as output_tokens,
    {{ exact_sum('unconstrained_input_tokens') }} as unconstrained_input_tokens,
    {{ exact_sum('unconstrained_output_tokens') }} as unconstrained_output_tokens,
    cast(sum(served_accelerator_hours) as decimal(38, 9)) as served_accelerator_hours,
    cast(sum(serving_demand_accelerator_hours) as decimal(38, 9)) as serving_demand_accelerator_hours
from demand
group by usage_date, origin_site_id, tenant_id, model_id
