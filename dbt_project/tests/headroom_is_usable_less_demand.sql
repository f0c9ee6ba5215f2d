-- Catches a demand that is left out of, or counted twice in, the figure that orders are placed on.
select
    usage_date,
    site_id,
    accelerator_id
from {{ ref('fct_supply_demand_daily') }}
where
    headroom_accelerator_hours
    <> usable_accelerator_hours - serving_demand_accelerator_hours - training_demand_accelerator_hours
    or unmet_accelerator_hours <> greatest(-headroom_accelerator_hours, 0)
    or serving_demand_accelerator_hours < served_accelerator_hours
