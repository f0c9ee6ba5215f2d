{{ config(materialized='table') }}

{{ reference_rows('link_costs', key=['link_id', 'link_class'], columns=[
    'link_id',
    'link_class',
    'annual_cost_cny_per_wavelength',
    'currency',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
