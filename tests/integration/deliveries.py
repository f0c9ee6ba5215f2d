"""Small deliveries for tests: canonical usage records and node pools, put into landing as a person would."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from orchestration import landing, raw_store
from orchestration.home import Home
from orchestration.raw_store import Receipt

FIRST_DAY = date(2026, 11, 16)


def usage(day: date, count: int, first: int = 0, **more: object) -> list[dict]:
    """Records of one UTC day, evenly spread, with ids that name the day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return [
        {
            "event_id": f"{day}-{number}", "occurred_at": (midnight + timedelta(seconds=number * 60)).isoformat(),
            "origin_site_id": "cn-bj", "tenant_id": f"tenant-{number % 3}", "model_id": "kimi-k3", "status": "ok",
            "request_count": 1, "input_tokens": 100 + number, "output_tokens": 10, **more,
        }
        for number in range(first, first + count)
    ]


def deliver_usage(home: Home, delivered: date, name: str, records: Iterable[dict]) -> None:
    """Lands one JSONL file of token usage."""
    _deliver(
        home, name, "".join(json.dumps(record) + "\n" for record in records),
        feed="token_usage", format="canonical_token_usage", source_id="meter", delivered=delivered,
    )


def deliver_reference(home: Home, delivered: date, name: str, text: str, table: str) -> None:
    """Lands one CSV of a reference table."""
    _deliver(home, name, text, feed="reference", format=f"reference_{table}", source_id="planner", delivered=delivered)


def _deliver(home: Home, name: str, text: str, **more: object) -> None:
    source = home.root.parent / "outbox" / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, "utf-8")
    landing.land(home, [Path(source)], **more)


def load(home: Home) -> list[Receipt]:
    """Loads what waits in landing."""
    return raw_store.ingest(home, workers=1)
