"""What was planted, counted while it is written: the answer that tests compare the marts with.

Counts are whole numbers without rounding. No reading of files: a test counts those on its own.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.demand import SECONDS_AN_HOUR, Demand
from orchestration.sources.simulate.waste import WasteTruth

TOKEN_MEASURES = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
MEASURES = (
    "ok_record_count", "throttled_record_count", "failed_record_count",
    "request_count", "throttled_request_count", "failed_request_count", *TOKEN_MEASURES,
)  # fmt: skip
# Hours of a business day that lie on the UTC day before it.
HOURS_BEFORE_UTC_MIDNIGHT = 8

UNITS = {
    "request_count": "requests that were served (status ok)",
    "throttled_request_count": "requests refused with 429; their tokens are null",
    "failed_request_count": "requests that failed; their tokens are null",
    "input_tokens": "uncached input tokens",
    "cached_input_tokens": "input tokens read from the prompt cache",
    "output_tokens": "output tokens, reasoning included",
    "reasoning_tokens": "part of output_tokens",
    "*_record_count": "distinct records in landing, each counted once",
    "*_lines": "lines of landing files",
    "*_accelerator_seconds": "one accelerator for one second",
    "*_accelerator_hours": "one accelerator for one hour",
    "octets_*": "bytes over a link in one direction",
    "utc_day": "UTC day of the event",
    "usage_date": "business day (Asia/Shanghai) of the event",
    "*_crossing_week": "first ISO week of business days, from the last simulated one on, in which the trend exceeds "
    "target_utilization_ratio x installed serving accelerators (committed deliveries included); null when none in the horizon",
    "busy_hour_factor": "95th percentile of a week's hours of demand over their mean, bursts included",
    "broken_lines": "lines that must be quarantined, by how they are broken",
    "duplicate_lines": "further lines equal to one of the same file",
    "overlap_lines": "lines equal to one of the file before",
    "conflict_lines": "further lines with the id of another and other content; the first counts",
    "late_records": "records delivered 1 to 30 days after their file (counted in all totals)",
    "granted_tokens": "quota tokens of all grants of a kind of package",
    "*_cny": "CNY with two decimals, as text",
    "wasted_cny": "what the tokens that a misroute moved cost more, in energy above idle and transport, where they were "
    "served than where they should have been (routed_site_id), in the last whole simulated ISO week",
    "held_back_records": "late records due after the last day: in no file and in no total",
}


class UsageTruth:
    """Totals of token usage by stream and UTC day, and the planted faults of delivery."""

    def __init__(self, demand: Demand, broken_lines: Counter[str]):
        self.demand = demand
        self.broken_lines = broken_lines
        self.duplicate_lines = self.overlap_lines = self.conflict_lines = 0
        self.late_records = self.held_back_records = 0
        self.resent_files: list[dict] = []
        self.waste = WasteTruth(demand)
        self._day: date | None = None
        self._sums = np.zeros((2, len(demand.tenant), len(MEASURES)), np.int64)
        self._groups: dict[str, defaultdict[str, Counter]] = {
            name: defaultdict(Counter)
            for name in (
                "by_utc_day", "by_usage_date", "by_origin_site", "by_serving_site", "by_tenant", "by_model", "by_product",
                "by_usage_date_and_serving_site",
            )
        }  # fmt: skip
        self._served_accelerator_hours: list[dict] = []

    def add(
        self, day: date, hour: np.ndarray, status: np.ndarray, stream: np.ndarray,
        values: dict[str, np.ndarray], counted: np.ndarray,
    ) -> None:  # fmt: skip
        """Counts the records of one file whose flag ``counted`` is set."""
        if self._day != day:
            self.close_day()
            self._day = day
        ok = counted & (status == 0)
        self.waste.add(day, hour[ok], stream[ok], {name: values[name][ok] for name in TOKEN_MEASURES})
        half = (hour >= HOURS_BEFORE_UTC_MIDNIGHT).astype(np.int64)
        half, status, stream = half[counted], status[counted], stream[counted]
        requests = values["request_count"][counted]
        for number in range(3):
            of_status = status == number
            np.add.at(self._sums, (half[of_status], stream[of_status], number), 1)
            np.add.at(
                self._sums, (half[of_status], stream[of_status], 3 + number), requests[of_status]
            )
        ok = status == 0
        for number, name in enumerate(TOKEN_MEASURES):
            np.add.at(self._sums, (half[ok], stream[ok], 6 + number), values[name][counted][ok])

    def close_day(self) -> None:
        """Moves the day's sums by stream into the totals."""
        if self._day is None:
            return
        demand, network = self.demand, self.demand.network
        names = {
            "by_origin_site": [network.site_ids[k] for k in demand.origin],
            "by_serving_site": [network.site_ids[k] for k in demand.serving],
            "by_tenant": [network.tenants[k].tenant_id for k in demand.tenant],
            "by_model": [network.models[k].model_id for k in demand.model],
            "by_product": [network.tenants[k].product for k in demand.tenant],
        }
        whole_day = self._sums.sum(axis=0)
        for half, utc_day in enumerate((self._day - timedelta(days=1), self._day)):
            self._count("by_utc_day", utc_day.isoformat(), self._sums[half].sum(axis=0))
        self._count("by_usage_date", self._day.isoformat(), whole_day.sum(axis=0))
        for group, keys in names.items():
            unique, inverse = np.unique(np.array(keys), return_inverse=True)
            sums = np.zeros((len(unique), len(MEASURES)), np.int64)
            np.add.at(sums, inverse, whole_day)
            for key, row in zip(unique, sums, strict=True):
                self._count(group, str(key), row)
        self._close_sites(whole_day)
        self._sums[:] = 0
        self._day = None

    def _close_sites(self, whole_day: np.ndarray) -> None:
        """Demand of the records by serving site, in accelerator-hours (throttled requests added back)."""
        demand, network, day = self.demand, self.demand.network, self._day
        into, out = network.seconds_per_token(day)
        sites = len(network.site_ids)
        pairs = demand.serving * len(network.models) + demand.model
        sums = np.zeros((sites * len(network.models), len(MEASURES)), np.int64)
        np.add.at(sums, pairs, whole_day)
        sums = sums.reshape(sites, len(network.models), len(MEASURES))
        column = MEASURES.index
        served = (
            sums[:, :, column("input_tokens")] * into.T
            + sums[:, :, column("output_tokens")] * out.T
        ) / SECONDS_AN_HOUR
        ok, throttled = (
            sums[:, :, column("request_count")],
            sums[:, :, column("throttled_request_count")],
        )
        trend = demand.trend_accelerators(day) * 24
        for site, site_id in enumerate(network.site_ids):
            self._served_accelerator_hours.append({
                "usage_date": day.isoformat(),
                "serving_site_id": site_id,
                "served_accelerator_hours": round(float(served[site].sum()), 6),
                "request_count": int(ok[site].sum()),
                "throttled_request_count": int(throttled[site].sum()),
                "trend_accelerator_hours": round(float(trend[site]), 6),
            })  # fmt: skip

    def _count(self, group: str, key: str, row: np.ndarray) -> None:
        total = self._groups[group][key]
        for name, value in zip(MEASURES, row.tolist(), strict=True):
            total[name] += value

    def as_dict(self) -> dict:
        """Everything counted, in plain types."""
        self.close_day()
        total: Counter = Counter()
        for counts in self._groups["by_usage_date"].values():
            total.update(counts)
        return {
            "total": {name: total[name] for name in MEASURES},
            "lines": {
                "broken_lines": dict(self.broken_lines),
                "duplicate_lines": self.duplicate_lines,
                "overlap_lines": self.overlap_lines,
                "conflict_lines": self.conflict_lines,
            },
            "late_records": self.late_records,
            "held_back_records": self.held_back_records,
            "resent_files": self.resent_files,
            **{
                group: {
                    key: {name: counts[name] for name in MEASURES}
                    for key, counts in sorted(keys.items())
                }
                for group, keys in self._groups.items()
                if keys
            },
            "by_usage_date_and_serving_site": self._served_accelerator_hours,
        }


