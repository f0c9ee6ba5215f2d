"""Forecast of what is asked for, in tokens and in hours of accelerators: by origin site, region, hub region, segment,
tenant, model and nation, week by week.

Cells (origin site, tenant, model) are the smallest that is looked at. The largest are forecast each by itself; those of
a site and segment that remain are forecast together and shared over their models. Tenants share out their segment. All
levels are sums of the same paths. Frames in, frames out; busy hours of pools are ``forecast``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from orchestration.forecasting import methods
from orchestration.forecasting.backtest import (
    CALIBRATION_ORIGINS,
    FIRST_ORIGIN,
    SCORED_ORIGINS,
    Row,
    SharedLevel,
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
from orchestration.forecasting.hierarchy import SHARE_BITS, Hierarchy, shared_out, whole_shares
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
    ASKED_MEASURES,
    ASKED_TABLES,
    FORECAST_ACCURACY,
    HORIZON_WEEKS,
    QUANTILES,
    SITE_GROUPS,
    ForecastTable,
    token_level,
)


class Cell(NamedTuple):
    """The smallest that is looked at."""

    origin_site_id: str
    segment: str
    model_id: str
    tenant_id: str


CELL = list(Cell._fields)
LARGEST_CELLS = 300
"""Cells that are forecast by themselves: two thirds of the tokens of the simulated network. All of its 1,710 took three
times as long and were worse at every level above: a small cell is mostly noise."""
SHARE_WEEKS = 4
"""Known weeks that say how large a cell is, and what share of its remainder."""
LARGEST_TENANTS = 100
"""Tenants that are named; the others of a segment are one together. The ten largest clients of a public service make 63
to 93% of its requests (ServeGen), and what a small one asks for is noise."""
OTHERS = "other/"
PATH_COUNT = 200
SEED = 7
NO_SEASON = 1
MODELS = (COMBINED, YARDSTICK)


@dataclass(frozen=True)
class AskedDemand:
    """What was asked for until now, and what was said of it before.

    daily: usage_date, origin_site_id, segment, model_id, tenant_id, input_tokens, output_tokens, accelerator_hours;
        unconstrained.
    silent_hours: usage_date, site_id, silent_hour_count: hours in which an origin dropped out.
    kept: by table of ASKED_TABLES, rows as they were made after earlier weeks.
    granted: iso_week, origin_site_id, segment, model_id, tenant_id, input_tokens, output_tokens, accelerator_hours: what
        unspent tokens will ask for beyond what the history holds.
    """

    daily: pl.DataFrame
    silent_hours: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(
        schema={"usage_date": pl.Date, "site_id": pl.String, "silent_hour_count": pl.Int64}))
    kept: Mapping[str, pl.DataFrame] = field(default_factory=lambda: {table.name: table.frame([]) for table in ASKED_TABLES})
    granted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(
        schema={"iso_week": pl.String, **dict.fromkeys(CELL, pl.String), **dict.fromkeys(ASKED_MEASURES, pl.Float64)}))


@dataclass(frozen=True)
class AskedForecast:
    """Rows of each table of ASKED_MEASURES and of fct_forecast_accuracy, and the model in use by measure."""

    tables: Mapping[str, pl.DataFrame]
    accuracy: pl.DataFrame
    model: Mapping[str, str]


def as_accuracy_level(measure: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The measure's rows of one of its tables, with the level as fct_forecast_accuracy names it."""
    if "measure" in rows.columns:
        rows = rows.filter(pl.col("measure") == measure)
    return rows.with_columns(pl.format(token_level("{}", "{}"), pl.lit(measure), "level").alias("level"))


@dataclass(frozen=True)
class Cells:
    """What each cell asked for, week by week, in tokens or hours of accelerators; NaN is not known."""

    keys: list[Cell]
    weeks: list[date]
    mean: np.ndarray
    """(cell, week) tokens a day, as if five days were worked."""
    total: np.ndarray
    """(cell, week) tokens of the week as its calendar was."""
    off_ratio: dict[str, float]
    """By segment: tokens of a day off over those of a workday."""


