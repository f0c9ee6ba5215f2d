"""A line small enough to stand beside a number."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from dashboards import theme

WIDTH, HEIGHT, MARGIN = 140, 32, 4


def sparkline(values: Sequence[float]) -> str:
    """A line through the values, the last of them marked, as the address of an image that is part of the page."""
    low, high = min(values), max(values)
    across, up = WIDTH - 2 * MARGIN, HEIGHT - 2.5 * MARGIN
    points = [
        (MARGIN + across * index / (len(values) - 1), HEIGHT - MARGIN - up * ((value - low) / (high - low) if high > low else 0.5))
        for index, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<polyline points="{line}" fill="none" stroke="{theme.BLUE}" stroke-width="2"/>'
        f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3.2" fill="{theme.BLUE}"/></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
