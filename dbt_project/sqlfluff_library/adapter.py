"""Stands in for dbt's ``adapter`` when sqlfluff renders a model: a dispatched macro becomes a call.

For linting only; dbt never loads this folder.
"""

from __future__ import annotations

from collections.abc import Callable


def dispatch(macro_name: str, macro_namespace: str | None = None) -> Callable[..., str]:
    """A macro that renders as a function call of its own name."""
    return lambda *arguments: f"{macro_name}({', '.join(str(argument) for argument in arguments)})"
