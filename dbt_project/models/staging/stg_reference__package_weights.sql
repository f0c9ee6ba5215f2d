{{ config(materialized='table') }}

{{ reference_rows('package_weights', key=['package_id', 'model_id', 'token_type', 'hour_from'], columns=[
    'package_id',
    'model_id',
    'token_type',
    'time_band',
    'hour_from',
    'hour_to',
    'weight_ratio',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
