-- Catches a burn that loses or invents tokens: nothing is ever left below zero, and what a grant got is what
-- it gave, lost and keeps. What was settled by a grant is what its ledger says.
with
burndown as (select * from {{ ref('fct_package_burndown_daily') }}),

burn as (
    select
        subscription_id,
        sum(quota_tokens) as quota_tokens
    from {{ ref('int_package__burn') }}
    group by subscription_id
),

last_day as (
    select
        subscription_id,
        max(usage_date) as usage_date
    from burndown
    group by subscription_id
)

select
    burndown.usage_date,
    burndown.subscription_id,
    burndown.remaining_tokens,
    burndown.consumed_tokens,
    burn.quota_tokens as settled_tokens
from burndown
inner join last_day on burndown.subscription_id = last_day.subscription_id
left join burn on burndown.subscription_id = burn.subscription_id
where
    burndown.remaining_tokens < 0
    or burndown.granted_tokens + burndown.carried_in_tokens
    <> burndown.consumed_tokens + burndown.expired_tokens + burndown.voided_tokens
    + burndown.carried_out_tokens + burndown.remaining_tokens
    or (burndown.usage_date = last_day.usage_date and burndown.consumed_tokens <> coalesce(burn.quota_tokens, 0))
