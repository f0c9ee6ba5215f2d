{#
    Lower bound of the context tier of a record: the greatest boundary that its mean input a request
    (cached included) is above, else 0. Compared in whole tokens, so nothing is divided.
#}
{% macro context_floor(input_tokens, request_count) -%}
    case
        {% for boundary in var('context_tier_boundaries') | sort(reverse=true) %}
        when {{ input_tokens }} > {{ boundary }} * cast({{ request_count }} as decimal(38, 0)) then {{ boundary }}
        {% endfor %}
        else 0
    end
{%- endmacro %}

{# Condition that a row of reference holds on a business day. #}
{% macro holds_on(relation, day) -%}
    coalesce({{ relation }}.valid_from, cast('0001-01-01' as date)) <= {{ day }}
    and {{ day }} < coalesce({{ relation }}.valid_to, cast('9999-12-31' as date))
{%- endmacro %}

{#
    Tokens at a price per million, in CNY of nine decimals. Exact: a price has three decimals, so a token
    costs a whole number of 1e-9 CNY.
#}
{% macro token_charge(tokens, price_cny_per_million) -%}
    cast(
        cast({{ tokens }} as decimal(28, 0))
        * cast({{ price_cny_per_million }} * cast(0.000001 as decimal(7, 6)) as decimal(19, 9))
        as decimal(38, 9)
    )
{%- endmacro %}

{# Money times a ratio of six decimals, rounded half away from zero to nine. #}
{% macro money_times_ratio(amount_cny, ratio) -%}
    cast(round(cast({{ amount_cny }} as decimal(38, 9)) * cast({{ ratio }} as decimal(9, 6)), 9) as decimal(38, 9))
{%- endmacro %}

{#
    amount x numerator / denominator in CNY of nine decimals, rounded half away from zero. In whole 1e-9
    CNY, because a division of decimals is done in binary fractions.
#}
{% macro money_share(amount_cny, numerator, denominator) -%}
    {{ return(adapter.dispatch('money_share', 'tidegauge')(amount_cny, numerator, denominator)) }}
{%- endmacro %}

{% macro duckdb__money_share(amount_cny, numerator, denominator) -%}
    cast(
        sign({{ amount_cny }}) * (
            (
                2 * cast(abs(cast({{ amount_cny }} as decimal(38, 9))) * 1000000000 as hugeint) * cast({{ numerator }} as hugeint)
                + cast({{ denominator }} as hugeint)
            ) // (2 * cast({{ denominator }} as hugeint))
        ) * cast(0.000000001 as decimal(10, 9))
        as decimal(38, 9)
    )
{%- endmacro %}

{# The tax that an amount includes: amount x rate / (1 + rate), as rates of six decimals. #}
{% macro tax_inside(amount_cny, rate_ratio) -%}
    {{ money_share(amount_cny, rate_ratio ~ ' * 1000000', '1000000 + ' ~ rate_ratio ~ ' * 1000000') }}
{%- endmacro %}
