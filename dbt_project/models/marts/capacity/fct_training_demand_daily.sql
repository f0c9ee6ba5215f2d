with
allocation as (select * from {{ ref('int_job_hours') }})

select
    {{ business_date('usage_hour') }} as usage_date,
    site_id,
    accelerator_id,
    tenant_id,
    {{ accelerator_hours('sum(held_accelerator_microseconds)') }} as held_accelerator_hours,
    {{ accelerator_hours('sum(waiting_accelerator_microseconds)') }} as waiting_accelerator_hours
from allocation
group by {{ business_date('usage_hour') }}, site_id, accelerator_id, tenant_id
