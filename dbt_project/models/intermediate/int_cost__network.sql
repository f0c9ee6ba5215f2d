with
links as (select * from {{ ref('stg_reference__links') }}),

link_hours as (select * from {{ ref('int_link__hourly') }}),

link_costs as (select * from {{ ref('stg_reference__link_costs') }}),

span as (select * from {{ ref('int_calendar__span') }}),

token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

source_days as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        link_id,
        source_id,
        max(reported_capacity_gbps) as reported_capacity_gbps,
        sum(known_microseconds) as known_microseconds,
        sum(case when direction = 'b_to_a' then carried_kilobits else 0 end) as arrived_at_a_kilobits,
        sum(case when direction = 'a_to_b' then carried_kilobits else 0 end) as arrived_at_b_kilobits
    from link_hours
    group by {{ business_date('usage_hour') }}, link_id, source_id
),

-- Where several sources report a link, the one that knows most of the day speaks.
ranked as (
    select
        *,
        row_number() over (
            partition by usage_date, link_id
            order by known_microseconds desc, source_id asc
        ) as source_rank
    from source_days
),

calendar as (
    select {{ each_day('first_date', 'last_date') }} as usage_date from span
),

link_days as (
    select
        calendar.usage_date,
        links.link_id,
        links.link_class,
        links.a_site_id,
        links.b_site_id,
        cast(round(coalesce(ranked.reported_capacity_gbps, links.capacity_gbps) * 1000, 0) as bigint)
            as capacity_mbps,
        coalesce(ranked.arrived_at_a_kilobits, 0) as arrived_at_a_kilobits,
        coalesce(ranked.arrived_at_b_kilobits, 0) as arrived_at_b_kilobits
    from calendar
    inner join links on {{ holds_on('links', 'calendar.usage_date') }}
    left join ranked
        on calendar.usage_date = ranked.usage_date and links.link_id = ranked.link_id and ranked.source_rank = 1
),

-- A link's own row wins over its class's, and that over any.
preferred as (
    select
        link_days.*,
        link_costs.annual_cost_cny_per_wavelength,
        row_number() over (
            partition by link_days.usage_date, link_days.link_id
            order by
                {{ specificity('link_days.link_id', 'link_costs.link_id') }},
                {{ specificity('link_days.link_class', 'link_costs.link_class') }}
        ) as preference
    from link_days
    inner join link_costs
        on
            link_costs.link_id in (link_days.link_id, '*')
            and link_costs.link_class in (coalesce(link_days.link_class, '*'), '*')
            and {{ holds_on('link_costs', 'link_days.usage_date') }}
),

-- A lit wavelength carries 400 Gbit/s; a year has 365 days, as in depreciation.
costed as (
    select
        *,
        {{ money_share('annual_cost_cny_per_wavelength', 'capacity_mbps', '400000 * 365') }} as network_cny
    from preferred
    where preference = 1
),

halved as (
    select
        *,
        {{
            money_share(
                'network_cny',
                'case when arrived_at_a_kilobits + arrived_at_b_kilobits > 0 then arrived_at_a_kilobits else 1 end',
                'case when arrived_at_a_kilobits + arrived_at_b_kilobits > 0'
                ~ ' then arrived_at_a_kilobits + arrived_at_b_kilobits else 2 end'
            )
        }} as network_of_a_cny
    from costed
),

-- What arrived at an end was carried for it.
ends as (
    select
        usage_date,
        coalesce(a_site_id, 'unknown') as site_id,
        network_of_a_cny as link_cny,
        arrived_at_a_kilobits as arrived_kilobits,
        capacity_mbps
    from halved
    union all
    select
        usage_date,
        coalesce(b_site_id, 'unknown') as site_id,
        network_cny - network_of_a_cny as link_cny,
        arrived_at_b_kilobits as arrived_kilobits,
        capacity_mbps
    from halved
),

sites as (
    select
        usage_date,
        site_id,
        cast(sum(link_cny) as decimal(38, 9)) as link_cny,
        cast(sum(arrived_kilobits) as decimal(38, 0)) as arrived_kilobits,
        cast(sum(capacity_mbps) as decimal(38, 0)) * 86400000 as capacity_kilobits
    from ends
    group by usage_date, site_id
),

-- The links carry all the operator's traffic. The service bears the share that it put on them: what was
-- served at the site for other sites.
served_away as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        serving_site_id as site_id,
        cast(
            round(
                sum(coalesce(input_tokens, 0) + coalesce(cached_input_tokens, 0) + coalesce(output_tokens, 0))
                * {{ var('bytes_per_token') }} * 8 / 1000, 0
            ) as decimal(38, 0)
        ) as own_kilobits
    from token_usage
    where origin_site_id <> serving_site_id
    group by {{ business_date('usage_hour') }}, serving_site_id
),

-- Where no traffic was measured, the lit capacity stands in for it.
carried as (
    select
        sites.usage_date,
        sites.site_id,
        sites.link_cny,
        coalesce(served_away.own_kilobits, 0) as own_kilobits,
        case when sites.arrived_kilobits > 0 then sites.arrived_kilobits else sites.capacity_kilobits end
            as all_kilobits
    from sites
    left join served_away on sites.usage_date = served_away.usage_date and sites.site_id = served_away.site_id
)

select
    usage_date,
    site_id,
    case
        when all_kilobits > 0 then {{ money_share('link_cny', 'least(own_kilobits, all_kilobits)', 'all_kilobits') }}
        else cast(0 as decimal(38, 9))
    end as network_cny
from carried
