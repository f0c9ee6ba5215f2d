with
allocation as (select * from {{ ref('int_allocation__hourly') }}),

inventory as (select * from {{ ref('int_inventory__hourly') }}),

node_hours as (select * from {{ ref('int_job_node_hours') }}),

-- Size of a group's nodes; where they differ it is not known which node is how large.
node_sizes as (
    select
        group_id,
        min(accelerators_per_node) as accelerators_per_node
    from {{ ref('int_inventory__pools') }}
    group by group_id
    having min(accelerators_per_node) = max(accelerators_per_node)
),

holders as (
    select
        cluster_id,
        partition,
        site_id,
        accelerator_id,
        min(group_id) as group_id
    from {{ ref('int_holders__groups') }}
    group by cluster_id, partition, site_id, accelerator_id
    having min(group_id) = max(group_id)
),

contested as (
    select
        allocation.usage_hour,
        allocation.group_id,
        allocation.smallest_waiting_accelerators_per_node,
        allocation.held_accelerator_microseconds,
        inventory.installed_accelerator_microseconds,
        node_sizes.accelerators_per_node
    from allocation
    inner join inventory
        on allocation.usage_hour = inventory.usage_hour and allocation.group_id = inventory.group_id
    inner join node_sizes on allocation.group_id = node_sizes.group_id
    where
        allocation.waiting_accelerator_microseconds > 0
        and allocation.smallest_waiting_accelerators_per_node is not null
        and allocation.are_nodes_known
),

nodes as (
    select
        node_hours.usage_hour,
        holders.group_id,
        node_hours.node_id,
        sum(node_hours.held_accelerator_microseconds) as held_accelerator_microseconds
    from node_hours
    inner join holders
        on
            node_hours.cluster_id = holders.cluster_id
            and node_hours.partition = holders.partition
            and node_hours.site_id = holders.site_id
            and node_hours.accelerator_id = holders.accelerator_id
    group by node_hours.usage_hour, holders.group_id, node_hours.node_id
),

leftovers as (
    select
        contested.usage_hour,
        contested.group_id,
        contested.accelerators_per_node * 3600000000 - nodes.held_accelerator_microseconds as free_microseconds,
        contested.smallest_waiting_accelerators_per_node * 3600000000 as needed_microseconds
    from contested
    inner join nodes on contested.usage_hour = nodes.usage_hour and contested.group_id = nodes.group_id
    where contested.smallest_waiting_accelerators_per_node <= contested.accelerators_per_node
),

-- What is left on a node is fragmented when even the smallest request waiting for the group is larger.
too_small as (
    select
        usage_hour,
        group_id,
        cast(sum(free_microseconds) as decimal(38, 3)) as fragmented_accelerator_microseconds
    from leftovers
    where free_microseconds > 0 and free_microseconds < needed_microseconds
    group by usage_hour, group_id
),

-- A request larger than any node can use none of them.
impossible as (
    select
        usage_hour,
        group_id,
        cast(
            greatest(installed_accelerator_microseconds - held_accelerator_microseconds, 0) as decimal(38, 3)
        ) as fragmented_accelerator_microseconds
    from contested
    where smallest_waiting_accelerators_per_node > accelerators_per_node
)

select
    usage_hour,
    group_id,
    fragmented_accelerator_microseconds
from too_small
union all
select
    usage_hour,
    group_id,
    fragmented_accelerator_microseconds
from impossible
