"""What a backfill would replay, and which published figures it may move: read only, nothing is run.

A figure may move when its mart descends from the feed and its business day holds events of the replayed
deliveries; the lineage is dbt's own. Whether it does move is known only after the replay, which says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from orchestration.comparison import DAY, daily_marts
from orchestration.contracts import TABLES
from orchestration.home import EDITIONS, Home
from orchestration.landing import LandingFile
from orchestration.raw_store import PARSER_VERSION, Receipt, resent_paths
from orchestration.restatements import business_days
from orchestration.sql import identifier, literal


@dataclass(frozen=True)
class Replayed:
    """One landing file that would be loaded again, and what came of it last time.

    ``state``: loaded, quarantined or superseded; new (never loaded) or resent (its bytes count in another
    delivery), and then without counts.
    """

    delivered_date: date
    delivery_name: str
    state: str
    received_count: int | None
    loaded_count: int | None
    quarantined_count: int | None
    parser_changed: bool | None
    event_days: tuple[date, ...]


@dataclass(frozen=True)
class MayMove:
    """A published mart with figures on the touched business days: how many days and figures it has there."""

    edition: str
    mart: str
    first_date: date
    last_date: date
    day_count: int
    figure_count: int


def replayed(home: Home, files: Iterable[LandingFile], receipts: Sequence[Receipt]) -> list[Replayed]:
    """What would be replayed, file by file, in order of day and name."""
    known = {receipt.landing_path: receipt for receipt in receipts}
    resent = resent_paths(home)
    found = []
    for file in files:
        path = file.path.relative_to(home.landing).as_posix()
        receipt = known.get(path)
        if receipt is None:
            state = "resent" if path in resent else "new"
            found.append(Replayed(file.delivered_date, file.name, state, None, None, None, None, ()))
        else:
            found.append(Replayed(
                file.delivered_date, file.name, receipt.status, receipt.received_count, receipt.loaded_count,
                receipt.quarantined_count, receipt.parser_version != PARSER_VERSION, receipt.event_days,
            ))
    return sorted(found, key=lambda item: (item.delivered_date, item.delivery_name))


def may_move(
    home: Home, feed: str, event_days: Iterable[date], manifest: Mapping[str, Any]
) -> list[MayMove]:
    """Published daily figures that descend from the feed and lie on the business days of these event days.

    Reference holds no events and touches every day. Running balances (a package's remaining tokens) may
    move on later days too.
    """
    from orchestration import warehouse

    days = sorted(business_days(event_days))
    where = "true" if feed == "reference" else f"{DAY} in ({', '.join(f'date {literal(str(day))}' for day in days)})"
    if not days and feed != "reference":
        return []
    downstream = descendants(manifest, feed)
    found = []
    for edition in EDITIONS:
        path = home.edition(edition)
        if not path.exists():
            continue
        with warehouse.open_published(path) as published:
            for mart in daily_marts(published, (edition,)):
                if mart.name not in downstream:
                    continue
                site = identifier(mart.site) if mart.site else "''"
                first, last, day_count, place_count = published.execute(
                    f"select min({DAY}), max({DAY}), count(distinct {DAY}), count(distinct ({DAY}, {site})) "
                    f"from {mart.name} where {where}"
                ).fetchone()
                if day_count:
                    found.append(MayMove(edition, mart.name, first, last, day_count, place_count * len(mart.measures)))
    return found


def descendants(manifest: Mapping[str, Any], feed: str) -> set[str]:
    """Models that read the feed's raw tables, directly or through others, as schema.name."""
    children = manifest["child_map"]
    waiting = [
        key for key, source in manifest["sources"].items()
        if source["name"] in TABLES and TABLES[source["name"]].feed == feed
    ]
    seen = set(waiting)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return {
        f"{node['schema']}.{node['name']}" for key, node in manifest["nodes"].items()
        if key in seen and node["resource_type"] == "model"
    }
