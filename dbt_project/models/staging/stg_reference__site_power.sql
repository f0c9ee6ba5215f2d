{{ config(materialized='table') }}

{{ reference_rows('site_power', key=['site_id'], columns=[
    'site_id',
    'pue_ratio',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
