"""Planted hotspots on two seeds; ``make bench-hotspots`` looks at ten."""

from __future__ import annotations

import pytest

from tests.bench.hotspots import look


@pytest.mark.parametrize("seed", [1, 9])
def test_planted_hotspots_are_found_and_flat_sites_left_alone(seed: int) -> None:
    """The report's one reason to exist: where demand crosses supply, and when."""
    found = look(seed)
    assert found.inside == dict.fromkeys(found.hotspots, True)
    assert found.alarms == ()
