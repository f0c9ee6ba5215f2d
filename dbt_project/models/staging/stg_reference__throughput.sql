{{ config(materialized='table') }}

{{ reference_rows('throughput',
    key=['model_id', 'accelerator_id', 'input_length', 'output_length', 'objective'], columns=[
    'model_id',
    'model_class',
    'accelerator_id',
    'input_length',
    'output_length',
    'objective',
    'input_tokens_per_second',
    'output_tokens_per_second',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