def cells_of(demand: AskedDemand, holidays: pl.DataFrame | None, measure: str, cutoff_week: str) -> Cells:
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
    keys = [Cell(*row) for row in index.select(CELL).iter_rows()]
    summed = (
        seen.filter(pl.col("usage_date") >= first).group_by(*CELL, "usage_date").agg(pl.col(measure).sum()).join(index, on=CELL)
        .with_columns((pl.col("usage_date") - pl.lit(first)).dt.total_days().alias("step"))
    )
    values = np.zeros((len(keys), len(days)))
    values[summed["row"].to_numpy(), summed["step"].to_numpy()] = summed[measure].to_numpy()
    values /= _known_ratio(keys, days, demand.silent_hours)
    worked = workdays(pl.Series(days), holidays)["is_workday"].to_numpy()
    segments = [cell.segment for cell in keys]
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


def _known_ratio(keys: list[Cell], days: list[date], silent_hours: pl.DataFrame) -> np.ndarray:
    """(cell, day) share of the hours in which the cell's site was heard; NaN where too few were."""
    rows_of: dict[str, list[int]] = {}
    for row, cell in enumerate(keys):
        rows_of.setdefault(cell.origin_site_id, []).append(row)
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
        return whole_shares(size, self.of_cell, len(self.series_ids))


def units_of(cells: Cells) -> Units:
    """The largest cells by their newest weeks, each a unit; the other cells of a site and segment are one together."""
    size = np.nansum(cells.mean[:, -SHARE_WEEKS:], axis=1)
    largest = set(np.argsort(-size, kind="stable")[:LARGEST_CELLS].tolist())
    return units_by(cells, ["/".join(cell if row in largest else cell[:2]) for row, cell in enumerate(cells.keys)])


def units_by(cells: Cells, names: list[str]) -> Units:
    """Units by the name that each cell has; cells of one are of one segment."""
    series_ids = tuple(sorted(set(names)))
    row_of = {name: row for row, name in enumerate(series_ids)}
    of_cell = np.array([row_of[name] for name in names])
    values = np.zeros((len(series_ids), len(cells.weeks)))
    np.add.at(values, of_cell, cells.mean)
    segment = {name: cell.segment for name, cell in zip(names, cells.keys, strict=True)}
    return Units(series_ids, of_cell, values, [segment[name] for name in series_ids])


def tenants_of(cells: Cells) -> list[str]:
    """By cell: its tenant, or the others of its segment where that is not one of the largest by their newest weeks."""
    size: dict[str, float] = {}
    for cell, tokens in zip(cells.keys, np.nansum(cells.mean[:, -SHARE_WEEKS:], axis=1).tolist(), strict=True):
        size[cell.tenant_id] = size.get(cell.tenant_id, 0.0) + tokens
    named = set(sorted(size, key=lambda tenant: (-size[tenant], tenant))[:LARGEST_TENANTS])
    return [cell.tenant_id if cell.tenant_id in named else OTHERS + cell.segment for cell in cells.keys]


def parents_of_cells(cells: Cells, site_groups: Mapping[str, Mapping[str, str | None]]) -> dict[str, list[str]]:
    """Per level, the series that each cell adds up into.

    Args:
        site_groups: by level above the sites (region, hub_region), the series of each site.
    """
    return {
        "site": [cell.origin_site_id for cell in cells.keys],
        **{
            level: [site_groups.get(level, {}).get(cell.origin_site_id) or UNKNOWN_REGION for cell in cells.keys]
            for level in SITE_GROUPS
        },
        "segment": [cell.segment for cell in cells.keys],
        "tenant": tenants_of(cells),
        "model": [cell.model_id for cell in cells.keys],
        "nation": [NATION] * len(cells.keys),
    }


@dataclass(frozen=True)
class _Run:
    """Units that are forecast each by itself: their past forecasts, calibrated, and paths of the weeks to come."""

    units: Units
    rolled: Rolled
    positions: list[int]
    """Past origins that are scored."""
    past: dict[str, np.ndarray]
    """Marginals by model, (origin, unit, horizon, level)."""
    coming: dict[str, Paths]
    """By model: tokens or hours of the weeks as their calendar is."""


