-- Catches a cost that no site bears, and one that no site of the dimension names.
select
    pools.usage_date,
    pools.site_id,
    pools.accelerator_id,
    pools.pool_cny
from {{ ref('int_cost__pools') }} as pools
left join {{ ref('dim_site') }} as sites on pools.site_id = sites.site_id
where sites.site_id is null
