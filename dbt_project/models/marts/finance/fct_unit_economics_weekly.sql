with
margin as (select * from {{ ref('fct_margin_daily') }}),

usage as (select * from {{ ref('int_usage__metered') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

pools as (select * from {{ ref('int_cost__pools') }} where installed_accelerator_hours > 0),

tokens_by_day as (
    select
        usage_date,
        serving_site_id as site_id,
        model_id,
        {{ exact_sum("case when token_type = 'input' then tokens else 0 end") }} as input_tokens,
        {{ exact_sum("case when token_type = 'output' then tokens else 0 end") }} as output_tokens
    from usage
    group by usage_date, serving_site_id, model_id
),

-- The hours that the tokens take of accelerators that never idle.
full_use as (
    select
        tokens_by_day.usage_date,
        tokens_by_day.site_id,
        tokens_by_day.model_id,
        mix.accelerator_id,
        cast(
            round(
                {{ serving_seconds('tokens_by_day.input_tokens', 'tokens_by_day.output_tokens', 'mix') }} / 3600, 6
            ) as decimal(38, 6)
        ) as full_use_accelerator_hours
    from tokens_by_day
    inner join mix
        on
            tokens_by_day.usage_date = mix.usage_date
            and tokens_by_day.site_id = mix.site_id
            and tokens_by_day.model_id = mix.model_id
),

full_use_cost as (
    select
        {{ iso_week('full_use.usage_date') }} as iso_week,
        full_use.site_id,
        full_use.model_id,
        cast(sum(full_use.full_use_accelerator_hours) as decimal(38, 6)) as full_use_accelerator_hours,
        cast(
            sum(
                {{
                    money_share(
                        'pools.pool_cny', micro_hours('full_use.full_use_accelerator_hours'),
                        micro_hours('pools.installed_accelerator_hours')
                    )
                }}
            ) as decimal(38, 9)
        ) as usage_cost_cny
    from full_use
    inner join pools
        on
            full_use.usage_date = pools.usage_date
            and full_use.site_id = pools.site_id
            and full_use.accelerator_id = pools.accelerator_id
    group by {{ iso_week('full_use.usage_date') }}, full_use.site_id, full_use.model_id
),

earned as (
    select
        iso_week,
        serving_site_id as site_id,
        model_id,
        {{ exact_sum('tokens') }} as tokens,
        cast(sum(list_revenue_cny) as decimal(38, 9)) as list_revenue_cny,
        cast(sum(net_revenue_cny) as decimal(38, 9)) as net_revenue_cny,
        cast(sum(cost_cny) as decimal(38, 9)) as cost_cny,
        cast(sum(held_accelerator_hours) as decimal(38, 6)) as held_accelerator_hours
    from margin
    group by iso_week, serving_site_id, model_id
    having sum(tokens) > 0
)

select
    earned.iso_week,
    earned.site_id,
    earned.model_id,
    earned.tokens,
    earned.held_accelerator_hours,
    full_use_cost.full_use_accelerator_hours,
    earned.net_revenue_cny,
    earned.cost_cny,
    full_use_cost.usage_cost_cny,
    {{ money_share('earned.list_revenue_cny', '1000000', 'earned.tokens') }} as list_price_cny_per_million,
    {{ money_share('earned.net_revenue_cny', '1000000', 'earned.tokens') }} as net_price_cny_per_million,
    {{ money_share('earned.cost_cny', '1000000', 'earned.tokens') }} as allocation_cost_cny_per_million,
    {{ money_share('full_use_cost.usage_cost_cny', '1000000', 'earned.tokens') }} as usage_cost_cny_per_million,
    {{ money_share('(earned.net_revenue_cny - earned.cost_cny)', '1000000', 'earned.tokens') }}
        as margin_cny_per_million,
    case
        when earned.held_accelerator_hours > 0
            then {{
                money_share('earned.cost_cny', '1000000', 'earned.held_accelerator_hours * 1000000')
            }}
    end as cost_cny_per_accelerator_hour,
    case
        when earned.cost_cny > 0
            then round(cast(full_use_cost.usage_cost_cny as double) / cast(earned.cost_cny as double), 6)
    end as utilization_ratio,
    case
        when earned.net_revenue_cny > 0
            then round(cast(full_use_cost.usage_cost_cny as double) / cast(earned.net_revenue_cny as double), 6)
    end as break_even_utilization_ratio
from earned
left join full_use_cost
    on
        earned.iso_week = full_use_cost.iso_week
        and earned.site_id = full_use_cost.site_id
        and earned.model_id = full_use_cost.model_id
