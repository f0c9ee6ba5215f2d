{{ config(materialized='table') }}

{{ reference_rows('node_pools', key=['pool_id'], columns=[
    'pool_id',
    'cluster_id',
    'site_id',
    'accelerator_id',
    'purpose',
    'node_count',
    'accelerators_per_node',
    'commissioned_date',
    'retired_date',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