def _run(measure: str, cells: Cells, units: Units, holidays: pl.DataFrame | None, granted: pl.DataFrame, setting: Setting) -> _Run:
    """Forecasts of the units after every origin, the present one included."""
    length = len(cells.weeks)
    # Members that are fitted series by series saved nothing here, at ten times the cost of the others.
    none = np.array([], dtype=int)
    origins = list(range(max(length - SCORED_ORIGINS - CALIBRATION_ORIGINS, min(FIRST_ORIGIN, length)), length + 1))
    rolled = roll(units.values, origins, setting, {origin: dict.fromkeys(COSTLY, none) for origin in origins})
    positions = [
        index for index, origin in enumerate(rolled.origins) if methods.FEWEST_KNOWN <= origin < length
    ][-SCORED_ORIGINS:]
    labels = np.full(len(units.series_ids), "unit")
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
    coming = {}
    for model in MODELS:
        paths = methods.paths_of(made, season_length=NO_SEASON, seed=SEED, count=PATH_COUNT, model=model)
        rows = [units.series_ids.index(series_id) for series_id in paths.series_ids]
        coming[model] = Paths(paths.samples * calendar[rows][None], paths.series_ids, paths.targets)
    return _Run(units, rolled, positions, {
        COMBINED: calibrate(combine(rolled), rolled, labels, positions),
        YARDSTICK: calibrate(rolled.members[YARDSTICK], rolled, labels, positions),
    }, coming)


def _forecast_measure(
    measure: str, cells: Cells, parents: Mapping[str, list[str]], holidays: pl.DataFrame | None, granted: pl.DataFrame
) -> tuple[dict[tuple[str, str], Paths], list[Row]]:
    """Paths by (model, level), and the backtest's rows.

    Tenants are forecast by themselves, each as a whole, and share out what their segment comes to: as sums of parts of
    cells their bands held .60 of the weeks that they should hold .80 of.
    """
    setting = Setting("1w", NO_SEASON, HORIZON_WEEKS, SEED)
    of_cells, of_tenants = (
        _run(measure, cells, units, holidays, granted, setting) for units in (units_of(cells), units_by(cells, parents["tenant"])))
    units, tenants = of_cells.units, of_tenants.units
    hierarchy = Hierarchy(
        cells.mean, units.of_cell, len(units.series_ids), {level: of for level, of in parents.items() if level != "tenant"},
        lambda origin: units.shares(cells, origin))
    segments = hierarchy.names("segment")
    segment_of = np.array([segments.index(segment) for segment in tenants.segment])
    rows: list[Row] = []
    if of_cells.positions:
        by_tenant = SharedLevel("tenant", tenants.series_ids, "segment", segment_of, tenants.values, of_tenants.past)
        summed = sums_at(
            hierarchy, units.values, of_cells.past, of_cells.rolled, of_cells.positions, setting, PATH_COUNT, [by_tenant])
        rows = [
            row for level, (truth, quantiles) in summed.items() for row in score(
                token_level(measure, level), tenants.series_ids if level == "tenant" else hierarchy.names(level), truth, quantiles)
        ]
    result = {}
    for model in MODELS:
        coming, below = of_cells.coming[model], of_tenants.coming[model]
        known = [units.series_ids.index(series_id) for series_id in coming.series_ids]
        # Multiples of a power of two that leave room for the shares of cells and of tenants, so that all sums are exact.
        samples = exact(coming.samples, spare_bits=2 * SHARE_BITS)
        for level in hierarchy.parents:
            weights = hierarchy.weights(level, len(cells.weeks))[:, known]
            result[model, level] = Paths(np.matmul(weights, samples), hierarchy.names(level), coming.targets)
        above_of = segment_of[[tenants.series_ids.index(series_id) for series_id in below.series_ids]]
        result[model, "tenant"] = Paths(
            shared_out(result[model, "segment"].samples, below.samples, above_of), below.series_ids, coming.targets)
    return result, rows


