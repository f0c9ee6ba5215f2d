{{ config(materialized='table') }}

{{ reference_rows('operations_costs', key=['site_id', 'accelerator_id'], columns=[
    'site_id',
    'accelerator_id',
    'cost_cny_per_accelerator_hour',
    'currency',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
