-- Catches hours counted twice or lost between the parts: installed must equal the sum of them, exactly,
-- and no part may be negative.
select
    usage_date,
    site_id,
    accelerator_id
from {{ ref('fct_accelerator_hours_daily') }}
where
    installed_accelerator_hours
    <> down_accelerator_hours
    + planned_down_accelerator_hours
    + allocated_busy_accelerator_hours
    + allocated_idle_accelerator_hours
    + fragmented_accelerator_hours
    + free_accelerator_hours
    or least(
        down_accelerator_hours,
        planned_down_accelerator_hours,
        allocated_busy_accelerator_hours,
        allocated_idle_accelerator_hours,
        fragmented_accelerator_hours,
        free_accelerator_hours
    ) < 0
    or unknown_activity_accelerator_hours > allocated_idle_accelerator_hours + 0.000001
