-- Catches a target for a site that nobody knows: it would never be compared with anything.
select
    targets.provided_by,
    targets.measure,
    targets.site_id
from {{ ref('dim_margin_target') }} as targets
left join {{ ref('dim_site') }} as sites on targets.site_id = sites.site_id
where targets.site_id <> 'all' and sites.site_id is null
order by targets.provided_by
