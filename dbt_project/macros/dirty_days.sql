{#
    Incremental models replace whole event days: the days that deliveries touched since the last
    successful build, listed in raw.dirty_days. A model names the raw tables it depends on in
    meta.dirty_tables, with the days before and after a touched day that its rows depend on too:

        meta={'dirty_tables': {'token_usage': [0, 0], 'token_lengths': [0, 1]}}

    The list is read when the model is compiled and stands in the SQL as literals, so that raw Parquet
    is pruned by event_day. Deleting by the list, and not by the new rows, also empties a day whose
    rows have all gone.
#}

{% macro dirty_days(table_name=none, margin_days=0) %}
    {% set days = [] %}
    {% set relation = source('raw', 'dirty_days') %}
    {% if execute %}
        {% set dirty_tables = config.get('meta')['dirty_tables'] %}
        {% for name, reach in dirty_tables.items() if table_name is none or name == table_name %}
            {% set touched %}
                select distinct event_day from {{ relation }} where table_name = '{{ name }}'
            {% endset %}
            {% for row in run_query(touched) %}
                {% for offset in range(reach[0] - margin_days, reach[1] + margin_days + 1) %}
                    {% do days.append((row[0] + modules.datetime.timedelta(days=offset)).isoformat()) %}
                {% endfor %}
            {% endfor %}
        {% endfor %}
    {% endif %}
    {{ return(days | unique | sort) }}
{% endmacro %}

{# Condition that a row's day is to be rebuilt; true for every row of a full build. #}
{% macro in_dirty_days(column, table_name=none, margin_days=0) -%}
    {#- So that the parser sees the dependency, whichever branch it takes. -#}
    {%- if not execute -%}{%- set relation = source('raw', 'dirty_days') -%}{%- endif -%}
    {%- if is_incremental() -%}
        {{ is_one_of(column, dirty_days(table_name, margin_days)) }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{% macro is_one_of(column, days) -%}
    {%- if days -%}
        {{ column }} in (
            {%- for day in days %}cast('{{ day }}' as date){{ ", " if not loop.last }}{% endfor -%}
        )
    {%- else -%}
        false
    {%- endif -%}
{%- endmacro %}

{# The strategy: delete the dirty days of the model, insert the recomputed rows, in one transaction. #}
{% macro get_incremental_dirty_days_sql(arguments) %}
    {% set columns = get_quoted_csv(arguments["dest_columns"] | map(attribute="name")) %}
    {% set meta = config.get('meta') %}
    delete from {{ arguments["target_relation"] }}
    where
    {% if meta.get('table_name_column') %}
        {% for name in meta['dirty_tables'] %}
            ({{ meta['table_name_column'] }} = '{{ name }}' and {{ is_one_of('event_day', dirty_days(name)) }})
            {{ "or" if not loop.last }}
        {% endfor %}
    {% else %}
        {{ is_one_of('event_day', dirty_days()) }}
    {% endif %};
    insert into {{ arguments["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arguments["temp_relation"] }}
{% endmacro %}
