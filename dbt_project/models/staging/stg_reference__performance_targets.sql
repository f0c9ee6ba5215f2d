{{ config(materialized='table') }}

{{ reference_rows('performance_targets', key=['measure', 'site_id'], columns=[
    'measure',
    'site_id',
    'target_value',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
