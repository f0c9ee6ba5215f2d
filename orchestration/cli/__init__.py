"""The ``tidegauge`` command: what each command reads, starts and prints.

Commands are glue: they call the raw store, the Dagster job and the published files, and say what came
of it. No figure is computed here. Heavy imports are inside the commands, so that help is instant.
To add a command, write it in the module it belongs to, or in a new one named below.
"""

from orchestration.cli import main_job, repair, figures, dashboard, demand, what_if, operations, doctor  # noqa: F401, I001 - the order of help
from orchestration.cli.session import app, main

__all__ = ["app", "main"]
