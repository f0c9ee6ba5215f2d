{#
    The last slice of a running share: share of an amount up to a running part, less the share up to the
    part before it. Slices of one whole add up to it, to the last digit.
#}
{% macro money_slice(amount_cny, part_before, part_until, total) -%}
    cast(
        {{ money_share(amount_cny, part_until, total) }} - {{ money_share(amount_cny, part_before, total) }}
        as decimal(38, 9)
    )
{%- endmacro %}

{# Hours of six decimals as whole millionths of an hour, for exact shares. #}
{% macro micro_hours(hours) -%}
    cast(cast({{ hours }} as decimal(31, 6)) * 1000000 as decimal(38, 0))
{%- endmacro %}

{#
    Order of preference of a row of reference for what it is asked for: 0 for its own row, 1 for the row of
    any (*). Null when the row is for something else.
#}
{% macro specificity(asked, offered) -%}
    case when {{ offered }} = {{ asked }} then 0 when {{ offered }} = '*' then 1 end
{%- endmacro %}
