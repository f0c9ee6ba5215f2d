"""``tidegauge what-if``: the difference that a growth, a cut, a slip, a loss or a trial would make."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.session import HomeOption, JsonOption, app, session
from orchestration.console import CommandError

PERCENT = "PERCENT"


def ratio_of(text: str | None, option: str) -> float:
    """10% or 0.1 as a ratio."""
    if text is None:
        return 0.0
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise CommandError(f"{option} {text!r} is no share", next_step=f"write it like {option} 10%") from None


def weeks_of(text: str | None) -> int:
    """4w or 4 as weeks."""
    if text is None:
        return 0
    digits = text.removesuffix("w")
    if not digits.isdigit():
        raise CommandError(f"--slip-deliveries {text!r} is no number of weeks", next_step="write it like --slip-deliveries 4w")
    return int(digits)


@app.command("what-if")
def what_if(
    growth: Annotated[str | None, typer.Option("--growth", metavar=PERCENT, help="Demand above the forecast, like 10%.", show_default=False)] = None,
    price_cut: Annotated[str | None, typer.Option("--price-cut", metavar=PERCENT, help="List prices cut, like 15%.", show_default=False)] = None,
    slip_deliveries: Annotated[str | None, typer.Option("--slip-deliveries", metavar="WEEKS", help="Committed deliveries late, like 4w.", show_default=False)] = None,
    lose_hub: Annotated[str | None, typer.Option("--lose-hub", metavar="SITE", help="A site that fails, its links with it.", show_default=False)] = None,
    trial_tokens: Annotated[float, typer.Option("--trial-tokens", metavar="TOKENS", help="A new trial over 13 weeks, like 1e12.", show_default=False)] = 0.0,
    elasticity: Annotated[float | None, typer.Option("--elasticity", help="Of demand to price; an assumption.", show_default="1.0")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the next 13 weeks would need, leave unserved and earn if things went otherwise; several at once add up."""
    with session(home, as_json) as here:
        from orchestration import matching_inputs
        from orchestration.forecasting.what_if import PRICE_ELASTICITY, Scenario

        scenario = Scenario(
            "supposed", growth_ratio=ratio_of(growth, "--growth"), price_cut_ratio=ratio_of(price_cut, "--price-cut"),
            slip_weeks=weeks_of(slip_deliveries), lost_site_id=lose_hub, trial_tokens=trial_tokens,
            elasticity=PRICE_ELASTICITY if elasticity is None else elasticity,
        )
        if scenario == Scenario("supposed", elasticity=scenario.elasticity):
            raise CommandError("nothing is supposed", next_step="tidegauge what-if --growth 10%, or see tidegauge what-if --help")
        tables = matching_inputs.suppose(here.home, [scenario])
        if not tables:
            raise CommandError("no week is whole yet, so there is no forecast", next_step="tidegauge run")
        answer, money = tables["fct_what_if"], tables["fct_what_if_margin"]
        may_see_money = here.home.finance.exists()
        rows = list(answer.iter_rows(named=True))
        here.result |= {
            "scenario": scenario.parameters(),
            "differences": [{key: row[key] for key in ("metric", "site_id", "accelerator_id", "unit", "base_value", "scenario_value",
                                                       "difference_value")} for row in rows],
            "margin": money.row(0, named=True) if may_see_money else None,
        }
        here.console.note(f"supposed: {scenario.parameters()}" + ("; elasticity is an assumption" if price_cut else ""))
        changed = [row for row in rows if row["difference_value"]]
        for metric, title in (("short_accelerators", "Accelerators short in the worst of 13 weeks"),
                              ("unserved_tokens", "Tokens that the best scheduling leaves unserved")):
            own = [row for row in changed if row["metric"] == metric]
            every = [row for row in rows if row["metric"] == metric]
            here.console.table(
                ("site", "type", "as forecast", "supposed", "difference"),
                [*((row["site_id"], row["accelerator_id"], *(f"{row[key]:,.0f}" for key in ("base_value", "scenario_value")),
                    f"{row['difference_value']:+,.0f}") for row in own),
                 ("all", "", *(f"{sum(row[key] for row in every):,.0f}" for key in ("base_value", "scenario_value")),
                  f"{sum(row['difference_value'] for row in every):+,.0f}")],
                title=title,
            )
        if may_see_money:
            earned = money.row(0, named=True)
            here.console.table(
                ("margin over 13 weeks, CNY", "as forecast", "supposed", "difference"),
                [("earned less transport and energy", f"{earned['base_margin_cny']:,.2f}", f"{earned['scenario_margin_cny']:,.2f}",
                  f"{earned['difference_cny']:+,.2f}")],
            )
