{{ config(materialized='table') }}

{{ reference_rows('holidays', key=['holiday_date'], columns=[
    'holiday_date',
    'holiday_name',
    'holiday_name_cn',
    'day_type',
    'valid_from',
    'valid_to',
    'source',
    'confidence'
]) }}
