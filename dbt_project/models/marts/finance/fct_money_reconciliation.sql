with
usage as (select * from {{ ref('int_usage__metered') }}),

settled as (select * from {{ ref('int_usage__settled') }}),

margin as (select * from {{ ref('fct_margin_daily') }}),

pools as (select * from {{ ref('int_cost__pools') }}),

rental as (select * from {{ ref('int_rental__priced') }}),

burndown as (select * from {{ ref('fct_package_burndown_daily') }}),

package_revenue as (select * from {{ ref('int_package__revenue_daily') }}),

received as (select {{ exact_sum('tokens') }} as tokens from usage),

settlements as (
    select
        {{ exact_sum('tokens') }} as tokens,
        cast(sum(list_revenue_cny) as decimal(38, 9)) as list_revenue_cny,
        cast(sum(discount_cny) as decimal(38, 9)) as discount_cny
    from settled
),

rentals as (
    select
        cast(coalesce(sum(list_revenue_cny), 0) as decimal(38, 9)) as list_revenue_cny,
        cast(coalesce(sum(discount_cny), 0) as decimal(38, 9)) as discount_cny
    from rental
),

recognised as (
    select cast(coalesce(sum(package_revenue_cny + breakage_cny), 0) as decimal(38, 9)) as revenue_cny
    from package_revenue
),

margins as (
    select
        {{ exact_sum('tokens') }} as tokens,
        {{ exact_sum('priced_tokens + package_tokens + trial_tokens + unpriced_tokens') }} as settled_tokens,
        cast(sum(list_revenue_cny) as decimal(38, 9)) as list_revenue_cny,
        cast(sum(discount_cny) as decimal(38, 9)) as discount_cny,
        cast(sum(package_revenue_cny + breakage_cny) as decimal(38, 9)) as recognised_cny,
        cast(sum(cost_cny) as decimal(38, 9)) as cost_cny
    from margin
),

pooled as (select cast(sum(pool_cny) as decimal(38, 9)) as pool_cny from pools),

last_burndown as (
    select
        granted_tokens,
        carried_in_tokens,
        consumed_tokens,
        expired_tokens,
        voided_tokens,
        carried_out_tokens,
        remaining_tokens,
        row_number() over (partition by subscription_id order by usage_date desc) as recency
    from burndown
),

grants as (
    select
        cast(coalesce(sum(granted_tokens + carried_in_tokens), 0) as decimal(38, 9)) as granted,
        cast(
            coalesce(
                sum(consumed_tokens + expired_tokens + voided_tokens + carried_out_tokens + remaining_tokens), 0
            ) as decimal(38, 9)
        ) as accounted
    from last_burndown
    where recency = 1
),

compared as (
    select
        'tokens settled = tokens received' as metric,
        cast(coalesce(received.tokens, 0) as decimal(38, 9)) as expected,
        cast(coalesce(settlements.tokens, 0) as decimal(38, 9)) as actual
    from received
    cross join settlements
    union all
    select
        'priced + package + trial + unpriced tokens in the margin mart = tokens received' as metric,
        cast(coalesce(received.tokens, 0) as decimal(38, 9)) as expected,
        cast(coalesce(margins.settled_tokens, 0) as decimal(38, 9)) as actual
    from received
    cross join margins
    union all
    select
        'list revenue in the margin mart = settled usage + rentals' as metric,
        coalesce(settlements.list_revenue_cny, 0) + rentals.list_revenue_cny as expected,
        coalesce(margins.list_revenue_cny, 0) as actual
    from settlements
    cross join rentals
    cross join margins
    union all
    select
        'discount in the margin mart = settled usage + rentals' as metric,
        coalesce(settlements.discount_cny, 0) + rentals.discount_cny as expected,
        coalesce(margins.discount_cny, 0) as actual
    from settlements
    cross join rentals
    cross join margins
    union all
    select
        'package revenue and breakage in the margin mart = recognised' as metric,
        recognised.revenue_cny as expected,
        coalesce(margins.recognised_cny, 0) as actual
    from recognised
    cross join margins
    union all
    select
        'cost allocated = cost pools' as metric,
        coalesce(pooled.pool_cny, 0) as expected,
        coalesce(margins.cost_cny, 0) as actual
    from pooled
    cross join margins
    union all
    select
        'granted = consumed + expired + voided + carried out + remaining' as metric,
        granted as expected,
        accounted as actual
    from grants
)

select
    metric,
    cast(expected as decimal(38, 9)) as expected,
    cast(actual as decimal(38, 9)) as actual,
    cast(actual - expected as decimal(38, 9)) as difference
from compared
