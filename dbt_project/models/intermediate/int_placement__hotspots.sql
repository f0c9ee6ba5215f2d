with
sites as (select * from {{ ref('stg_reference__sites') }}),

ranked as (
    select
        site_id,
        population,
        row_number() over (partition by site_id order by valid_from desc nulls last) as recency
    from sites
    where site_kind = 'hotspot' and population > 0
),

hotspots as (
    select
        site_id,
        population
    from ranked
    where recency = 1
),

accumulated as (
    select
        site_id,
        cast(sum(population) over (order by site_id rows unbounded preceding) as decimal(38, 0)) as population_to_here,
        cast(population as decimal(38, 0)) as population,
        cast(sum(population) over () as decimal(38, 0)) as total_population
    from hotspots
)

-- A point lies in the first hotspot whose cumulative share exceeds point / 2^32: in whole numbers, the
-- first with point < ceil(cumulative x 2^32 / total), and ceil(a / b) is -floor(-a / b).
select
    site_id,
    -{{ share_of(4294967296, '-(population_to_here - population)', 'total_population') }} as lower_point,
    -{{ share_of(4294967296, '-population_to_here', 'total_population') }} as upper_point
from accumulated
