with
tranches as (
    {{ current_rows(ref('stg_reference__capital_assets'), ['tranche_id']) }}
),

span as (select * from {{ ref('int_calendar__span') }}),

margin as (select * from {{ ref('fct_margin_daily') }}),

allocated as (select * from {{ ref('int_cost__allocated') }}),

pools as (select * from {{ ref('int_cost__pools') }}),

-- What was earned less what the links took, by who was served, falls to the types of accelerator that
-- served them, by hours held. What nobody held hours for (a grant's expiry) is no tranche's.
held as (
    select
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        accelerator_id,
        {{ micro_hours('held_accelerator_hours') }} as held,
        cast(
            sum({{ micro_hours('held_accelerator_hours') }}) over (
                partition by usage_date, serving_site_id, tenant_id, model_id, product
                order by accelerator_id rows between unbounded preceding and current row
            ) as decimal(38, 0)
        ) as held_to_here,
        cast(
            sum({{ micro_hours('held_accelerator_hours') }}) over (
                partition by usage_date, serving_site_id, tenant_id, model_id, product
                order by accelerator_id rows between unbounded preceding and unbounded following
            ) as decimal(38, 0)
        ) as held_by_all
    from allocated
    where held_accelerator_hours > 0
),

earned as (
    select
        held.usage_date,
        held.serving_site_id as site_id,
        held.accelerator_id,
        {{
            money_slice(
                '(margin.net_revenue_cny - margin.network_cny)', 'held.held_to_here - held.held', 'held.held_to_here',
                'held.held_by_all'
            )
        }} as cash_cny
    from held
    inner join margin
        on
            held.usage_date = margin.usage_date
            and held.serving_site_id = margin.serving_site_id
            and held.tenant_id = margin.tenant_id
            and held.model_id = margin.model_id
            and held.product = margin.product
),

cash_by_day as (
    select
        usage_date,
        site_id,
        accelerator_id,
        cast(sum(cash_cny) as decimal(38, 9)) as cash_cny
    from (
        select * from earned
        union all
        select
            usage_date,
            site_id,
            accelerator_id,
            cast(-(energy_cny + operations_cny) as decimal(38, 9)) as cash_cny
        from pools
        where accelerator_id <> 'network'
    ) as flows
    group by usage_date, site_id, accelerator_id
),

-- Tranches of one type at one site share its cash by their accelerators.
in_service as (
    select
        cash_by_day.usage_date,
        tranches.tranche_id,
        cash_by_day.cash_cny,
        tranches.accelerator_count,
        sum(tranches.accelerator_count) over (
            partition by cash_by_day.usage_date, tranches.site_id, tranches.accelerator_id
            order by tranches.tranche_id rows between unbounded preceding and current row
        ) as count_to_here,
        sum(tranches.accelerator_count) over (
            partition by cash_by_day.usage_date, tranches.site_id, tranches.accelerator_id
            order by tranches.tranche_id rows between unbounded preceding and unbounded following
        ) as count_of_all
    from cash_by_day
    inner join tranches
        on
            cash_by_day.site_id = tranches.site_id
            and cash_by_day.accelerator_id = tranches.accelerator_id
            and cash_by_day.usage_date >= tranches.commissioned_date
),

shares as (
    select
        usage_date,
        tranche_id,
        {{ money_slice('cash_cny', 'count_to_here - accelerator_count', 'count_to_here', 'count_of_all') }} as cash_cny
    from in_service
),

cash as (
    select
        shares.tranche_id,
        cast(sum(shares.cash_cny) as decimal(38, 9)) as cumulative_gross_cash_cny,
        cast(
            sum(case when shares.usage_date > span.last_date - interval 28 day then shares.cash_cny else 0 end)
            as decimal(38, 9)
        ) as recent_cash_cny,
        sum(case when shares.usage_date > span.last_date - interval 28 day then 1 else 0 end) as recent_day_count
    from shares
    cross join span
    group by shares.tranche_id
),

lives as (
    select
        tranches.*,
        cast(round(tranches.life_years * 365, 0) as bigint) as life_days,
        greatest(tranches.commissioned_date, span.first_date) as observed_from_date
    from tranches
    cross join span
),

ages as (
    select
        *,
        least({{ days_between('commissioned_date', 'observed_from_date') }}, life_days) as age_days
    from lives
)

select
    ages.tranche_id,
    ages.site_id,
    ages.accelerator_id,
    ages.accelerator_count,
    ages.commissioned_date,
    cast(ages.commissioned_date + ages.life_days * interval 1 day as date) as life_ends_date,
    cast(ages.capital_cny as decimal(38, 9)) as capital_cny,
    cast(
        ages.capital_cny - {{ money_share('ages.capital_cny', 'ages.age_days', 'ages.life_days') }} as decimal(38, 9)
    ) as opening_book_cny,
    ages.observed_from_date,
    cast(coalesce(cash.cumulative_gross_cash_cny, 0) as decimal(38, 9)) as cumulative_gross_cash_cny,
    case
        when cash.recent_day_count > 0 then {{ money_share('cash.recent_cash_cny', '7', 'cash.recent_day_count') }}
        else cast(0 as decimal(38, 9))
    end as weekly_gross_cash_cny
from ages
left join cash on ages.tranche_id = cash.tranche_id
