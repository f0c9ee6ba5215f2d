"""Who may import what: pure code stays pure because a test reads the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from orchestration.home import PROJECT

MAY_IMPORT_DAGSTER = {"orchestration/definitions.py", "orchestration/partitions.py"}
HEAVY = {"great_expectations", "plotly", "dagster", "dagster_dbt", "dbt", "pandas"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every Python file of the program, parsed, by its path in the project."""
    for folder in ("orchestration", "dashboards"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            yield path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages and orchestration modules that a tree imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(names: set[str]) -> set[str]:
    """The first part of each name."""
    return {name.split(".")[0] for name in names}


def test_only_glue_imports_dagster() -> None:
    """A parser or a forecast that imports Dagster can't be run or tested without it."""
    wrong = [
        path for path, tree in modules()
        if packages(imported(tree)) & {"dagster", "dagster_dbt"}
        and path not in MAY_IMPORT_DAGSTER and not path.startswith("orchestration/defs/")
    ]
    assert wrong == []


def test_dashboards_read_published_files_and_nothing_of_the_pipeline() -> None:
    """A report that reaches into the warehouse shows figures that no audit has passed."""
    wrong = [
        (path, name) for path, tree in modules() if path.startswith("dashboards/")
        for name in imported(tree)
        if name.split(".")[0] in ("dagster", "dagster_dbt", "dbt")
        or name.startswith(("orchestration.defs", "orchestration.definitions", "orchestration.raw_store"))
    ]
    assert wrong == []


def test_formats_know_nothing_of_the_store_or_the_warehouse() -> None:
    """A parser that opens the store can't be used on a file that was never delivered."""
    wrong = [
        (path, name) for path, tree in modules()
        if path.startswith("orchestration/sources/") and "/simulate/" not in path
        for name in imported(tree)
        if name.startswith(("orchestration.raw_store", "orchestration.warehouse", "orchestration.defs"))
    ]
    assert wrong == []


def test_forecasting_is_pure() -> None:
    """A forecast that reads files or databases gives another answer tomorrow."""
    wrong = [
        (path, name) for path, tree in modules() if path.startswith("orchestration/forecasting/")
        for name in packages(imported(tree)) if name in ("duckdb", "dagster", "os", "pathlib")
    ]
    assert wrong == []


def test_the_command_line_starts_without_heavy_libraries() -> None:
    """`tidegauge --help` that imports Dagster takes three seconds to print a page."""
    for path, tree in modules():
        if path.startswith("orchestration/cli/"):
            at_start = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
            assert not packages(imported(at_start)) & (HEAVY | {"duckdb", "polars"}), path


def test_glue_does_not_postpone_annotations() -> None:
    """Dagster reads the annotations of contexts, resources and configs when it decorates."""
    wrong = [
        path for path, tree in modules()
        if path.startswith("orchestration/defs/") and "__future__" in packages(imported(tree))
    ]
    assert wrong == []


def test_no_test_but_those_of_traces_looks_outside_the_checkout() -> None:
    """The program must run on a machine that has nothing beside the checkout."""
    wrong = [path for path, _ in modules() if "../shared" in (Path(PROJECT) / path).read_text("utf-8")]
    assert wrong == []
