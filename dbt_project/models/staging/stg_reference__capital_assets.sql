{{ config(materialized='table') }}

{{ reference_rows('capital_assets', key=['tranche_id'], columns=[
    'tranche_id',
    'site_id',
    'accelerator_id',
    'accelerator_count',
    'capital_cny',
    'currency',
    'life_years',
    'commissioned_date',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
