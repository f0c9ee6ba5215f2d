-- Catches a day counted in two weeks or in none.
with days as (
    select
        sum(serving_demand_accelerator_hours) as serving,
        sum(training_demand_accelerator_hours) as training,
        sum(usable_accelerator_hours) as usable
    from {{ ref('fct_supply_demand_daily') }}
),

weeks as (
    select
        sum(serving_demand_accelerator_hours) as serving,
        sum(training_demand_accelerator_hours) as training,
        sum(usable_accelerator_hours) as usable
    from {{ ref('fct_supply_demand_weekly') }}
)

select 1 as difference
from days
cross join weeks
where days.serving <> weeks.serving or days.training <> weeks.training or days.usable <> weeks.usable
