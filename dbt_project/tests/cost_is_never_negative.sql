-- Catches more held than a pool has: what is idle would then be negative, and paid back to its holders.
select
    usage_date,
    serving_site_id,
    accelerator_id,
    tenant_id,
    model_id,
    product,
    idle_cny,
    cost_cny
from {{ ref('int_cost__allocated') }}
where
    least(
        depreciation_cny, energy_cny, network_cny, operations_cny,
        idle_depreciation_cny, idle_energy_cny, idle_operations_cny
    ) < 0
