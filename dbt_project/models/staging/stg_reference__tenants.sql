{{ config(materialized='table') }}

{{ reference_rows('tenants', key=['tenant_id'], columns=[
    'tenant_id',
    'tenant_name',
    'segment',
    'home_site_id',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
