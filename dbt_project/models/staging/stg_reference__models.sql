{{ config(materialized='table') }}

{{ reference_rows('models', key=['model_id'], columns=[
    'model_id',
    'model_name',
    'vendor',
    'model_class',
    'latency_class_ms',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