def forecast_asked(
    demand: AskedDemand, site_groups: Mapping[str, Mapping[str, str | None]], cutoff_week: str,
    holidays: pl.DataFrame | None = None,
) -> AskedForecast:
    """Quantiles of what is asked for in each of the next 13 weeks, by level, and what such forecasts were worth.

    Args:
        site_groups: by level above the sites (region, hub_region), the series of each site.
        holidays: (holiday_date, day_type); a week is that of its own workdays and days off.
    """
    cutoff_date = monday_of(cutoff_week) + timedelta(days=6)
    frames: dict[str, list[pl.DataFrame]] = {table.name: [table.frame([])] for table in ASKED_TABLES}
    accuracy, models = [FORECAST_ACCURACY.frame([])], {}
    for measure, (forecast_table, seen_table) in ASKED_MEASURES.items():
        cells = cells_of(demand, holidays, measure, cutoff_week)
        if not cells.keys:
            models[measure] = YARDSTICK
            continue
        parents = parents_of_cells(cells, site_groups)
        seen = _seen(cells, parents).with_columns(pl.lit(cutoff_date).alias("cutoff_date"), pl.lit(measure).alias("measure"))
        record = scored_past(
            # Who is among the others changes from week to week.
            as_accuracy_level(measure, demand.kept[forecast_table.name]).filter(~pl.col("series_id").str.starts_with(OTHERS)),
            as_accuracy_level(measure, seen), cutoff_date)
        made, rows = _forecast_measure(measure, cells, parents, holidays, demand.granted)
        models[measure] = chosen_model(rows, record, token_level(measure, "site"))
        accuracy += [FORECAST_ACCURACY.frame([{"cutoff_date": cutoff_date, "basis": "backtest", **row} for row in rows]), record]
        frames[seen_table.name].append(_as(seen_table, seen))
        frames[forecast_table.name] += [
            _as(forecast_table, paths.quantiles(QUANTILES).select(
                pl.lit(cutoff_date).alias("cutoff_date"), pl.lit(measure).alias("measure"), pl.lit(level).alias("level"),
                "series_id", pl.col("target").alias("target_date"), pl.lit(model).alias("model"), "quantile", "value",
                pl.lit(model == models[measure]).alias("is_in_use"),
            ))
            for (model, level), paths in made.items()
        ]
    return AskedForecast(
        {table.name: pl.concat(frames[table.name]).sort(table.grain) for table in ASKED_TABLES}, pl.concat(accuracy), models)


def _as(table: ForecastTable, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame's columns that the table has, of its types."""
    return frame.select(table.schema.names()).cast(dict(table.schema))


def _seen(cells: Cells, parents: Mapping[str, list[str]]) -> pl.DataFrame:
    """What each series of each level came to (level, series_id, week_start_date, value); no row where a cell is not known."""
    rows = []
    for level, of_cell in parents.items():
        names = sorted(set(of_cell))
        row_of = {name: row for row, name in enumerate(names)}
        whole = np.zeros((len(names), len(cells.weeks)))
        np.add.at(whole, np.array([row_of[name] for name in of_cell]), cells.total)
        rows += [
            {"level": level, "series_id": name, "week_start_date": monday, "value": float(value)}
            for name, line in zip(names, whole, strict=True)
            for monday, value in zip(cells.weeks, line, strict=True) if np.isfinite(value)
        ]
    return pl.DataFrame(rows, schema={"level": pl.String, "series_id": pl.String, "week_start_date": pl.Date, "value": pl.Float64})


def _known_future(
    measure: str, cells: Cells, units: Units, calendar: np.ndarray, targets: list[date], granted: pl.DataFrame
) -> pl.DataFrame:
    """What grants bring on top, as tokens a day of an ordinary week, so that the calendar makes the week's tokens of them."""
    unit_of = dict(zip(cells.keys, units.of_cell.tolist(), strict=True))
    step_of = {week_of(target): step for step, target in enumerate(targets)}
    rows = []
    for week, *key, value in granted.select("iso_week", *CELL, measure).sort("iso_week", *CELL).iter_rows():
        if week in step_of:
            unit, step = unit_of[Cell(*key)], step_of[week]
            rows.append({"series_id": units.series_ids[unit], "target": targets[step], "value": value / calendar[unit, step]})
    return pl.DataFrame(rows, schema={"series_id": pl.String, "target": pl.Date, "value": pl.Float64})


def _calendar(units: Units, off_ratio: Mapping[str, float], targets: list[date], holidays: pl.DataFrame | None) -> np.ndarray:
    """(unit, week) days' worth of an ordinary week's mean day that the week has, holidays and make-up workdays counted."""
    days = [monday + timedelta(days=step) for monday in targets for step in range(7)]
    worked = workdays(pl.Series(days), holidays)["is_workday"].to_numpy().reshape(-1, 7).sum(axis=1)
    ratio = np.array([off_ratio[segment] for segment in units.segment])[:, None]
    return 7 * (worked + (7 - worked) * ratio) / (WORKDAYS_A_WEEK + (7 - WORKDAYS_A_WEEK) * ratio)
