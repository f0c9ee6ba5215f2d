"""Text in two languages at once, safe to put into a page.

``Bilingual`` holds one thing said in Chinese and in English; a template writes both and the page shows
one. Numbers, dates and names are formatted here per language. The sentences are in ``strings``.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from textwrap import wrap

from markupsafe import Markup, escape

from dashboards.strings import STRINGS

LANGUAGES = ("zh", "en")
HTML_LANGUAGE = {"zh": "zh-CN", "en": "en"}
MISSING = "–"
LONGEST_FIGURE_LABEL = 28

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True)
class Bilingual:
    """One text in both languages, already escaped."""

    zh: Markup
    en: Markup

    def __html__(self) -> Markup:
        """Both languages as spans, of which the page shows one; text that is the same in both once."""
        if self.zh == self.en:
            return Markup('<span translate="no">{}</span>').format(self.en)
        return Markup('<span data-lang="zh" lang="zh-CN">{}</span><span data-lang="en" lang="en">{}</span>').format(
            self.zh, self.en
        )

    def in_language(self, language: str) -> Markup:
        """The text in one language."""
        return self.zh if language == "zh" else self.en

    def plain(self) -> dict[str, str]:
        """Both languages as text without markup, for figures and scripts that set text, not HTML."""
        return {language: self.in_language(language).striptags() for language in LANGUAGES}


def clean(text: object) -> str:
    """A name without control characters and without marks that turn the reading direction."""
    return _UNPRINTABLE.sub("", str(text)).strip()


def figure_label(text: object, longest: int = LONGEST_FIGURE_LABEL) -> str:
    """A name as Plotly shows it literally: escaped (Plotly reads a little HTML), and cut when very long."""
    name = clean(text)
    if len(name) > longest:
        name = name[: longest - 1] + "…"
    return html.escape(name, quote=False)


def figure_lines(text: object, longest: int) -> str:
    """A name as Plotly shows it literally, in lines of at most so many characters and at most two lines."""
    first, *rest = wrap(clean(text), longest) or [""]
    return "<br>".join(figure_label(line, longest) for line in (first, " ".join(rest)) if line)


def same(text: object) -> Bilingual:
    """A text that is the same in both languages, like an id or a date."""
    return Bilingual(escape(clean(text)), escape(clean(text)))


def named(english: object, chinese: object) -> Bilingual:
    """A name in both languages, each isolated so that its script can't turn the sentence around it."""
    isolate = Markup('<bdi translate="no">{}</bdi>')
    return Bilingual(isolate.format(clean(chinese or english)), isolate.format(clean(english or chinese)))


def say(key: str, **values: object) -> Bilingual:
    """The sentence of that key; values may be bilingual themselves and are escaped."""

    def spoken(language: str) -> Markup:
        chosen = {
            name: value.in_language(language) if isinstance(value, Bilingual) else value
            for name, value in values.items()
        }
        return Markup(escape(STRINGS[key][language])).format(**chosen)

    return Bilingual(spoken("zh"), spoken("en"))


def joined(parts: list[Bilingual], separator_key: str = "list_separator") -> Bilingual:
    """Parts one after another, with each language's own separator."""
    return Bilingual(*(
        Markup(escape(STRINGS[separator_key][language])).join(part.in_language(language) for part in parts)
        for language in LANGUAGES
    ))


def whole(value: float | None) -> Bilingual:
    """A count with thousands separators; a dash when unknown."""
    return same(MISSING if value is None else f"{round(value):,}")


def signed(value: float | None) -> Bilingual:
    """A count with its sign; a dash when unknown."""
    return same(MISSING if value is None else f"{round(value):+,}".replace("-", "−"))


def percent(ratio: float | None, digits: int = 0) -> Bilingual:
    """A ratio as a percentage; a dash when unknown."""
    return same(MISSING if ratio is None else f"{ratio * 100:.{digits}f}%")


def signed_percent(ratio: float | None, digits: int = 1) -> Bilingual:
    """A change as a signed percentage; a dash when unknown."""
    return same(MISSING if ratio is None else f"{ratio * 100:+.{digits}f}%".replace("-", "−"))


def signed_points(difference: float | None) -> Bilingual:
    """A difference of two ratios in percentage points; a dash when unknown."""
    if difference is None:
        return same(MISSING)
    return say("points", value=f"{difference * 100:+.1f}".replace("-", "−"))


_STEPS = {
    "zh": ((10**12, "万亿"), (10**8, "亿"), (10**4, "万")),
    "en": ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")),
}


def compact_text(value: float | None, language: str) -> str:
    """A large number in the language's own steps: 1.23亿 or 123M."""
    if value is None:
        return MISSING
    for step, suffix in _STEPS[language]:
        if abs(value) >= step:
            scaled = value / step
            digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
            return f"{scaled:,.{digits}f}{suffix}"
    return f"{value:,.0f}"


def compact(value: float | None) -> Bilingual:
    """A large number in each language's own steps."""
    return Bilingual(*(escape(compact_text(value, language)) for language in LANGUAGES))


def signed_compact(value: float | None) -> Bilingual:
    """A large change with its sign, in each language's own steps; a dash when unknown."""
    if value is None:
        return same(MISSING)
    return Bilingual(*(
        escape(("−" if value < 0 else "+") + compact_text(abs(value), language)) for language in LANGUAGES))


def day(value: date | None) -> Bilingual:
    """A business day: 11月22日 or 22 Nov 2026."""
    if value is None:
        return same(MISSING)
    return Bilingual(Markup(f"{value.year}年{value.month}月{value.day}日"), Markup(f"{value.day} {value:%b %Y}"))


def short_day(value: date | None) -> Bilingual:
    """A business day without its year: 11月22日 or 22 Nov."""
    if value is None:
        return same(MISSING)
    return Bilingual(Markup(f"{value.month}月{value.day}日"), Markup(f"{value.day} {value:%b}"))


def shanghai_time(instant: datetime | None) -> Bilingual:
    """A UTC instant as Shanghai wall-clock time."""
    if instant is None:
        return same(MISSING)
    return same(f"{instant + timedelta(hours=8):%Y-%m-%d %H:%M}")


def spoken(key: str, language: str, **values: object) -> str:
    """The sentence of that key for a figure; names in it must be figure labels already."""
    return STRINGS[key][language].format(**values)
