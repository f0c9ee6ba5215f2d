{# An amount of nine decimals as a whole number of 1e-9 CNY, in which shares are exact and cheap; and back. #}
{% macro nano_cny(amount_cny) -%}
    {{ return(adapter.dispatch('nano_cny', 'tidegauge')(amount_cny)) }}
{%- endmacro %}

{% macro duckdb__nano_cny(amount_cny) -%}
    cast({{ amount_cny }} * 1000000000 as hugeint)
{%- endmacro %}

{% macro spark__nano_cny(amount_cny) -%}
    cast({{ amount_cny }} * 1000000000 as decimal(38, 0))
{%- endmacro %}

{% macro from_nano_cny(nano_cny) -%}
    cast(cast({{ nano_cny }} as decimal(29, 0)) * cast(0.000000001 as decimal(9, 9)) as decimal(38, 9))
{%- endmacro %}

{#
    whole x part / total in whole numbers, none below zero, rounded half up. The difference of two neighbours of
    a running part is that part's share, and the shares add up to the whole.
#}
{% macro rounded_share_of(whole, part, total) -%}
    {{ return(adapter.dispatch('rounded_share_of', 'tidegauge')(whole, part, total)) }}
{%- endmacro %}

{% macro duckdb__rounded_share_of(whole, part, total) -%}
    (2 * {{ whole }} * cast({{ part }} as hugeint) + cast({{ total }} as hugeint)) // (2 * cast({{ total }} as hugeint))
{%- endmacro %}

{% macro spark__rounded_share_of(whole, part, total) -%}
    (
        2 * {{ whole }} * cast({{ part }} as decimal(19, 0)) + cast({{ total }} as decimal(19, 0))
    ) div (2 * cast({{ total }} as decimal(19, 0)))
{%- endmacro %}

{#
    The slice of an amount between two running parts of a total. Slices of one whole add up to it, to the last
    digit.
#}
{% macro money_slice(amount_cny, part_before, part_until, total) -%}
    cast(
        {{ money_share(amount_cny, part_until, total) }} - {{ money_share(amount_cny, part_before, total) }}
        as decimal(38, 9)
    )
{%- endmacro %}

{# Hours of six decimals as whole millionths of an hour, for exact shares. #}
{% macro micro_hours(hours) -%}
    cast({{ hours }} * 1000000 as bigint)
{%- endmacro %}

{#
    Order of preference of a row of reference for what it is asked for: 0 for its own row, 1 for the row of
    any (*). Null when the row is for something else.
#}
{% macro specificity(asked, offered) -%}
    case when {{ offered }} = {{ asked }} then 0 when {{ offered }} = '*' then 1 end
{%- endmacro %}
