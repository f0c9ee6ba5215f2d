with
entries as (select * from {{ ref('int_package__entries') }}),

holdings as (select * from {{ ref('int_package__holdings') }}),

span as (select * from {{ ref('int_calendar__span') }}),

booked as (
    select
        subscription_id,
        usage_date,
        {% for entry in ['granted', 'carried_in', 'consumed', 'expired', 'voided', 'carried_out'] %}
        sum(case when entry = '{{ entry }}' then quota_tokens else 0 end) as {{ entry }}_tokens,
        {% endfor %}
        sum(case when entry = 'consumed' then tokens else 0 end) as used_tokens,
        sum(case when entry = 'blocked' then tokens else 0 end) as blocked_tokens,
        sum(case when entry = 'voided' then -transfer_cny else 0 end) as refunded_cny,
        sum(transfer_cny) as transfer_cny,
        sum(package_revenue_cny) as package_revenue_cny,
        sum(breakage_cny) as breakage_cny
    from entries
    group by subscription_id, usage_date
),

days as (
    select
        holdings.*,
        {{ each_day('holdings.granted_date', 'span.last_date') }} as usage_date
    from holdings
    cross join span
),

running as (
    select
        days.*,
        coalesce(booked.consumed_tokens, 0) as day_consumed_tokens,
        {% for column in [
            'granted_tokens', 'carried_in_tokens', 'consumed_tokens', 'expired_tokens', 'voided_tokens',
            'carried_out_tokens', 'used_tokens', 'blocked_tokens', 'refunded_cny', 'transfer_cny',
            'package_revenue_cny', 'breakage_cny'
        ] %}
        sum(coalesce(booked.{{ column }}, 0)) over to_date as {{ column }}_to_date,
        {% endfor %}
        sum(coalesce(booked.consumed_tokens, 0)) over (
            partition by days.subscription_id order by days.usage_date rows between 6 preceding and current row
        ) as trailing_consumed_tokens,
        sum(power(cast(coalesce(booked.consumed_tokens, 0) as double), 2)) over (
            partition by days.subscription_id order by days.usage_date rows between 6 preceding and current row
        ) as trailing_squares
    from days
    left join booked on days.subscription_id = booked.subscription_id and days.usage_date = booked.usage_date
    window to_date as (
        partition by days.subscription_id order by days.usage_date rows between unbounded preceding and current row
    )
),

balanced as (
    select
        *,
        granted_tokens_to_date + carried_in_tokens_to_date - consumed_tokens_to_date - expired_tokens_to_date
        - voided_tokens_to_date - carried_out_tokens_to_date as remaining_tokens,
        least(7, usage_date - starts_date + 1) as trailing_day_count,
        least(expires_date, coalesce(voided_date, expires_date)) as ends_date
    from running
),

ended as (
    select
        *,
        -- Nothing was left on the evening before it ended: it had been used up.
        coalesce(
            max(case when usage_date = ends_date - 1 then remaining_tokens end) over (partition by subscription_id) = 0,
            false
        ) as was_exhausted
    from balanced
),

paced as (
    select
        *,
        cast(trailing_consumed_tokens as double) / nullif(trailing_day_count, 0) as tokens_per_day,
        -- 1.2816 standard errors of the mean of the days: four means in five lie within them.
        1.2816 * sqrt(
            greatest(
                trailing_squares
                - power(cast(trailing_consumed_tokens as double), 2) / nullif(trailing_day_count, 0),
                0
            ) / case when trailing_day_count > 1 then trailing_day_count - 1 end / trailing_day_count
        ) as tokens_per_day_either_way
    from ended
),

projected as (
    select
        *,
        case
            when voided_date < expires_date and usage_date >= voided_date then 'voided'
            when usage_date >= ends_date and not was_exhausted then 'expired'
            when remaining_tokens = 0 then 'exhausted'
            when usage_date < starts_date then 'pending'
            else 'active'
        end as state,
        case
            when remaining_tokens > 0 and trailing_consumed_tokens > 0
                then
                    ceil(
                        cast(remaining_tokens as double) * trailing_day_count / cast(trailing_consumed_tokens as double)
                    )
        end as days_to_exhaustion,
        ceil(cast(remaining_tokens as double) / nullif(tokens_per_day + tokens_per_day_either_way, 0))
            as days_to_exhaustion_early,
        case
            when tokens_per_day > tokens_per_day_either_way
                then ceil(cast(remaining_tokens as double) / (tokens_per_day - tokens_per_day_either_way))
        end as days_to_exhaustion_late
    from paced
)

select
    usage_date,
    subscription_id,
    parent_subscription_id,
    tenant_id,
    segment,
    package_id,
    settlement,
    starts_date,
    expires_date,
    state,
    cast(granted_tokens_to_date as decimal(38, 6)) as granted_tokens,
    cast(carried_in_tokens_to_date as decimal(38, 6)) as carried_in_tokens,
    cast(consumed_tokens_to_date as decimal(38, 6)) as consumed_tokens,
    cast(expired_tokens_to_date as decimal(38, 6)) as expired_tokens,
    cast(voided_tokens_to_date as decimal(38, 6)) as voided_tokens,
    cast(carried_out_tokens_to_date as decimal(38, 6)) as carried_out_tokens,
    cast(remaining_tokens as decimal(38, 6)) as remaining_tokens,
    cast(day_consumed_tokens as decimal(38, 6)) as day_consumed_tokens,
    cast(used_tokens_to_date as decimal(38, 0)) as used_tokens,
    cast(blocked_tokens_to_date as decimal(38, 0)) as blocked_tokens,
    cast(price_cny as decimal(38, 9)) as price_cny,
    cast(package_revenue_cny_to_date as decimal(38, 9)) as package_revenue_cny,
    cast(breakage_cny_to_date as decimal(38, 9)) as breakage_cny,
    cast(package_revenue_cny_to_date + breakage_cny_to_date as decimal(38, 9)) as recognised_cny,
    cast(transfer_cny_to_date - package_revenue_cny_to_date - breakage_cny_to_date as decimal(38, 9)) as deferred_cny,
    cast(refunded_cny_to_date as decimal(38, 9)) as refunded_cny,
    cast(transfer_cny_to_date - price_cny + refunded_cny_to_date as decimal(38, 9)) as carried_cny,
    -- A date a century away is no projection.
    case
        when state = 'active' and days_to_exhaustion <= 36500 then usage_date + cast(days_to_exhaustion as integer)
    end as projected_exhaustion_date,
    case
        when state = 'active' and days_to_exhaustion_early <= 36500
            then usage_date + cast(days_to_exhaustion_early as integer)
    end as projected_exhaustion_date_early,
    case
        when state = 'active' and days_to_exhaustion_late <= 36500
            then usage_date + cast(days_to_exhaustion_late as integer)
    end as projected_exhaustion_date_late
from projected
