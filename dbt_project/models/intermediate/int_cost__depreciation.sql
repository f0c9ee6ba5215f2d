with
tranches as (select * from {{ ref('stg_reference__capital_assets') }}),

pools as (select * from {{ ref('int_inventory__pools') }}),

node_pools as (select * from {{ ref('stg_reference__node_pools') }}),

inventory as (select * from {{ ref('int_inventory__hourly') }}),

accelerator_prices as (select * from {{ ref('stg_reference__accelerator_prices') }}),

span as (select * from {{ ref('int_calendar__span') }}),

recorded_tranches as (
    select
        tranche_id,
        site_id,
        accelerator_id,
        capital_cny,
        life_years,
        commissioned_date,
        valid_from,
        valid_to,
        false as is_derived
    from tranches
),

-- Where no tranche is recorded, each pool is one: bought at the list price of the day it was commissioned.
unrecorded_pools as (
    select
        pools.pool_id,
        pools.site_id,
        pools.accelerator_id,
        pools.accelerator_count,
        pools.first_date,
        pools.last_date,
        coalesce(min(node_pools.commissioned_date), pools.first_date) as commissioned_date
    from pools
    left join node_pools on pools.pool_id = node_pools.pool_id
    where
        pools.listed_in = 'node_pools'
        and not exists (
            select 1 from tranches
            where tranches.site_id = pools.site_id and tranches.accelerator_id = pools.accelerator_id
        )
    group by
        pools.pool_id, pools.site_id, pools.accelerator_id, pools.accelerator_count, pools.first_date,
        pools.last_date
),

-- Pools that only their scheduler reports have no count that holds from day to day: each day is costed by
-- what it had installed, as bought when the cluster was first seen.
reported_groups as (
    select
        pools.group_id,
        pools.site_id,
        pools.accelerator_id,
        min(pools.first_date) as commissioned_date
    from pools
    where
        pools.listed_in = 'pool_telemetry'
        and not exists (
            select 1 from tranches
            where tranches.site_id = pools.site_id and tranches.accelerator_id = pools.accelerator_id
        )
    group by pools.group_id, pools.site_id, pools.accelerator_id
),

-- The row of the type itself before that of any type; of those, the one in force, else the nearest later.
prices as (
    select
        accelerator_id,
        commissioned_date,
        capital_cny_per_accelerator,
        life_years
    from (
        select
            bought.accelerator_id,
            bought.commissioned_date,
            cast(round(accelerator_prices.price_cny * accelerator_prices.system_uplift_ratio, 2) as decimal(22, 2))
                as capital_cny_per_accelerator,
            accelerator_prices.life_years,
            row_number() over (
                partition by bought.accelerator_id, bought.commissioned_date
                order by
                    {{ specificity('bought.accelerator_id', 'accelerator_prices.accelerator_id') }},
                    case when {{ holds_on('accelerator_prices', 'bought.commissioned_date') }} then 0 else 1 end,
                    coalesce(accelerator_prices.valid_from, cast('0001-01-01' as date))
            ) as preference
        from (
            select
                accelerator_id,
                commissioned_date
            from unrecorded_pools
            union
            select
                accelerator_id,
                commissioned_date
            from reported_groups
        ) as bought
        inner join accelerator_prices on accelerator_prices.accelerator_id in (bought.accelerator_id, '*')
    ) as ranked
    where preference = 1
),

derived_tranches as (
    select
        unrecorded_pools.pool_id as tranche_id,
        unrecorded_pools.site_id,
        unrecorded_pools.accelerator_id,
        cast(prices.capital_cny_per_accelerator * unrecorded_pools.accelerator_count as decimal(38, 2))
            as capital_cny,
        prices.life_years,
        unrecorded_pools.commissioned_date,
        unrecorded_pools.first_date as valid_from,
        cast(unrecorded_pools.last_date + interval 1 day as date) as valid_to,
        true as is_derived
    from unrecorded_pools
    inner join prices
        on
            unrecorded_pools.accelerator_id = prices.accelerator_id
            and unrecorded_pools.commissioned_date = prices.commissioned_date
),

all_tranches as (
    select
        *,
        greatest(1, cast(round(life_years * 365, 0) as bigint)) as life_days
    from (
        select * from recorded_tranches
        union all
        select * from derived_tranches
    ) as tranches_of_both
),

tranche_spans as (
    select
        all_tranches.*,
        cast(
            greatest(
                all_tranches.commissioned_date,
                coalesce(all_tranches.valid_from, all_tranches.commissioned_date),
                span.first_date
            ) as date
        ) as first_date,
        cast(
            least(
                all_tranches.commissioned_date + (all_tranches.life_days - 1) * interval 1 day,
                coalesce(all_tranches.valid_to - interval 1 day, span.last_date),
                span.last_date
            ) as date
        ) as last_date
    from all_tranches
    cross join span
),

tranche_days as (
    select
        site_id,
        accelerator_id,
        capital_cny,
        commissioned_date,
        life_days,
        is_derived,
        {{ each_day('first_date', 'last_date') }} as usage_date
    from tranche_spans
    where first_date <= last_date
),

-- The day's slice of the life: slices of a whole life are the capital, to the last digit.
depreciated as (
    select
        usage_date,
        site_id,
        accelerator_id,
        is_derived,
        {{
            money_slice(
                'capital_cny', days_between('commissioned_date', 'usage_date'),
                days_between('commissioned_date', 'usage_date') ~ ' + 1', 'life_days'
            )
        }} as depreciation_cny
    from tranche_days
),

reported_days as (
    select
        {{ business_date('inventory.usage_hour') }} as usage_date,
        reported_groups.site_id,
        reported_groups.accelerator_id,
        reported_groups.commissioned_date,
        sum(inventory.installed_accelerator_microseconds) as installed_accelerator_microseconds
    from inventory
    inner join reported_groups on inventory.group_id = reported_groups.group_id
    group by
        {{ business_date('inventory.usage_hour') }}, reported_groups.site_id, reported_groups.accelerator_id,
        reported_groups.commissioned_date
),

reported as (
    select
        reported_days.usage_date,
        reported_days.site_id,
        reported_days.accelerator_id,
        true as is_derived,
        {{
            money_share(
                'prices.capital_cny_per_accelerator', 'reported_days.installed_accelerator_microseconds',
                'round(prices.life_years * 365, 0) * 86400000000'
            )
        }} as depreciation_cny
    from reported_days
    inner join prices
        on
            reported_days.accelerator_id = prices.accelerator_id
            and reported_days.commissioned_date = prices.commissioned_date
    inner join span on reported_days.usage_date between span.first_date and span.last_date
    where
        {{ days_between('reported_days.commissioned_date', 'reported_days.usage_date') }}
        < round(prices.life_years * 365, 0)
)

select
    usage_date,
    site_id,
    accelerator_id,
    cast(sum(depreciation_cny) as decimal(38, 9)) as depreciation_cny,
    cast(sum(case when is_derived then depreciation_cny else 0 end) as decimal(38, 9)) as derived_depreciation_cny
from (
    select * from depreciated
    union all
    select * from reported
) as both_kinds
group by usage_date, site_id, accelerator_id
