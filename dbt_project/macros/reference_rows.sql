{#
    Rows of a reference table: what was delivered, else the seed of the same name. A delivery replaces
    the seed wholly. Of two deliveries with the same key the later one holds.
#}
{% macro reference_rows(table_name, key, columns) -%}
with
delivered_rows as (select * from {{ source('raw', table_name) }}),

receipts as (select * from {{ source('raw', 'receipts') }}),

seed_rows as (select * from {{ ref(table_name) }}),

ranked as (
    select
        {% for column in columns %}
        delivered_rows.{{ column }},
        {% endfor %}
        receipts.delivery_name || ' line ' || cast(delivered_rows.line_number as {{ text_type() }}) as provided_by,
        row_number() over (
            partition by {% for column in key %}delivered_rows.{{ column }}, {% endfor %}delivered_rows.valid_from
            order by
                receipts.delivered_date desc,
                receipts.delivery_name desc,
                receipts.delivery_id desc,
                delivered_rows.line_number desc
        ) as recency
    from delivered_rows
    inner join receipts on delivered_rows.delivery_id = receipts.delivery_id
)

select
    {% for column in columns %}
    {{ column }},
    {% endfor %}
    provided_by
from ranked
where recency = 1
union all
select
    {% for column in columns %}
    {{ column }},
    {% endfor %}
    cast('seed' as {{ text_type() }}) as provided_by
from seed_rows
where not exists (select 1 from delivered_rows)
{%- endmacro %}

{#
    Subquery: the row of each key that holds on the newest business day of the data; where all are yet
    to come, the first of them.
#}
{% macro current_rows(relation, key) -%}
    select * from (
        select
            versions.*,
            row_number() over (
                partition by {% for column in key %}versions.{{ column }}{{ ", " if not loop.last }}{% endfor %}
                order by
                    case when coalesce(versions.valid_from, cast('0001-01-01' as date)) <= span.last_date then 0 else 1 end,
                    case when versions.valid_from <= span.last_date then versions.valid_from end desc nulls last,
                    versions.valid_from
            ) as version_rank
        from {{ relation }} as versions
        cross join {{ ref('int_calendar__span') }} as span
    ) as ranked_versions
    where version_rank = 1
{%- endmacro %}
