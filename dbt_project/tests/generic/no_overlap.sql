{#
    No two rows of a key hold on the same business day (and, with has_hours, in the same hour of it).
    Two prices for one instant have no right answer, so both rows are named and the build fails.
#}
{% test no_overlap(model, key, has_hours=false) %}
with
numbered as (
    select
        {% for column in key + (['hour_from', 'hour_to'] if has_hours else []) %}
        {{ column }},
        {% endfor %}
        coalesce(valid_from, cast('0001-01-01' as date)) as begins,
        coalesce(valid_to, cast('9999-12-31' as date)) as ends,
        provided_by,
        row_number() over (order by provided_by, {{ key | join(', ') }}, valid_from, valid_to) as row_number
    from {{ model }}
)

select
    {% for column in key %}one.{{ column }}, {% endfor %}
    one.begins as one_valid_from,
    one.ends as one_valid_to,
    one.provided_by as one_provided_by,
    other.begins as other_valid_from,
    other.ends as other_valid_to,
    other.provided_by as other_provided_by
from numbered as one
inner join numbered as other
    on
        one.row_number < other.row_number
        {% for column in key %}and one.{{ column }} is not distinct from other.{{ column }}
        {% endfor %}
        and one.begins < other.ends and other.begins < one.ends
        {% if has_hours %}and one.hour_from < other.hour_to and other.hour_from < one.hour_to{% endif %}
{% endtest %}
