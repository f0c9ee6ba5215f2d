"""Random numbers of the simulator: one generator a (seed, day, stream), so that a day stands alone.

Nothing here depends on the process: no hash(), no clock, no global state.
"""

from __future__ import annotations

import zlib
from datetime import date

import numpy as np

# The stream's day for what is drawn once for the whole network.
ONCE = date.min


def generator(seed: int, day: date, stream: str) -> np.random.Generator:
    """The generator of one stream on one day; the same arguments always give the same numbers."""
    return np.random.default_rng([seed, day.toordinal(), zlib.crc32(stream.encode())])


def lognormal_around_one(random: np.random.Generator, sigma: float, size) -> np.ndarray:
    """Log-normal noise whose mean is 1."""
    return np.exp(random.standard_normal(size) * sigma - sigma * sigma / 2)
