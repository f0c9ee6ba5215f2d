with
demand as (select * from {{ ref('int_package__demand') }})

select
    iso_week,
    origin_site_id,
    model_id,
    cast(sum(expected_tokens) as decimal(38, 0)) as expected_tokens,
    cast(sum(additional_tokens) as decimal(38, 0)) as additional_tokens
from demand
group by iso_week, origin_site_id, model_id
