with
models as (select * from {{ ref('dim_model') }}),

prices as (select * from {{ ref('stg_reference__price_book') }}),

competitors as (select * from {{ ref('stg_reference__competitor_prices') }} where above_input_tokens = 0),

exchange_rates as (select * from {{ ref('stg_reference__exchange_rates') }}),

-- The last known day of each week.
price_dates as (
    select max(calendar.usage_date) as price_date
    from {{ ref('dim_date') }} as calendar
    inner join {{ ref('int_calendar__span') }} as span
        on calendar.usage_date >= span.first_date and calendar.usage_date <= span.last_date
    group by calendar.iso_week
),

-- A list with time bands stands with its dearest hour.
ours as (
    select
        price_dates.price_date,
        prices.model_id,
        models.model_class,
        prices.token_type,
        max(prices.price_cny_per_million) as price_cny_per_million
    from price_dates
    inner join prices on prices.above_input_tokens = 0 and {{ holds_on('prices', 'price_dates.price_date') }}
    inner join models on prices.model_id = models.model_id
    group by price_dates.price_date, prices.model_id, models.model_class, prices.token_type
),

observed as (
    select
        ours.price_date,
        ours.model_id,
        ours.token_type,
        competitors.vendor,
        competitors.model_name,
        case when competitors.comparable_model_id = ours.model_id then 'same_model' else 'same_class' end
            as comparison,
        ours.price_cny_per_million,
        competitors.list_price_per_million,
        competitors.currency,
        competitors.observed_date,
        competitors.source as competitor_source,
        row_number() over (
            partition by ours.price_date, ours.model_id, ours.token_type, competitors.vendor, competitors.model_name
            order by competitors.observed_date desc
        ) as recency
    from ours
    inner join competitors
        on
            ours.token_type = competitors.token_type
            and ours.price_date >= competitors.observed_date
            and (ours.model_id = competitors.comparable_model_id or ours.model_class = competitors.model_class)
),

-- A price in another currency stands at the exchange rate of the day that it is compared on.
in_cny as (
    select
        observed.*,
        cast(observed.list_price_per_million * exchange_rates.cny_per_unit as decimal(38, 9))
            as competitor_price_cny_per_million
    from observed
    inner join exchange_rates
        on observed.currency = exchange_rates.currency and {{ holds_on('exchange_rates', 'observed.price_date') }}
    where observed.recency = 1
),

latest as (
    select
        *,
        sum(case when competitor_price_cny_per_million < price_cny_per_million then 1 else 0 end)
            over (partition by price_date, model_id, token_type)
            as cheaper_count,
        count(*) over (partition by price_date, model_id, token_type) as competitor_count,
        {{ days_between('observed_date', 'price_date') }} as age_days
    from in_cny
)

select
    price_date,
    model_id,
    token_type,
    vendor,
    model_name,
    comparison,
    cast(price_cny_per_million as decimal(38, 9)) as price_cny_per_million,
    competitor_price_cny_per_million,
    case
        when competitor_price_cny_per_million > 0
            then cast(price_cny_per_million as double) / cast(competitor_price_cny_per_million as double)
    end as price_ratio,
    cast(1 + cheaper_count as bigint) as our_rank,
    cast(1 + competitor_count as bigint) as ranked_count,
    observed_date,
    age_days,
    age_days > {{ var('stale_price_days') }} as is_stale,
    currency as competitor_currency,
    list_price_per_million as competitor_list_price_per_million,
    competitor_source
from latest
