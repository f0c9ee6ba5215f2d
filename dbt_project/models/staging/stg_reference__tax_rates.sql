{{ config(materialized='table') }}

{{ reference_rows('tax_rates', key=['tax_id'], columns=[
    'tax_id',
    'rate_ratio',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
