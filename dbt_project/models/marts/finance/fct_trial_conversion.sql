with
holdings as (select * from {{ ref('int_package__holdings') }}),

burndown as (select * from {{ ref('fct_package_burndown_daily') }}),

settled as (select * from {{ ref('int_usage__settled') }}),

revenue as (select * from {{ ref('int_package__revenue_daily') }}),

span as (select * from {{ ref('int_calendar__span') }}),

allocated as (select * from {{ ref('int_cost__allocated') }}),

metered as (select * from {{ ref('int_usage__metered') }}),

burn as (select * from {{ ref('int_package__burn') }}),

trials as (
    select
        *,
        -- What a customer pays afterwards counts once, however many trials it was given.
        row_number() over (partition by tenant_id order by granted_date, subscription_id) as trial_number
    from holdings
    where settlement = 'trial'
),

progress as (
    select
        subscription_id,
        min(case when used_tokens > 0 then usage_date end) as first_used_date,
        min(case when 2 * consumed_tokens >= granted_tokens + carried_in_tokens then usage_date end)
            as half_burned_date,
        min(case when state = 'exhausted' then usage_date end) as exhausted_date,
        min(case when state = 'expired' then usage_date end) as expired_date,
        max(used_tokens) as used_tokens
    from burndown
    where settlement = 'trial'
    group by subscription_id
),

paid_daily as (
    select
        tenant_id,
        usage_date,
        cast(sum(list_revenue_cny - discount_cny) as decimal(38, 9)) as revenue_cny
    from settled
    where settlement = 'list_price'
    group by tenant_id, usage_date
    union all
    select
        tenant_id,
        usage_date,
        cast(sum(package_revenue_cny + breakage_cny) as decimal(38, 9)) as revenue_cny
    from revenue
    group by tenant_id, usage_date
),

purchases as (
    select
        tenant_id,
        granted_date as paid_date
    from holdings
    where price_cny > 0
),

paid_use as (
    select distinct
        tenant_id,
        usage_date as paid_date
    from settled
    where settlement in ('list_price', 'package')
),

ended as (
    select
        trials.*,
        progress.first_used_date,
        progress.half_burned_date,
        progress.exhausted_date,
        progress.expired_date,
        progress.used_tokens,
        coalesce(progress.exhausted_date, progress.expired_date) as ended_date,
        span.last_date
    from trials
    inner join progress on trials.subscription_id = progress.subscription_id
    cross join span
),

followed as (
    select
        ended.*,
        (
            select min(paid.paid_date)
            from (
                select * from purchases
                union all
                select * from paid_use
            ) as paid
            where paid.tenant_id = ended.tenant_id and paid.paid_date between ended.ended_date and ended.ended_date + 30
        ) as converted_date,
        exists(
            select 1 from paid_use
            where
                paid_use.tenant_id = ended.tenant_id
                and paid_use.paid_date between ended.granted_date + 90 and ended.granted_date + 119
        ) as is_retained
    from ended
),

earned as (
    select
        followed.subscription_id,
        cast(sum(paid_daily.revenue_cny) as decimal(38, 9)) as revenue_cny
    from followed
    inner join paid_daily
        on followed.tenant_id = paid_daily.tenant_id and followed.converted_date <= paid_daily.usage_date
    where followed.trial_number = 1
    group by followed.subscription_id
),

cost_of_use as (
    select
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        sum(cost_cny) as cost_cny
    from allocated
    group by usage_date, serving_site_id, tenant_id, model_id, product
),

served as (
    select
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        sum(tokens) as tokens
    from metered
    group by usage_date, serving_site_id, tenant_id, model_id, product
),

given_away as (
    select
        subscription_id,
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        sum(tokens) as tokens
    from burn
    where settlement = 'trial'
    group by subscription_id, usage_date, serving_site_id, tenant_id, model_id, product
),

-- A trial bears its part of the tokens that were served with its own.
spent as (
    select
        given_away.subscription_id,
        sum({{ money_share('cost_of_use.cost_cny', 'given_away.tokens', 'served.tokens') }}) as trial_cost_cny
    from given_away
    inner join served
        on
            given_away.usage_date = served.usage_date
            and given_away.serving_site_id = served.serving_site_id
            and given_away.tenant_id = served.tenant_id
            and given_away.model_id = served.model_id
            and given_away.product = served.product
    inner join cost_of_use
        on
            given_away.usage_date = cost_of_use.usage_date
            and given_away.serving_site_id = cost_of_use.serving_site_id
            and given_away.tenant_id = cost_of_use.tenant_id
            and given_away.model_id = cost_of_use.model_id
            and given_away.product = cost_of_use.product
    group by given_away.subscription_id
)

select
    {{ iso_week('followed.granted_date') }} as cohort_week,
    followed.segment,
    count(*) as granted_count,
    count(case when followed.first_used_date < followed.granted_date + 14 then 1 end) as activated_count,
    count(followed.half_burned_date) as half_burned_count,
    count(followed.exhausted_date) as exhausted_count,
    count(followed.expired_date) as expired_count,
    count(followed.converted_date) as converted_count,
    count(case when followed.converted_date is not null and followed.is_retained then 1 end) as retained_count,
    count(case when followed.granted_date + 90 <= followed.last_date then 1 end) as retention_due_count,
    cast(sum(followed.granted_tokens) as decimal(38, 6)) as granted_tokens,
    cast(sum(followed.used_tokens) as decimal(38, 0)) as given_away_tokens,
    cast(coalesce(sum(spent.trial_cost_cny), 0) as decimal(38, 9)) as trial_cost_cny,
    cast(coalesce(sum(earned.revenue_cny), 0) as decimal(38, 9)) as revenue_after_conversion_cny
from followed
left join earned on followed.subscription_id = earned.subscription_id
left join spent on followed.subscription_id = spent.subscription_id
group by {{ iso_week('followed.granted_date') }}, followed.segment
