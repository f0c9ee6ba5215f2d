with
token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

models as (
    {{ current_rows(ref('stg_reference__models'), ['model_id']) }}
),

throughput as (select * from {{ ref('stg_reference__throughput') }}),

-- A model that no reference names, or names without a class, is taken for one of the default class.
served_models as (
    select distinct
        {{ business_date('token_usage.usage_hour') }} as usage_date,
        token_usage.model_id,
        coalesce(models.model_class, '{{ var("default_model_class") }}') as model_class
    from token_usage
    left join models on token_usage.model_id = models.model_id
),

matches as (
    select
        served_models.usage_date,
        served_models.model_id,
        throughput.accelerator_id,
        throughput.input_tokens_per_second,
        throughput.output_tokens_per_second,
        throughput.input_length,
        throughput.output_length,
        throughput.objective,
        case
            when throughput.model_id = served_models.model_id then 1
            when throughput.model_class = served_models.model_class then 2
            else 3
        end as looseness
    from served_models
    inner join throughput
        on
            served_models.model_id = throughput.model_id
            or (
                throughput.model_id = '*'
                and throughput.model_class in (served_models.model_class, '{{ var("default_model_class") }}')
            )
    where
        coalesce(throughput.valid_from <= served_models.usage_date, true)
        and coalesce(throughput.valid_to > served_models.usage_date, true)
),

-- Measured under several objectives or lengths, the slowest is planned with.
ranked as (
    select
        *,
        row_number() over (
            partition by usage_date, model_id, accelerator_id
            order by
                looseness, output_tokens_per_second, input_tokens_per_second, objective, input_length,
                output_length
        ) as choice
    from matches
)

select
    usage_date,
    model_id,
    accelerator_id,
    input_tokens_per_second,
    output_tokens_per_second,
    objective,
    looseness < 3 as is_measured_for_class
from ranked
where choice = 1
