with
allocation as (select * from {{ ref('int_job_hours') }}),

span as (select * from {{ ref('int_calendar__span') }})

select
    {{ business_date('usage_hour') }} as usage_date,
    site_id,
    accelerator_id,
    tenant_id,
    {{ accelerator_hours('sum(held_accelerator_microseconds)') }} as held_accelerator_hours,
    {{ accelerator_hours('sum(waiting_accelerator_microseconds)') }} as waiting_accelerator_hours
from allocation
cross join span
-- A job that outlasts what else is known of the network holds hours on days that are not known yet.
where {{ business_date('usage_hour') }} <= span.last_date
group by {{ business_date('usage_hour') }}, site_id, accelerator_id, tenant_id
