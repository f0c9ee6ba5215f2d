with
link_hours as (select * from {{ ref('int_link__hourly') }}),

links as (select * from {{ ref('stg_reference__links') }}),

-- Where several sources report a link, the one that knows most of the hour speaks.
ranked as (
    select
        *,
        row_number() over (
            partition by link_id, direction, usage_hour
            order by known_microseconds desc, source_id asc
        ) as source_rank
    from link_hours
),

series as (
    select
        link_id,
        direction,
        min(usage_hour) as first_hour,
        max(usage_hour) as last_hour
    from link_hours
    group by link_id, direction
),

-- An hour without any sample between the first and the last is there, and unknown.
expected_hours as (
    select
        link_id,
        direction,
        {{ each_hour('first_hour', 'last_hour + interval 1 hour') }} as usage_hour
    from series
),

capacities as (
    select
        expected_hours.link_id,
        expected_hours.direction,
        expected_hours.usage_hour,
        max(links.capacity_gbps) as listed_capacity_gbps
    from expected_hours
    inner join links
        on
            expected_hours.link_id = links.link_id
            and coalesce(links.valid_from <= {{ business_date('expected_hours.usage_hour') }}, true)
            and coalesce(links.valid_to > {{ business_date('expected_hours.usage_hour') }}, true)
    group by expected_hours.link_id, expected_hours.direction, expected_hours.usage_hour
),

joined as (
    select
        expected_hours.usage_hour,
        expected_hours.link_id,
        expected_hours.direction,
        coalesce(ranked.reported_capacity_gbps, capacities.listed_capacity_gbps) as capacity_gbps,
        coalesce(ranked.known_microseconds, 0) as known_microseconds,
        cast(ranked.carried_kilobits as double) / nullif(ranked.known_microseconds, 0) as mean_gbps,
        ranked.p95_gbps
    from expected_hours
    left join ranked
        on
            expected_hours.link_id = ranked.link_id
            and expected_hours.direction = ranked.direction
            and expected_hours.usage_hour = ranked.usage_hour
            and ranked.source_rank = 1
    left join capacities
        on
            expected_hours.link_id = capacities.link_id
            and expected_hours.direction = capacities.direction
            and expected_hours.usage_hour = capacities.usage_hour
)

select
    usage_hour,
    {{ business_date('usage_hour') }} as usage_date,
    link_id,
    direction,
    mean_gbps / nullif(capacity_gbps, 0) as mean_utilization_ratio,
    p95_gbps / nullif(capacity_gbps, 0) as p95_utilization_ratio,
    capacity_gbps,
    1 - known_microseconds / cast(3.6e9 as double) as unknown_ratio,
    mean_gbps as mean_throughput_gbps
from joined
