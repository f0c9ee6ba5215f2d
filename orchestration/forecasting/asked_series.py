"""Demand of one level by the hour or by the day: as a history, and as quantiles of what comes.

Weeks, which decisions rest on, are ``token_forecast``'s and published; hours and days are looked at when somebody asks.
The same methods, a season of seven days; what was not heard is not known, and holidays are taken out and put back.
Frames in, frames out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from orchestration.forecasting import methods
from orchestration.forecasting.backtest import ALL_SERIES, Row, losing_levels, score
from orchestration.forecasting.combination import arrived
from orchestration.forecasting.demand_series import FEWEST_KNOWN_RATIO, WORKDAYS_A_WEEK, workdays
from orchestration.forecasting.paths import Paths, exact
from orchestration.forecasting.rolling import COMBINED, YARDSTICK, calibrate, combine

By = Literal["hour", "day"]
SEED = 7
PATH_COUNT = 500
BUSINESS_ZONE = timedelta(hours=8)
"""Asia/Shanghai, which has had no summer time since 1991."""


@dataclass(frozen=True)
class Clock:
    """How demand is looked at: periods of a season of seven days, and how many come by default."""

    frequency: str
    season_length: int
    horizon: int


CLOCKS: dict[str, Clock] = {"hour": Clock("1h", 168, 168), "day": Clock("1d", 7, 28)}


@dataclass(frozen=True)
class Ahead:
    """What comes: quantiles (series_id, period, quantile, value), the model they are of, and what it was worth.

    With several series there is one more, ``all``: the sum of the others, path by path, exact. ``scores`` are rows of
    ``backtest.score``; ``reasons`` say why a series has no forecast, or only a fallback.
    """

    quantiles: pl.DataFrame
    model: str
    scores: list[Row]
    reasons: dict[str, str]
    paths: Paths = field(repr=False)


def history(asked: pl.DataFrame, silent: pl.DataFrame, by: By, first: date, last: date) -> pl.DataFrame:
    """Every period of every series from its first demand on: series_id, period, value; null is not known.

    A series counts by the part of its demand that was heard, and is not known with less than FEWEST_KNOWN_RATIO of it.

    Args:
        asked: series_id, usage_hour (UTC), value; an hour without a row asked for nothing.
        silent: series_id, usage_hour, silent_ratio: what part of the series its silent origins usually ask for.
        first, last: business days.
    """
    start = datetime.combine(first, datetime.min.time()) - BUSINESS_ZONE
    hours = pl.datetime_range(start, start + timedelta(days=(last - first).days + 1, hours=-1), "1h", eager=True, time_unit="us")
    opened = asked.filter(pl.col("value") > 0).group_by("series_id").agg(pl.col("usage_hour").min().alias("opened_hour"))
    grid = (
        pl.DataFrame({"usage_hour": hours}).join(opened, how="cross").filter(pl.col("usage_hour") >= pl.col("opened_hour"))
        .join(asked, on=["series_id", "usage_hour"], how="left").join(silent, on=["series_id", "usage_hour"], how="left")
        .select(
            "series_id", "usage_hour", pl.col("value").fill_null(0.0),
            (1 - pl.col("silent_ratio").fill_null(0.0)).clip(0, 1).alias("heard"),
        )
    )
    if by == "day":
        grid = grid.group_by("series_id", (pl.col("usage_hour") + BUSINESS_ZONE).dt.date().alias("period")).agg(
            pl.sum("value"), pl.mean("heard"), pl.len().alias("hours"))
        # The day that a series opened in is not a whole one.
        grid = grid.filter(pl.col("hours") == 24)
    else:
        grid = grid.rename({"usage_hour": "period"})
    return grid.select(
        "series_id", "period",
        pl.when(pl.col("heard") >= FEWEST_KNOWN_RATIO).then(pl.col("value") / pl.col("heard")).alias("value"),
    ).sort("series_id", "period")


def calendar_factors(seen: pl.DataFrame, periods: list[date | datetime], holidays: pl.DataFrame) -> dict[str, np.ndarray]:
    """By series: what a period asks for over what it would if only its weekday counted, by the day it lies in.

    A weekday off asks for the series' own ratio of a day off to a workday; a make-up workday for the inverse.
    """
    days = [_day_of(period) for period in periods]
    worked = dict(workdays(pl.Series(days, dtype=pl.Date), holidays).iter_rows())
    off = np.array([day.weekday() < WORKDAYS_A_WEEK and not worked[day] for day in days])
    made_up = np.array([day.weekday() >= WORKDAYS_A_WEEK and worked[day] for day in days])
    row = {period: index for index, period in enumerate(periods)}
    is_workday = np.array([worked[day] for day in days])
    factors = {}
    for (series_id,), own in seen.drop_nulls("value").group_by("series_id", maintain_order=True):
        kinds = is_workday[[row[period] for period in own["period"]]]
        values = own["value"].to_numpy()
        on_mean, off_mean = (values[kinds == kind].mean() if (kinds == kind).any() else 0.0 for kind in (True, False))
        ratio = off_mean / on_mean if on_mean > 0 and off_mean > 0 else 1.0
        factors[series_id] = np.where(off, ratio, np.where(made_up, 1 / ratio, 1.0))
    return factors


def _day_of(period: date | datetime) -> date:
    return (period + BUSINESS_ZONE).date() if isinstance(period, datetime) else period


def look_ahead(
    seen: pl.DataFrame, by: By, holidays: pl.DataFrame, quantiles: tuple[float, ...], horizon: int | None = None,
) -> Ahead:
    """Quantiles of the periods after a ``history``; seasonal naive's where the combination lost to it on past weeks.

    Raises:
        NotAHistory: no series has a period.
    """
    clock = CLOCKS[by]
    horizon = horizon or clock.horizon
    periods = sorted(seen["period"].unique())
    step = timedelta(hours=1) if by == "hour" else timedelta(days=1)
    targets = [periods[-1] + step * ahead for ahead in range(1, horizon + 1)] if periods else []
    factors = calendar_factors(seen, [*periods, *targets], holidays)
    row = {period: index for index, period in enumerate(periods)}
    ordinary = pl.concat([
        own.with_columns(pl.col("value") / pl.Series(factors[series_id][[row[period] for period in own["period"]]]))
        if series_id in factors else own
        for (series_id,), own in seen.group_by("series_id", maintain_order=True)
    ] or [seen])
    made = methods.forecast(
        ordinary, frequency=clock.frequency, season_length=clock.season_length, horizon=horizon, quantiles=(0.5,), seed=SEED)
    scores = _scores(made)
    model = YARDSTICK if not scores or losing_levels(scores, COMBINED) else COMBINED
    paths = methods.paths_of(made, season_length=clock.season_length, seed=SEED, count=PATH_COUNT, model=model)
    ones = np.ones(len(periods) + horizon)
    calendar = np.array([factors.get(series_id, ones)[-horizon:] for series_id in paths.series_ids]).reshape(-1, horizon)
    coming = Paths(exact(paths.samples * calendar[None]), paths.series_ids, paths.targets)
    shown = [coming.quantiles(quantiles)]
    if len(coming.series_ids) > 1:
        shown.append(coming.aggregate(dict.fromkeys(coming.series_ids, ALL_SERIES)).quantiles(quantiles))
    return Ahead(pl.concat(shown).rename({"target": "period"}), model, scores, made.reasons, coming)


def _scores(made: methods.Forecast) -> list[Row]:
    """What the combination and seasonal naive were worth at past origins that earlier ones had taught something."""
    rolled = made.rolled
    positions = [
        index for index, origin in enumerate(rolled.origins[:-1]) if arrived(rolled.origins, origin, rolled.horizon).any()
    ]
    if not positions:
        return []
    labels = np.full(len(made.panel.series_ids), methods.BOTTOM)
    past = {COMBINED: calibrate(combine(rolled), rolled, labels, positions),
            YARDSTICK: calibrate(rolled.members[YARDSTICK], rolled, labels, positions)}
    return score(
        methods.BOTTOM, made.panel.series_ids, rolled.truth[positions], {model: each[positions] for model, each in past.items()})
