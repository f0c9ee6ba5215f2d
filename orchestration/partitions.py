"""The one partitioning: raw by the UTC day a file was delivered.

Event days are not partitions of Dagster; they are folders of Parquet and dirty days of a build.
"""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg

FIRST_DELIVERY_DAY = date(2016, 1, 1)

# Today's deliveries belong to a day that has not ended, and a producer whose clock is ahead, or who
# names folders by Shanghai's date, delivers tomorrow's; hence the offset.
DELIVERY_DAYS = dg.DailyPartitionsDefinition(
    start_date=FIRST_DELIVERY_DAY.isoformat(), timezone="UTC", end_offset=2
)


def days_between(first: str, last: str) -> list[date]:
    """Every day from first to last, both included, from partition keys."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [start + timedelta(days=offset) for offset in range((end - start).days + 1)]
