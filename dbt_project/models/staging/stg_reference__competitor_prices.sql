{{ config(materialized='table') }}

{{ reference_rows('competitor_prices', key=[
    'vendor',
    'model_name',
    'token_type',
    'above_input_tokens',
    'observed_date'
], columns=[
    'vendor',
    'model_name',
    'model_class',
    'comparable_model_id',
    'token_type',
    'above_input_tokens',
    'list_price_per_million',
    'currency',
    'observed_date',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
