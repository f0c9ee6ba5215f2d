with
metered as (select * from {{ ref('int_usage__metered') }}),

job_hours as (select * from {{ ref('int_job_hours') }}),

tenants as (
    {{ current_rows(ref('stg_reference__tenants'), ['tenant_id']) }}
),

discounts as (select * from {{ ref('stg_reference__discounts') }}),

charged as (
    select
        usage_date,
        tenant_id,
        model_id
    from metered
    union
    select
        {{ business_date('usage_hour') }} as usage_date,
        coalesce(tenant_id, 'unknown') as tenant_id,
        'none' as model_id
    from job_hours
),

granted as (
    select
        charged.usage_date,
        charged.tenant_id,
        charged.model_id,
        discounts.contract_id,
        discounts.discount_ratio,
        row_number() over (
            partition by charged.usage_date, charged.tenant_id, charged.model_id
            order by
                {{ specificity('charged.tenant_id', 'discounts.tenant_id') }},
                {{ specificity('tenants.segment', 'discounts.segment') }},
                {{ specificity('charged.model_id', 'discounts.model_id') }}
        ) as specificity_rank
    from charged
    left join tenants on charged.tenant_id = tenants.tenant_id
    inner join discounts
        on
            (charged.tenant_id = discounts.tenant_id or discounts.tenant_id = '*')
            and (tenants.segment = discounts.segment or discounts.segment = '*')
            and (charged.model_id = discounts.model_id or discounts.model_id = '*')
            and {{ holds_on('discounts', 'charged.usage_date') }}
)

select
    usage_date,
    tenant_id,
    model_id,
    contract_id,
    discount_ratio
from granted
where specificity_rank = 1
