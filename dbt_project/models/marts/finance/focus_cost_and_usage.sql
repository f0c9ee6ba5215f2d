{#
    FOCUS 1.2 (FinOps Open Cost and Usage Specification) from the provider's side: one row per charge. Columns
    are named as the standard names them, in its order; ours begin with x_ and come last.
#}
{% set charge_key = [
    'charge_kind', 'usage_date', 'serving_site_id', 'tenant_id', 'model_id', 'product', 'token_type',
    'context_floor_tokens', 'time_band', 'settlement', 'subscription_id', 'accelerator_id', 'list_unit_price'
] %}
{% set no_text = 'cast(null as ' ~ text_type() ~ ')' %}
{% set no_number = 'cast(null as decimal(38, 9))' %}

with
settled as (select * from {{ ref('int_usage__settled') }}),

entries as (select * from {{ ref('int_package__entries') }}),

holdings as (select * from {{ ref('int_package__holdings') }}),

prices as (select * from {{ ref('int_price__effective') }}),

rentals as (select * from {{ ref('int_rental__priced') }}),

discounts as (select * from {{ ref('int_discount__effective') }}),

packages as (select * from {{ ref('stg_reference__packages') }}),

sites as (select * from {{ ref('dim_site') }}),

grants as (
    select
        holdings.subscription_id,
        holdings.package_id,
        holdings.granted_date,
        holdings.price_cny,
        coalesce(packages.package_name, holdings.package_id) as package_name,
        coalesce(packages.price_cny, holdings.price_cny) as list_price_cny
    from holdings
    left join packages
        on holdings.package_id = packages.package_id and {{ holds_on('packages', 'holdings.granted_date') }}
),

-- What the tokens of a settled row took of their grant, and what that earned.
drawn as (
    select
        entries.usage_date,
        entries.serving_site_id,
        entries.tenant_id,
        entries.model_id,
        entries.product,
        entries.token_type,
        entries.settlement,
        entries.subscription_id,
        coalesce(prices.above_input_tokens, entries.context_floor_tokens) as context_floor_tokens,
        coalesce(prices.time_band, 'none') as time_band,
        coalesce(prices.price_cny_per_million, -1) as price_cny_per_million,
        sum(entries.quota_tokens) as quota_tokens,
        sum(entries.package_revenue_cny + entries.breakage_cny) as recognised_cny
    from entries
    left join prices
        on
            entries.usage_date = prices.usage_date
            and {{ business_hour('entries.usage_hour') }} = prices.hour_of_day
            and entries.model_id = prices.model_id
            and entries.token_type = prices.token_type
            and entries.context_floor_tokens = prices.context_floor_tokens
    where entries.entry = 'consumed'
    group by
        entries.usage_date,
        entries.serving_site_id,
        entries.tenant_id,
        entries.model_id,
        entries.product,
        entries.token_type,
        entries.settlement,
        entries.subscription_id,
        coalesce(prices.above_input_tokens, entries.context_floor_tokens),
        coalesce(prices.time_band, 'none'),
        coalesce(prices.price_cny_per_million, -1)
),

-- Tokens without a list price are no charge: they stand in fct_margin_daily as unpriced.
usage as (
    select
        settled.usage_date,
        settled.serving_site_id,
        settled.tenant_id,
        settled.model_id,
        settled.product,
        settled.token_type,
        settled.context_floor_tokens,
        settled.time_band,
        settled.settlement,
        settled.subscription_id,
        settled.tokens,
        settled.list_revenue_cny - settled.discount_cny as billed_cny,
        cast(coalesce(settled.price_cny_per_million, 0) as decimal(18, 9)) as list_unit_price,
        case when settled.settlement = 'list_price' then settled.discount_ratio else 0 end as discount_ratio,
        cast(
            cast(settled.tokens as decimal(20, 0)) * cast(0.000001 as decimal(6, 6)) as decimal(20, 6)
        ) as pricing_quantity,
        coalesce(drawn.quota_tokens, 0) as quota_tokens,
        coalesce(drawn.recognised_cny, 0) as recognised_cny
    from settled
    left join drawn
        on
            settled.usage_date = drawn.usage_date
            and settled.serving_site_id = drawn.serving_site_id
            and settled.tenant_id = drawn.tenant_id
            and settled.model_id = drawn.model_id
            and settled.product = drawn.product
            and settled.token_type = drawn.token_type
            and settled.settlement = drawn.settlement
            and settled.subscription_id = drawn.subscription_id
            and settled.context_floor_tokens = drawn.context_floor_tokens
            and settled.time_band = drawn.time_band
            and coalesce(settled.price_cny_per_million, -1) = drawn.price_cny_per_million
    where settled.settlement <> 'unpriced'
),

priced as (
    select
        *,
        cast(list_unit_price * pricing_quantity as decimal(38, 9)) as list_cost,
        cast(list_unit_price * (1 - discount_ratio) as decimal(18, 9)) as discounted_unit_price
    from usage
),

rented as (
    select
        rentals.usage_date,
        rentals.serving_site_id,
        rentals.tenant_id,
        rentals.product,
        rentals.accelerator_id,
        rentals.list_revenue_cny,
        rentals.list_revenue_cny - rentals.discount_cny as billed_cny,
        cast(rentals.price_cny_per_accelerator_hour as decimal(18, 9)) as list_unit_price,
        cast(rentals.price_cny_per_accelerator_hour * (1 - coalesce(discounts.discount_ratio, 0)) as decimal(18, 9))
            as discounted_unit_price,
        cast(rentals.held_accelerator_hours as decimal(20, 6)) as pricing_quantity
    from rentals
    left join discounts
        on
            rentals.usage_date = discounts.usage_date
            and rentals.tenant_id = discounts.tenant_id
            and rentals.model_id = discounts.model_id
    where rentals.price_cny_per_accelerator_hour is not null
),

-- Contracted cost has 15 decimals in every part: a union with fewer would round it.
charges as (
    select
        'usage' as charge_kind,
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        token_type,
        context_floor_tokens,
        time_band,
        settlement,
        subscription_id,
        {{ no_text }} as accelerator_id,
        list_unit_price,
        case when settlement = 'blocked' then 0 else discounted_unit_price end as contracted_unit_price,
        pricing_quantity,
        list_cost,
        case
            when settlement = 'blocked' then 0
            else cast(discounted_unit_price * pricing_quantity as decimal(38, 15))
        end as contracted_cost,
        case settlement
            when 'list_price' then billed_cny
            when 'trial' then list_cost
            else 0
        end as billed_cost,
        case settlement
            when 'list_price' then billed_cny
            when 'trial' then list_cost
            when 'package' then recognised_cny
            else 0
        end as effective_cost,
        cast(tokens as decimal(38, 6)) as consumed_quantity,
        case when settlement = 'package' then quota_tokens end
            as commitment_tokens,
        false as is_correction
    from priced
    union all
    select
        'rental' as charge_kind,
        usage_date,
        serving_site_id,
        tenant_id,
        {{ no_text }} as model_id,
        product,
        {{ no_text }} as token_type,
        cast(null as bigint) as context_floor_tokens,
        {{ no_text }} as time_band,
        'list_price' as settlement,
        {{ no_text }} as subscription_id,
        accelerator_id,
        list_unit_price,
        discounted_unit_price as contracted_unit_price,
        pricing_quantity,
        list_revenue_cny as list_cost,
        cast(discounted_unit_price * pricing_quantity as decimal(38, 15)) as contracted_cost,
        billed_cny as billed_cost,
        billed_cny as effective_cost,
        pricing_quantity as consumed_quantity,
        {{ no_number }} as commitment_tokens,
        false as is_correction
    from rented
    union all
    -- What the customer used under a trial is charged and given back in full.
    select
        'trial_credit' as charge_kind,
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        {{ no_text }} as token_type,
        cast(null as bigint) as context_floor_tokens,
        {{ no_text }} as time_band,
        'trial' as settlement,
        subscription_id,
        {{ no_text }} as accelerator_id,
        {{ no_number }} as list_unit_price,
        {{ no_number }} as contracted_unit_price,
        {{ no_number }} as pricing_quantity,
        -sum(list_cost) as list_cost,
        cast(-sum(list_cost) as decimal(38, 15)) as contracted_cost,
        -sum(list_cost) as billed_cost,
        -sum(list_cost) as effective_cost,
        {{ no_number }} as consumed_quantity,
        {{ no_number }} as commitment_tokens,
        false as is_correction
    from priced
    where settlement = 'trial'
    group by usage_date, serving_site_id, tenant_id, model_id, product, subscription_id
    having sum(list_cost) <> 0
    union all
    -- Quota that nobody can use any more, and what is recognised of its price; a void may also take back.
    select
        'unused' as charge_kind,
        entries.usage_date,
        {{ no_text }} as serving_site_id,
        entries.tenant_id,
        {{ no_text }} as model_id,
        {{ no_text }} as product,
        {{ no_text }} as token_type,
        cast(null as bigint) as context_floor_tokens,
        {{ no_text }} as time_band,
        'package' as settlement,
        entries.subscription_id,
        {{ no_text }} as accelerator_id,
        grants.list_price_cny as list_unit_price,
        grants.price_cny as contracted_unit_price,
        0 as pricing_quantity,
        0 as list_cost,
        cast(0 as decimal(38, 15)) as contracted_cost,
        0 as billed_cost,
        sum(entries.package_revenue_cny + entries.breakage_cny) as effective_cost,
        {{ no_number }} as consumed_quantity,
        sum(entries.quota_tokens) as commitment_tokens,
        false as is_correction
    from entries
    inner join grants on entries.subscription_id = grants.subscription_id
    where entries.settlement = 'package' and entries.entry in ('expired', 'voided')
    group by
        entries.usage_date,
        entries.tenant_id,
        entries.subscription_id,
        grants.list_price_cny,
        grants.price_cny
    union all
    select
        'purchase' as charge_kind,
        entries.usage_date,
        {{ no_text }} as serving_site_id,
        entries.tenant_id,
        {{ no_text }} as model_id,
        {{ no_text }} as product,
        {{ no_text }} as token_type,
        cast(null as bigint) as context_floor_tokens,
        {{ no_text }} as time_band,
        'package' as settlement,
        entries.subscription_id,
        {{ no_text }} as accelerator_id,
        grants.list_price_cny as list_unit_price,
        entries.transfer_cny as contracted_unit_price,
        1 as pricing_quantity,
        grants.list_price_cny as list_cost,
        cast(entries.transfer_cny as decimal(38, 15)) as contracted_cost,
        entries.transfer_cny as billed_cost,
        0 as effective_cost,
        {{ no_number }} as consumed_quantity,
        entries.quota_tokens as commitment_tokens,
        false as is_correction
    from entries
    inner join grants on entries.subscription_id = grants.subscription_id
    where entries.settlement = 'package' and entries.entry = 'granted'
    union all
    -- Within the month of the purchase a refund is part of the same bill; after it, it corrects that bill.
    select
        'refund' as charge_kind,
        entries.usage_date,
        {{ no_text }} as serving_site_id,
        entries.tenant_id,
        {{ no_text }} as model_id,
        {{ no_text }} as product,
        {{ no_text }} as token_type,
        cast(null as bigint) as context_floor_tokens,
        {{ no_text }} as time_band,
        'package' as settlement,
        entries.subscription_id,
        {{ no_text }} as accelerator_id,
        -entries.transfer_cny as list_unit_price,
        -entries.transfer_cny as contracted_unit_price,
        -1 as pricing_quantity,
        entries.transfer_cny as list_cost,
        cast(entries.transfer_cny as decimal(38, 15)) as contracted_cost,
        entries.transfer_cny as billed_cost,
        0 as effective_cost,
        {{ no_number }} as consumed_quantity,
        0 as commitment_tokens,
        date_trunc('month', entries.usage_date) > date_trunc('month', grants.granted_date) as is_correction
    from entries
    inner join grants on entries.subscription_id = grants.subscription_id
    where entries.settlement = 'package' and entries.entry = 'voided' and entries.transfer_cny < 0
),

described as (
    select
        charges.*,
        grants.package_name,
        grants.package_id,
        case charges.token_type
            when 'input' then 'Input Tokens'
            when 'cached_input' then 'Cached Input Tokens'
            when 'output' then 'Output Tokens'
        end as token_meter,
        case
            when charges.charge_kind = 'usage' then charges.model_id || '/' || charges.token_type
            when charges.charge_kind = 'rental' then charges.accelerator_id || '/rental'
            when charges.charge_kind <> 'trial_credit' then grants.package_id
        end as sku_id,
        case
            when charges.charge_kind in ('unused', 'purchase', 'refund') then 'purchased'
            when charges.settlement = 'package' then 'used'
        end as commitment_role,
        cast(date_trunc('month', charges.usage_date) as timestamp) - interval 8 hours as month_start_at,
        cast(date_trunc('month', charges.usage_date) + interval 1 month as timestamp) - interval 8 hours
            as month_end_at,
        cast(charges.usage_date as timestamp) - interval 8 hours as day_start_at
    from charges
    left join grants on charges.subscription_id = grants.subscription_id
)

-- Quoted, because the standard's names keep their case.
-- noqa: disable=RF06
select
    cast(described.billed_cost as decimal(38, 9)) as "BilledCost",
    described.tenant_id as "BillingAccountId",
    described.tenant_id as "BillingAccountName",
    'CNY' as "BillingCurrency",
    described.month_end_at as "BillingPeriodEnd",
    described.month_start_at as "BillingPeriodStart",
    case described.charge_kind
        when 'trial_credit' then 'Credit'
        when 'purchase' then 'Purchase'
        when 'refund' then 'Purchase'
        else 'Usage'
    end as "ChargeCategory",
    case when described.is_correction then 'Correction' end as "ChargeClass",
    case
        when described.charge_kind = 'usage'
            then
                described.token_meter || ' of ' || described.model_id
                || case described.settlement
                    when 'package' then ', drawn from ' || described.package_name
                    when 'trial' then ', trial ' || described.package_name
                    when 'blocked' then ', beyond ' || described.package_name || ', not charged'
                    else ', list price'
                end
        when described.charge_kind = 'rental' then 'Rental of ' || described.accelerator_id || ', list price'
        when described.charge_kind = 'trial_credit' then 'Trial ' || described.package_name || ': given free of charge'
        when described.charge_kind = 'unused' then 'Quota of ' || described.package_name || ' that lapsed unused'
        when described.charge_kind = 'purchase' then 'Purchase of ' || described.package_name
        else 'Refund of ' || described.package_name
    end as "ChargeDescription",
    case when described.charge_kind in ('purchase', 'refund') then 'One-Time' else 'Usage-Based' end
        as "ChargeFrequency",
    described.day_start_at + interval 1 day as "ChargePeriodEnd",
    described.day_start_at as "ChargePeriodStart",
    case when described.commitment_role is not null then 'Usage' end as "CommitmentDiscountCategory",
    case when described.commitment_role is not null then described.subscription_id end as "CommitmentDiscountId",
    case when described.commitment_role is not null then described.package_name end as "CommitmentDiscountName",
    case when not described.is_correction then cast(described.commitment_tokens as decimal(38, 6)) end
        as "CommitmentDiscountQuantity",
    case
        when described.charge_kind = 'unused' then 'Unused'
        when described.commitment_role = 'used' then 'Used'
    end as "CommitmentDiscountStatus",
    case when described.commitment_role is not null then 'Token Package' end as "CommitmentDiscountType",
    case when not described.is_correction and described.commitment_tokens is not null then 'Quota Tokens' end
        as "CommitmentDiscountUnit",
    cast(described.consumed_quantity as decimal(38, 6)) as "ConsumedQuantity",
    case
        when described.charge_kind = 'rental' then 'Accelerator-Hours'
        when described.consumed_quantity is not null then 'Tokens'
    end as "ConsumedUnit",
    cast(described.contracted_cost as decimal(38, 15)) as "ContractedCost",
    cast(described.contracted_unit_price as decimal(38, 9)) as "ContractedUnitPrice",
    cast(described.effective_cost as decimal(38, 9)) as "EffectiveCost",
    {{ no_text }} as "InvoiceId",
    '{{ var("provider_name") }}' as "InvoiceIssuerName",
    cast(described.list_cost as decimal(38, 9)) as "ListCost",
    cast(described.list_unit_price as decimal(38, 9)) as "ListUnitPrice",
    case
        when described.charge_kind = 'unused' or described.commitment_role = 'used' then 'Committed'
        when described.charge_kind <> 'trial_credit' then 'Standard'
    end as "PricingCategory",
    'CNY' as "PricingCurrency",
    cast(described.contracted_unit_price as decimal(38, 9)) as "PricingCurrencyContractedUnitPrice",
    cast(described.effective_cost as decimal(38, 9)) as "PricingCurrencyEffectiveCost",
    cast(described.list_unit_price as decimal(38, 9)) as "PricingCurrencyListUnitPrice",
    cast(described.pricing_quantity as decimal(38, 6)) as "PricingQuantity",
    case
        when described.charge_kind = 'usage' then '1000000 Tokens'
        when described.charge_kind = 'rental' then 'Accelerator-Hours'
        when described.charge_kind <> 'trial_credit' then 'Packages'
    end as "PricingUnit",
    '{{ var("provider_name") }}' as "ProviderName",
    '{{ var("provider_name") }}' as "PublisherName",
    described.serving_site_id as "RegionId",
    sites.site_name as "RegionName",
    'AI and Machine Learning' as "ServiceCategory",
    case when described.charge_kind = 'rental' then 'Accelerator Rental' else 'Token Service' end as "ServiceName",
    case when described.charge_kind = 'rental' then 'Machine Learning' else 'Generative AI' end as "ServiceSubcategory",
    described.sku_id as "SkuId",
    case
        when described.charge_kind = 'rental' then 'Accelerator Hours'
        when described.sku_id is not null then coalesce(described.token_meter, 'Packages')
    end as "SkuMeter",
    case
        when described.charge_kind = 'usage'
            then
                '{"x_ContextTier": "above '
                || cast(described.context_floor_tokens as {{ text_type() }}) || ' input tokens", "x_TimeBand": "'
                || replace(replace(described.time_band, '\', '\\'), '"', '\"') || '"}'
    end as "SkuPriceDetails",
    case
        when described.charge_kind = 'usage'
            then
                described.sku_id || '/above-' || cast(described.context_floor_tokens as {{ text_type() }})
                || '/' || described.time_band
        when described.charge_kind = 'refund' then described.sku_id || '/refund'
        else described.sku_id
    end as "SkuPriceId",
    described.tenant_id as "SubAccountId",
    described.tenant_id as "SubAccountName",
    md5(
        {% for column in charge_key %}
        coalesce(cast(described.{{ column }} as {{ text_type() }}), '') {{ "|| chr(31) ||" if not loop.last }}
        {% endfor %}
    ) as "x_ChargeId",
    described.product as "x_Product",
    described.subscription_id as "x_SubscriptionId"
from described
left join sites on described.serving_site_id = sites.site_id
