with
span as (select * from {{ ref('int_calendar__span') }}),

holidays as (select * from {{ ref('stg_reference__holidays') }}),

days as (
    select {{ each_day('first_date', 'last_date') }} as usage_date
    from span
    where first_date is not null
),

marked as (
    select
        days.usage_date,
        {{ iso_week('days.usage_date') }} as iso_week,
        {{ iso_day_of_week('days.usage_date') }} as iso_day_of_week,
        max(case when holidays.day_type = 'off' then holidays.holiday_name end) as holiday_name,
        coalesce(max(case when holidays.day_type = 'off' then 1 else 0 end), 0) = 1 as is_holiday,
        coalesce(max(case when holidays.day_type = 'make_up_workday' then 1 else 0 end), 0) = 1 as is_make_up_workday
    from days
    left join holidays on days.usage_date = holidays.holiday_date
    group by days.usage_date
)

select
    usage_date,
    iso_week,
    cast(date_trunc('week', usage_date) as date) as week_start_date,
    cast(date_trunc('month', usage_date) as date) as month_start_date,
    iso_day_of_week,
    iso_day_of_week >= 6 as is_weekend,
    holiday_name,
    is_holiday,
    is_make_up_workday,
    is_make_up_workday or (iso_day_of_week < 6 and not is_holiday) as is_workday
from marked
