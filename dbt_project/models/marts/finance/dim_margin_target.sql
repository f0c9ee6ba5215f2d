with
targets as (select * from {{ ref('stg_reference__performance_targets') }}),

receipts as (select * from {{ ref('stg_ledger__receipts') }}),

delivered as (
    select
        delivery_name,
        max(delivered_date) as delivered_date
    from receipts
    where table_name = 'performance_targets' and status = 'loaded'
    group by delivery_name
)

select
    targets.measure,
    targets.site_id,
    coalesce(targets.valid_from, cast('0001-01-01' as date)) as valid_from,
    coalesce(targets.valid_to, cast('9999-12-31' as date)) as valid_to,
    cast(targets.target_value as decimal(38, 9)) as target_value,
    targets.source,
    targets.confidence,
    targets.provided_by,
    delivered.delivered_date
from targets
-- A row says which line of which file it is from; the file's name is what comes before the line.
left join delivered on regexp_replace(targets.provided_by, ' line [0-9]+$', '') = delivered.delivery_name
