{{ config(materialized='table') }}

{{ reference_rows('accelerators', key=['accelerator_id'], columns=[
    'accelerator_id',
    'accelerator_name',
    'vendor',
    'memory_gb',
    'bf16_tflops',
    'power_watts',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
