with
links as (
    {{ current_rows(ref('stg_reference__links'), ['link_id']) }}
),

seen as (
    select distinct link_id from {{ ref('int_link__hourly') }}
    union
    select 'unknown' as link_id
),

unregistered as (
    select link_id from seen
    where not exists (select 1 from links where links.link_id = seen.link_id)
)

select
    link_id,
    a_site_id,
    b_site_id,
    link_class,
    route_km,
    one_way_ms,
    capacity_gbps,
    design_capacity_gbps,
    true as is_registered
from links
union all
select
    link_id,
    'unknown' as a_site_id,
    'unknown' as b_site_id,
    'unknown' as link_class,
    cast(null as double) as route_km,
    cast(null as double) as one_way_ms,
    cast(null as double) as capacity_gbps,
    cast(null as double) as design_capacity_gbps,
    false as is_registered
from unregistered
