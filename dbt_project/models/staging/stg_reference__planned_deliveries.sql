{{ config(materialized='table') }}

{{ reference_rows('planned_deliveries', key=['planned_delivery_id'], columns=[
    'planned_delivery_id',
    'site_id',
    'accelerator_id',
    'purpose',
    'accelerator_count',
    'planned_date',
    'commitment',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
