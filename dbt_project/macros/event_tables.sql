{# Raw tables that hold events; the others are reference. #}
{% macro event_tables() %}
    {{ return(['token_usage', 'token_lengths', 'job_logs', 'telemetry', 'pool_telemetry', 'link_counters']) }}
{% endmacro %}

{# Raw tables that hold reference. #}
{% macro reference_tables() %}
    {{
        return([
            'sites', 'links', 'accelerators', 'node_pools', 'planned_deliveries', 'tenants', 'models', 'throughput',
            'holidays', 'price_book', 'rental_prices', 'discounts', 'tax_rates', 'packages', 'package_weights',
            'subscriptions', 'power_tariffs', 'site_power', 'operations_costs', 'link_costs', 'capital_assets',
            'accelerator_prices', 'competitor_prices', 'exchange_rates', 'performance_targets',
        ])
    }}
{% endmacro %}
