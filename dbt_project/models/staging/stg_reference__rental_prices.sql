{{ config(materialized='table') }}

{{ reference_rows('rental_prices', key=['accelerator_id'], columns=[
    'accelerator_id',
    'price_cny_per_accelerator_hour',
    'currency',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
