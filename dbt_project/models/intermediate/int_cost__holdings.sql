with
held as (select * from {{ ref('int_cost__held') }}),

-- Hours of a running sum, less those before: rounded parts that never add up to more than the whole.
running as (
    select
        usage_date,
        site_id,
        accelerator_id,
        tenant_id,
        model_id,
        product,
        held_accelerator_microseconds,
        sum(held_accelerator_microseconds) over (
            partition by usage_date, site_id, accelerator_id
            order by tenant_id, model_id, product rows unbounded preceding
        ) as held_until_accelerator_microseconds
    from held
),

holdings as (
    select
        usage_date,
        site_id,
        accelerator_id,
        tenant_id,
        model_id,
        product,
        {{ accelerator_hours('held_until_accelerator_microseconds') }}
        - {{ accelerator_hours('held_until_accelerator_microseconds - held_accelerator_microseconds') }}
            as held_accelerator_hours
    from running
)

select
    usage_date,
    site_id,
    accelerator_id,
    tenant_id,
    model_id,
    product,
    cast(held_accelerator_hours as decimal(38, 6)) as held_accelerator_hours
from holdings
where held_accelerator_hours > 0
