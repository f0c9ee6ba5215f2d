with
records as (select * from {{ source('raw', 'link_counters') }}),

surplus as (select * from {{ ref('stg_ledger__surplus_records') }} where table_name = 'link_counters'),

first_arrivals as (
    select records.*
    from records
    left join surplus
        on
            records.event_id = surplus.event_id
            and records.source_id = surplus.source_id
            and records.delivery_id = surplus.delivery_id
            and records.event_day = surplus.event_day
    where surplus.event_id is null
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
