with
job_hours as (select * from {{ ref('int_job_hours') }}),

pool_telemetry as (select * from {{ ref('int_pool_telemetry__hourly') }}),

inventory as (select * from {{ ref('int_inventory__hourly') }}),

groups as (select * from {{ ref('int_holders__groups') }}),

-- Job records say more than a scheduler's counts; the counts stand where a cluster has no jobs.
holder_hours as (
    select
        usage_hour,
        cluster_id,
        partition,
        site_id,
        accelerator_id,
        cast(sum(held_accelerator_microseconds) as decimal(38, 3)) as held_accelerator_microseconds,
        cast(sum(waiting_accelerator_microseconds) as decimal(38, 3)) as waiting_accelerator_microseconds,
        cast(sum(located_accelerator_microseconds) as decimal(38, 3)) as located_accelerator_microseconds,
        min(smallest_waiting_accelerators_per_node) as smallest_waiting_accelerators_per_node
    from job_hours
    group by usage_hour, cluster_id, partition, site_id, accelerator_id
    union all
    select
        usage_hour,
        cluster_id,
        pool_id as partition,
        site_id,
        accelerator_id,
        coalesce(allocated_accelerator_microseconds, 0) as held_accelerator_microseconds,
        coalesce(pending_accelerator_microseconds, 0) as waiting_accelerator_microseconds,
        cast(0 as decimal(38, 3)) as located_accelerator_microseconds,
        cast(null as decimal(18, 3)) as smallest_waiting_accelerators_per_node
    from pool_telemetry
    where not exists (select 1 from job_hours where job_hours.cluster_id = pool_telemetry.cluster_id)
),

tied as (
    select
        holder_hours.*,
        groups.group_id,
        groups.group_cluster_id,
        groups.group_site_id,
        groups.group_accelerator_id,
        groups.purpose,
        coalesce(inventory.installed_accelerator_microseconds, 0) as weight
    from holder_hours
    inner join groups
        on
            holder_hours.cluster_id = groups.cluster_id
            and holder_hours.partition = groups.partition
            and holder_hours.site_id = groups.site_id
            and holder_hours.accelerator_id = groups.accelerator_id
    left join inventory
        on groups.group_id = inventory.group_id and holder_hours.usage_hour = inventory.usage_hour
),

-- Where the records don't say which of several groups held them, each gets its share by what is
-- installed; where nothing is, the first gets all. Differences of running shares add up exactly.
running as (
    select
        *,
        sum(weight) over (holder_hour order by group_id rows unbounded preceding) as running_weight,
        sum(weight) over holder_hour as total_weight,
        row_number() over (holder_hour order by group_id) as group_rank
    from tied
    window holder_hour as (partition by usage_hour, cluster_id, partition, site_id, accelerator_id)
),

boundaries as (
    select
        *,
        case
            when running_weight = total_weight then held_accelerator_microseconds
            else {{ share_of('floor(held_accelerator_microseconds)', 'running_weight', 'total_weight') }}
        end as held_to_here,
        case
            when running_weight = total_weight then waiting_accelerator_microseconds
            else {{ share_of('floor(waiting_accelerator_microseconds)', 'running_weight', 'total_weight') }}
        end as waiting_to_here
    from running
),

shares as (
    select
        *,
        held_to_here - coalesce(lag(held_to_here) over holder_hour, 0) as held_share,
        waiting_to_here - coalesce(lag(waiting_to_here) over holder_hour, 0) as waiting_share
    from boundaries
    window holder_hour as (
        partition by usage_hour, cluster_id, partition, site_id, accelerator_id order by group_rank
    )
)

select
    usage_hour,
    group_id,
    group_cluster_id as cluster_id,
    group_site_id as site_id,
    group_accelerator_id as accelerator_id,
    purpose,
    cast(sum(held_share) as decimal(38, 3)) as held_accelerator_microseconds,
    cast(sum(waiting_share) as decimal(38, 3)) as waiting_accelerator_microseconds,
    -- Whether every job that held the group named its nodes.
    min(case when located_accelerator_microseconds = held_accelerator_microseconds then 1 else 0 end) = 1
        as are_nodes_known,
    min(smallest_waiting_accelerators_per_node) as smallest_waiting_accelerators_per_node
from shares
group by usage_hour, group_id, group_cluster_id, group_site_id, group_accelerator_id, purpose
