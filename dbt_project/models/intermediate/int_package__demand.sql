with
entries as (select * from {{ ref('int_package__entries') }}),

holdings as (select * from {{ ref('int_package__holdings') }}),

span as (select * from {{ ref('int_calendar__span') }}),

usage as (select * from {{ ref('int_token_usage__hourly') }}),

tenants as (
    {{ current_rows(ref('stg_reference__tenants'), ['tenant_id']) }}
),

-- What is left of each grant that still runs, in quota tokens, and what it burnt in the last seven days.
outstanding as (
    select
        holdings.subscription_id,
        holdings.tenant_id,
        holdings.segment,
        holdings.settlement,
        greatest(holdings.starts_date, span.last_date + 1) as from_date,
        least(holdings.expires_date, coalesce(holdings.voided_date, holdings.expires_date)) as to_date,
        span.last_date,
        least(7, span.last_date - holdings.starts_date + 1) as trailing_day_count,
        sum(
            case
                when entries.entry in ('granted', 'carried_in') then entries.quota_tokens
                when entries.entry <> 'blocked' then -entries.quota_tokens
                else 0
            end
        ) as remaining_tokens,
        sum(
            case
                when entries.entry = 'consumed' and entries.usage_date > span.last_date - 7 then entries.quota_tokens
                else 0
            end
        ) as trailing_quota_tokens,
        sum(case when entries.entry = 'consumed' then entries.tokens else 0 end) as used_tokens,
        sum(case when entries.entry = 'consumed' then entries.quota_tokens else 0 end) as used_quota_tokens,
        max(holdings.granted_tokens) as granted_tokens
    from holdings
    cross join span
    inner join entries on holdings.subscription_id = entries.subscription_id
    where span.last_date is not null
    group by all
),

live as (
    select * from outstanding
    where remaining_tokens > 0 and from_date < to_date
),

-- What those of its segment and kind that burn take a day, as a share of their grants: the pace that a grant
-- which nobody has touched yet is expected to find.
segment_curve as (
    select
        segment,
        settlement,
        cast(sum(trailing_quota_tokens) as double) / cast(sum(granted_tokens * trailing_day_count) as double)
            as daily_burn_ratio
    from outstanding
    where trailing_quota_tokens > 0
    group by segment, settlement
),

paced as (
    select
        live.subscription_id,
        live.tenant_id,
        live.from_date,
        live.to_date,
        live.last_date,
        live.used_quota_tokens = 0 as is_untouched,
        cast(live.remaining_tokens as double) as remaining_tokens,
        case
            when live.trailing_quota_tokens > 0
                then cast(live.trailing_quota_tokens as double) / live.trailing_day_count
            when live.used_quota_tokens = 0
                then cast(live.granted_tokens as double) * coalesce(segment_curve.daily_burn_ratio, 0)
            else 0
        end as daily_quota_tokens,
        -- Demand is in tokens, quota is weighted.
        case
            when live.used_quota_tokens > 0
                then cast(live.used_tokens as double) / cast(live.used_quota_tokens as double)
            else 1
        end as tokens_per_quota_token
    from live
    left join segment_curve on live.segment = segment_curve.segment and live.settlement = segment_curve.settlement
),

burn_days as (
    select
        paced.*,
        {{ each_day('paced.from_date', 'paced.to_date - 1') }} as usage_date
    from paced
    where paced.daily_quota_tokens > 0
),

-- At that pace until nothing is left or the grant ends. Whole tokens from here on, so that sums are exact.
burning as (
    select
        tenant_id,
        is_untouched,
        {{ iso_week('usage_date') }} as iso_week,
        least(7, cast(date_trunc('week', usage_date) as date) + 6 - last_date) as day_count,
        cast(
            round(
                greatest(0, least(daily_quota_tokens, remaining_tokens - daily_quota_tokens * (usage_date - from_date)))
                * tokens_per_quota_token,
                0
            ) as decimal(38, 0)
        ) as expected_tokens
    from burn_days
),

expected as (
    select
        tenant_id,
        iso_week,
        max(day_count) as day_count,
        cast(sum(expected_tokens) as decimal(38, 0)) as expected_tokens,
        cast(sum(case when is_untouched then expected_tokens else 0 end) as decimal(38, 0)) as untouched_tokens
    from burning
    group by tenant_id, iso_week
),

