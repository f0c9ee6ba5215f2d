{#
    CTEs: which rows of the tariffs hold for a site and day, and how much a site draws for each kilowatt-hour at
    its accelerators. Wants the CTEs tariffs, site_power and ``site_days`` (usage_date, site_id). A site with
    tariffs of its own takes no other's, whatever their hours.
#}
{% macro tariff_owners_and_effectiveness(site_days) -%}
tariff_owners as (
    select
        {{ site_days }}.usage_date,
        {{ site_days }}.site_id,
        min({{ specificity(site_days ~ '.site_id', 'tariffs.site_id') }}) as least_specificity
    from {{ site_days }}
    inner join tariffs
        on
            tariffs.site_id in ({{ site_days }}.site_id, '*')
            and {{ holds_on('tariffs', site_days ~ '.usage_date') }}
    group by {{ site_days }}.usage_date, {{ site_days }}.site_id
),

effectiveness as (
    select
        usage_date,
        site_id,
        pue_ratio
    from (
        select
            {{ site_days }}.usage_date,
            {{ site_days }}.site_id,
            site_power.pue_ratio,
            row_number() over (
                partition by {{ site_days }}.usage_date, {{ site_days }}.site_id
                order by {{ specificity(site_days ~ '.site_id', 'site_power.site_id') }}
            ) as preference
        from {{ site_days }}
        inner join site_power
            on
                site_power.site_id in ({{ site_days }}.site_id, '*')
                and {{ holds_on('site_power', site_days ~ '.usage_date') }}
    ) as ranked
    where preference = 1
)
{%- endmacro %}

{# Condition that a tariff is the one of a site's hour; wants the site's row of tariff_owners. #}
{% macro tariff_of_hour(site_id, usage_date, hour_of_day) -%}
    tariffs.site_id = case when tariff_owners.least_specificity = 0 then {{ site_id }} else '*' end
    and {{ hour_of_day }} >= tariffs.hour_from
    and {{ hour_of_day }} < tariffs.hour_to
    and {{ holds_on('tariffs', usage_date) }}
{%- endmacro %}
