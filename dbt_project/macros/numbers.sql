{# Exact sum of a whole-number column, beyond 64 bits where it must be. #}
{% macro exact_sum(expression) -%}
    {{ return(adapter.dispatch('exact_sum', 'tidegauge')(expression)) }}
{%- endmacro %}

{% macro duckdb__exact_sum(expression) -%}
    cast(sum({{ expression }}) as decimal(38, 0))
{%- endmacro %}

{% macro default__exact_sum(expression) -%}
    sum(cast({{ expression }} as decimal(38, 0)))
{%- endmacro %}

{# Continuous percentile of a numeric column. #}
{% macro percentile(expression, fraction) -%}
    {{ return(adapter.dispatch('percentile', 'tidegauge')(expression, fraction)) }}
{%- endmacro %}

{% macro duckdb__percentile(expression, fraction) -%}
    quantile_cont({{ expression }}, {{ fraction }})
{%- endmacro %}

{% macro spark__percentile(expression, fraction) -%}
    percentile({{ expression }}, {{ fraction }})
{%- endmacro %}

{#
    whole x part / total in whole numbers, rounded down. The difference of two neighbours of a running
    part is that part's share, and the shares add up to the whole.
#}
{% macro share_of(whole, part, total) -%}
    {{ return(adapter.dispatch('share_of', 'tidegauge')(whole, part, total)) }}
{%- endmacro %}

{% macro duckdb__share_of(whole, part, total) -%}
    cast(cast({{ whole }} as hugeint) * cast({{ part }} as hugeint) // cast({{ total }} as hugeint) as bigint)
{%- endmacro %}

{% macro spark__share_of(whole, part, total) -%}
    cast(cast({{ whole }} as decimal(38, 0)) * cast({{ part }} as decimal(19, 0)) div cast({{ total }} as decimal(19, 0)) as bigint)
{%- endmacro %}

{#
    Accelerator microseconds (exact, as summed) to accelerator hours of six decimals. Rounded once, at
    the end: 3.6e9 does not divide a microsecond.
#}
{% macro accelerator_hours(accelerator_microseconds) -%}
    cast(round(cast({{ accelerator_microseconds }} as double) / 3.6e9, 6) as decimal(38, 6))
{%- endmacro %}

{#
    A producer that gives no state: unhealthy, or an XID that means broken hardware, is down.
#}
{% macro is_down(device_state, health_status, xid_code) -%}
    coalesce(
        {{ device_state }} = 'down',
        false
    ) or (
        {{ device_state }} is null
        and (
            coalesce({{ health_status }} = 0, false)
            or coalesce({{ xid_code }} in ({{ var('down_xid_codes') | join(', ') }}), false)
        )
    )
{%- endmacro %}

{#
    Seconds of one accelerator that tokens take, uncached input at the prefill rate and output at the
    decode rate of the mix of accelerators that serves them, by the share of it that falls to the type.
#}
{% macro serving_seconds(input_tokens, output_tokens, mix) -%}
    {{ mix }}.share_ratio * (
        cast({{ input_tokens }} as double) / {{ mix }}.input_tokens_per_second
        + cast({{ output_tokens }} as double) / {{ mix }}.output_tokens_per_second
    )
{%- endmacro %}

{#
    Tokens that would have been asked for without throttling (FORMULAS 2): each throttled request is taken
    for a mean served one of its hour, site and model, which is served x (1 + throttled / served requests).
#}
{% macro unconstrained_tokens(tokens, throttled_request_count, mean_request_tokens) -%}
    cast({{ tokens }} as double) + {{ throttled_request_count }} * {{ mean_request_tokens }}
{%- endmacro %}

{#
    Tokens as accelerator hours, by the seconds that one takes on the mix of types of the serving site.
    Rounded, so that sums are exact and in any order the same.
#}
{% macro token_accelerator_hours(input_tokens, output_tokens) -%}
    cast(
        (
            cast({{ input_tokens }} as double) * seconds_per_input_token
            + cast({{ output_tokens }} as double) * seconds_per_output_token
        ) / 3600 as decimal(38, 9)
    )
{%- endmacro %}
