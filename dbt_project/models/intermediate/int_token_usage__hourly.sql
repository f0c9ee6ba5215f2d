{{
    config(
        materialized='incremental',
        incremental_strategy='dirty_days',
        meta={'dirty_tables': {'token_usage': [0, 0], 'token_lengths': [0, 1]}},
    )
}}

with
events as (
    select
        *,
        -- Whose hash places the record, where no site is recorded.
        case when origin_site_id is null then coalesce(tenant_id, event_id) end as client_key
    from {{ ref('stg_token_usage__events') }}
    where {{ in_dirty_days('event_day') }}
),

lengths as (select * from {{ ref('stg_token_usage__token_lengths') }}),

-- Served requests that were counted but whose tokens were not: the client's mean lengths stand in.
unmetered as (
    select distinct
        tenant_id,
        model_id,
        occurred_at
    from events
    where
        status = 'ok' and input_tokens is null and output_tokens is null
        and tenant_id is not null and model_id is not null
),

-- The window in force: the latest that began at or before the record and has not ended. No window
-- counts for more than a day, so that a day depends on the lengths of that day and the one before.
lengths_in_force as (
    select
        unmetered.tenant_id,
        unmetered.model_id,
        unmetered.occurred_at,
        lengths.mean_input_tokens,
        lengths.mean_output_tokens,
        lengths.mean_reasoning_ratio,
        row_number() over (
            partition by unmetered.tenant_id, unmetered.model_id, unmetered.occurred_at
            order by lengths.window_started_at desc, lengths.source_id asc, lengths.event_id asc
        ) as window_rank
    from unmetered
    inner join lengths
        on
            unmetered.tenant_id = lengths.tenant_id
            and unmetered.model_id = lengths.model_id
            and unmetered.occurred_at >= lengths.window_started_at
            and unmetered.occurred_at
            < lengths.window_started_at + least(lengths.window_seconds, 86400) * interval 1 second
),

placed as (
    {{ placed_site_id('events') }}
),

sited as (
    select
        events.event_day,
        date_trunc('hour', events.occurred_at) as usage_hour,
        coalesce(events.origin_site_id, placed.placed_site_id, 'unknown') as origin_site_id,
        coalesce(events.serving_site_id, events.origin_site_id, placed.placed_site_id, 'unknown') as serving_site_id,
        coalesce(events.tenant_id, 'unknown') as tenant_id,
        coalesce(events.model_id, 'unknown') as model_id,
        coalesce(events.product, 'unknown') as product,
        events.status,
        events.line_count,
        events.request_count,
        events.input_tokens,
        events.cached_input_tokens,
        events.output_tokens,
        events.reasoning_tokens,
        events.status = 'ok' and events.input_tokens is null and events.output_tokens is null as is_unmetered,
        lengths_in_force.mean_input_tokens,
        lengths_in_force.mean_output_tokens,
        lengths_in_force.mean_reasoning_ratio
    from events
    left join placed on events.client_key = placed.client_key
    left join lengths_in_force
        on
            events.tenant_id = lengths_in_force.tenant_id
            and events.model_id = lengths_in_force.model_id
            and events.occurred_at = lengths_in_force.occurred_at
            and lengths_in_force.window_rank = 1
),

estimated as (
    select
        *,
        case when is_unmetered then cast(round(request_count * mean_input_tokens, 0) as bigint) end
            as estimated_input_tokens,
        case when is_unmetered then cast(round(request_count * mean_output_tokens, 0) as bigint) end
            as estimated_output_tokens
    from sited
),

reasoned as (
    select
        *,
        cast(round(estimated_output_tokens * mean_reasoning_ratio, 0) as bigint) as estimated_reasoning_tokens,
        {{
            context_floor(
                'coalesce(input_tokens, estimated_input_tokens, 0) + coalesce(cached_input_tokens, 0)', 'request_count'
            )
        }} as context_floor_tokens
    from estimated
)

select
    event_day,
    usage_hour,
    origin_site_id,
    serving_site_id,
    tenant_id,
    model_id,
    product,
    context_floor_tokens,
    count(*) as record_count,
    cast(sum(line_count) as bigint) as line_count,
    cast(sum(case when status = 'ok' then request_count else 0 end) as bigint) as request_count,
    cast(sum(case when status = 'throttled' then request_count else 0 end) as bigint) as throttled_request_count,
    cast(sum(case when status = 'failed' then request_count else 0 end) as bigint) as failed_request_count,
    cast(
        sum(
            case
                when is_unmetered and estimated_input_tokens is null and estimated_output_tokens is null
                    then request_count
                else 0
            end
        ) as bigint
    ) as unmetered_request_count,
    {{ exact_sum('coalesce(input_tokens, estimated_input_tokens)') }} as input_tokens,
    {{ exact_sum('cached_input_tokens') }} as cached_input_tokens,
    {{ exact_sum('coalesce(output_tokens, estimated_output_tokens)') }} as output_tokens,
    {{ exact_sum('coalesce(reasoning_tokens, estimated_reasoning_tokens)') }} as reasoning_tokens,
    {{ exact_sum('estimated_input_tokens') }} as estimated_input_tokens,
    {{ exact_sum('estimated_output_tokens') }} as estimated_output_tokens,
    {{ exact_sum('estimated_reasoning_tokens') }} as estimated_reasoning_tokens
from reasoned
group by event_day, usage_hour, origin_site_id, serving_site_id, tenant_id, model_id, product, context_floor_tokens
