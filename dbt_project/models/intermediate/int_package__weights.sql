with
usage as (select * from {{ ref('int_package__usage') }}),

grants as (select * from {{ ref('int_package__grants') }}),

weights as (select * from {{ ref('stg_reference__package_weights') }}),

packages as (
    select package_id from grants
    union
    select add_on_package_id as package_id from grants
    where add_on_package_id is not null
),

asked as (
    select distinct
        usage_date,
        hour_of_day,
        model_id,
        token_type
    from usage
),

-- Names before hours: a * is resolved for the few models there are, so that the join of hours is an equality.
named as (
    select distinct
        model_id,
        token_type
    from asked
),

eligible as (
    select
        weights.package_id,
        named.model_id,
        named.token_type,
        weights.hour_from,
        weights.hour_to,
        weights.weight_ratio,
        weights.valid_from,
        weights.valid_to,
        case when weights.model_id = '*' then 2 else 0 end
        + case when weights.token_type = '*' then 1 else 0 end as generality
    from named
    inner join weights
        on weights.model_id in (named.model_id, '*') and weights.token_type in (named.token_type, '*')
    inner join packages on weights.package_id = packages.package_id
),

ranked as (
    select
        eligible.package_id,
        asked.usage_date,
        asked.hour_of_day,
        asked.model_id,
        asked.token_type,
        eligible.weight_ratio,
        row_number() over (
            partition by
                eligible.package_id, asked.usage_date, asked.hour_of_day, asked.model_id, asked.token_type
            order by eligible.generality
        ) as weight_rank
    from asked
    inner join eligible
        on
            asked.model_id = eligible.model_id
            and asked.token_type = eligible.token_type
            and asked.hour_of_day >= eligible.hour_from
            and asked.hour_of_day < eligible.hour_to
            and {{ holds_on('eligible', 'asked.usage_date') }}
)

select
    package_id,
    usage_date,
    hour_of_day,
    model_id,
    token_type,
    weight_ratio
from ranked
where weight_rank = 1
