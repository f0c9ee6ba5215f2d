{{ config(materialized='view') }}

with
settled as (select * from {{ ref('int_usage__settled') }}),

tax_rates as (select * from {{ ref('stg_reference__tax_rates') }}),

listed as (
    select
        usage_date,
        model_id,
        token_type,
        discount_ratio,
        {{ exact_sum('tokens') }} as tokens,
        cast(sum({{ token_charge('tokens', 'price_cny_per_million') }}) as decimal(38, 9)) as list_cny
    from settled
    where price_cny_per_million is not null and tokens > 0
    group by usage_date, model_id, token_type, discount_ratio
),

discounted as (
    select
        usage_date,
        model_id,
        token_type,
        tokens,
        cast(list_cny - {{ money_times_ratio('list_cny', 'discount_ratio') }} as decimal(38, 9)) as discounted_cny
    from listed
),

taxed as (
    select
        discounted.usage_date,
        discounted.model_id,
        discounted.token_type,
        discounted.tokens,
        discounted.discounted_cny,
        {{ tax_inside('discounted.discounted_cny', 'coalesce(tax_rates.rate_ratio, 0)') }} as tax_cny
    from discounted
    left join tax_rates on {{ holds_on('tax_rates', 'discounted.usage_date') }}
),

weeks as (
    select
        {{ iso_week('usage_date') }} as iso_week,
        model_id,
        token_type,
        {{ exact_sum('tokens') }} as tokens,
        cast(sum(discounted_cny - tax_cny) as decimal(38, 9)) as value_cny
    from taxed
    group by {{ iso_week('usage_date') }}, model_id, token_type
)

select
    iso_week,
    model_id,
    token_type,
    tokens,
    {{ money_share('value_cny', '1000000', 'tokens') }} as value_cny_per_million
from weeks
