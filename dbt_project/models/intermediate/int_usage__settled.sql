{{ config(materialized='table') }}

with
metered as (select * from {{ ref('int_usage__metered') }}),

burn as (select * from {{ ref('int_package__burn') }}),

prices as (select * from {{ ref('int_price__effective') }}),

discounts as (select * from {{ ref('int_discount__effective') }}),

burned as (
    select
        usage_hour,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        context_floor_tokens,
        token_type,
        {{ exact_sum('tokens') }} as tokens
    from burn
    group by usage_hour, serving_site_id, tenant_id, model_id, product, context_floor_tokens, token_type
),

-- What no grant took is sold at list price.
unburned as (
    select
        metered.usage_date,
        metered.hour_of_day,
        metered.serving_site_id,
        metered.tenant_id,
        metered.model_id,
        metered.product,
        metered.context_floor_tokens,
        metered.token_type,
        'list_price' as settlement,
        cast(null as {{ text_type() }}) as subscription_id,
        metered.tokens - coalesce(burned.tokens, 0) as tokens
    from metered
    left join burned
        on
            metered.usage_hour = burned.usage_hour
            and metered.serving_site_id = burned.serving_site_id
            and metered.tenant_id = burned.tenant_id
            and metered.model_id = burned.model_id
            and metered.product = burned.product
            and metered.context_floor_tokens = burned.context_floor_tokens
            and metered.token_type = burned.token_type
),

pieces as (
    select * from unburned
    where tokens <> 0
    union all
    select
        usage_date,
        hour_of_day,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        context_floor_tokens,
        token_type,
        settlement,
        subscription_id,
        cast(tokens as decimal(38, 0)) as tokens
    from burn
),

priced as (
    select
        pieces.usage_date,
        pieces.serving_site_id,
        pieces.tenant_id,
        pieces.model_id,
        pieces.product,
        pieces.token_type,
        coalesce(prices.above_input_tokens, pieces.context_floor_tokens) as context_floor_tokens,
        coalesce(prices.time_band, 'none') as time_band,
        case
            when pieces.settlement = 'list_price' and prices.price_cny_per_million is null then 'unpriced'
            else pieces.settlement
        end as settlement,
        pieces.subscription_id,
        prices.price_cny_per_million,
        {{ exact_sum('pieces.tokens') }} as tokens
    from pieces
    left join prices
        on
            pieces.usage_date = prices.usage_date
            and pieces.hour_of_day = prices.hour_of_day
            and pieces.model_id = prices.model_id
            and pieces.token_type = prices.token_type
            and pieces.context_floor_tokens = prices.context_floor_tokens
    group by
        pieces.usage_date,
        pieces.serving_site_id,
        pieces.tenant_id,
        pieces.model_id,
        pieces.product,
        pieces.token_type,
        coalesce(prices.above_input_tokens, pieces.context_floor_tokens),
        coalesce(prices.time_band, 'none'),
        case
            when pieces.settlement = 'list_price' and prices.price_cny_per_million is null then 'unpriced'
            else pieces.settlement
        end,
        pieces.subscription_id,
        prices.price_cny_per_million
),

revenue as (
    select
        *,
        case when settlement = 'list_price' then {{ token_charge('tokens', 'price_cny_per_million') }} else 0 end
            as list_revenue_cny
    from priced
)

select
    revenue.usage_date,
    revenue.serving_site_id,
    revenue.tenant_id,
    revenue.model_id,
    revenue.product,
    revenue.token_type,
    cast(revenue.context_floor_tokens as bigint) as context_floor_tokens,
    revenue.time_band,
    revenue.settlement,
    revenue.subscription_id,
    revenue.price_cny_per_million,
    discounts.contract_id,
    coalesce(discounts.discount_ratio, 0) as discount_ratio,
    revenue.tokens,
    cast(revenue.list_revenue_cny as decimal(38, 9)) as list_revenue_cny,
    {{ money_times_ratio('revenue.list_revenue_cny', 'coalesce(discounts.discount_ratio, 0)') }} as discount_cny
from revenue
left join discounts
    on
        revenue.usage_date = discounts.usage_date
        and revenue.tenant_id = discounts.tenant_id
        and revenue.model_id = discounts.model_id
