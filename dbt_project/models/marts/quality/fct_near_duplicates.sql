with
near_duplicates as (select * from {{ ref('int_token_usage__near_duplicates') }})

select
    {{ business_date('occurred_at') }} as usage_date,
    tenant_id,
    model_id,
    count(*) as request_count,
    cast(sum(record_count - 1) as bigint) as surplus_record_count,
    {{ exact_sum('(record_count - 1) * (input_tokens + output_tokens)') }} as surplus_tokens
from near_duplicates
group by {{ business_date('occurred_at') }}, tenant_id, model_id
