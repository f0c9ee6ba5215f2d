"""One look for every figure and page: colours, fonts, and the second cue beside each colour.

Colours are Okabe and Ito's, which colour-blind readers tell apart; a dash, a marker or a pattern always
says the same thing again. No data and no wording here.
"""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

INK = "#14212b"
MUTED_INK = "#4d5b66"
FAINT_LINE = "#dfe5ea"
STRONG_LINE = "#7c8a95"
PAPER = "#ffffff"
SHADE = "#f4f7f9"

BLUE = "#0072b2"
SKY = "#56b4e9"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILLION = "#d55e00"
PURPLE = "#cc79a7"
GREY = "#8a97a1"

DARK_VERMILLION = "#a34700"
"""Vermillion deep enough for text on white."""
DARK_GREEN = "#00694d"
DARK_ORANGE = "#8a5a00"

FONT_FAMILY = (
    "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, "
    "'PingFang SC', 'Hiragino Sans GB', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif"
)

CONFIG = {
    "displayModeBar": False,
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "responsive": False,
    "scrollZoom": False,
    "doubleClick": False,
}
"""No button that uploads data, no logo, no address to upload to: plotly's defaults have all three."""


@dataclass(frozen=True)
class LoadBand:
    """One band of utilization: from ``least`` up, with its colour and its second cue."""

    key: str
    least: float
    colour: str
    symbol: str
    dash: str
    width: float


LOAD_BANDS = (
    LoadBand("load_low", 0.0, SKY, "circle", "dot", 1.0),
    LoadBand("load_medium", 0.6, BLUE, "square", "dash", 1.6),
    LoadBand("load_high", 0.8, ORANGE, "diamond", "solid", 2.6),
    LoadBand("load_over", 0.95, VERMILLION, "triangle-up", "solid", 4.0),
)


def load_band(ratio: float) -> LoadBand:
    """The band that a utilization ratio falls into."""
    return [band for band in LOAD_BANDS if ratio >= band.least or band is LOAD_BANDS[0]][-1]


TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT_FAMILY, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "colorway": [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY],
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": STRONG_LINE, "font": {"color": INK, "size": 13}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "xanchor": "left", "x": 0,
                   "bgcolor": "rgba(0,0,0,0)"},
        "xaxis": {"gridcolor": FAINT_LINE, "linecolor": STRONG_LINE, "zeroline": False, "ticks": "outside",
                  "tickcolor": STRONG_LINE, "automargin": True, "fixedrange": True,
                  "tickfont": {"size": 12}, "title": {"font": {"size": 12, "color": MUTED_INK}}},
        "yaxis": {"gridcolor": FAINT_LINE, "linecolor": STRONG_LINE, "zeroline": False, "automargin": True,
                  "fixedrange": True, "tickfont": {"size": 12},
                  "title": {"font": {"size": 12, "color": MUTED_INK}}},
        "separators": ".,",
    }
)


def patterned(colour: str, pattern: str) -> dict:
    """A bar's marker: a colour, an outline, and a hatch that says the same without colour ("" is none)."""
    return {
        "color": colour, "line": {"color": INK, "width": 0.6},
        "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": INK, "size": 6, "solidity": 0.2, "fgopacity": 0.6},
    }


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours (WCAG 2): 1 is none, 21 is black on white."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = (
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
