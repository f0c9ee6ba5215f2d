{{ config(materialized='table') }}

{{ reference_rows('subscriptions', key=['subscription_id'], columns=[
    'subscription_id',
    'package_id',
    'tenant_id',
    'granted_date',
    'starts_date',
    'expires_date',
    'granted_tokens',
    'price_cny',
    'currency',
    'funding',
    'renews_subscription_id',
    'voided_date',
    'refund_cny',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
