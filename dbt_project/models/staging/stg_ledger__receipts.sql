with
receipts as (select * from {{ source('raw', 'receipts') }})

select
    delivery_id,
    feed,
    table_name,
    format,
    source_id,
    delivery_name,
    delivered_date,
    ingested_at,
    byte_count,
    received_count,
    loaded_count,
    duplicate_count,
    quarantined_count,
    status,
    superseded_by,
    parser_version
from receipts
