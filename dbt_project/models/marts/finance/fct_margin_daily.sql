{% set sources = {
    'settled': {
        'tokens': 'tokens',
        'priced_tokens': "case when settlement = 'list_price' then tokens else 0 end",
        'package_tokens': "case when settlement = 'package' then tokens else 0 end",
        'trial_tokens': "case when settlement = 'trial' then tokens else 0 end",
        'unpriced_tokens': "case when settlement in ('unpriced', 'blocked') then tokens else 0 end",
        'list_revenue_cny': 'list_revenue_cny',
        'discount_cny': 'discount_cny',
    },
    'rental': {'list_revenue_cny': 'list_revenue_cny', 'discount_cny': 'discount_cny'},
    'package_revenue': {'package_revenue_cny': 'package_revenue_cny', 'breakage_cny': 'breakage_cny'},
    'costs': {
        'held_accelerator_hours': 'held_accelerator_hours',
        'depreciation_cny': 'depreciation_cny',
        'energy_cny': 'energy_cny',
        'network_cny': 'network_cny',
        'operations_cny': 'operations_cny',
        'idle_cny': 'idle_cny',
    },
} %}
{% set measures = [
    'tokens', 'priced_tokens', 'package_tokens', 'trial_tokens', 'unpriced_tokens', 'held_accelerator_hours',
    'list_revenue_cny', 'discount_cny', 'package_revenue_cny', 'breakage_cny', 'depreciation_cny', 'energy_cny',
    'network_cny', 'operations_cny', 'idle_cny'
] %}
with
settled as (select * from {{ ref('int_usage__settled') }}),

rental as (select * from {{ ref('int_rental__priced') }}),

package_revenue as (select * from {{ ref('int_package__revenue_daily') }}),

costs as (select * from {{ ref('int_cost__allocated') }}),

tax_rates as (select * from {{ ref('stg_reference__tax_rates') }}),

-- Each source brings some of the measures; the others are 0 there.
contributions as (
    {% for source, brings in sources.items() %}
    select
        {% for measure in measures %}
        {{ brings.get(measure, 0) }} as {{ measure }},
        {% endfor %}
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product
    from {{ source }}
    {{ "union all" if not loop.last }}
    {% endfor %}
),

summed as (
    select
        usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        {{ exact_sum('tokens') }} as tokens,
        {{ exact_sum('priced_tokens') }} as priced_tokens,
        {{ exact_sum('package_tokens') }} as package_tokens,
        {{ exact_sum('trial_tokens') }} as trial_tokens,
        {{ exact_sum('unpriced_tokens') }} as unpriced_tokens,
        cast(sum(held_accelerator_hours) as decimal(38, 6)) as held_accelerator_hours,
        cast(sum(list_revenue_cny) as decimal(38, 9)) as list_revenue_cny,
        cast(sum(discount_cny) as decimal(38, 9)) as discount_cny,
        cast(sum(package_revenue_cny) as decimal(38, 9)) as package_revenue_cny,
        cast(sum(breakage_cny) as decimal(38, 9)) as breakage_cny,
        cast(sum(depreciation_cny) as decimal(38, 9)) as depreciation_cny,
        cast(sum(energy_cny) as decimal(38, 9)) as energy_cny,
        cast(sum(network_cny) as decimal(38, 9)) as network_cny,
        cast(sum(operations_cny) as decimal(38, 9)) as operations_cny,
        cast(sum(idle_cny) as decimal(38, 9)) as idle_cny
    from contributions
    group by usage_date, serving_site_id, tenant_id, model_id, product
),

-- Prices include the tax of the day they are charged or recognised on.
taxed as (
    select
        summed.*,
        {{
            tax_inside(
                '(summed.list_revenue_cny - summed.discount_cny + summed.package_revenue_cny + summed.breakage_cny)',
                'coalesce(tax_rates.rate_ratio, 0)'
            )
        }} as tax_cny
    from summed
    left join tax_rates on {{ holds_on('tax_rates', 'summed.usage_date') }}
),

netted as (
    select
        *,
        cast(list_revenue_cny - discount_cny - tax_cny + package_revenue_cny + breakage_cny as decimal(38, 9))
            as net_revenue_cny,
        cast(depreciation_cny + energy_cny + network_cny + operations_cny + idle_cny as decimal(38, 9)) as cost_cny
    from taxed
)

select
    usage_date,
    {{ iso_week('usage_date') }} as iso_week,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    tokens,
    priced_tokens,
    package_tokens,
    trial_tokens,
    unpriced_tokens,
    held_accelerator_hours,
    list_revenue_cny,
    discount_cny,
    package_revenue_cny,
    breakage_cny,
    tax_cny,
    net_revenue_cny,
    depreciation_cny,
    energy_cny,
    network_cny,
    operations_cny,
    idle_cny,
    cost_cny,
    case
        when tokens > 0 then {{ money_share('cost_cny', 'trial_tokens', 'tokens') }}
        else cast(0 as decimal(38, 9))
    end as trial_cost_cny,
    cast(net_revenue_cny - cost_cny as decimal(38, 9)) as gross_margin_cny
from netted
