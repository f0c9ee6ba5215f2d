with
quarantine as (select * from {{ source('raw', 'quarantine') }})

select
    delivery_id,
    table_name,
    feed,
    line_number,
    line_count,
    reason_code,
    message
from quarantine
