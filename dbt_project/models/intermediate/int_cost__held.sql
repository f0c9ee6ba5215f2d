with
capacity as (select * from {{ ref('int_capacity__hourly') }}),

token_usage as (select * from {{ ref('int_token_usage__hourly') }}),

mix as (select * from {{ ref('int_serving_demand__mix') }}),

job_hours as (select * from {{ ref('int_job_hours') }}),

groups as (select * from {{ ref('int_holders__groups') }}),

group_days as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        group_id,
        site_id,
        accelerator_id,
        purpose,
        cast(sum(installed_accelerator_microseconds) as decimal(38, 0)) as installed_accelerator_microseconds,
        cast(
            sum(allocated_busy_accelerator_microseconds + allocated_idle_accelerator_microseconds) as decimal(38, 0)
        ) as allocated_accelerator_microseconds
    from capacity
    group by {{ business_date('usage_hour') }}, group_id, site_id, accelerator_id, purpose
),

serving_days as (
    select
        usage_date,
        site_id,
        accelerator_id,
        sum(allocated_accelerator_microseconds) as allocated_accelerator_microseconds
    from group_days
    where purpose = 'serving' and allocated_accelerator_microseconds > 0
    group by usage_date, site_id, accelerator_id
),

served as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        serving_site_id,
        tenant_id,
        model_id,
        product,
        coalesce({{ exact_sum('input_tokens') }}, 0) as input_tokens,
        coalesce({{ exact_sum('output_tokens') }}, 0) as output_tokens
    from token_usage
    group by {{ business_date('usage_hour') }}, serving_site_id, tenant_id, model_id, product
),

-- Accelerator time that the tokens took, in whole microseconds so that shares of it are exact.
serving_weights as (
    select
        served.usage_date,
        'serving/' || served.serving_site_id || '/' || mix.accelerator_id as holding_id,
        served.serving_site_id as site_id,
        mix.accelerator_id,
        served.tenant_id,
        served.model_id,
        served.product,
        serving_days.allocated_accelerator_microseconds,
        cast(
            round({{ serving_seconds('served.input_tokens', 'served.output_tokens', 'mix') }} * 1e6, 0)
            as decimal(38, 0)
        ) as weight
    from served
    inner join mix
        on
            served.usage_date = mix.usage_date
            and served.serving_site_id = mix.site_id
            and served.model_id = mix.model_id
    inner join serving_days
        on
            served.usage_date = serving_days.usage_date
            and served.serving_site_id = serving_days.site_id
            and mix.accelerator_id = serving_days.accelerator_id
),

job_days as (
    select
        {{ business_date('usage_hour') }} as usage_date,
        cluster_id,
        partition,
        site_id,
        accelerator_id,
        tenant_id,
        cast(sum(held_accelerator_microseconds) as decimal(38, 0)) as held_accelerator_microseconds
    from job_hours
    where held_accelerator_microseconds > 0
    group by {{ business_date('usage_hour') }}, cluster_id, partition, site_id, accelerator_id, tenant_id
),

tied as (
    select
        job_days.usage_date,
        job_days.tenant_id,
        job_days.held_accelerator_microseconds,
        group_days.group_id,
        group_days.site_id,
        group_days.accelerator_id,
        group_days.allocated_accelerator_microseconds,
        group_days.installed_accelerator_microseconds,
        sum(group_days.installed_accelerator_microseconds) over (
            partition by
                job_days.usage_date, job_days.cluster_id, job_days.partition, job_days.site_id,
                job_days.accelerator_id, job_days.tenant_id
        ) as tied_accelerator_microseconds
    from job_days
    inner join groups
        on
            job_days.cluster_id = groups.cluster_id
            and job_days.partition = groups.partition
            and job_days.site_id = groups.site_id
            and job_days.accelerator_id = groups.accelerator_id
    inner join group_days on groups.group_id = group_days.group_id and job_days.usage_date = group_days.usage_date
),

-- Where jobs don't say which of several groups held them, each has its part by what is installed.
job_weights as (
    select
        usage_date,
        group_id as holding_id,
        site_id,
        accelerator_id,
        tenant_id,
        'none' as model_id,
        'training' as product,
        allocated_accelerator_microseconds,
        cast(
            sum(
                {{
                    share_of(
                        'held_accelerator_microseconds', 'installed_accelerator_microseconds',
                        'tied_accelerator_microseconds'
                    )
                }}
            ) as decimal(38, 0)
        ) as weight
    from tied
    where allocated_accelerator_microseconds > 0
    group by usage_date, group_id, site_id, accelerator_id, tenant_id, allocated_accelerator_microseconds
),

-- Held, and nobody says by whom: a scheduler that only counts.
nameless_weights as (
    select
        group_days.usage_date,
        group_days.group_id as holding_id,
        group_days.site_id,
        group_days.accelerator_id,
        'unknown' as tenant_id,
        'none' as model_id,
        'training' as product,
        group_days.allocated_accelerator_microseconds,
        cast(1 as decimal(38, 0)) as weight
    from group_days
    where
        group_days.purpose <> 'serving'
        and group_days.allocated_accelerator_microseconds > 0
        and not exists (
            select 1 from job_weights
            where
                job_weights.usage_date = group_days.usage_date
                and job_weights.holding_id = group_days.group_id
                and job_weights.weight > 0
        )
),

weights as (
    select * from serving_weights
    where weight > 0
    union all
    select * from job_weights
    where weight > 0
    union all
    select * from nameless_weights
),

running as (
    select
        *,
        sum(weight) over (holding order by tenant_id, model_id, product rows unbounded preceding) as weight_until,
        sum(weight) over holding as total_weight
    from weights
    window holding as (partition by usage_date, holding_id)
)

select
    usage_date,
    site_id,
    accelerator_id,
    tenant_id,
    model_id,
    product,
    cast(
        sum(
            {{ share_of('allocated_accelerator_microseconds', 'weight_until', 'total_weight') }}
            - {{ share_of('allocated_accelerator_microseconds', 'weight_until - weight', 'total_weight') }}
        ) as decimal(38, 0)
    ) as held_accelerator_microseconds
from running
group by usage_date, site_id, accelerator_id, tenant_id, model_id, product
