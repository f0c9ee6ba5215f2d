with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

attempts as (select * from {{ ref('int_jobs__attempts') }}),

telemetry as (select * from {{ ref('int_telemetry__hourly') }}),

pool_telemetry as (select * from {{ ref('int_pool_telemetry__hourly') }}),

links as (select * from {{ ref('int_link__hourly') }}),

receipts as (select * from {{ ref('stg_ledger__receipts') }}),

spans as (
    select
        min(usage_hour) as first_at,
        max(usage_hour) as last_at
    from token_usage
    union all
    select
        min(submitted_at) as first_at,
        max(greatest(submitted_at, observed_at)) as last_at
    from attempts
    union all
    select
        min(usage_hour) as first_at,
        max(usage_hour) as last_at
    from telemetry
    union all
    select
        min(usage_hour) as first_at,
        max(usage_hour) as last_at
    from pool_telemetry
    union all
    select
        min(usage_hour) as first_at,
        max(usage_hour) as last_at
    from links
),

observed as (
    select
        {{ business_date('min(first_at)') }} as first_date,
        {{ business_date('max(last_at)') }} as last_date
    from spans
),

-- A job of a replayed trace may end after the newest delivery: that is not yet, whatever the trace says.
held as (
    select {{ business_date('max(held_until_at)') }} as last_date
    from attempts
),

delivered as (
    select cast(max(delivered_date) + interval 1 day as date) as last_date
    from receipts
)

select
    observed.first_date,
    greatest(observed.last_date, least(coalesce(held.last_date, observed.last_date), delivered.last_date)) as last_date
from observed
cross join held
cross join delivered
