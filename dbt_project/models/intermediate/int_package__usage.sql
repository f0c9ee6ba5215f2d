-- A view: only the burn reads it, whole.
{{ config(materialized='view') }}

with
metered as (select * from {{ ref('int_usage__metered') }}),

grants as (select * from {{ ref('int_package__grants') }})

select
    usage_hour,
    usage_date,
    hour_of_day,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    context_floor_tokens,
    token_type,
    tokens
from metered
where
    product <> 'internal'
    and tenant_id in (select tenant_id from grants)
