{% set components = ['depreciation', 'energy', 'operations'] %}

with
pools as (select * from {{ ref('int_cost__pools') }}),

holdings as (select * from {{ ref('int_cost__holdings') }}),

token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

running as (
    select
        pools.usage_date,
        pools.site_id,
        pools.accelerator_id,
        holdings.tenant_id,
        holdings.model_id,
        holdings.product,
        holdings.held_accelerator_hours,
        {% for component in components %}
        pools.{{ component }}_cny,
        {% endfor %}
        {{ micro_hours('pools.installed_accelerator_hours') }} as installed,
        {{ micro_hours('holdings.held_accelerator_hours') }} as held,
        sum({{ micro_hours('holdings.held_accelerator_hours') }}) over (
            pool order by holdings.tenant_id, holdings.model_id, holdings.product rows unbounded preceding
        ) as held_until,
        sum({{ micro_hours('holdings.held_accelerator_hours') }}) over pool as all_held
    from pools
    inner join holdings
        on
            pools.usage_date = holdings.usage_date
            and pools.site_id = holdings.site_id
            and pools.accelerator_id = holdings.accelerator_id
    where pools.accelerator_id <> 'network'
    window pool as (partition by pools.usage_date, pools.site_id, pools.accelerator_id)
),

-- Slices of the pool in a fixed order, the idle one last: what is held costs its part of what is installed.
worked as (
    select
        {% for component in components %}
        {{ money_slice(component ~ '_cny', 'held_until - held', 'held_until', 'installed') }}
            as {{ component }}_workload_cny,
        {{ component }}_cny - {{ money_share(component ~ '_cny', 'all_held', 'installed') }}
            as {{ component }}_idle_cny,
        {% endfor %}
        *
    from running
),

-- The rest is idle, and borne by those who held, in the same proportion.
held_pools as (
    select
        usage_date,
        site_id,
        accelerator_id,
        tenant_id,
        model_id,
        product,
        held_accelerator_hours,
        {% for component in components %}
        {{ component }}_workload_cny as {{ component }}_cny,
        {% endfor %}
        {% for component in components %}
        {{ money_slice(component ~ '_idle_cny', 'held_until - held', 'held_until', 'all_held') }}
            as idle_{{ component }}_cny,
        {% endfor %}
        cast(0 as decimal(38, 9)) as network_cny
    from worked
),

-- Whoever was served away from where they asked is why the links of the site carry.
carried as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        serving_site_id as site_id,
        tenant_id,
        model_id,
        product,
        {{ exact_sum('coalesce(input_tokens, 0) + coalesce(cached_input_tokens, 0) + coalesce(output_tokens, 0)') }}
            as tokens
    from token_usage
    where origin_site_id <> serving_site_id
    group by {{ business_date('usage_hour') }}, serving_site_id, tenant_id, model_id, product
),

running_tokens as (
    select
        pools.usage_date,
        pools.site_id,
        pools.accelerator_id,
        pools.network_cny,
        carried.tenant_id,
        carried.model_id,
        carried.product,
        carried.tokens,
        sum(carried.tokens) over (
            site order by carried.tenant_id, carried.model_id, carried.product rows unbounded preceding
        ) as tokens_until,
        sum(carried.tokens) over site as all_tokens
    from pools
    inner join carried on pools.usage_date = carried.usage_date and pools.site_id = carried.site_id
    where pools.accelerator_id = 'network' and carried.tokens > 0
    window site as (partition by pools.usage_date, pools.site_id)
),

held_networks as (
    select
        usage_date,
        site_id,
        accelerator_id,
        tenant_id,
        model_id,
        product,
        cast(0 as decimal(38, 6)) as held_accelerator_hours,
        {% for component in components %}
        cast(0 as decimal(38, 9)) as {{ component }}_cny,
        {% endfor %}
        {% for component in components %}
        cast(0 as decimal(38, 9)) as idle_{{ component }}_cny,
        {% endfor %}
        {{ money_slice('network_cny', 'tokens_until - tokens', 'tokens_until', 'all_tokens') }} as network_cny
    from running_tokens
),

held_pool_keys as (
    select distinct
        usage_date,
        site_id,
        accelerator_id
    from held_pools
    union all
    select distinct
        usage_date,
        site_id,
        accelerator_id
    from held_networks
),

-- Nobody holds it: the site keeps it.
unallocated as (
    select
        pools.usage_date,
        pools.site_id,
        pools.accelerator_id,
        'unallocated' as tenant_id,
        'none' as model_id,
        'unallocated' as product,
        cast(0 as decimal(38, 6)) as held_accelerator_hours,
        {% for component in components %}
        cast(0 as decimal(38, 9)) as {{ component }}_cny,
        {% endfor %}
        {% for component in components %}
        pools.{{ component }}_cny as idle_{{ component }}_cny,
        {% endfor %}
        pools.network_cny
    from pools
    left join held_pool_keys
        on
            pools.usage_date = held_pool_keys.usage_date
            and pools.site_id = held_pool_keys.site_id
            and pools.accelerator_id = held_pool_keys.accelerator_id
    where held_pool_keys.usage_date is null
),

everyone as (
    select * from held_pools
    union all
    select * from held_networks
    union all
    select * from unallocated
)

select
    usage_date,
    site_id as serving_site_id,
    accelerator_id,
    tenant_id,
    model_id,
    product,
    held_accelerator_hours,
    depreciation_cny,
    energy_cny,
    network_cny,
    operations_cny,
    idle_depreciation_cny,
    idle_energy_cny,
    idle_operations_cny,
    cast(idle_depreciation_cny + idle_energy_cny + idle_operations_cny as decimal(38, 9)) as idle_cny,
    cast(
        depreciation_cny + energy_cny + network_cny + operations_cny
        + idle_depreciation_cny + idle_energy_cny + idle_operations_cny as decimal(38, 9)
    ) as cost_cny
from everyone
