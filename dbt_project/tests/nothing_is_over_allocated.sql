{{ config(severity='warn') }}
-- Lists where jobs say they held more than was up: two inventories disagree, or one is missing.
select
    usage_date,
    site_id,
    accelerator_id,
    over_allocated_accelerator_hours
from {{ ref('fct_accelerator_hours_daily') }}
where over_allocated_accelerator_hours > 0
