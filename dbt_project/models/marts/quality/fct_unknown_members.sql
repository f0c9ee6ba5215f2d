{% set usages = [
    ('site', 'origin_site_id', 'fct_token_usage_hourly', 'dim_site'),
    ('site', 'serving_site_id', 'fct_token_usage_hourly', 'dim_site'),
    ('tenant', 'tenant_id', 'fct_token_usage_hourly', 'dim_tenant'),
    ('model', 'model_id', 'fct_token_usage_hourly', 'dim_model'),
    ('site', 'site_id', 'fct_jobs', 'dim_site'),
    ('tenant', 'tenant_id', 'fct_jobs', 'dim_tenant'),
    ('accelerator', 'accelerator_id', 'fct_jobs', 'dim_accelerator'),
    ('site', 'site_id', 'fct_accelerator_hours_daily', 'dim_site'),
    ('accelerator', 'accelerator_id', 'fct_accelerator_hours_daily', 'dim_accelerator'),
    ('link', 'link_id', 'fct_link_utilization_hourly', 'dim_link'),
] %}

with
fct_token_usage_hourly as (select * from {{ ref('fct_token_usage_hourly') }}),

fct_jobs as (select * from {{ ref('fct_jobs') }}),

fct_accelerator_hours_daily as (select * from {{ ref('fct_accelerator_hours_daily') }}),

fct_link_utilization_hourly as (select * from {{ ref('fct_link_utilization_hourly') }}),

{% for dimension in ['site', 'tenant', 'model', 'accelerator', 'link'] %}
dim_{{ dimension }} as (select * from {{ ref('dim_' ~ dimension) }} where not is_registered),

{% endfor %}
seen as (
    {% for dimension, column, fact, dim in usages %}
    select
        '{{ dimension }}' as dimension,
        {{ fact }}.{{ column }} as member_id,
        '{{ fact }}' as seen_in,
        '{{ column }}' as seen_as,
        count(*) as row_count
    from {{ fact }}
    inner join {{ dim }} on {{ fact }}.{{ column }} = {{ dim }}.{{ dimension }}_id
    group by {{ fact }}.{{ column }}
    {{ "union all" if not loop.last }}
    {% endfor %}
)

select
    dimension,
    member_id,
    seen_in,
    seen_as,
    member_id = 'unknown' as is_unknown,
    row_count
from seen
