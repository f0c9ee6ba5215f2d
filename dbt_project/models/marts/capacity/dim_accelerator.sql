with
accelerators as (
    {{ current_rows(ref('stg_reference__accelerators'), ['accelerator_id']) }}
),

seen as (
    select distinct accelerator_id from {{ ref('int_inventory__hourly') }}
    union
    select distinct group_accelerator_id as accelerator_id from {{ ref('int_holders__groups') }}
    union
    select distinct accelerator_id from {{ ref('int_telemetry__hourly') }}
    union
    select distinct accelerator_id from {{ ref('stg_reference__planned_deliveries') }}
    union
    select distinct accelerator_id from {{ ref('stg_reference__throughput') }}
    union
    select distinct accelerator_id from {{ ref('int_serving_demand__hourly') }}
    union
    select 'unknown' as accelerator_id
),

unregistered as (
    select accelerator_id from seen
    where not exists (select 1 from accelerators where accelerators.accelerator_id = seen.accelerator_id)
)

select
    accelerator_id,
    accelerator_name,
    vendor,
    memory_gb,
    bf16_tflops,
    power_watts,
    true as is_registered
from accelerators
union all
select
    accelerator_id,
    case when accelerator_id = 'unknown' then 'Unknown' else accelerator_id end as accelerator_name,
    cast(null as {{ text_type() }}) as vendor,
    cast(null as double) as memory_gb,
    cast(null as double) as bf16_tflops,
    cast(null as double) as power_watts,
    false as is_registered
from unregistered
