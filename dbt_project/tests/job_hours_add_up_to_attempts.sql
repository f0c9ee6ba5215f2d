-- Catches time lost where a job is split over hours: by day of submission the parts must equal the whole.
with
attempts as (
    select
        event_day,
        sum(coalesce(held_accelerator_microseconds, 0)) as held,
        sum(waiting_accelerator_microseconds) as waiting
    from {{ ref('int_jobs__attempts') }}
    group by event_day
),

hours as (
    select
        event_day,
        sum(held_accelerator_microseconds) as held,
        sum(waiting_accelerator_microseconds) as waiting
    from {{ ref('int_job_hours') }}
    group by event_day
)

select attempts.event_day
from attempts
left join hours on attempts.event_day = hours.event_day
where attempts.held <> coalesce(hours.held, 0) or attempts.waiting <> coalesce(hours.waiting, 0)
