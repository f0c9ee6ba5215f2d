"""Forecast of the tokens asked for: by origin site, hub region, segment, model and nation, week by week.

Cells (origin site, segment, model) are the smallest that is looked at. The largest are forecast each by itself; those
of a site and segment that remain are forecast together and shared over their models. All levels are sums of the same
paths. Frames in, frames out; accelerators are ``forecast``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.forecasting import methods
from orchestration.forecasting.backtest import (
    CALIBRATION_ORIGINS,
    FIRST_ORIGIN,
    SCORED_ORIGINS,
    Row,
    score,
    sums_at,
)
from orchestration.forecasting.demand_series import (
    FEWEST_KNOWN_RATIO,
    HISTORY_WEEKS,
    NATION,
    UNKNOWN_REGION,
    WORKDAYS_A_WEEK,
    workdays,
)
from orchestration.forecasting.hierarchy import Hierarchy
from orchestration.forecasting.iso_weeks import monday_of, week_of, weeks_after
from orchestration.forecasting.members import Setting, quiet_mean
from orchestration.forecasting.past_forecasts import chosen_model, scored_past
from orchestration.forecasting.paths import Paths, exact
from orchestration.forecasting.rolling import (
    COMBINED,
    COSTLY,
    YARDSTICK,
    Rolled,
    calibrate,
    combine,
    roll,
)
from orchestration.forecasting.tables import (
    FORECAST_ACCURACY,
    HORIZON_WEEKS,
    QUANTILES,
    TOKEN_DEMAND,
    TOKEN_FORECAST,
    TOKEN_MEASURES,
    token_level,
)

CELL = ["origin_site_id", "segment", "model_id"]
LARGEST_CELLS = 300
"""Cells that are forecast by themselves: two thirds of the tokens of the simulated network. All of its 1,710 took three
times as long and were worse at every level above: a small cell is mostly noise."""
SHARE_WEEKS = 4
"""Known weeks that say how large a cell is, and what share of its remainder."""
SHARE_BITS = 12
"""Shares are multiples of 2 to the power of minus this, so that sums of shared paths are exact."""
PATH_COUNT = 200
SEED = 7
NO_SEASON = 1


@dataclass(frozen=True)
class TokenDemand:
    """What was asked for until now, and what was said of it before.

    daily: usage_date, origin_site_id, segment, model_id, input_tokens, output_tokens; unconstrained.
    silent_hours: usage_date, site_id, silent_hour_count: hours in which an origin dropped out.
    kept: rows of fct_token_forecast made after earlier weeks.
    granted: iso_week, origin_site_id, segment, model_id, input_tokens, output_tokens: what unspent tokens will ask for
        beyond what the history holds.
    """

    daily: pl.DataFrame
    silent_hours: pl.DataFrame
    kept: pl.DataFrame
    granted: pl.DataFrame


@dataclass(frozen=True)
class TokenForecast:
    """Rows of fct_token_forecast, fct_token_demand_weekly and fct_forecast_accuracy, and the model in use by measure."""

    forecast: pl.DataFrame
    seen: pl.DataFrame
    accuracy: pl.DataFrame
    model: Mapping[str, str]


def token_level_of() -> pl.Expr:
    """The level's name in fct_forecast_accuracy, of rows of fct_token_forecast."""
    return pl.concat_str("measure", "level", separator="_").alias("level")


@dataclass(frozen=True)
class Cells:
    """What each cell asked for, week by week; NaN is not known."""

    keys: list[tuple[str, str, str]]
    weeks: list[date]
    mean: np.ndarray
    """(cell, week) tokens a day, as if five days were worked."""
    total: np.ndarray
    """(cell, week) tokens of the week as its calendar was."""
    off_ratio: dict[str, float]
    """By segment: tokens of a day off over those of a workday."""


