with
surplus_records as (select * from {{ ref('stg_ledger__surplus_records') }})

select
    delivery_id,
    table_name,
    cast(sum(case when surplus_kind = 'duplicate' then line_count else 0 end) as bigint) as duplicate_count,
    cast(sum(case when surplus_kind = 'conflict' then line_count else 0 end) as bigint) as conflict_count
from surplus_records
group by delivery_id, table_name
