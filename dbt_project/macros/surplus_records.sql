{#
    Subquery: records of a raw table that an earlier delivery has brought already. Identity is
    (source_id, event_id) and an id never leaves its event day, so only the days that changed are read.
    Ids are counted first and only the repeated ones are ranked: most are not repeated.
#}
{% macro surplus_records(table_name) -%}
    select
        '{{ table_name }}' as table_name,
        event_day,
        source_id,
        event_id,
        delivery_id,
        line_number,
        line_count,
        case when payload_hash = first_payload_hash then 'duplicate' else 'conflict' end as surplus_kind
    from (
        select
            records.event_day,
            records.source_id,
            records.event_id,
            records.payload_hash,
            records.delivery_id,
            records.line_number,
            records.line_count,
            row_number() over delivery_order as arrival_rank,
            first_value(records.payload_hash) over delivery_order as first_payload_hash
        from {{ source('raw', table_name) }} as records
        inner join (
            select
                event_day,
                source_id,
                event_id
            from {{ source('raw', table_name) }}
            where {{ in_dirty_days('event_day', table_name) }}
            group by event_day, source_id, event_id
            having count(*) > 1
        ) as repeated
            on
                records.event_day = repeated.event_day
                and records.source_id = repeated.source_id
                and records.event_id = repeated.event_id
        inner join {{ source('raw', 'receipts') }} as receipts on records.delivery_id = receipts.delivery_id
        where {{ in_dirty_days('records.event_day', table_name) }}
        window delivery_order as (
            partition by records.event_day, records.source_id, records.event_id
            order by receipts.delivered_date, receipts.delivery_name, records.delivery_id, records.line_number
        )
    ) as ranked
    where arrival_rank > 1
{%- endmacro %}

{# Subquery: the records of a raw table as they first came. #}
{% macro first_arrivals(table_name) -%}
    select records.*
    from {{ source('raw', table_name) }} as records
    left join (
        select * from {{ ref('stg_ledger__surplus_records') }} where table_name = '{{ table_name }}'
    ) as surplus
        on
            records.event_id = surplus.event_id
            and records.source_id = surplus.source_id
            and records.delivery_id = surplus.delivery_id
            and records.event_day = surplus.event_day
    where surplus.event_id is null
{%- endmacro %}
