{# Text of any length. #}
{% macro text_type() -%}
    {{ return(adapter.dispatch('text_type', 'tidegauge')()) }}
{%- endmacro %}

{% macro duckdb__text_type() -%}
    varchar
{%- endmacro %}

{% macro spark__text_type() -%}
    string
{%- endmacro %}
