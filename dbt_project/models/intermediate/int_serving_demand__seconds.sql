with
mix as (select * from {{ ref('int_serving_demand__mix') }})

select
    usage_date,
    site_id,
    model_id,
    sum(share_ratio / input_tokens_per_second) as seconds_per_input_token,
    sum(share_ratio / output_tokens_per_second) as seconds_per_output_token
from mix
group by usage_date, site_id, model_id
