"""``tidegauge demand``: what any site, tenant or model asked for by the hour or the day, and what it will."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.session import HomeOption, JsonOption, app, session
from orchestration.console import CommandError

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)


def one_of(value: str, option: str, allowed: tuple[str, ...]) -> str:
    """The value, or an error that names what is allowed."""
    if value not in allowed:
        raise CommandError(f"{option} {value!r} is not known", next_step=f"use one of {', '.join(allowed)}")
    return value


@app.command()
def demand(
    level: Annotated[str, typer.Option("--level", help="nation, region, hub_region, site (that asks), segment, tenant or model.")] = "nation",
    by: Annotated[str, typer.Option("--by", help="day (business days) or hour (UTC). Weeks are in capacity.fct_token_forecast.")] = "day",
    measure: Annotated[str, typer.Option("--measure", help="input_tokens (uncached), output_tokens or accelerator_hours.")] = "output_tokens",
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ID", help="Only this series of the level; may be repeated.", show_default=False)] = None,
    ahead: Annotated[int | None, typer.Option("--ahead", min=1, max=400, help="Periods to forecast. Default: 28 days or 168 hours.", show_default=False)] = None,
    seen: Annotated[int | None, typer.Option("--seen", min=0, help="Past periods to show. Default: one week.", show_default=False)] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Demand by the day or hour, throttled requests added back, and its forecast with bands of 80 and 95%.

    Hours that a site was silent in are not known. The forecast is seasonal naive's where nothing was better on past weeks.
    """
    with session(home, as_json) as here:
        from orchestration import asked_inputs
        from orchestration.forecasting.asked_series import CLOCKS

        one_of(level, "--level", tuple(asked_inputs.SERIES))
        one_of(by, "--by", tuple(CLOCKS))
        one_of(measure, "--measure", tuple(asked_inputs.MEASURES))
        try:
            found = asked_inputs.demand(
                here.home, level, measure, by, QUANTILES, series_ids=tuple(only or ()), horizon=ahead)
        except KeyError as error:
            raise CommandError(
                f"no {level} {error.args[0]!r} has asked for anything", next_step=f"tidegauge demand --level {level} names all of them"
            ) from None
        if found is None:
            raise CommandError("no business day is whole yet, so nothing can be looked at", next_step="tidegauge run")
        scores = {(row["model"], row["metric"]): row["value"] for row in found.ahead.scores if row["series_id"] == "all"}
        here.result |= {
            "level": level, "by": by, "measure": measure, "last_date": found.last_date, "model": found.ahead.model,
            "relative_quantile_loss": scores.get(("weighted", "relative_quantile_loss")),
            "coverage_80_ratio": scores.get((found.ahead.model, "coverage_80_ratio")), "reasons": found.ahead.reasons,
            "seen": found.seen.to_dicts(), "ahead": found.ahead.quantiles.to_dicts(),
        }
        loss = here.result["relative_quantile_loss"]
        here.console.note(
            f"{measure} by {level} and {by}, known to {found.last_date}; forecast by {found.ahead.model.replace('_', ' ')}; "
            + ("too little history to score it" if loss is None
               else f"the combination's loss on past weeks is {loss:.2f} of seasonal naive's")
        )
        for series_id, reason in sorted(found.ahead.reasons.items()):
            here.console.note(f"{series_id}: {reason.replace('_', ' ')}")
        shown = CLOCKS[by].season_length if seen is None else seen
        past = found.seen.sort("series_id", "period").group_by("series_id", maintain_order=True).tail(shown)
        coming = found.ahead.quantiles.pivot(on="quantile", index=["series_id", "period"], values="value", maintain_order=True)
        lines = [
            *((series_id, period, "not known" if value is None else _whole(value), *[""] * len(QUANTILES))
              for series_id, period, value in past.iter_rows()),
            *((series_id, period, "", *map(_whole, values)) for series_id, period, *values in coming.iter_rows()),
        ]
        here.console.table(
            ("series", by, "seen", *(f"{100 * quantile:g}%" for quantile in QUANTILES)), sorted(lines, key=lambda line: line[:2]))


def _whole(value: float) -> str:
    """A total without decimals, or with them where it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
