"""Charts of asset metadata: one mark a value, and nothing that a name can turn into markup."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from orchestration.charts import bars, cell, compact, lines, table

SVG = "{http://www.w3.org/2000/svg}"


def drawn(markdown: str) -> ElementTree.Element:
    """The picture inside a chart's Markdown; it must be well-formed XML."""
    data = re.fullmatch(r"!\[.*\]\(data:image/svg\+xml;base64,([^)]*)\)", markdown, re.DOTALL)
    return ElementTree.fromstring(base64.b64decode(data.group(1)))


def test_a_bar_is_as_high_as_its_share_of_the_highest():
    """A chart whose bars do not follow the numbers is worse than none."""
    picture = drawn(bars("Rows", ["a", "b", "c"], [10, 5, 0]))
    heights = [float(bar.get("height")) for bar in picture.findall(f"{SVG}rect")[1:]]
    assert heights == pytest.approx([heights[0], heights[0] / 2, 0])
    assert heights[0] > 100


def test_a_missing_value_breaks_the_line():
    """A line drawn over a gap says that something was measured there."""
    picture = drawn(lines("Demand", list("abcde"), [("demand", [1, 2, None, 4, 5]), ("usable", [3, 3, 3, 3, 3])]))
    points = [line.get("points").split() for line in picture.findall(f"{SVG}polyline")]
    assert [len(part) for part in points] == [2, 2, 5]


def test_hostile_titles_and_labels_stay_text():
    """A file named like a script must not leave the picture."""
    hostile = "</text><script>alert(1)</script>"
    picture = drawn(bars(hostile, [hostile], [1]))
    assert [element.tag for element in picture.iter() if "script" in element.tag] == []
    assert hostile in [text.text for text in picture.findall(f"{SVG}text")]


def test_a_cell_ends_no_table_and_links_nowhere():
    """A delivery named like Markdown would break the table, or become a link that someone clicks."""
    row = table(("name",), [("a|b [x](https://evil.example) <img src=x>\n![y](z)",)]).splitlines()
    assert len(row) == 3
    unescaped = re.sub(r"\\.", "", row[2])
    assert unescaped.count("|") == 2
    assert not set("[]<>!`*_") & set(unescaped)
    assert "https://" not in row[2]


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999, "999"), (1234, "1.23K"), (5.6e12, "5.6T")])
def test_numbers_are_short(value, text):
    """An axis has room for a few characters."""
    assert compact(value) == text


def test_nothing_to_draw_draws_nothing():
    """An empty picture looks like a broken one."""
    assert bars("x", [], []) == lines("x", [], []) == ""
    assert cell(None) == ""
    assert cell(1234567) == "1,234,567"
