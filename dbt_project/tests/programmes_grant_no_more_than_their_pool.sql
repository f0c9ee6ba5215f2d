{{ config(severity='warn') }}

-- Catches a programme that has promised more tokens than it was given. A warning: the customers hold their
-- grants, so nothing is to be corrected in the data.
select
    programme_id,
    max(programme_quota_tokens) as programme_quota_tokens,
    sum(granted_tokens) as granted_tokens
from {{ ref('int_package__grants') }}
where programme_id is not null
group by programme_id
having sum(granted_tokens) > max(programme_quota_tokens)
