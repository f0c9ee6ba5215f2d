"""What a page of the margin dashboard is made of: texts, figures and tables that the app and the printed page show alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go

from dashboards.bilingual import MISSING, clean
from dashboards.margin_dashboard.readings import Choice
from dashboards.margin_dashboard.words import Words


@dataclass(frozen=True)
class Column:
    """One column of a table: the name it is exported under, its heading, and how its values are written."""

    key: str
    heading: str
    kind: str = "text"

    @property
    def is_number(self) -> bool:
        """Whether it is set to the right."""
        return self.kind != "text"


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, as they are summed; ``choose`` narrows the page to what a row stands for."""

    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    choose: Callable[[dict[str, Any]], Choice | None] | None = None

    def cells(self, row: dict[str, Any], words: Words) -> list[str]:
        """A row as a reader sees it."""
        return [_written(row.get(column.key), column.kind, words) for column in self.columns]


def _written(value: Any, kind: str, words: Words) -> str:
    if value is None:
        return MISSING
    formats = {
        "money": words.money, "signed_money": words.signed_money, "unit_price": words.unit_price, "count": words.count,
        "ratio": words.percent, "number": words.number, "factor": lambda ratio: words.number(ratio, 2),
    }
    if kind in formats:
        return formats[kind](value)
    if isinstance(value, datetime):
        return words.instant(value)
    if isinstance(value, date):
        return value.isoformat()
    return clean(value)


MARKS = {"better": "▲", "worse": "▼", "even": "●", "none": "–"}
"""What stands beside the word of a card's status."""


@dataclass(frozen=True)
class Card:
    """One figure that management is measured by, beside what it should be."""

    key: str
    label: str
    value: str
    unit: str
    details: tuple[str, ...]
    target: str
    variance: str
    status: str
    """better, worse, even or none; its word and mark say the same as its colour."""
    status_word: str
    history: tuple[float, ...]
    history_words: str
    is_planned: bool = False
    """Whether its target was delivered, and is no stand-in."""


@dataclass(frozen=True)
class Block:
    """A message with what proves it."""

    key: str
    title: str
    summary: str = ""
    figure: go.Figure | None = None
    table: Table | None = None
    cards: tuple[Card, ...] = ()
    lines: tuple[str, ...] = ()
    back: tuple[str, Choice] | None = None
    """The way up again from a narrower choice, and what it is called."""
    tone: str = ""
    """certified or provisional for the stamp; empty otherwise."""


def amount(value: Decimal | None) -> float | None:
    """Money on its way to a drawing, the only place where it stops being exact."""
    return None if value is None else float(value)
