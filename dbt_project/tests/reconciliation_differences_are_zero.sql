-- Catches lost or doubled records, tokens and job time between landing, raw and the marts.
select
    table_name,
    metric
from {{ ref('fct_reconciliation') }}
where difference <> 0
