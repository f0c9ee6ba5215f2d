"""The ledger of packages: every grant's tokens and money, entry by entry.

Glue only: the burn is in orchestration/finance/packages.py, the joins before and the sums after in SQL.
"""

from datetime import date

from orchestration.finance.packages import burn


def model(dbt, session):
    """One row per entry of a grant to the last business day of the data."""
    dbt.config(materialized="table")
    (last_date,) = dbt.ref("int_calendar__span").project("last_date").fetchone()
    return burn(
        dbt.ref("int_package__usage").pl(), dbt.ref("int_package__grants").pl(),
        dbt.ref("int_package__weights").pl(), last_date or date.min,
    )
