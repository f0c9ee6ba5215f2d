{# Text that lists names joined by commas: how many there are, and one row for each (in a select list). #}
{% macro list_length(text) -%}
    (length({{ text }}) - length(replace({{ text }}, ',', '')) + 1)
{%- endmacro %}

{% macro each_listed(text) -%}
    {{ return(adapter.dispatch('each_listed', 'tidegauge')(text)) }}
{%- endmacro %}

{% macro duckdb__each_listed(text) -%}
    unnest(string_split({{ text }}, ','))
{%- endmacro %}

{% macro spark__each_listed(text) -%}
    explode(split({{ text }}, ','))
{%- endmacro %}