recent as (
    select
        usage.tenant_id,
        usage.origin_site_id,
        usage.model_id,
        sum(coalesce(usage.input_tokens, 0)) as input_tokens,
        sum(coalesce(usage.output_tokens, 0)) as output_tokens,
        sum(
            coalesce(usage.input_tokens, 0) + coalesce(usage.cached_input_tokens, 0) + coalesce(usage.output_tokens, 0)
        ) as tokens,
        sum(
            case
                when {{ business_date('usage.usage_hour') }} > span.last_date - 7
                    then
                        coalesce(usage.input_tokens, 0) + coalesce(usage.cached_input_tokens, 0)
                        + coalesce(usage.output_tokens, 0)
                else 0
            end
        ) as present_tokens
    from usage
    cross join span
    where {{ business_date('usage.usage_hour') }} > span.last_date - 28 and usage.product <> 'internal'
    group by usage.tenant_id, usage.origin_site_id, usage.model_id
),

present as (
    select
        tenant_id,
        cast(sum(present_tokens) as double) as weekly_tokens
    from recent
    group by tenant_id
),

-- What the history of demand does not hold yet: of grants that nobody has touched, what goes beyond all that the
-- tenant uses today, however it pays for it. A grant that burns, and one that follows another, are in its use.
by_tenant as (
    select
        expected.tenant_id,
        expected.iso_week,
        expected.expected_tokens,
        greatest(
            0,
            least(
                expected.untouched_tokens,
                expected.expected_tokens
                - cast(round(coalesce(present.weekly_tokens, 0) * expected.day_count / 7, 0) as decimal(38, 0))
            )
        ) as additional_tokens
    from expected
    left join present on expected.tenant_id = present.tenant_id
),

-- Where and with which model the tenant's tokens were used in the last four weeks.
mix as (
    select
        tenant_id,
        origin_site_id,
        model_id,
        tokens,
        cast(input_tokens as double) / cast(tokens as double) as input_ratio,
        cast(output_tokens as double) / cast(tokens as double) as output_ratio,
        sum(tokens) over (
            partition by tenant_id order by origin_site_id, model_id rows between unbounded preceding and current row
        ) as tokens_to_here,
        sum(tokens) over (partition by tenant_id) as tenant_tokens
    from recent
    where tokens > 0
),

everybody as (
    select
        cast(sum(input_tokens) as double) / nullif(cast(sum(tokens) as double), 0) as input_ratio,
        cast(sum(output_tokens) as double) / nullif(cast(sum(tokens) as double), 0) as output_ratio
    from recent
),

placed as (
    select
        by_tenant.iso_week,
        by_tenant.tenant_id,
        mix.origin_site_id,
        mix.model_id,
        mix.input_ratio,
        mix.output_ratio,
        {{ share_of('by_tenant.expected_tokens', 'mix.tokens_to_here', 'mix.tenant_tokens') }}
        - {{ share_of('by_tenant.expected_tokens', 'mix.tokens_to_here - mix.tokens', 'mix.tenant_tokens') }}
            as expected_tokens,
        {{ share_of('by_tenant.additional_tokens', 'mix.tokens_to_here', 'mix.tenant_tokens') }}
        - {{ share_of('by_tenant.additional_tokens', 'mix.tokens_to_here - mix.tokens', 'mix.tenant_tokens') }}
            as additional_tokens
    from by_tenant
    inner join mix on by_tenant.tenant_id = mix.tenant_id
    union all
    -- A tenant that has used nothing yet: at home, with a model that nobody knows yet, as long as everybody's requests.
    select
        by_tenant.iso_week,
        by_tenant.tenant_id,
        coalesce(tenants.home_site_id, 'unknown') as origin_site_id,
        'unknown' as model_id,
        coalesce(everybody.input_ratio, 0) as input_ratio,
        coalesce(everybody.output_ratio, 0) as output_ratio,
        by_tenant.expected_tokens,
        by_tenant.additional_tokens
    from by_tenant
    cross join everybody
    left join tenants on by_tenant.tenant_id = tenants.tenant_id
    where by_tenant.tenant_id not in (select mix.tenant_id from mix)
)

select
    iso_week,
    tenant_id,
    origin_site_id,
    model_id,
    cast(expected_tokens as decimal(38, 0)) as expected_tokens,
    cast(additional_tokens as decimal(38, 0)) as additional_tokens,
    cast(round(cast(additional_tokens as double) * input_ratio, 0) as decimal(38, 0)) as additional_input_tokens,
    cast(round(cast(additional_tokens as double) * output_ratio, 0) as decimal(38, 0)) as additional_output_tokens
from placed
where expected_tokens > 0
