with
first_arrivals as (
    {{ first_arrivals('link_counters') }}
),

directions as (
    select
        event_day,
        source_id,
        event_id,
        delivery_id,
        line_number,
        line_count,
        sampled_at,
        link_id,
        'a_to_b' as direction,
        octets_a_to_b as octets,
        throughput_a_to_b_gbps as throughput_gbps,
        capacity_gbps
    from first_arrivals
    union all
    select
        event_day,
        source_id,
        event_id,
        delivery_id,
        line_number,
        line_count,
        sampled_at,
        link_id,
        'b_to_a' as direction,
        octets_b_to_a as octets,
        throughput_b_to_a_gbps as throughput_gbps,
        capacity_gbps
    from first_arrivals
)

select
    event_day,
    source_id,
    event_id,
    delivery_id,
    line_number,
    line_count,
    sampled_at,
    link_id,
    direction,
    octets,
    throughput_gbps,
    capacity_gbps
from directions
