-- Catches a context tier that usage isn't counted by: its price would never be used.
select
    provided_by,
    model_id,
    token_type,
    above_input_tokens
from {{ ref('stg_reference__price_book') }}
where
    above_input_tokens not in (
        {% for boundary in var('context_tier_boundaries') %}
        {{ boundary }},
        {% endfor %}
        0
    )
order by provided_by, model_id, token_type
