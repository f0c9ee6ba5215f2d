{#
    Where a record without a site is placed: the hotspots share the numbers 0 to 2^32 - 1 in proportion
    to population (int_placement__hotspots), and a client's number is the first 8 hex digits of the md5
    of its key. The same client is always at the same site, on every machine.
#}
{% macro placement_point(client_key) -%}
    {{ return(adapter.dispatch('placement_point', 'tidegauge')(client_key)) }}
{%- endmacro %}

{% macro duckdb__placement_point(client_key) -%}
    cast('0x' || left(md5({{ client_key }}), 8) as bigint)
{%- endmacro %}

{% macro spark__placement_point(client_key) -%}
    cast(conv(left(md5({{ client_key }}), 8), 16, 10) as bigint)
{%- endmacro %}

{# Subquery: one row (client_key, placed_site_id) for each distinct client_key of a relation. #}
{% macro placed_site_id(clients, client_key='client_key') -%}
    select
        points.client_key,
        hotspots.site_id as placed_site_id
    from (
        select distinct
            {{ client_key }} as client_key,
            {{ placement_point(client_key) }} as placement_point
        from {{ clients }}
        where {{ client_key }} is not null
    ) as points
    inner join {{ ref('int_placement__hotspots') }} as hotspots
        on points.placement_point >= hotspots.lower_point and points.placement_point < hotspots.upper_point
{%- endmacro %}
