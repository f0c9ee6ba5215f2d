{{ config(materialized='table') }}

{{ reference_rows('discounts', key=['tenant_id', 'segment', 'model_id'], columns=[
    'contract_id',
    'tenant_id',
    'segment',
    'model_id',
    'discount_ratio',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
