-- Catches a price, tariff, package or asset left out because its line was refused: what it would have
-- priced would be wrong and look right. A corrected file of the same name puts it right.
{% set money_tables = [
    'price_book', 'rental_prices', 'discounts', 'tax_rates', 'packages', 'package_weights', 'subscriptions',
    'power_tariffs', 'site_power', 'operations_costs', 'link_costs', 'capital_assets', 'accelerator_prices',
    'competitor_prices', 'exchange_rates', 'performance_targets',
] %}
select
    receipts.delivery_name,
    quarantine.line_number,
    quarantine.table_name,
    quarantine.reason_code,
    quarantine.message
from {{ ref('stg_ledger__quarantine') }} as quarantine
inner join {{ ref('stg_ledger__receipts') }} as receipts
    on quarantine.delivery_id = receipts.delivery_id and quarantine.table_name = receipts.table_name
where
    receipts.status = 'loaded'
    and quarantine.table_name in (
        {% for name in money_tables %}
        '{{ name }}'{{ ',' if not loop.last }}
        {% endfor %}
    )
order by receipts.delivery_name, quarantine.line_number
