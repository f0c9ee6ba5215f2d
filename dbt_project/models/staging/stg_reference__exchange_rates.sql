{{ config(materialized='table') }}

{{ reference_rows('exchange_rates', key=['currency'], columns=[
    'currency',
    'cny_per_unit',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
