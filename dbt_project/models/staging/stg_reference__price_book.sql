{{ config(materialized='table') }}

{{ reference_rows('price_book', key=['model_id', 'token_type', 'above_input_tokens', 'hour_from'], columns=[
    'model_id',
    'token_type',
    'above_input_tokens',
    'time_band',
    'hour_from',
    'hour_to',
    'price_cny_per_million',
    'currency',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
