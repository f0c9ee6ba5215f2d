-- Catches revenue that no customer paid: never more than the price and what was carried over with it, never a
-- liability below zero, and what is recognised, deferred and refunded is what was paid.
select
    usage_date,
    subscription_id,
    price_cny,
    carried_cny,
    recognised_cny,
    deferred_cny,
    refunded_cny
from {{ ref('fct_package_burndown_daily') }}
where
    recognised_cny > price_cny + greatest(carried_cny, 0)
    or deferred_cny < 0
    or recognised_cny + deferred_cny + refunded_cny <> price_cny + carried_cny
