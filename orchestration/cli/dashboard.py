"""The margin dashboard: served to readers who may see money."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.session import HomeOption, LanguageOption, app, session
from orchestration.console import CommandError


@app.command()
def dashboard(
    host: Annotated[str, typer.Option(help="Address to serve on. Others than this machine's own want a password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8050,
    static: Annotated[Path | None, typer.Option("--static", metavar="FILE", help="Write the pages to one file to print, and serve nothing.", show_default=False)] = None,
    language: LanguageOption = "en",
    home: HomeOption = None,
) -> None:
    """Serve the margin dashboard to readers who may see money (Ctrl-C ends it).

    The password is that of TIDEGAUGE_DASHBOARD_PASSWORD; without one, one is made up and said once. Behind a
    proxy that asks for passwords itself, TIDEGAUGE_DASHBOARD_PROXY_HEADER names the header with the reader's
    name, and TIDEGAUGE_DASHBOARD_PROXY_SECRET what the proxy sends as X-Tidegauge-Proxy-Secret.
    """
    with session(home, False) as here:
        from dashboards.margin_dashboard import access, readings, server

        def absent(error: readings.FinanceAbsent) -> CommandError:
            return CommandError(
                str(error), where=str(here.home.finance), next_step="tidegauge demo, or tidegauge ingest PATH and tidegauge run"
            )

        if language not in ("en", "zh"):
            raise CommandError(f"there is no dashboard in {language!r}", next_step="use --language en or --language zh")

        if static is not None:
            from dashboards.margin_dashboard import static_page

            try:
                here.console.say(str(static_page.write_static_page(here.home.finance, static, language)))
            except readings.FinanceAbsent as error:
                raise absent(error) from None
            return

        def ready(address: str) -> None:
            here.console.say(f"{address}  ({here.home.finance}; any name, and the password)")
            if granted.generated_password:
                here.console.say(f"password, said only now: {granted.generated_password}")

        try:
            granted = access.Access.from_environment(host)
            server.serve(here.home.finance, host, port, granted, language, ready)
        except readings.FinanceAbsent as error:
            raise absent(error) from None
        except server.PortTaken as error:
            raise CommandError(error.strerror, next_step="choose another with --port, or end what listens there") from None
        except access.AccessRefused as error:
            raise CommandError(str(error), next_step="set it and start again") from None
