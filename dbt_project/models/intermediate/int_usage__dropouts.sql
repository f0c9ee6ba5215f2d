with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

span as (select * from {{ ref('int_calendar__span') }}),

heard as (
    select
        'origin' as site_role,
        origin_site_id as site_id,
        usage_hour,
        sum(record_count) as record_count
    from token_usage
    group by origin_site_id, usage_hour
    union all
    select
        'serving' as site_role,
        serving_site_id as site_id,
        usage_hour,
        sum(record_count) as record_count
    from token_usage
    group by serving_site_id, usage_hour
    union all
    select
        'network' as site_role,
        'network' as site_id,
        usage_hour,
        sum(record_count) as record_count
    from token_usage
    group by usage_hour
),

-- From its first record on; a site that stays silent for longer than the grace has closed. A business day
-- ends at 16:00 UTC.
sites as (
    select
        heard.site_role,
        heard.site_id,
        min(heard.usage_hour) as first_at,
        least(
            max(heard.usage_hour) + interval {{ var('inventory_grace_days') }} day,
            max(cast(span.last_date as timestamp)) + interval 16 hours
        ) as end_at
    from heard
    cross join span
    group by heard.site_role, heard.site_id
),

hours as (
    select
        site_role,
        site_id,
        {{ each_hour('first_at', 'end_at') }} as usage_hour
    from sites
),

-- What is usual for the site in that hour of the business day.
usual as (
    select
        hours.site_role,
        hours.site_id,
        {{ business_hour('hours.usage_hour') }} as business_hour,
        cast(sum(coalesce(heard.record_count, 0)) as double) / count(*) as expected_record_count
    from hours
    left join heard
        on
            hours.site_role = heard.site_role
            and hours.site_id = heard.site_id
            and hours.usage_hour = heard.usage_hour
    group by hours.site_role, hours.site_id, {{ business_hour('hours.usage_hour') }}
),

silent as (
    select
        hours.site_role,
        hours.site_id,
        hours.usage_hour,
        usual.expected_record_count
    from hours
    inner join usual
        on
            hours.site_role = usual.site_role
            and hours.site_id = usual.site_id
            and usual.business_hour = {{ business_hour('hours.usage_hour') }}
    left join heard
        on
            hours.site_role = heard.site_role
            and hours.site_id = heard.site_id
            and hours.usage_hour = heard.usage_hour
    where heard.usage_hour is null
),

-- An hour in which nobody is heard is the feed's, and hides every site, however quiet it usually is.
silent_network as (
    select usage_hour from silent
    where site_role = 'network' and expected_record_count >= {{ var('dropout_expected_records') }}
)

select
    silent.site_role,
    silent.site_id,
    silent.usage_hour,
    {{ business_date('silent.usage_hour') }} as usage_date,
    silent.expected_record_count
from silent
left join silent_network on silent.usage_hour = silent_network.usage_hour
where
    silent.site_role <> 'network'
    and (
        silent.expected_record_count >= {{ var('dropout_expected_records') }}
        or silent_network.usage_hour is not null
    )
