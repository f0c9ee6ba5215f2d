{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'token_usage': [0, 0]}},
    )
}}

with
-- Single requests of a known customer; a metered window repeats its figures honestly.
requests as (
    select * from {{ ref('stg_token_usage__events') }}
    where
        {{ in_dirty_days('event_day') }}
        and window_seconds is null and tenant_id is not null and input_tokens is not null and output_tokens is not null
)

select
    event_day,
    tenant_id,
    coalesce(model_id, 'unknown') as model_id,
    occurred_at,
    input_tokens,
    output_tokens,
    count(*) as record_count
from requests
group by event_day, tenant_id, coalesce(model_id, 'unknown'), occurred_at, input_tokens, output_tokens
having count(*) > 1
