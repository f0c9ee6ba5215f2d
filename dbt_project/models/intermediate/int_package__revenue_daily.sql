with
entries as (select * from {{ ref('int_package__entries') }}),

-- An expiry or a refund has no site and no model; a day's other revenue belongs to the rows that used it.
earning as (
    select
        usage_date,
        coalesce(serving_site_id, 'unallocated') as serving_site_id,
        tenant_id,
        coalesce(model_id, 'none') as model_id,
        coalesce(product, 'package') as product,
        subscription_id,
        package_revenue_cny,
        breakage_cny
    from entries
    where package_revenue_cny <> 0 or breakage_cny <> 0
)

select
    usage_date,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    subscription_id,
    cast(sum(package_revenue_cny) as decimal(38, 9)) as package_revenue_cny,
    cast(sum(breakage_cny) as decimal(38, 9)) as breakage_cny
from earning
group by usage_date, serving_site_id, tenant_id, model_id, product, subscription_id
