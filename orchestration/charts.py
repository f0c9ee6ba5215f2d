"""Small charts for asset metadata in the Dagster UI: SVG inside Markdown, no library and nothing to fetch.

Pure: numbers in, text out. Reports and dashboards draw theirs in ``dashboards/figures``; these are glances
for whoever runs the pipeline, so they hold one idea, its scale, and the figures again as text.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 30, 26
# Okabe-Ito; a dash tells the second line from the first without colour.
BLUE, ORANGE, INK, PAPER = "#0072B2", "#D55E00", "#1a1a1a", "#ffffff"
LABELS_SHOWN = 6
# What a label, and the name of a line beside its sample, take.
LABEL_WIDTH, LEGEND_WIDTH = 44, 100


def bars(title: str, labels: Sequence[str], values: Sequence[float]) -> str:
    """Markdown of a bar chart; empty text when there is nothing to draw."""
    if not values:
        return ""
    top = max(values) or 1
    step = (WIDTH - LEFT - RIGHT) / len(values)
    marks = "".join(
        f'<rect x="{LEFT + index * step:.1f}" y="{_height(value, top):.1f}" width="{max(step * 0.8, 1):.1f}" '
        f'height="{HEIGHT - BOTTOM - _height(value, top):.1f}" fill="{BLUE}"/>'
        for index, value in enumerate(values)
    )
    return _markdown(title, _frame(title, labels, top, step, marks))


def lines(title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """Markdown of up to two lines over the same labels, the second dashed; a gap where a value is missing."""
    known = [value for _, values in series for value in values if value is not None]
    if not known:
        return ""
    top = max(known) or 1
    step = (WIDTH - LEFT - RIGHT) / max(len(labels) - 1, 1)
    marks = ""
    for index, (name, values) in enumerate(series):
        colour, dash = ((BLUE, ""), (ORANGE, ' stroke-dasharray="6 4"'))[index]
        for part in _unbroken(values):
            points = " ".join(f"{LEFT + place * step:.1f},{_height(value, top):.1f}" for place, value in part)
            marks += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        at = WIDTH - RIGHT - LEGEND_WIDTH * (len(series) - index)
        marks += (
            f'<line x1="{at}" x2="{at + 24}" y1="14" y2="14" stroke="{colour}" stroke-width="2"{dash}/>'
            f'<text x="{at + 30}" y="18">{escape(name)}</text>'
        )
    return _markdown(title, _frame(title, labels, top, step, marks))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose cells can hold anything a producer names its files."""
    lines_of_text = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines_of_text += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines_of_text)


def cell(value: object) -> str:
    """A value as text that neither ends a table's cell nor becomes markup or a link."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "" if value is None else str(value)
    text = "".join(character if character.isprintable() else " " for character in text)
    for special in "\\`*_[]<>|!":
        text = text.replace(special, f"\\{special}")
    return text.replace("://", ":\u200b//").replace("www.", "www\u200b.")


def compact(value: float) -> str:
    """A number in at most four figures, with K, M, B or T."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _height(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - max(value, 0) / top)


def _unbroken(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Runs of known values, each with its places."""
    parts: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            parts.append([])
        else:
            parts[-1].append((place, value))
    return [part for part in parts if part]


def _frame(title: str, labels: Sequence[str], top: float, step: float, marks: str) -> str:
    every = max(1, -(-len(labels) // LABELS_SHOWN))
    axis = "".join(
        f'<text x="{LEFT + index * step:.1f}" y="{HEIGHT - 8}">{escape(label)}</text>'
        for index, label in enumerate(labels)
        if index % every == 0 and LEFT + index * step + LABEL_WIDTH <= WIDTH
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}"><rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>'
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>'
        f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{compact(top)}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">0</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}" stroke="{INK}"/>'
        f"{marks}{axis}</svg>"
    )


def _markdown(title: str, svg: str) -> str:
    return f"![{cell(title)}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
