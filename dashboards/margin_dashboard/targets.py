"""What a measure of a period should be: the targets that management delivered, over the days of the period.

Which of them apply is decided here; what stands in where there is none is the cards' affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from orchestration.contracts import TARGET_AMOUNTS

WHOLE_NETWORK = "all"


@dataclass(frozen=True)
class Targets:
    """The targets of one period and site by measure, and the deliveries they are from as (file, day, source)."""

    values: dict[str, Decimal]
    origins: tuple[tuple[str, date | None, str], ...] = ()


def targets_of(rows: Sequence[dict[str, Any]], first: date, last: date, site: str = WHOLE_NETWORK) -> Targets:
    """Targets of the business days first to last, both included, from rows of finance.dim_margin_target.

    A target is the mean over the days of what holds on each, for amounts (given for 7 days) times days / 7. A
    measure that has none on one of the days has none for the period: half a budget would look easily met.
    """
    days = (last - first).days + 1
    sums: dict[str, Decimal] = {}
    covered: dict[str, int] = {}
    used: dict[str, set[tuple[str, date | None, str]]] = {}
    for row in rows:
        held = (min(row["valid_to"], last + timedelta(days=1)) - max(row["valid_from"], first)).days
        if row["site_id"] != site or held <= 0:
            continue
        measure = row["measure"]
        sums[measure] = sums.get(measure, Decimal(0)) + row["target_value"] * held
        covered[measure] = covered.get(measure, 0) + held
        origin = (row["provided_by"].rsplit(" line ", 1)[0], row["delivered_date"], row["source"] or "")
        used.setdefault(measure, set()).add(origin)
    whole = [measure for measure in sums if covered[measure] == days]
    values = {measure: sums[measure] / (7 if measure in TARGET_AMOUNTS else days) for measure in whole}
    return Targets(values, tuple(sorted({origin for measure in whole for origin in used[measure]}, key=str)))
