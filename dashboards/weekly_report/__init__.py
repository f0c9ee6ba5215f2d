"""The weekly capacity report: one HTML file that opens offline, from the published file alone."""

from dashboards.weekly_report.page import write_weekly_report

__all__ = ["write_weekly_report"]
