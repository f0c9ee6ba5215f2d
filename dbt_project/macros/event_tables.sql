{# Raw tables that hold events; the others are reference. #}
{% macro event_tables() %}
    {{ return(['token_usage', 'token_lengths', 'job_logs', 'telemetry', 'pool_telemetry', 'link_counters']) }}
{% endmacro %}

{# Raw tables that hold reference. #}
{% macro reference_tables() %}
    {{
        return([
            'sites', 'links', 'accelerators', 'node_pools', 'planned_deliveries', 'tenants', 'models', 'throughput',
            'holidays',
        ])
    }}
{% endmacro %}
