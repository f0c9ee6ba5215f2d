-- Catches a share that loses or invents money: each component of a pool is what its holders bear of it, held
-- and idle, to the last digit.
{% set components = ['depreciation', 'energy', 'network', 'operations'] %}

with
sides as (
    select
        usage_date,
        site_id,
        accelerator_id,
        {% for component in components %}
        {{ component }}_cny,
        {% endfor %}
        pool_cny as all_cny
    from {{ ref('int_cost__pools') }}
    union all
    select
        usage_date,
        serving_site_id as site_id,
        accelerator_id,
        -depreciation_cny - idle_depreciation_cny as depreciation_cny,
        -energy_cny - idle_energy_cny as energy_cny,
        -network_cny as network_cny,
        -operations_cny - idle_operations_cny as operations_cny,
        -cost_cny as all_cny
    from {{ ref('int_cost__allocated') }}
)

select
    usage_date,
    site_id,
    accelerator_id,
    {% for component in components %}
    sum({{ component }}_cny) as {{ component }}_difference_cny,
    {% endfor %}
    sum(all_cny) as difference_cny
from sides
group by usage_date, site_id, accelerator_id
having
    sum(all_cny) <> 0
    {% for component in components %}
    or sum({{ component }}_cny) <> 0
    {% endfor %}
