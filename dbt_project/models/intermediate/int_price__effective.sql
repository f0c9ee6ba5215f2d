with
metered as (select * from {{ ref('int_usage__metered') }}),

prices as (select * from {{ ref('stg_reference__price_book') }}),

-- Few rows whatever the number of events, so the search for the price in force is cheap and the join
-- of usage to it is an equality.
asked as (
    select distinct
        usage_date,
        hour_of_day,
        model_id,
        token_type,
        context_floor_tokens
    from metered
),

in_force as (
    select
        asked.usage_date,
        asked.hour_of_day,
        asked.model_id,
        asked.token_type,
        asked.context_floor_tokens,
        prices.above_input_tokens,
        prices.time_band,
        prices.price_cny_per_million,
        row_number() over (
            partition by
                asked.usage_date, asked.hour_of_day, asked.model_id, asked.token_type, asked.context_floor_tokens
            order by prices.above_input_tokens desc
        ) as tier_rank
    from asked
    inner join prices
        on
            asked.model_id = prices.model_id
            and asked.token_type = prices.token_type
            and asked.context_floor_tokens >= prices.above_input_tokens
            and asked.hour_of_day >= prices.hour_from
            and asked.hour_of_day < prices.hour_to
            and {{ holds_on('prices', 'asked.usage_date') }}
)

select
    usage_date,
    hour_of_day,
    model_id,
    token_type,
    context_floor_tokens,
    above_input_tokens,
    time_band,
    price_cny_per_million
from in_force
where tier_rank = 1
