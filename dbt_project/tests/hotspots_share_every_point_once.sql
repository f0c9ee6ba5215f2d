-- Catches a gap or an overlap in the placement: every point must belong to exactly one hotspot.
select 1 as difference
from {{ ref('int_placement__hotspots') }}
having min(lower_point) <> 0 or max(upper_point) <> 4294967296 or sum(upper_point - lower_point) <> 4294967296