def cells_of(demand: TokenDemand, holidays: pl.DataFrame | None, measure: str, cutoff_week: str) -> Cells:
    """The cells' whole weeks up to the cutoff week, from daily demand.

    A day counts per known hour, and is not known with fewer than FEWEST_KNOWN_RATIO of them; a week likewise with its
    days. A day of a kind (worked, off) that a week does not know, or does not have, is taken at the segment's ratio.
    No row of demand is no demand; a cell that only grants speak of has asked for nothing yet.
    """
    cutoff = monday_of(cutoff_week)
    seen = demand.daily.filter(pl.col("usage_date").is_between(weeks_after(cutoff, 1 - HISTORY_WEEKS), cutoff + timedelta(days=6)))
    if seen.is_empty():
        return Cells([], [], np.empty((0, 0)), np.empty((0, 0)), {})
    start = seen["usage_date"].min()
    # A first week of which only the end is known is not looked at, unless there is no other.
    first = min(start + timedelta(days=-start.weekday() % 7), cutoff)
    days = [first + timedelta(days=step) for step in range((cutoff - first).days + 7)]
    index = (
        pl.concat([seen.select(CELL), demand.granted.select(CELL)]).unique().sort(CELL).with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64))
    )
    keys = list(index.select(CELL).iter_rows())
    summed = (
        seen.filter(pl.col("usage_date") >= first).group_by(*CELL, "usage_date").agg(pl.col(measure).sum()).join(index, on=CELL)
        .with_columns((pl.col("usage_date") - pl.lit(first)).dt.total_days().alias("step"))
    )
    values = np.zeros((len(keys), len(days)))
    values[summed["row"].to_numpy(), summed["step"].to_numpy()] = summed[measure].to_numpy()
    values /= _known_ratio(keys, days, demand.silent_hours)
    worked = workdays(pl.Series(days), holidays)["is_workday"].to_numpy()
    segments = [segment for _, segment, _ in keys]
    off_ratio = {segment: _off_ratio(values[np.array(segments) == segment], worked) for segment in sorted(set(segments))}
    by_cell = np.array([off_ratio[segment] for segment in segments])
    mean, total = (np.full((len(keys), len(days) // 7), np.nan) for _ in range(2))
    for week in range(len(days) // 7):
        here, kind = values[:, 7 * week:7 * week + 7], worked[7 * week:7 * week + 7]
        on, off = quiet_mean(here[:, kind], axis=1), quiet_mean(here[:, ~kind], axis=1)
        on, off = np.where(np.isfinite(on), on, off / by_cell), np.where(np.isfinite(off), off, on * by_cell)
        known = np.isfinite(here).sum(axis=1) >= FEWEST_KNOWN_RATIO * 7
        mean[:, week] = np.where(known, (WORKDAYS_A_WEEK * on + (7 - WORKDAYS_A_WEEK) * off) / 7, np.nan)
        total[:, week] = np.where(known, kind.sum() * on + (~kind).sum() * off, np.nan)
    return Cells(keys, days[::7], mean, total, off_ratio)


def _known_ratio(keys: list[tuple[str, str, str]], days: list[date], silent_hours: pl.DataFrame) -> np.ndarray:
    """(cell, day) share of the hours in which the cell's site was heard; NaN where too few were."""
    rows_of: dict[str, list[int]] = {}
    for row, (site, _, _) in enumerate(keys):
        rows_of.setdefault(site, []).append(row)
    ratio = np.ones((len(keys), len(days)))
    for day, site, hours in silent_hours.select("usage_date", "site_id", "silent_hour_count").iter_rows():
        if site in rows_of and days[0] <= day <= days[-1]:
            ratio[rows_of[site], (day - days[0]).days] = 1 - hours / 24
    return np.where(ratio >= FEWEST_KNOWN_RATIO, ratio, np.nan)


def _off_ratio(values: np.ndarray, worked: np.ndarray) -> float:
    """Tokens of a day off over those of a workday, of cells together; 1 where one kind is not known or nothing."""
    on, off = (np.nansum(quiet_mean(values[:, kind], axis=1)) for kind in (worked, ~worked))
    return float(off / on) if on > 0 and off > 0 else 1.0


@dataclass(frozen=True)
class Units:
    """What is forecast: the largest cells, and per site and segment the rest together."""

    series_ids: tuple[str, ...]
    of_cell: np.ndarray
    """(cell) its unit."""
    values: np.ndarray
    """(unit, week) tokens a day, as if five days were worked."""
    segment: list[str]

    def shares(self, cells: Cells, weeks: int) -> np.ndarray:
        """(cell) its share of its unit in the last SHARE_WEEKS of so many weeks, in whole 2^-SHARE_BITS that sum to 1."""
        size = np.nansum(cells.mean[:, max(weeks - SHARE_WEEKS, 0):weeks], axis=1)
        whole = np.bincount(self.of_cell, size, len(self.series_ids))
        count = np.bincount(self.of_cell, minlength=len(self.series_ids))
        share = np.where(whole[self.of_cell] > 0, size / np.where(whole > 0, whole, 1)[self.of_cell], 1 / count[self.of_cell])
        parts = np.floor(share * 2**SHARE_BITS)
        missing = 2**SHARE_BITS - np.bincount(self.of_cell, parts, len(self.series_ids))
        # What rounding down has left goes to the unit's largest cell.
        order = np.lexsort((np.arange(len(share)), -share, self.of_cell))
        largest = order[np.searchsorted(self.of_cell[order], np.arange(len(self.series_ids)))]
        parts[largest] += missing
        return parts / 2**SHARE_BITS


def units_of(cells: Cells) -> Units:
    """The largest cells by their newest weeks, each a unit; the other cells of a site and segment are one together."""
    size = np.nansum(cells.mean[:, -SHARE_WEEKS:], axis=1)
    largest = set(np.argsort(-size, kind="stable")[:LARGEST_CELLS].tolist())
    names = ["/".join(key if row in largest else key[:2]) for row, key in enumerate(cells.keys)]
    series_ids = tuple(sorted(set(names)))
    row_of = {name: row for row, name in enumerate(series_ids)}
    of_cell = np.array([row_of[name] for name in names])
    values = np.zeros((len(series_ids), len(cells.weeks)))
    np.add.at(values, of_cell, cells.mean)
    segment = {name: key[1] for name, key in zip(names, cells.keys, strict=True)}
    return Units(series_ids, of_cell, values, [segment[name] for name in series_ids])


def parents_of_cells(cells: Cells, hub_regions: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Per level, the series that each cell adds up into."""
    return {
        "site": [site for site, _, _ in cells.keys],
        "hub_region": [hub_regions.get(site) or UNKNOWN_REGION for site, _, _ in cells.keys],
        "segment": [segment for _, segment, _ in cells.keys],
        "model": [model for _, _, model in cells.keys],
        "nation": [NATION] * len(cells.keys),
    }


def hierarchy_of(cells: Cells, units: Units, parents: Mapping[str, list[str]]) -> Hierarchy:
    """The cells of the units, and the levels above them."""
    return Hierarchy(cells.mean, units.of_cell, len(units.series_ids), parents, lambda origin: units.shares(cells, origin))


def _backtest(measure: str, hierarchy: Hierarchy, units: Units, rolled: Rolled, setting: Setting) -> list[Row]:
    """Scores at every level of the last SCORED_ORIGINS origins with a truth, of the combination and of seasonal naive."""
    positions = [
        index for index, origin in enumerate(rolled.origins)
        if methods.FEWEST_KNOWN <= origin < units.values.shape[1]
    ][-SCORED_ORIGINS:]
    if not positions:
        return []
    labels = np.full(len(units.series_ids), "unit")
    made = {COMBINED: calibrate(combine(rolled), rolled, labels, positions),
            YARDSTICK: calibrate(rolled.members[YARDSTICK], rolled, labels, positions)}
    summed = sums_at(hierarchy, units.values, made, rolled, positions, setting, PATH_COUNT)
    return [
        row for level, (truth, quantiles) in summed.items()
        for row in score(token_level(measure, level), hierarchy.names(level), truth, quantiles)
    ]


def forecast_tokens(
    demand: TokenDemand, hub_regions: Mapping[str, str | None], cutoff_week: str, holidays: pl.DataFrame | None = None,
) -> TokenForecast:
    """Quantiles of the tokens of each of the next 13 weeks, by level, and what such forecasts were worth.

    Args:
        holidays: (holiday_date, day_type); a week's tokens are those of its own workdays and days off.
    """
    cutoff_date = monday_of(cutoff_week) + timedelta(days=6)
    frames, seen, accuracy, models = [], [], [], {}
    for measure in TOKEN_MEASURES:
        cells = cells_of(demand, holidays, measure, cutoff_week)
        if not cells.keys:
            models[measure] = YARDSTICK
            continue
        parents = parents_of_cells(cells, hub_regions)
        kept = demand.kept.filter(pl.col("measure") == measure).with_columns(token_level_of())
        seen.append(_seen(measure, cells, parents, cutoff_date))
        record = scored_past(kept, seen[-1].with_columns(token_level_of()), cutoff_date)
        made, rows = _forecast_measure(measure, cells, parents, holidays, demand.granted)
        models[measure] = chosen_model(rows, record, token_level(measure, "site"))
        accuracy += [FORECAST_ACCURACY.frame([{"cutoff_date": cutoff_date, "basis": "backtest", **row} for row in rows]), record]
        frames += [
            paths.quantiles(QUANTILES).select(
                pl.lit(cutoff_date).alias("cutoff_date"), pl.lit(measure).alias("measure"), pl.lit(level).alias("level"),
                "series_id", pl.col("target").alias("target_date"), pl.lit(model).alias("model"), "quantile", "value",
                pl.lit(model == models[measure]).alias("is_in_use"),
            )
            for (model, level), paths in made.items()
        ]
    return TokenForecast(
        pl.concat(frames).cast(dict(TOKEN_FORECAST.schema)).sort(TOKEN_FORECAST.grain) if frames else TOKEN_FORECAST.frame([]),
        pl.concat(seen).sort(TOKEN_DEMAND.grain) if seen else TOKEN_DEMAND.frame([]),
        pl.concat(accuracy) if accuracy else FORECAST_ACCURACY.frame([]), models,
    )


def _seen(measure: str, cells: Cells, parents: Mapping[str, list[str]], cutoff_date: date) -> pl.DataFrame:
    """Rows of fct_token_demand_weekly: what each series of each level came to; no row where a cell is not known."""
    rows = []
    for level, of_cell in parents.items():
        names = sorted(set(of_cell))
        row_of = {name: row for row, name in enumerate(names)}
        whole = np.zeros((len(names), len(cells.weeks)))
        np.add.at(whole, np.array([row_of[name] for name in of_cell]), cells.total)
        rows += [
            {"cutoff_date": cutoff_date, "measure": measure, "level": level, "series_id": name, "week_start_date": monday,
             "value": float(value)}
            for name, line in zip(names, whole, strict=True)
            for monday, value in zip(cells.weeks, line, strict=True) if np.isfinite(value)
        ]
    return TOKEN_DEMAND.frame(rows)


def _forecast_measure(
    measure: str, cells: Cells, parents: Mapping[str, list[str]], holidays: pl.DataFrame | None, granted: pl.DataFrame
) -> tuple[dict[tuple[str, str], Paths], list[Row]]:
    """Paths by (model, level), and the backtest's rows."""
    units = units_of(cells)
    setting = Setting("1w", NO_SEASON, HORIZON_WEEKS, SEED)
    length = len(cells.weeks)
    # Members that are fitted series by series saved nothing here, at ten times the cost of the others.
    none = np.array([], dtype=int)
    origins = list(range(max(length - SCORED_ORIGINS - CALIBRATION_ORIGINS, min(FIRST_ORIGIN, length)), length + 1))
    rolled = roll(units.values, origins, setting, {origin: dict.fromkeys(COSTLY, none) for origin in origins})
    hierarchy = hierarchy_of(cells, units, parents)
    rows = _backtest(measure, hierarchy, units, rolled, setting)
    history = pl.DataFrame({
        "series_id": np.repeat(np.array(units.series_ids, dtype=object), length).tolist(),
        "period": list(cells.weeks) * len(units.series_ids), "value": units.values.reshape(-1),
    })
    targets = [weeks_after(cells.weeks[-1], step + 1) for step in range(HORIZON_WEEKS)]
    calendar = _calendar(units, cells.off_ratio, targets, holidays)
    made = methods.forecast(
        history, frequency="1w", season_length=NO_SEASON, horizon=HORIZON_WEEKS, quantiles=(0.5,), seed=SEED,
        past=methods.Past(units.series_ids, tuple(cells.weeks[origin - 1] for origin in origins), rolled.members),
        known_future=_known_future(measure, cells, units, calendar, targets, granted),
    )
    result = {}
    for model in (COMBINED, YARDSTICK):
        below = methods.paths_of(made, season_length=NO_SEASON, seed=SEED, count=PATH_COUNT, model=model)
        rows_of = [units.series_ids.index(series_id) for series_id in below.series_ids]
        # Multiples of a power of two that leave room for the shares, so that all sums below are exact.
        samples = exact(below.samples * calendar[rows_of][None], spare_bits=SHARE_BITS)
        for level in parents:
            weights = hierarchy.weights(level, length)[:, rows_of]
            result[model, level] = Paths(np.matmul(weights, samples), hierarchy.names(level), below.targets)
    return result, rows


def _known_future(
    measure: str, cells: Cells, units: Units, calendar: np.ndarray, targets: list[date], granted: pl.DataFrame
) -> pl.DataFrame:
    """What grants bring on top, as tokens a day of an ordinary week, so that the calendar makes the week's tokens of them."""
    unit_of = dict(zip(cells.keys, units.of_cell.tolist(), strict=True))
    step_of = {week_of(target): step for step, target in enumerate(targets)}
    rows = []
    for week, *key, value in granted.select("iso_week", *CELL, measure).sort("iso_week", *CELL).iter_rows():
        if week in step_of:
            unit, step = unit_of[tuple(key)], step_of[week]
            rows.append({"series_id": units.series_ids[unit], "target": targets[step], "value": value / calendar[unit, step]})
    return pl.DataFrame(rows, schema={"series_id": pl.String, "target": pl.Date, "value": pl.Float64})


def _calendar(units: Units, off_ratio: Mapping[str, float], targets: list[date], holidays: pl.DataFrame | None) -> np.ndarray:
    """(unit, week) days' worth of an ordinary week's mean day that the week has, holidays and make-up workdays counted."""
    days = [monday + timedelta(days=step) for monday in targets for step in range(7)]
    worked = workdays(pl.Series(days), holidays)["is_workday"].to_numpy().reshape(-1, 7).sum(axis=1)
    ratio = np.array([off_ratio[segment] for segment in units.segment])[:, None]
    return 7 * (worked + (7 - worked) * ratio) / (WORKDAYS_A_WEEK + (7 - WORKDAYS_A_WEEK) * ratio)
