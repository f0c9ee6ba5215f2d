{{ config(materialized='table') }}

{{ reference_rows('power_tariffs', key=['site_id', 'hour_from'], columns=[
    'site_id',
    'time_band',
    'hour_from',
    'hour_to',
    'tariff_cny_per_kwh',
    'currency',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
