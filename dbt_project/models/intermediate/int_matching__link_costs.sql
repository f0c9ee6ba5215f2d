{{ config(materialized='view') }}

with
links as (select * from {{ ref('stg_reference__links') }}),

link_costs as (select * from {{ ref('stg_reference__link_costs') }}),

span as (select * from {{ ref('int_calendar__span') }}),

-- A link's own row wins over its class's, and that over any.
preferred as (
    select
        links.link_id,
        link_costs.annual_cost_cny_per_wavelength,
        row_number() over (
            partition by links.link_id
            order by
                {{ specificity('links.link_id', 'link_costs.link_id') }},
                {{ specificity('links.link_class', 'link_costs.link_class') }}
        ) as preference
    from links
    cross join span
    inner join link_costs
        on
            link_costs.link_id in (links.link_id, '*')
            and link_costs.link_class in (coalesce(links.link_class, '*'), '*')
            and {{ holds_on('link_costs', 'span.last_date') }}
    where {{ holds_on('links', 'span.last_date') }}
)

-- A wavelength carries 400 Gbit/s each way; a year has 365 days, as in depreciation.
select
    link_id,
    cast(annual_cost_cny_per_wavelength as decimal(38, 9)) as annual_cost_cny_per_wavelength,
    cast(annual_cost_cny_per_wavelength as double) / (400.0 * 365 * 86400) as transport_cny_per_gigabit,
    {{ var('bytes_per_token') }} * 8e6 / 1e9 as gigabits_per_million_tokens
from preferred
where preference = 1
