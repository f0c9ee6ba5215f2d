{{ config(materialized='table') }}

{{ reference_rows('links', key=['link_id'], columns=[
    'link_id',
    'a_site_id',
    'b_site_id',
    'link_class',
    'route_km',
    'one_way_ms',
    'capacity_gbps',
    'design_capacity_gbps',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
