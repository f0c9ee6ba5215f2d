{# Instants are naive timestamps that mean UTC; a business day is a day in Asia/Shanghai (UTC+8, no DST). #}
{% macro business_date(instant) -%}
    cast({{ instant }} + interval 8 hours as date)
{%- endmacro %}

{# Hour of the business day, 0 to 23. #}
{% macro business_hour(instant) -%}
    cast(extract(hour from {{ instant }} + interval 8 hours) as integer)
{%- endmacro %}

{# ISO week of a date as text that sorts: 2026-W47. #}
{% macro iso_week(day) -%}
    {{ return(adapter.dispatch('iso_week', 'tidegauge')(day)) }}
{%- endmacro %}

{% macro duckdb__iso_week(day) -%}
    strftime({{ day }}, '%G-W%V')
{%- endmacro %}

{% macro spark__iso_week(day) -%}
    concat(extract(yearofweek from {{ day }}), '-W', lpad(cast(extract(week from {{ day }}) as string), 2, '0'))
{%- endmacro %}

{# 1 Monday to 7 Sunday. #}
{% macro iso_day_of_week(day) -%}
    {{ return(adapter.dispatch('iso_day_of_week', 'tidegauge')(day)) }}
{%- endmacro %}

{% macro duckdb__iso_day_of_week(day) -%}
    cast(isodow({{ day }}) as integer)
{%- endmacro %}

{% macro spark__iso_day_of_week(day) -%}
    weekday({{ day }}) + 1
{%- endmacro %}

{% macro microseconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('microseconds_between', 'tidegauge')(earlier, later)) }}
{%- endmacro %}

{% macro duckdb__microseconds_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }}))
{%- endmacro %}

{% macro spark__microseconds_between(earlier, later) -%}
    (unix_micros({{ later }}) - unix_micros({{ earlier }}))
{%- endmacro %}

{# One row per UTC hour that the interval [earlier, later) touches; for a select list. #}
{% macro each_hour(earlier, later) -%}
    {{ return(adapter.dispatch('each_hour', 'tidegauge')(earlier, later)) }}
{%- endmacro %}

{% macro duckdb__each_hour(earlier, later) -%}
    unnest(range(date_trunc('hour', {{ earlier }}), {{ later }}, interval 1 hour))
{%- endmacro %}

{% macro spark__each_hour(earlier, later) -%}
    explode(sequence(date_trunc('hour', {{ earlier }}), {{ later }} - interval 1 microsecond, interval 1 hour))
{%- endmacro %}

{# One row per day of [first, last]; for a select list. #}
{% macro each_day(first, last) -%}
    {{ return(adapter.dispatch('each_day', 'tidegauge')(first, last)) }}
{%- endmacro %}

{% macro duckdb__each_day(first, last) -%}
    cast(unnest(generate_series(cast({{ first }} as timestamp), cast({{ last }} as timestamp), interval 1 day)) as date)
{%- endmacro %}

{% macro spark__each_day(first, last) -%}
    explode(sequence({{ first }}, {{ last }}, interval 1 day))
{%- endmacro %}

{# Whole days from one date to another. #}
{% macro days_between(earlier, later) -%}
    {{ return(adapter.dispatch('days_between', 'tidegauge')(earlier, later)) }}
{%- endmacro %}

{% macro duckdb__days_between(earlier, later) -%}
    cast({{ later }} - {{ earlier }} as bigint)
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    cast(datediff({{ later }}, {{ earlier }}) as bigint)
{%- endmacro %}
