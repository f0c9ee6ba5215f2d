with
models as (
    {{ current_rows(ref('stg_reference__models'), ['model_id']) }}
),

seen as (
    select distinct model_id from {{ ref('int_token_usage__hourly') }}
    union
    select 'unknown' as model_id
),

unregistered as (
    select model_id from seen
    where not exists (select 1 from models where models.model_id = seen.model_id)
)

select
    model_id,
    model_name,
    vendor,
    model_class,
    latency_class_ms,
    true as is_registered
from models
union all
select
    model_id,
    case when model_id = 'unknown' then 'Unknown' else model_id end as model_name,
    cast(null as {{ text_type() }}) as vendor,
    cast(null as {{ text_type() }}) as model_class,
    cast(null as bigint) as latency_class_ms,
    false as is_registered
from unregistered
