-- Catches a grant that would burn nothing in silence: its package, its add-on or the grant that it renews is
-- not in the reference on the day it was granted, it was voided before it was granted, or more is paid back
-- than was paid.
with
subscriptions as (select * from {{ ref('stg_reference__subscriptions') }}),

grants as (select * from {{ ref('int_package__grants') }})

select
    subscriptions.subscription_id,
    subscriptions.package_id,
    subscriptions.provided_by,
    case
        when grants.subscription_id is null then 'no such package on the day it was granted'
        when grants.over_quota_policy = 'add_on' and grants.add_on_package_id is null
            then 'no such add-on package on the day it was granted'
        when subscriptions.voided_date < subscriptions.granted_date then 'voided before it was granted'
        when grants.refund_cny > grants.price_cny then 'refund above the price'
        when renewed.subscription_id is null then 'renews a grant that this tenant does not hold'
    end as fault
from subscriptions
left join grants on subscriptions.subscription_id = grants.subscription_id
left join grants as renewed
    on subscriptions.renews_subscription_id = renewed.subscription_id and subscriptions.tenant_id = renewed.tenant_id
where
    grants.subscription_id is null
    or (grants.over_quota_policy = 'add_on' and grants.add_on_package_id is null)
    or subscriptions.voided_date < subscriptions.granted_date
    or grants.refund_cny > grants.price_cny
    or (subscriptions.renews_subscription_id is not null and renewed.subscription_id is null)
