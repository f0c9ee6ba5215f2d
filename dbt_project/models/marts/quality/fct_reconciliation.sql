with
deliveries as (select * from {{ ref('fct_deliveries') }}),

raw_days as (select * from {{ ref('int_raw__daily') }}),

raw_reference as (select * from {{ ref('int_raw__reference') }}),

token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

token_mart as (select * from {{ ref('fct_token_usage_hourly') }}),

telemetry as (select * from {{ ref('int_telemetry__hourly') }}),

pool_telemetry as (select * from {{ ref('int_pool_telemetry__hourly') }}),

attempts as (select * from {{ ref('int_jobs__attempts') }}),

jobs as (select * from {{ ref('fct_jobs') }}),

job_hours as (select * from {{ ref('int_job_hours') }}),

allocation as (select * from {{ ref('int_allocation__hourly') }}),

landed as (
    select
        feed,
        table_name,
        cast(sum(loaded_count) as decimal(38, 3)) as line_count
    from deliveries
    where status = 'loaded'
    group by feed, table_name
),

staged as (
    select
        table_name,
        cast(sum(line_count) as decimal(38, 3)) as line_count,
        cast(sum(record_count) as decimal(38, 3)) as record_count,
        cast(sum(staged_record_count) as decimal(38, 3)) as staged_record_count,
        cast(sum(request_count) as decimal(38, 3)) as request_count,
        cast(sum(input_tokens) as decimal(38, 3)) as input_tokens,
        cast(sum(cached_input_tokens) as decimal(38, 3)) as cached_input_tokens,
        cast(sum(output_tokens) as decimal(38, 3)) as output_tokens,
        cast(sum(reasoning_tokens) as decimal(38, 3)) as reasoning_tokens
    from raw_days
    group by table_name
    union all
    select
        table_name,
        cast(sum(line_count) as decimal(38, 3)) as line_count,
        cast(sum(record_count) as decimal(38, 3)) as record_count,
        cast(sum(record_count) as decimal(38, 3)) as staged_record_count,
        cast(null as decimal(38, 3)) as request_count,
        cast(null as decimal(38, 3)) as input_tokens,
        cast(null as decimal(38, 3)) as cached_input_tokens,
        cast(null as decimal(38, 3)) as output_tokens,
        cast(null as decimal(38, 3)) as reasoning_tokens
    from raw_reference
    group by table_name
),

modelled as (
    select
        'token_usage' as table_name,
        cast(sum(line_count) as decimal(38, 3)) as line_count,
        cast(sum(record_count) as decimal(38, 3)) as record_count
    from token_usage
    union all
    select
        'telemetry' as table_name,
        cast(sum(line_count) as decimal(38, 3)) as line_count,
        cast(sum(sample_count) as decimal(38, 3)) as record_count
    from telemetry
    union all
    select
        'pool_telemetry' as table_name,
        cast(sum(line_count) as decimal(38, 3)) as line_count,
        cast(sum(sample_count) as decimal(38, 3)) as record_count
    from pool_telemetry
    union all
    select
        'job_logs' as table_name,
        cast(sum(line_count) as decimal(38, 3)) as line_count,
        cast(sum(sighting_count) as decimal(38, 3)) as record_count
    from attempts
),

-- Tokens that stand for unmetered requests are in the mart and not in raw; they are taken off first.
token_sums as (
    select
        cast(sum(request_count + throttled_request_count + failed_request_count) as decimal(38, 3))
            as request_count,
        cast(sum(input_tokens) as decimal(38, 3)) - coalesce(cast(sum(estimated_input_tokens) as decimal(38, 3)), 0)
            as input_tokens,
        cast(sum(cached_input_tokens) as decimal(38, 3)) as cached_input_tokens,
        cast(sum(output_tokens) as decimal(38, 3)) - coalesce(cast(sum(estimated_output_tokens) as decimal(38, 3)), 0)
            as output_tokens,
        cast(sum(reasoning_tokens) as decimal(38, 3))
        - coalesce(cast(sum(estimated_reasoning_tokens) as decimal(38, 3)), 0) as reasoning_tokens
    from token_mart
),

lines as (
    select
        landed.feed,
        landed.table_name,
        'lines' as metric,
        landed.line_count as landing_value,
        coalesce(staged.line_count, 0) as raw_value,
        -- No mart counts the lines of the others.
        case
            when landed.table_name in ('token_usage', 'job_logs', 'telemetry', 'pool_telemetry')
                then coalesce(modelled.line_count, 0)
        end as mart_value
    from landed
    left join staged on landed.table_name = staged.table_name
    left join modelled on landed.table_name = modelled.table_name
),

records as (
    select
        landed.feed,
        landed.table_name,
        'records' as metric,
        cast(null as decimal(38, 3)) as landing_value,
        coalesce(staged.record_count, 0) as raw_value,
        case
            when landed.table_name in ('token_usage', 'job_logs', 'telemetry', 'pool_telemetry')
                then coalesce(modelled.record_count, 0)
            else coalesce(staged.staged_record_count, 0)
        end as mart_value
    from landed
    left join staged on landed.table_name = staged.table_name
    left join modelled on landed.table_name = modelled.table_name
),

tokens as (
    {% for metric in ['request_count', 'input_tokens', 'cached_input_tokens', 'output_tokens', 'reasoning_tokens'] %}
    select
        'token_usage' as feed,
        'token_usage' as table_name,
        '{{ metric }}' as metric,
        cast(null as decimal(38, 3)) as landing_value,
        coalesce(staged.{{ metric }}, 0) as raw_value,
        coalesce(token_sums.{{ metric }}, 0) as mart_value
    from staged
    cross join token_sums
    where staged.table_name = 'token_usage'
    {{ "union all" if not loop.last }}
    {% endfor %}
),

job_metrics as (
    select
        'job_attempts' as metric,
        (select cast(count(*) as decimal(38, 3)) from attempts) as raw_value,
        (select cast(count(*) as decimal(38, 3)) from jobs) as mart_value
    union all
    select
        'held_accelerator_microseconds' as metric,
        (select coalesce(cast(sum(held_accelerator_microseconds) as decimal(38, 3)), 0) from attempts) as raw_value,
        (select coalesce(cast(sum(held_accelerator_microseconds) as decimal(38, 3)), 0) from job_hours) as mart_value
    union all
    select
        'held_accelerator_microseconds_by_site' as metric,
        (select coalesce(cast(sum(held_accelerator_microseconds) as decimal(38, 3)), 0) from job_hours)
        + (
            select coalesce(cast(sum(allocated_accelerator_microseconds) as decimal(38, 3)), 0)
            from pool_telemetry
            where not exists (select 1 from job_hours where job_hours.cluster_id = pool_telemetry.cluster_id)
        ) as raw_value,
        (select coalesce(cast(sum(held_accelerator_microseconds) as decimal(38, 3)), 0) from allocation) as mart_value
),

measured as (
    select * from lines
    union all
    select * from records
    union all
    select * from tokens
    union all
    select
        'job_logs' as feed,
        'job_logs' as table_name,
        metric,
        cast(null as decimal(38, 3)) as landing_value,
        raw_value,
        mart_value
    from job_metrics
)

select
    feed,
    table_name,
    metric,
    cast(landing_value as decimal(38, 3)) as landing_value,
    cast(raw_value as decimal(38, 3)) as raw_value,
    cast(mart_value as decimal(38, 3)) as mart_value,
    cast(
        greatest(coalesce(abs(raw_value - mart_value), 0), coalesce(abs(landing_value - raw_value), 0))
        as decimal(38, 3)
    ) as difference
from measured
