{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={
            'dirty_tables': {
                'token_usage': [0, 0],
                'token_lengths': [0, 0],
                'job_logs': [0, 0],
                'telemetry': [0, 0],
                'pool_telemetry': [0, 0],
                'link_counters': [0, 0],
            },
            'table_name_column': 'table_name',
        },
    )
}}

with
{% for table_name in event_tables() %}
{{ table_name }}_surplus as (
    {{ surplus_records(table_name) }}
){{ "," if not loop.last }}

{% endfor %}
{% for table_name in event_tables() %}
select
    table_name,
    event_day,
    source_id,
    event_id,
    delivery_id,
    line_number,
    line_count,
    surplus_kind
from {{ table_name }}_surplus
{{ "union all" if not loop.last }}
{% endfor %}
