"""ISO weeks of business days, as text and as dates. Nothing else."""

from __future__ import annotations

from datetime import date, timedelta


def week_of(day: date) -> str:
    """The ISO week that holds the day, as text: 2026-W47."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def monday_of(iso_week: str) -> date:
    """The Monday of an ISO week; ValueError when the text names none."""
    year, _, week = iso_week.partition("-W")
    return date.fromisocalendar(int(year), int(week), 1)


def weeks_after(monday: date, count: int) -> date:
    """The Monday that many weeks later."""
    return monday + timedelta(weeks=count)
