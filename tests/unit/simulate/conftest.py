"""One tiny simulation that the tests of the simulator share."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest

from orchestration.home import Home
from orchestration.sources.simulate import simulate

# Five days that hold a file sent again under another name and one sent again the next day.
TINY_DAYS = 5
TINY_EVENTS_PER_DAY = 500
TINY_END = date(2026, 11, 19)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Landing files and truth of a few days with a few hundred events each."""
    home = Home(tmp_path_factory.mktemp("tiny"))
    truth = simulate(
        home, days=TINY_DAYS, seed=11, events_per_day=TINY_EVENTS_PER_DAY, end_date=TINY_END
    )
    return SimpleNamespace(home=home, truth=truth.content, path=truth.path)
