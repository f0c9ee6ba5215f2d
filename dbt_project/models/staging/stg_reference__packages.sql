{{ config(materialized='table') }}

{{ reference_rows('packages', key=['package_id'], columns=[
    'package_id',
    'package_name',
    'package_kind',
    'programme_id',
    'programme_quota_tokens',
    'quota_tokens',
    'price_cny',
    'currency',
    'priority',
    'validity_days',
    'carry_over',
    'over_quota_policy',
    'add_on_package_id',
    'expected_breakage_ratio',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
