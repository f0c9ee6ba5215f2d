"""`make bench-forecast`: how good the forecast is on real series, with a verdict beside each goal, and as JSON.

Backtests with rolling origins, calibrated only on earlier ones; seasonal naive and the simple rules stand beside
us. A goal that is missed is printed as missed. The CPU goal is measured in one process, libraries warm.

With TIDEGAUGE_PRETRAINED=fracast the pretrained model is one of the members, and what it changes is printed too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.forecasting import methods
from orchestration.forecasting.accuracy import MEAN_RULE, PEAK_RULE
from orchestration.forecasting.backtest import (
    ALL_SERIES,
    CALIBRATION_ORIGINS,
    FIRST_SCORED_ORIGIN,
    RAW_YARDSTICK,
    backtest,
)
from orchestration.forecasting.members import MEMBERS, Member, Setting
from orchestration.forecasting.panel import panel_of
from orchestration.forecasting.pretrained import members_from
from orchestration.forecasting.rolling import COMBINED, YARDSTICK
from orchestration.home import PROJECT, Home
from tests.bench import matching
from tests.bench.real_series import RealSet, real_sets

SHARED_DATA = PROJECT.parent / "shared" / "data"
SEED = 20261124
DAILY_SERIES = int(os.environ.get("TIDEGAUGE_BENCH_SERIES", "500"))
DAILY_LENGTH = 140
DAILY_HORIZON = 14
BOTTOM = "series"
RULES = (YARDSTICK, PEAK_RULE, MEAN_RULE)


@dataclass(frozen=True)
class Goal:
    """One figure and whether it reaches its goal."""

    what: str
    figure: float
    goal: str
    reached: bool


def scores_of(real: RealSet, members: Mapping[str, Member]) -> pl.DataFrame:
    """The backtest of one set: level, series_id, model, metric, value, set."""
    panel = panel_of(real.history, real.frequency)
    last = len(panel.periods) - real.horizon
    step = real.origin_step
    origins = range(last - step * (real.origins + CALIBRATION_ORIGINS - 1), last + 1, step)
    tested = backtest(
        panel, BOTTOM, real.levels, Setting(real.frequency, real.season_length, real.horizon, SEED, members),
        origins=[origin for origin in origins if origin >= FIRST_SCORED_ORIGIN], scored=real.origins, every_member=True,
    )
    return pl.DataFrame(tested.rows).with_columns(pl.lit(real.name).alias("set"))


def of_all(scores: pl.DataFrame, metric: str, model: str) -> dict[tuple[str, str], float]:
    """A metric over all series of a level, by (set, level)."""
    rows = scores.filter(
        (pl.col("series_id") == ALL_SERIES) & (pl.col("metric") == metric) & (pl.col("model") == model))
    return {(row["set"], row["level"]): row["value"] for row in rows.iter_rows(named=True)}


def over_series(scores: pl.DataFrame, metric: str, model: str = COMBINED) -> dict[str, float]:
    """The geometric mean of a relative loss over every series of a set, of all its levels."""
    rows = scores.filter(
        (pl.col("series_id") != ALL_SERIES) & (pl.col("metric") == metric) & (pl.col("model") == model))
    return dict(rows.group_by("set").agg(pl.col("value").log().mean().exp()).sort("set").iter_rows())


def mean_by_level(by_set_and_level: dict[tuple[str, str], float]) -> dict[str, float]:
    """The mean over sets of each level that they have."""
    levels = dict.fromkeys(level for _, level in by_set_and_level)
    return {
        level: float(np.mean([value for (_, here), value in by_set_and_level.items() if here == level]))
        for level in levels
    }


def quality_goals(scores: pl.DataFrame) -> list[Goal]:
    """Loss, coverage and order regret against their goals."""
    overall = float(np.mean(list(over_series(scores, "relative_quantile_loss").values())))
    goals = [Goal("relative quantile loss, mean of sets", overall, "<= 0.65", overall <= 0.65)]
    for level, value in mean_by_level(of_all(scores, "relative_quantile_loss", COMBINED)).items():
        goals.append(Goal(f"relative quantile loss, level {level}", value, "< 1", value < 1))
    for metric, low, high in (("coverage_80_ratio", 0.77, 0.83), ("coverage_95_ratio", 0.93, 0.97)):
        for level, value in mean_by_level(of_all(scores, metric, COMBINED)).items():
            goals.append(Goal(f"{metric}, level {level}", value, f"{low} to {high}", low <= round(value, 3) <= high))
    ours = of_all(scores, "order_regret", COMBINED)
    for (name, level), value in ours.items():
        if level != BOTTOM:
            continue
        rules = {rule: of_all(scores, "order_regret", rule)[name, level] for rule in RULES}
        best = min(rules, key=rules.get)
        goals.append(Goal(f"order regret at tau .845, {name}", value, f"< {rules[best]:.3f} ({best})", value < rules[best]))
    return goals


def incoherence(real: RealSet) -> float:
    """The largest difference between sums of the same paths made in different ways; 0 is the only good answer."""
    paths = methods.paths(
        real.history, frequency=real.frequency, season_length=real.season_length, horizon=real.horizon, seed=SEED)
    total = dict.fromkeys(paths.series_ids, "all")
    straight = paths.aggregate(total).samples[:, 0]
    worst = float(np.abs(straight - paths.samples[:, ::-1].sum(axis=1)).max())
    for parents in real.levels.values():
        above = paths.aggregate(parents)
        worst = max(worst, float(np.abs(above.samples.sum(axis=1) - straight).max()))
    return worst


def daily_fleet(sets: list[RealSet]) -> pl.DataFrame:
    """DAILY_SERIES histories of DAILY_LENGTH days: windows of the real series, one value read as one day.

    The real daily series are too few and too short to time 500; what a fit costs follows from length and shape.
    """
    windows = []
    for real in sets:
        for values in real.history.sort("series_id", "period").partition_by("series_id"):
            line = values["value"].to_numpy()
            for first in range(0, len(line) - DAILY_LENGTH + 1, DAILY_LENGTH // 2):
                window = line[first:first + DAILY_LENGTH]
                if (window > 0).mean() > 0.2:
                    windows.append(window)
    chosen = [windows[index] for index in np.linspace(0, len(windows) - 1, DAILY_SERIES).round().astype(int)]
    first_day = date(2026, 7, 1)
    return pl.DataFrame({
        "series_id": np.repeat([f"d{index:03}" for index in range(DAILY_SERIES)], DAILY_LENGTH),
        "period": [first_day + timedelta(days=day) for day in range(DAILY_LENGTH)] * DAILY_SERIES,
        "value": np.concatenate(chosen),
    })


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds, user and system, of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before


def cpu_goal(fleet: pl.DataFrame, members: Mapping[str, Member]) -> tuple[Goal, dict[str, float]]:
    """Our whole forecast, past forecasts for its calibration included, against AutoETS fitted once, same series."""
    from statsforecast.models import AutoETS

    histories = [part["value"].to_numpy() for part in fleet.partition_by("series_id", maintain_order=True)]

    def ours(frame: pl.DataFrame) -> methods.Forecast:
        return methods.forecast(frame, frequency="1d", season_length=7, horizon=DAILY_HORIZON, seed=SEED,
                                quantiles=(0.1, 0.5, 0.9), members=members)

    def theirs(values: list[np.ndarray]) -> None:
        with np.errstate(all="ignore"):
            for history in values:
                AutoETS(season_length=7).forecast(history, h=DAILY_HORIZON, level=[80])

    few = fleet.filter(pl.col("series_id").is_in([f"d{index:03}" for index in range(3)]))
    ours(few)
    theirs(histories[:3])
    measured = {"ours": cpu_seconds(lambda: ours(fleet)), "auto_ets": cpu_seconds(lambda: theirs(histories))}
    ratio = measured["ours"] / measured["auto_ets"]
    return Goal(f"CPU of {DAILY_SERIES} daily series over AutoETS alone", ratio, "<= 0.3", ratio <= 0.3), measured


def table(scores: pl.DataFrame) -> str:
    """Every set and level, ours beside the yardstick and the rules."""
    heading = f"{'set':14} {'level':7} {'loss':>6} {'raw':>6} {'wape':>6} {'naive':>6} {'80%':>5} {'95%':>5}"
    lines = [heading + f" {'regret':>7} {'naive':>7} {'peak':>7} {'mean1.3':>7}"]
    metrics = {
        (model, metric): of_all(scores, metric, model)
        for model, metric in (
            (COMBINED, "relative_quantile_loss"), (RAW_YARDSTICK, "relative_quantile_loss"), (COMBINED, "wape"),
            (YARDSTICK, "wape"), (COMBINED, "coverage_80_ratio"), (COMBINED, "coverage_95_ratio"), (COMBINED, "order_regret"),
            *((rule, "order_regret") for rule in RULES))
    }
    ours, raw = (metrics[model, "relative_quantile_loss"] for model in (COMBINED, RAW_YARDSTICK))
    metrics[RAW_YARDSTICK, "relative_quantile_loss"] = {key: ours[key] / raw[key] for key in ours}
    for key in ours:
        figures = [values.get(key, float("nan")) for values in metrics.values()]
        widths = (6, 6, 6, 6, 5, 5, 7, 7, 7, 7)
        lines.append(f"{key[0]:14} {key[1]:7} " + " ".join(
            f"{figure:{width}.3f}" for figure, width in zip(figures, widths, strict=True)))
    return "\n".join(lines)


def members_table(scores: pl.DataFrame) -> str:
    """Relative loss of each member at the bottom, mean of sets: why they are joined."""
    models = [model for model in scores["model"].unique().sort() if model not in (*RULES[1:], RAW_YARDSTICK)]
    found = {model: of_all(scores, "relative_quantile_loss", model) for model in models}
    means = {model: mean_by_level(values)[BOTTOM] for model, values in found.items()}
    return "  ".join(f"{model} {mean:.3f}" for model, mean in sorted(means.items(), key=lambda item: item[1]))


def pretrained_table(without: pl.DataFrame, scores: pl.DataFrame) -> str:
    """Loss and coverage without and with the pretrained member, every set and level, and the means by level."""
    metrics = ("relative_quantile_loss", "coverage_80_ratio", "coverage_95_ratio")
    figures = [of_all(each, metric, COMBINED) for metric in metrics for each in (without, scores)]
    lines = [f"{'set':14} {'level':7} {'loss':>6} {'with':>6} {'80%':>6} {'with':>6} {'95%':>6} {'with':>6}"]
    lines += [f"{name:14} {level:7} " + " ".join(f"{each[name, level]:6.3f}" for each in figures) for name, level in figures[0]]
    means = [mean_by_level(each) for each in figures]
    lines += [f"{'mean of sets':14} {level:7} " + " ".join(f"{each[level]:6.3f}" for each in means) for level in means[0]]
    overall = (np.mean(list(over_series(each, "relative_quantile_loss").values())) for each in (without, scores))
    return "\n".join([*lines, f"{'mean of sets':14} {'every':7} " + " ".join(f"{each:6.3f}" for each in overall)])


def main() -> int:
    """Prints the tables, writes the JSON; 1 when a goal is missed."""
    if not SHARED_DATA.is_dir():
        print("the real traces are not beside the checkout (../shared/data is absent)", file=sys.stderr)
        return 1
    sets = real_sets(SHARED_DATA)
    members = members_from(os.environ)
    spent = time.process_time()
    scores = pl.concat([scores_of(real, members) for real in sets])
    spent = time.process_time() - spent
    print("Backtests on real series; loss relative to calibrated seasonal naive, raw: to its own intervals\n")
    print(table(scores))
    print(f"\nmembers alone: {members_table(scores)}")
    if members is not MEMBERS:
        print("\nwithout and with the pretrained member:\n")
        print(pretrained_table(pl.concat([scores_of(real, MEMBERS) for real in sets]), scores))
    goals = quality_goals(scores)
    worst = max(incoherence(real) for real in sets)
    goals.append(Goal("incoherence of paths", worst, "0", worst == 0))
    cpu, measured = cpu_goal(daily_fleet(sets), members)
    goals.append(cpu)
    goals.append(Goal(**matching.row()))
    ours, own = (over_series(scores, "relative_quantile_loss", model) for model in (COMBINED, RAW_YARDSTICK))
    raw = float(np.mean([ours[name] / own[name] for name in ours]))
    print(f"relative to seasonal naive's own intervals, mean of sets: {raw:.3f}; backtests took {spent:.0f} CPU-s; "
          f"{DAILY_SERIES} daily series: ours {measured['ours']:.1f}, AutoETS {measured['auto_ets']:.1f} CPU-s\n")
    for goal in goals:
        print(f"{'PASS' if goal.reached else 'FAIL'}  {goal.what:48} {goal.figure:8.3f}   goal {goal.goal}")
    out = Home.from_environment().root / "bench-forecast.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({
        "members": list(members), "goals": [asdict(goal) for goal in goals], "cpu_seconds": measured,
        "scores": scores.filter(pl.col("series_id") == ALL_SERIES).to_dicts(),
    }, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {out}")
    return 0 if all(goal.reached for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
