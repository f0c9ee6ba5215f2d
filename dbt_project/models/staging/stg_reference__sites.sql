{{ config(materialized='table') }}

{{ reference_rows('sites', key=['site_id'], columns=[
    'site_id',
    'site_name',
    'site_name_cn',
    'site_kind',
    'hub_region',
    'region',
    'latitude',
    'longitude',
    'population',
    'nearest_hub_site_id',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
