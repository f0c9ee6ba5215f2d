-- Catches a line that lands in no bucket or in two, once cross-delivery repeats have moved.
select delivery_id
from {{ ref('fct_deliveries') }}
where received_count <> loaded_count + duplicate_count + quarantined_count or loaded_count < 0
