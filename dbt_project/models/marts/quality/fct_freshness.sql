with
raw_days as (select * from {{ ref('int_raw__daily') }}),

deliveries as (select * from {{ ref('fct_deliveries') }}),

events as (
    select
        table_name,
        source_id,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        cast(sum(record_count) as bigint) as record_count,
        count(distinct event_day) as event_day_count
    from raw_days
    group by table_name, source_id
),

delivered as (
    select
        feed,
        table_name,
        source_id,
        max(delivered_date) as last_delivered_date,
        max(ingested_at) as ingested_at,
        count(*) as delivery_count
    from deliveries
    where status <> 'superseded'
    group by feed, table_name, source_id
)

select
    delivered.feed,
    delivered.table_name,
    delivered.source_id,
    events.first_event_at,
    events.last_event_at,
    delivered.last_delivered_date,
    delivered.ingested_at,
    delivered.delivery_count,
    coalesce(events.record_count, 0) as record_count,
    coalesce(events.event_day_count, 0) as event_day_count
from delivered
left join events on delivered.table_name = events.table_name and delivered.source_id = events.source_id
