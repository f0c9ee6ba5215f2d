with
entries as (select * from {{ ref('int_package__entries') }})

select
    usage_hour,
    usage_date,
    {{ business_hour('usage_hour') }} as hour_of_day,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    context_floor_tokens,
    token_type,
    subscription_id,
    parent_subscription_id,
    settlement,
    tokens,
    quota_tokens
from entries
where entry in ('consumed', 'blocked')
