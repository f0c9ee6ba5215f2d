"""The two partitionings: raw by the UTC day a file was delivered, the weekly report by ISO week.

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

# Keys are Mondays as ISO 8601 writes a day of a week, 2026-W47-1. The week that has begun is one too, for a
# network whose first week it is.
ISO_WEEKS = dg.TimeWindowPartitionsDefinition(
    start="2016-W01-1", fmt="%G-W%V-%u", cron_schedule="0 0 * * 1", timezone="Asia/Shanghai", end_offset=1
)


def partition_of_week(iso_week: str) -> str:
    """The partition key of an ISO week like 2026-W47."""
    return f"{iso_week}-1"


def week_of_partition(key: str) -> str:
    """The ISO week, like 2026-W47, of a partition key."""
    return key.removesuffix("-1")


def days_between(first: str, last: str) -> list[date]:
    """Every day from first to last, both included, from partition keys."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [start + timedelta(days=offset) for offset in range((end - start).days + 1)]
