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

{% set staged = {
    'token_usage': (ref('stg_token_usage__events'), 'occurred_at', 'true'),
    'token_lengths': (ref('stg_token_usage__token_lengths'), 'window_started_at', 'true'),
    'job_logs': (ref('stg_job_logs__sightings'), 'submitted_at', 'true'),
    'telemetry': (ref('stg_telemetry__samples'), 'sampled_at', 'true'),
    'pool_telemetry': (ref('stg_telemetry__pool_samples'), 'sampled_at', 'true'),
    'link_counters': (ref('stg_telemetry__link_samples'), 'sampled_at', "direction = 'a_to_b'"),
} %}
{% set token_columns =
    ['request_count', 'input_tokens', 'cached_input_tokens', 'output_tokens', 'reasoning_tokens'] %}

with
{% for table_name, (relation, event_time, condition) in staged.items() %}
-- Counted in raw itself, by identity alone, so that a mistake in how repeats are found shows.
{{ table_name }}_identities as (
    select
        event_day,
        source_id,
        count(*) as record_count
    from (
        select distinct
            event_day,
            source_id,
            event_id
        from {{ source('raw', table_name) }}
        where {{ in_dirty_days('event_day', table_name) }}
    ) as distinct_ids
    group by event_day, source_id
),

{{ table_name }}_staged as (
    select
        event_day,
        source_id,
        count(*) as staged_record_count,
        cast(sum(line_count) as bigint) as line_count,
        min({{ event_time }}) as first_event_at,
        {% for column in token_columns %}
        {% if table_name == 'token_usage' %}
        {{ exact_sum(column) }} as {{ column }},
        {% else %}
        cast(null as decimal(38, 0)) as {{ column }},
        {% endif %}
        {% endfor %}
        max({{ event_time }}) as last_event_at
    from {{ relation }}
    where {{ in_dirty_days('event_day', table_name) }} and {{ condition }}
    group by event_day, source_id
){{ "," if not loop.last }}

{% endfor %}
{% for table_name in staged %}
select
    '{{ table_name }}' as table_name,
    staged.event_day,
    staged.source_id,
    identities.record_count,
    staged.staged_record_count,
    staged.line_count,
    {% for column in token_columns %}
    staged.{{ column }},
    {% endfor %}
    staged.first_event_at,
    staged.last_event_at
from {{ table_name }}_staged as staged
inner join {{ table_name }}_identities as identities
    on staged.event_day = identities.event_day and staged.source_id = identities.source_id
{{ "union all" if not loop.last }}
{% endfor %}
