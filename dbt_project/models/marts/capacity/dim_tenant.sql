with
tenants as (
    {{ current_rows(ref('stg_reference__tenants'), ['tenant_id']) }}
),

seen as (
    select distinct tenant_id from {{ ref('int_token_usage__hourly') }}
    union
    select distinct coalesce(tenant_id, 'unknown') as tenant_id from {{ ref('int_jobs__attempts') }}
    union
    select 'unknown' as tenant_id
),

unregistered as (
    select tenant_id from seen
    where not exists (select 1 from tenants where tenants.tenant_id = seen.tenant_id)
)

select
    tenant_id,
    coalesce(tenant_name, tenant_id) as tenant_name,
    segment,
    home_site_id,
    true as is_registered
from tenants
union all
select
    tenant_id,
    case when tenant_id = 'unknown' then 'Unknown' else tenant_id end as tenant_name,
    'unknown' as segment,
    cast(null as {{ text_type() }}) as home_site_id,
    false as is_registered
from unregistered
