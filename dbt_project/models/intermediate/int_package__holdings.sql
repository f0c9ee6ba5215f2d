with
entries as (select * from {{ ref('int_package__entries') }}),

grants as (select * from {{ ref('int_package__grants') }}),

tenants as (
    {{ current_rows(ref('stg_reference__tenants'), ['tenant_id']) }}
),

granted as (
    select
        subscription_id,
        parent_subscription_id,
        tenant_id,
        settlement,
        usage_date as granted_date,
        quota_tokens as granted_tokens,
        transfer_cny as price_cny
    from entries
    where entry = 'granted'
)

select
    granted.subscription_id,
    granted.parent_subscription_id,
    granted.tenant_id,
    coalesce(tenants.segment, 'unknown') as segment,
    case when granted.parent_subscription_id is null then grants.package_id else grants.add_on_package_id end
        as package_id,
    granted.settlement,
    case when granted.parent_subscription_id is null then grants.programme_id end as programme_id,
    granted.granted_date,
    case when granted.parent_subscription_id is null then grants.starts_date else granted.granted_date end
        as starts_date,
    -- An add-on ends with the grant that it was bought for.
    case
        when granted.parent_subscription_id is null then grants.expires_date
        else least(grants.expires_date, coalesce(grants.voided_date, grants.expires_date))
    end as expires_date,
    case when granted.parent_subscription_id is null then grants.voided_date end as voided_date,
    granted.granted_tokens,
    granted.price_cny
from granted
inner join grants on coalesce(granted.parent_subscription_id, granted.subscription_id) = grants.subscription_id
left join tenants on granted.tenant_id = tenants.tenant_id
