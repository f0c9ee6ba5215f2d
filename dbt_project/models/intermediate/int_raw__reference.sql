{% for name in reference_tables() %}
select
    '{{ name }}' as table_name,
    source_id,
    count(*) as record_count,
    cast(sum(line_count) as bigint) as line_count
from {{ source('raw', name) }}
group by source_id
{{ "union all" if not loop.last }}
{% endfor %}