def iso_week(day: date) -> str:
    """The ISO week of a business day, as text."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def planted_sites(
    demand: Demand, busy_hour_factors: np.ndarray, planted: dict[str, str], first_day: date
) -> list[dict]:
    """By site: the weekly trend of serving demand and the week in which it exceeds usable supply.

    ``busy_hour_factors``: by site, the 95th percentile of a week's hours over its mean, bursts included.
    """
    network = demand.network
    monday = first_day - timedelta(days=first_day.weekday())
    weeks = []
    while monday <= network.end_date + timedelta(weeks=calibration.HORIZON_WEEKS):
        days = [monday + timedelta(days=number) for number in range(7)]
        weeks.append((
            iso_week(monday),
            np.mean([demand.trend_accelerators(day) for day in days], axis=0),
            np.mean([demand.planned_accelerators(day) for day in days], axis=0),
        ))  # fmt: skip
        monday += timedelta(weeks=1)
    now = iso_week(network.end_date)
    rows = []
    for site, site_id in enumerate(network.site_ids):
        usable = calibration.TARGET_UTILIZATION_RATIO

        def crossing(factor: float, site: int = site, usable: float = usable) -> str | None:
            return next(
                (
                    week
                    for week, asked, have in weeks
                    if week >= now and asked[site] * factor > usable * have[site]
                ),
                None,
            )

        rows.append({
            "site_id": site_id,
            "kind": planted.get(site_id, "ordinary"),
            "busy_hour_factor": round(float(busy_hour_factors[site]), 6),
            "mean_crossing_week": crossing(1.0),
            "busy_hour_crossing_week": crossing(float(busy_hour_factors[site])),
            "weekly_trend": [
                {"iso_week": week, "demand_accelerators": round(float(asked[site]), 4),
                 "installed_accelerators": round(float(have[site]), 4)}
                for week, asked, have in weeks
            ],
        })  # fmt: skip
    return rows


@dataclass
class Truth:
    """The whole truth of one simulation, and where it lies."""

    path: Path
    content: dict = field(repr=False)

    def write(self) -> None:
        """Writes truth.json beside nothing that is loaded, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part")
        part.write_text(json.dumps(self.content, ensure_ascii=False, indent=1) + "\n", "utf-8")
        os.replace(part, self.path)
