with
sites as (
    {{ current_rows(ref('stg_reference__sites'), ['site_id']) }}
),

seen as (
    select distinct origin_site_id as site_id from {{ ref('int_token_usage__hourly') }}
    union
    select distinct serving_site_id as site_id from {{ ref('int_token_usage__hourly') }}
    union
    select distinct site_id from {{ ref('int_inventory__hourly') }}
    union
    select distinct group_site_id as site_id from {{ ref('int_holders__groups') }}
    union
    select distinct site_id from {{ ref('int_telemetry__hourly') }}
    union
    select distinct a_site_id as site_id from {{ ref('stg_reference__links') }}
    union
    select distinct b_site_id as site_id from {{ ref('stg_reference__links') }}
    union
    select distinct site_id from {{ ref('stg_reference__planned_deliveries') }}
    union
    select 'unknown' as site_id
),

unregistered as (
    select site_id from seen
    where site_id is not null and not exists (select 1 from sites where sites.site_id = seen.site_id)
)

select
    site_id,
    site_name,
    site_name_cn,
    site_kind,
    hub_region,
    region,
    latitude,
    longitude,
    population,
    nearest_hub_site_id,
    true as is_registered
from sites
union all
select
    site_id,
    case when site_id = 'unknown' then 'Unknown' else site_id end as site_name,
    case when site_id = 'unknown' then '未知' else site_id end as site_name_cn,
    'unknown' as site_kind,
    cast(null as {{ text_type() }}) as hub_region,
    cast(null as {{ text_type() }}) as region,
    cast(null as double) as latitude,
    cast(null as double) as longitude,
    cast(null as bigint) as population,
    cast(null as {{ text_type() }}) as nearest_hub_site_id,
    false as is_registered
from unregistered
