{% set components = ['depreciation', 'energy', 'operations'] %}

with
pools as (select * from {{ ref('int_cost__pools') }}),

holdings as (select * from {{ ref('int_cost__holdings') }}),

token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

-- Whole numbers, in which the shares of many holders are exact and cheap.
whole_pools as (
    select
        usage_date,
        site_id,
        accelerator_id,
        {% for component in components %}
        {{ nano_cny(component ~ '_cny') }} as {{ component }},
        {% endfor %}
        {{ nano_cny('network_cny') }} as network,
        {{ micro_hours('installed_accelerator_hours') }} as installed
    from pools
),

held_totals as (
    select
        usage_date,
        site_id,
        accelerator_id,
        {{ micro_hours('sum(held_accelerator_hours)') }} as all_held
    from holdings
    group by usage_date, site_id, accelerator_id
),

-- The idle slice is the last: what is left of the pool behind all that is held.
idle_pools as (
    select
        whole_pools.*,
        {% for component in components %}
        whole_pools.{{ component }}
        - {{ rounded_share_of('whole_pools.' ~ component, 'held_totals.all_held', 'whole_pools.installed') }}
            as idle_{{ component }},
        {% endfor %}
        held_totals.all_held
    from whole_pools
    inner join held_totals
        on
            whole_pools.usage_date = held_totals.usage_date
            and whole_pools.site_id = held_totals.site_id
            and whole_pools.accelerator_id = held_totals.accelerator_id
    where whole_pools.accelerator_id <> 'network'
),

running as (
    select
        *,
        {{ micro_hours('sum(held_accelerator_hours) over (pool_order rows unbounded preceding)') }} as held_until
    from holdings
    window pool_order as (
        partition by usage_date, site_id, accelerator_id order by tenant_id, model_id, product
    )
),

-- What is held costs its part of what is installed; what is idle is borne by those who held, in the same
-- proportion. In a fixed order, so that the last digits always fall to the same.
slices_until as (
    select
        running.usage_date,
        running.site_id,
        running.accelerator_id,
        running.tenant_id,
        running.model_id,
        running.product,
        running.held_accelerator_hours,
        {% for component in components %}
        {{ rounded_share_of('idle_pools.' ~ component, 'running.held_until', 'idle_pools.installed') }}
            as {{ component }}_until,
        {{ rounded_share_of('idle_pools.idle_' ~ component, 'running.held_until', 'idle_pools.all_held') }}
            as idle_{{ component }}_until,
        {% endfor %}
        running.held_until
    from running
    inner join idle_pools
        on
            running.usage_date = idle_pools.usage_date
            and running.site_id = idle_pools.site_id
            and running.accelerator_id = idle_pools.accelerator_id
),

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
        {{ component }}_until - coalesce(lag({{ component }}_until) over pool_order, 0) as {{ component }},
        {% endfor %}
        {% for component in components %}
        idle_{{ component }}_until - coalesce(lag(idle_{{ component }}_until) over pool_order, 0)
            as idle_{{ component }},
        {% endfor %}
        0 as network
    from slices_until
    window pool_order as (
        partition by usage_date, site_id, accelerator_id order by tenant_id, model_id, product
    )
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
        whole_pools.usage_date,
        whole_pools.site_id,
        whole_pools.accelerator_id,
        whole_pools.network,
        carried.tenant_id,
        carried.model_id,
        carried.product,
        carried.tokens,
        sum(carried.tokens) over (
            site order by carried.tenant_id, carried.model_id, carried.product rows unbounded preceding
        ) as tokens_until,
        sum(carried.tokens) over site as all_tokens
    from whole_pools
    inner join carried on whole_pools.usage_date = carried.usage_date and whole_pools.site_id = carried.site_id
    where whole_pools.accelerator_id = 'network' and carried.tokens > 0
    window site as (partition by whole_pools.usage_date, whole_pools.site_id)
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
        0 as {{ component }},
        {% endfor %}
        {% for component in components %}
        0 as idle_{{ component }},
        {% endfor %}
        {{ rounded_share_of('network', 'tokens_until', 'all_tokens') }}
        - {{ rounded_share_of('network', 'tokens_until - tokens', 'all_tokens') }} as network
    from running_tokens
),

held_pool_keys as (
    select
        usage_date,
        site_id,
        accelerator_id
    from idle_pools
    union all
    select distinct
        usage_date,
        site_id,
        accelerator_id
    from running_tokens
),

-- Nobody holds it: the site keeps it.
unallocated as (
    select
        whole_pools.usage_date,
        whole_pools.site_id,
        whole_pools.accelerator_id,
        'unallocated' as tenant_id,
        'none' as model_id,
        'unallocated' as product,
        cast(0 as decimal(38, 6)) as held_accelerator_hours,
        {% for component in components %}
        0 as {{ component }},
        {% endfor %}
        {% for component in components %}
        whole_pools.{{ component }} as idle_{{ component }},
        {% endfor %}
        whole_pools.network
    from whole_pools
    left join held_pool_keys
        on
            whole_pools.usage_date = held_pool_keys.usage_date
            and whole_pools.site_id = held_pool_keys.site_id
            and whole_pools.accelerator_id = held_pool_keys.accelerator_id
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
    {{ from_nano_cny('depreciation') }} as depreciation_cny,
    {{ from_nano_cny('energy') }} as energy_cny,
    {{ from_nano_cny('network') }} as network_cny,
    {{ from_nano_cny('operations') }} as operations_cny,
    {{ from_nano_cny('idle_depreciation') }} as idle_depreciation_cny,
    {{ from_nano_cny('idle_energy') }} as idle_energy_cny,
    {{ from_nano_cny('idle_operations') }} as idle_operations_cny,
    {{ from_nano_cny('idle_depreciation + idle_energy + idle_operations') }} as idle_cny,
    {{
        from_nano_cny(
            'depreciation + energy + network + operations + idle_depreciation + idle_energy + idle_operations'
        )
    }} as cost_cny
from everyone
