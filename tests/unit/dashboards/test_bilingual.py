"""Text in two languages: complete, equal in meaning of its placeholders, and safe in a page."""

from __future__ import annotations

import ast
import re
from datetime import date, datetime

import pytest
from markupsafe import Markup

from dashboards import theme
from dashboards.bilingual import (
    Bilingual,
    clean,
    compact_text,
    figure_label,
    joined,
    named,
    percent,
    same,
    say,
    shanghai_time,
    signed,
    signed_percent,
    whole,
)
from dashboards.strings import STRINGS
from orchestration.forecasting.matching import CONSTRAINTS
from orchestration.forecasting.tables import ACTIONS, CONFIDENCES, LEVELS
from orchestration.home import PROJECT

DASHBOARDS = PROJECT / "dashboards"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_FULL_WIDTH = re.compile(r"[，。；：（）、！？]")


@pytest.mark.parametrize("key", sorted(STRINGS))
def test_every_string_is_whole_in_both_languages(key: str) -> None:
    """A reader of one language must not meet a gap, a placeholder of the other, or the other language."""
    texts = STRINGS[key]
    assert set(texts) == {"zh", "en"}
    assert set(_PLACEHOLDER.findall(texts["zh"])) == set(_PLACEHOLDER.findall(texts["en"]))
    assert not _HAN.search(texts["en"])
    assert not _FULL_WIDTH.search(texts["en"])
    if key != "sentence_separator":
        assert texts["zh"].strip() or key.endswith("separator")


def test_every_key_that_is_asked_for_exists_and_every_string_is_asked_for() -> None:
    """A missing key breaks the page for one reader on one odd week; a dead string is translated for nobody."""
    words: set[str] = set()
    for path in DASHBOARDS.rglob("*.py"):
        if path.name != "strings.py":
            words |= {node.value for node in ast.walk(ast.parse(path.read_text("utf-8")))
                      if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    template = (DASHBOARDS / "weekly_report" / "report.html.j2").read_text("utf-8")
    asked = set(re.findall(r'say\("(\w+)"\)', template))
    assert asked <= set(STRINGS)
    built = {
        *(f"nav_{name}" for name in re.findall(r'"(\w+)"', re.search(r'for name in \((.*?)\)', template)[1])),
        *(f"column_{key}" for key in ("actual", "p10", "p50", "p90", "supply", "committed")),
        *(f"weekday_{weekday}" for weekday in range(1, 8)), *(f"confidence_{name}" for name in CONFIDENCES),
        *(f"level_{level}" for level in LEVELS), *(key for key in STRINGS if key.startswith((
            "gaps_", "column_gap_", "owner_", "map_week",
            "why_", "short_", "model_", "part_", "region_", "product_", "constraint_", "resource_", "past_", "level_", "measure_",
            "outlook_"))),
        *(f"action_{name}" for name in ("add", "move", "none")), *(band.key for band in theme.LOAD_BANDS),
    }
    assert built <= set(STRINGS)
    assert set(STRINGS) - words - asked - built == set()


def test_every_reason_that_the_forecast_gives_has_words() -> None:
    """A new reason code without a sentence would stop the report of that week."""
    source = (PROJECT / "orchestration" / "forecasting" / "capacity_need.py").read_text("utf-8")
    reasons = next(node for node in ast.walk(ast.parse(source))
                   if isinstance(node, ast.FunctionDef) and node.name == "_reason")
    codes = {constant.value for node in ast.walk(reasons) if isinstance(node, ast.Return)
             for constant in ast.walk(node) if isinstance(constant, ast.Constant)
             and isinstance(constant.value, str)}
    assert len(codes) == 9
    assert {f"why_{code}" for code in codes} <= set(STRINGS)
    assert set(ACTIONS) == {"add", "move_load", "move_accelerators", "none"}


def test_every_constraint_of_the_matching_has_words() -> None:
    """A constraint that the report has no words for stops the whole report, and with it the run."""
    assert {f"constraint_{name}" for name in CONSTRAINTS} <= set(STRINGS)


def test_values_are_escaped_and_said_in_both_languages() -> None:
    """A name that closes a tag would rewrite the decision table."""
    text = say("action_move", count=whole(1234.4), site=named("<b>x</b>", "<i>甲</i>"))
    assert text.en == Markup('Move load of 1,234 to <bdi translate="no">&lt;b&gt;x&lt;/b&gt;</bdi>')
    assert "&lt;i&gt;甲&lt;/i&gt;" in text.zh
    assert text.plain()["en"] == "Move load of 1,234 to <b>x</b>"


def test_braces_in_a_name_are_not_placeholders() -> None:
    """A tenant called {site} must not be filled in, nor raise."""
    assert "{count}{0}" in say("action_move", count=whole(1), site=named("{count}{0}", None)).plain()["en"]


def test_names_lose_marks_that_turn_the_reading_direction() -> None:
    """A right-to-left override makes 'exe.gpj' read as an image, and a table row read backwards."""
    assert clean("a\u202eb\u2066c\u200fd\x00e\nf") == "abcdef"
    assert clean("مرحبا") == "مرحبا"


def test_figure_labels_are_literal_for_plotly() -> None:
    """Plotly turns <a href> in a label into a live link."""
    assert figure_label('<a href="https://e.example">') == '&lt;a href="https://e.example"&gt;'
    assert figure_label("a & b") == "a &amp; b"
    assert len(figure_label("W" * 300)) == 28


def test_one_text_is_written_once_and_two_are_marked_with_their_language() -> None:
    """A screen reader pronounces by the lang attribute; a translator leaves translate=no alone."""
    assert str(same("2026-W47").__html__()) == '<span translate="no">2026-W47</span>'
    both = str(Bilingual(Markup("甲"), Markup("A")).__html__())
    assert both == '<span data-lang="zh" lang="zh-CN">甲</span><span data-lang="en" lang="en">A</span>'


def test_numbers_read_as_each_language_reads_them() -> None:
    """1.23 yi is not 1.23 billion: a factor of ten in a decision."""
    assert [compact_text(123_456_789, language) for language in ("zh", "en")] == ["1.23亿", "123M"]
    assert [compact_text(18_400_000_000_000, language) for language in ("zh", "en")] == ["18.4万亿", "18.4T"]
    assert [compact_text(2_222, language) for language in ("zh", "en")] == ["2,222", "2.22k"]
    assert compact_text(None, "en") == "–"
    assert [signed(-1234).en, signed(5).en, signed_percent(-0.012).en, percent(None).en] == ["−1,234", "+5", "−1.2%", "–"]
    assert joined([same("a"), same("b")]).zh == "a、b"


def test_instants_are_shown_on_shanghai_clocks() -> None:
    """16:30 UTC belongs to the next business day."""
    assert shanghai_time(datetime(2026, 11, 22, 16, 30)).en == "2026-11-23 00:30"
    assert date(2026, 11, 23).isoformat() in shanghai_time(datetime(2026, 11, 22, 16, 30)).zh
