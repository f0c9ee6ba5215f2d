with
subscriptions as (
    {{ current_rows(ref('stg_reference__subscriptions'), ['subscription_id']) }}
),

packages as (select * from {{ ref('stg_reference__packages') }}),

-- The terms of a grant are those of its package on the day it was granted, also after the package changed.
agreed as (
    select
        subscriptions.subscription_id,
        subscriptions.tenant_id,
        subscriptions.package_id,
        packages.package_kind,
        packages.programme_id,
        packages.programme_quota_tokens,
        packages.priority,
        subscriptions.granted_date,
        subscriptions.starts_date,
        subscriptions.expires_date,
        subscriptions.voided_date,
        coalesce(subscriptions.granted_tokens, packages.quota_tokens) as granted_tokens,
        -- What nobody pays for earns nothing, whatever the package costs others.
        case when subscriptions.funding = 'none' then 0 else coalesce(subscriptions.price_cny, packages.price_cny) end
            as price_cny,
        subscriptions.refund_cny,
        subscriptions.funding,
        packages.carry_over,
        subscriptions.renews_subscription_id,
        packages.over_quota_policy,
        packages.add_on_package_id,
        packages.expected_breakage_ratio,
        subscriptions.provided_by
    from subscriptions
    inner join packages
        on subscriptions.package_id = packages.package_id and {{ holds_on('packages', 'subscriptions.granted_date') }}
)

select
    agreed.subscription_id,
    agreed.tenant_id,
    agreed.package_id,
    case when agreed.package_kind = 'trial' then 'trial' else 'package' end as settlement,
    agreed.programme_id,
    agreed.programme_quota_tokens,
    agreed.priority,
    agreed.granted_date,
    agreed.starts_date,
    agreed.expires_date,
    agreed.voided_date,
    agreed.granted_tokens,
    cast(agreed.price_cny as decimal(18, 2)) as price_cny,
    agreed.refund_cny,
    agreed.funding,
    agreed.carry_over,
    agreed.renews_subscription_id,
    agreed.over_quota_policy,
    agreed.expected_breakage_ratio,
    add_ons.package_id as add_on_package_id,
    case when add_ons.package_kind = 'trial' then 'trial' when add_ons.package_kind = 'paid' then 'package' end
        as add_on_settlement,
    add_ons.quota_tokens as add_on_tokens,
    add_ons.price_cny as add_on_price_cny,
    add_ons.expected_breakage_ratio as add_on_expected_breakage_ratio,
    agreed.provided_by
from agreed
left join packages as add_ons
    on
        agreed.over_quota_policy = 'add_on'
        and agreed.add_on_package_id = add_ons.package_id
        and {{ holds_on('add_ons', 'agreed.granted_date') }}
