"""A small pretrained model as one more member of the combination, only where somebody asks for it.

fracast (Apache-2.0) brings its 85,000 weights in its own wheel, so nothing is fetched. It needs PyTorch, which the
default environment does not have: ``pip install 'tidegauge[pretrained]'``. Arrays only; what the member is worth is for
the weights of ``combination`` to find out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec

import numpy as np

from orchestration.forecasting.members import LEVELS, MEMBERS, Member, Setting
from orchestration.forecasting.paths import read_at

VARIABLE = "TIDEGAUGE_PRETRAINED"
NAME = "fracast"
FEWEST_KNOWN = 8
"""Known periods that the model needs."""
SERIES_AT_ONCE = 16
"""More at once is no faster on one thread, and takes 10 MB a series."""


class PretrainedUnavailable(RuntimeError):
    """A pretrained model was asked for that is unknown or not installed."""


def members_from(environment: Mapping[str, str]) -> Mapping[str, Member]:
    """The members of the combination: those built in, and the pretrained one where the environment asks for it.

    Raises:
        PretrainedUnavailable: it asks for one that can't be had. To go on without it would change figures unasked.
    """
    wanted = environment.get(VARIABLE)
    if not wanted:
        return MEMBERS
    if wanted != NAME:
        raise PretrainedUnavailable(f"{VARIABLE} is {wanted!r}, and there is no such model: set it to {NAME}, or unset it")
    if find_spec("fracast") is None or find_spec("torch") is None:
        raise PretrainedUnavailable(
            f"{VARIABLE} asks for {NAME}, which is not installed: install it with `make setup` while {VARIABLE} is set, or with "
            f"`pip install 'tidegauge[pretrained]'`, or unset {VARIABLE}"
        )
    return MEMBERS | {NAME: fracast}


@cache
def _model():
    """The model with its 32-bit weights, read from the installed package, on one thread."""
    import torch
    from fracast import FracastModel

    # With more threads sums are split, and the last bits depend on how many cores there are.
    torch.set_num_threads(1)
    return FracastModel.from_pretrained(weights="fp32")


def fracast(histories: np.ndarray, setting: Setting) -> np.ndarray:
    """fracast's nine deciles of the next 48 steps, read at LEVELS; NaN for a series too short or constant.

    The model counts in 32-bit floats, so values are brought to 0 to 1 by their own least and largest before. Levels
    outside the deciles follow the straight line over normal scores through the two outermost ones. Beyond 48 steps
    the median so far is taken as if it had happened, again and again; the errors of such blocks of steps add up, so
    the n-th block's deciles lie root n times as far from its median.
    """
    result = np.full((len(histories), setting.horizon, len(LEVELS)), np.nan)
    if histories.shape[1] < FEWEST_KNOWN:
        return result
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _model()
        recent = histories[:, -model.context_length:]
        known = np.isfinite(recent)
        low = np.where(known, recent, np.inf).min(axis=1)
        span = np.where(known, recent, -np.inf).max(axis=1) - low
        rows = np.flatnonzero((known.sum(axis=1) >= FEWEST_KNOWN) & (span > 0))
        scaled = (recent[rows] - low[rows, None]) / span[rows, None]
        parts = [
            model.forecast_batch(scaled[first:first + SERIES_AT_ONCE], horizon=setting.horizon)
            for first in range(0, len(rows), SERIES_AT_ONCE)
        ]
    if not parts:
        return result
    deciles = np.sort(np.concatenate(parts).astype(float), axis=-1)
    median = deciles[..., [model.quantiles.index(0.5)]]
    block = np.arange(setting.horizon) // model.horizon + 1
    deciles = median + (deciles - median) * np.sqrt(block)[:, None]
    result[rows] = low[rows, None, None] + span[rows, None, None] * read_at(deciles, LEVELS, model.quantiles)
    return result
