select
    site_role,
    site_id,
    usage_hour,
    usage_date
from {{ ref('int_usage__dropouts') }}
