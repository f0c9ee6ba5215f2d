with
holdings as (select * from {{ ref('int_cost__holdings') }} where product = 'training'),

prices as (select * from {{ ref('stg_reference__rental_prices') }}),

discounts as (select * from {{ ref('int_discount__effective') }}),

charged as (
    select
        holdings.usage_date,
        holdings.site_id,
        holdings.accelerator_id,
        holdings.tenant_id,
        holdings.model_id,
        holdings.product,
        holdings.held_accelerator_hours,
        prices.price_cny_per_accelerator_hour,
        cast(
            coalesce(
                cast(holdings.held_accelerator_hours as decimal(28, 6))
                * cast(prices.price_cny_per_accelerator_hour as decimal(10, 3)),
                0
            ) as decimal(38, 9)
        ) as list_revenue_cny
    from holdings
    left join prices
        on
            holdings.accelerator_id = prices.accelerator_id
            and {{ holds_on('prices', 'holdings.usage_date') }}
)

select
    charged.usage_date,
    charged.site_id as serving_site_id,
    charged.accelerator_id,
    charged.tenant_id,
    charged.model_id,
    charged.product,
    charged.held_accelerator_hours,
    charged.price_cny_per_accelerator_hour,
    charged.list_revenue_cny,
    {{ money_times_ratio('charged.list_revenue_cny', 'coalesce(discounts.discount_ratio, 0)') }} as discount_cny
from charged
left join discounts
    on
        charged.usage_date = discounts.usage_date
        and charged.tenant_id = discounts.tenant_id
        and charged.model_id = discounts.model_id
