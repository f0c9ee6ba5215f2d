{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'link_counters': [-1, 1]}},
    )
}}

with
-- An interval between two samples may begin the day before and end the day after its hours.
samples as (
    select * from {{ ref('stg_telemetry__link_samples') }}
    where {{ in_dirty_days('event_day', margin_days=1) }}
),

neighbours as (
    select
        source_id,
        link_id,
        direction,
        event_day,
        sampled_at,
        octets,
        throughput_gbps,
        capacity_gbps,
        lag(sampled_at) over series as previous_sampled_at,
        lag(octets) over series as previous_octets
    from samples
    window series as (partition by source_id, link_id, direction order by sampled_at, event_id)
),

-- A sample more than a day back tells nothing about the hours between, on any build.
intervals as (
    select
        *,
        {{ microseconds_between('previous_sampled_at', 'sampled_at') }} as interval_microseconds
    from neighbours
    where
        previous_sampled_at < sampled_at
        and cast(previous_sampled_at as date) >= cast(sampled_at as date) - interval 1 day
),

usual_intervals as (
    select
        source_id,
        link_id,
        direction,
        event_day,
        {{ percentile('interval_microseconds', 0.5) }} as usual_interval_microseconds
    from intervals
    group by source_id, link_id, direction, event_day
),

-- A counter that falls has wrapped at 2^64 if that asks for no impossible speed; else it was reset, and
-- what it counted since the reset is the least that passed.
increases as (
    select
        intervals.*,
        intervals.interval_microseconds
        > usual_intervals.usual_interval_microseconds * {{ var('link_gap_intervals') }} as is_gap,
        case
            when octets is null or previous_octets is null then null
            when octets >= previous_octets then cast(octets as decimal(38, 0)) - previous_octets
            when
                (cast(octets as decimal(38, 0)) + 18446744073709551616 - previous_octets) * 8
                <= cast({{ var('plausible_link_gbps') }} as decimal(38, 0)) * interval_microseconds * 1000
                then cast(octets as decimal(38, 0)) + 18446744073709551616 - previous_octets
            else cast(octets as decimal(38, 0))
        end as octets_increase
    from intervals
    inner join usual_intervals
        on
            intervals.source_id = usual_intervals.source_id
            and intervals.link_id = usual_intervals.link_id
            and intervals.direction = usual_intervals.direction
            and intervals.event_day = usual_intervals.event_day
),

rates as (
    select
        source_id,
        link_id,
        direction,
        previous_sampled_at as from_at,
        sampled_at as until_at,
        capacity_gbps,
        case
            when is_gap then null
            when octets_increase is not null then cast(octets_increase as double) * 8 / (interval_microseconds * 1000)
            else throughput_gbps
        end as rate_gbps
    from increases
),

hours as (
    select
        *,
        {{ each_hour('from_at', 'until_at') }} as usage_hour
    from rates
),

parts as (
    select
        *,
        {{ microseconds_between('greatest(usage_hour, from_at)', "least(usage_hour + interval 1 hour, until_at)") }}
            as part_microseconds
    from hours
),

-- Kilobits, so that the sum over parts is exact and in any order the same.
carried as (
    select
        *,
        cast(round(rate_gbps * part_microseconds, 0) as decimal(38, 0)) as carried_kilobits
    from parts
    where {{ in_dirty_days('cast(usage_hour as date)') }}
)

select
    cast(usage_hour as date) as event_day,
    usage_hour,
    source_id,
    link_id,
    direction,
    max(capacity_gbps) as reported_capacity_gbps,
    cast(sum(case when rate_gbps is not null then part_microseconds else 0 end) as bigint) as known_microseconds,
    cast(sum(carried_kilobits) as decimal(38, 0)) as carried_kilobits,
    {{ percentile('rate_gbps', 0.95) }} as p95_gbps
from carried
group by usage_hour, source_id, link_id, direction
