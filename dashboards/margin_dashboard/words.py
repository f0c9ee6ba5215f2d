"""How the margin dashboard speaks: sentences and numbers in one language, as plain text.

Whoever shows the text escapes it: Dash and Jinja do, Plotly labels go through ``bilingual.figure_label``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from dashboards.bilingual import MISSING, clean, compact_text, day, shanghai_time
from dashboards.margin_strings import STRINGS

CENT = Decimal("0.01")
Number = Decimal | int | float


def _minus(text: str) -> str:
    return text.replace("-", "−")


@dataclass(frozen=True)
class Words:
    """The sentences and number formats of one language: zh or en."""

    language: str

    def say(self, key: str, **values: object) -> str:
        """The sentence of that key; names in it lose marks that turn the reading direction."""
        return STRINGS[key][self.language].format(**{
            name: clean(value) if isinstance(value, str) else value for name, value in values.items()
        })

    def maybe(self, key: str, otherwise: str) -> str:
        """The sentence of that key, or the text itself where there is none."""
        return STRINGS[key][self.language] if key in STRINGS else clean(otherwise)

    def money(self, amount: Number | None) -> str:
        """An amount to the cent."""
        if amount is None:
            return MISSING
        return _minus(f"{Decimal(amount).quantize(CENT, ROUND_HALF_UP):,}")

    def signed_money(self, amount: Decimal | None) -> str:
        """An amount to the cent with its sign."""
        if amount is None:
            return MISSING
        return _minus(f"{amount.quantize(CENT, ROUND_HALF_UP):+,}")

    def short_money(self, amount: Number | None, signed: bool = False) -> str:
        """An amount in the language's own steps."""
        if amount is None:
            return MISSING
        sign = "−" if amount < 0 else "+" if signed else ""
        return sign + compact_text(abs(float(amount)), self.language)

    def unit_price(self, amount: Number | None) -> str:
        """An amount per million tokens, to a hundredth of a cent where it is small."""
        if amount is None:
            return MISSING
        digits = 2 if abs(amount) >= 10 else 4
        return _minus(f"{amount:,.{digits}f}")

    def count(self, value: Number | None) -> str:
        """A count with thousands separators."""
        return MISSING if value is None else _minus(f"{round(value):,}")

    def short(self, value: Number | None) -> str:
        """A large number in the language's own steps."""
        return compact_text(None if value is None else float(value), self.language)

    def percent(self, ratio: Number | None, digits: int = 1) -> str:
        """A ratio as a percentage."""
        return MISSING if ratio is None else _minus(f"{float(ratio) * 100:.{digits}f}%")

    def signed_percent(self, ratio: Number | None) -> str:
        """A change as a signed percentage."""
        return MISSING if ratio is None else _minus(f"{float(ratio) * 100:+.1f}%")

    def points(self, difference: Number | None) -> str:
        """A difference of two ratios in percentage points."""
        if difference is None:
            return MISSING
        rounded = round(float(difference) * 100, 1)
        return self.say("points", value=_minus(f"{rounded:+.1f}") if rounded else "0.0")

    def number(self, value: Number | None, digits: int = 1) -> str:
        """A plain number."""
        return MISSING if value is None else _minus(f"{value:,.{digits}f}")

    def day(self, value: date | None) -> str:
        """A business day."""
        return str(day(value).in_language(self.language))

    def instant(self, value: datetime | None) -> str:
        """A UTC instant as Shanghai wall-clock time."""
        return str(shanghai_time(value).in_language(self.language))

    def joined(self, parts: list[str]) -> str:
        """Parts one after another."""
        return self.say("list_separator").join(parts)
