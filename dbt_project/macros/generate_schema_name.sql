{# Schemas are named exactly as configured (staging, capacity, ...): readers know them by name. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
