{{ config(materialized='table') }}

{{ reference_rows('accelerator_prices', key=['accelerator_id'], columns=[
    'accelerator_id',
    'price_cny',
    'currency',
    'system_uplift_ratio',
    'life_years',
    'idle_power_ratio',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
