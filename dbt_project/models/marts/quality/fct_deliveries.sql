with
receipts as (select * from {{ ref('stg_ledger__receipts') }}),

surplus as (select * from {{ ref('int_deliveries__surplus') }}),

-- Only the build sees what another delivery brought before: it moves from loaded to where it belongs.
moved as (
    select
        receipts.*,
        coalesce(surplus.duplicate_count, 0) as cross_delivery_duplicate_count,
        coalesce(surplus.conflict_count, 0) as conflict_count
    from receipts
    left join surplus on receipts.delivery_id = surplus.delivery_id
)

select
    delivery_id,
    feed,
    table_name,
    format,
    source_id,
    delivery_name,
    delivered_date,
    ingested_at,
    status,
    superseded_by,
    byte_count,
    received_count,
    loaded_count - cross_delivery_duplicate_count - conflict_count as loaded_count,
    duplicate_count + cross_delivery_duplicate_count as duplicate_count,
    quarantined_count + conflict_count as quarantined_count,
    cross_delivery_duplicate_count,
    conflict_count,
    parser_version
from moved
