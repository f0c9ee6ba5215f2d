-- Catches revenue that is lost on the way from the ledger to the rows that margin adds up.
with
by_row as (
    select
        subscription_id,
        sum(package_revenue_cny) as package_revenue_cny,
        sum(breakage_cny) as breakage_cny
    from {{ ref('int_package__revenue_daily') }}
    group by subscription_id
),

at_the_end as (
    select
        subscription_id,
        max_by(package_revenue_cny, usage_date) as package_revenue_cny,
        max_by(breakage_cny, usage_date) as breakage_cny
    from {{ ref('fct_package_burndown_daily') }}
    group by subscription_id
)

select
    at_the_end.subscription_id,
    at_the_end.package_revenue_cny,
    by_row.package_revenue_cny as package_revenue_of_rows_cny,
    at_the_end.breakage_cny,
    by_row.breakage_cny as breakage_of_rows_cny
from at_the_end
left join by_row on at_the_end.subscription_id = by_row.subscription_id
where
    at_the_end.package_revenue_cny <> coalesce(by_row.package_revenue_cny, 0)
    or at_the_end.breakage_cny <> coalesce(by_row.breakage_cny, 0)
