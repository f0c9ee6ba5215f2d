with
quarantine as (select * from {{ ref('stg_ledger__quarantine') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }}),

receipts as (select * from {{ ref('stg_ledger__receipts') }}),

rejected as (
    select
        delivery_id,
        reason_code,
        line_count
    from quarantine
    union all
    -- Found by the build and not by the parser: an id that came again with another content.
    select
        delivery_id,
        'conflict' as reason_code,
        line_count
    from surplus
    where surplus_kind = 'conflict'
)

select
    receipts.feed,
    receipts.table_name,
    receipts.source_id,
    rejected.reason_code,
    count(distinct rejected.delivery_id) as delivery_count,
    cast(sum(rejected.line_count) as bigint) as line_count,
    max(receipts.delivered_date) as last_delivered_date
from rejected
inner join receipts on rejected.delivery_id = receipts.delivery_id
group by receipts.feed, receipts.table_name, receipts.source_id, rejected.reason_code
