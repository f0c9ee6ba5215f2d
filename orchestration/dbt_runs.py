"""How dbt is run: its manifest, its environment and its arguments.

One dbt process a build, in a process of its own, so that DuckDB's lock and memory end with it. No
Dagster here; ``defs/dbt_models.py`` turns what dbt reports into events.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration import warehouse
from orchestration.home import DBT_PROJECT, Home
from orchestration.warehouse import Prepared, project_hash

TARGET = DBT_PROJECT / "target"
MANIFEST = TARGET / "manifest.json"
_HASH_OF_MANIFEST = TARGET / "manifest.project_hash"
# Beside the interpreter, because the environment need not be activated.
EXECUTABLE = Path(sys.executable).with_name("dbt")


ROWS_SHOWN = 10


class DbtFailed(RuntimeError):
    """dbt ended with errors; the message holds its own words, or the rows that its tests found."""


def environment(home: Home, target: Path) -> dict[str, str]:
    """The variables that the project's profile and dbt itself read."""
    return {
        **os.environ,
        "TIDEGAUGE_HOME": str(home.root),
        "TIDEGAUGE_WAREHOUSE": str(home.warehouse),
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_LOG_FORMAT": "json",
        "PYTHONUNBUFFERED": "1",
    }


def target_folder(home: Home) -> Path:
    """Where dbt keeps its parse cache and logs for one home; safe to delete between runs."""
    return home.temporary / "dbt"


def build_arguments(prepared: Prepared) -> list[str]:
    """The one build of a run. Unit tests check the models, not the data, so they run with the tests."""
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if prepared.needs_full_refresh:
        arguments.append("--full-refresh")
    return arguments


def prepared_manifest(home: Home) -> Path:
    """The manifest of the project as it is now; parses it when there is none, or an older one.

    A fresh clone has none. The parse is written aside and moved, so two processes may start at once.
    """
    current = project_hash()
    if MANIFEST.exists() and _HASH_OF_MANIFEST.exists() and _HASH_OF_MANIFEST.read_text() == current:
        return MANIFEST
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TARGET, prefix=".parse-") as folder:
        target = Path(folder)
        finished = subprocess.run(
            [str(EXECUTABLE), "parse"], env=environment(home, target), cwd=DBT_PROJECT,
            capture_output=True, text=True, check=False,
        )
        if finished.returncode != 0:
            raise DbtFailed("dbt can't parse the project:\n" + messages_of(finished.stdout + finished.stderr))
        os.replace(target / "manifest.json", MANIFEST)
        (target / "manifest.project_hash").write_text(current)
        os.replace(target / "manifest.project_hash", _HASH_OF_MANIFEST)
    return MANIFEST


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest in which every singular test names one model: the most derived of those it reads.

    Dagster makes a check of a test only when it knows whose check it is.
    """
    manifest = json.loads(path.read_text("utf-8"))
    for node in manifest["nodes"].values():
        parents = [name for name in node.get("depends_on", {}).get("nodes", []) if name.startswith("model.")]
        if node["resource_type"] == "test" and not node.get("attached_node") and parents:
            most_derived = max(sorted(parents), key=lambda name: len(_ancestors(manifest["parent_map"], name)))
            node["config"]["meta"] = {
                **node["config"].get("meta", {}), "dagster": {"ref": {"name": manifest["nodes"][most_derived]["name"]}},
            }
    return manifest


def _ancestors(parent_map: Mapping[str, list[str]], name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for parent in parent_map.get(waiting.pop(), []):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def messages_of(output: str) -> str:
    """What dbt said at level error or warn, from its JSON log lines; other lines as they are."""
    said = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)["info"]
        except (ValueError, KeyError, TypeError):
            said.append(line)
            continue
        if entry.get("level") in ("error", "warn"):
            said.append(entry.get("msg", ""))
    return "\n".join(said[-40:])


def failed_tests(home: Home, target: Path) -> str:
    """What the failed tests of the last build found, by test and row; empty when it failed otherwise.

    dbt itself says only how many rows there are. Its test is asked again, in the warehouse as dbt left it.
    """
    results = json.loads((target / "run_results.json").read_text("utf-8"))["results"]
    failed = [
        result for result in results if result["status"] == "fail" and result["unique_id"].startswith("test.")
    ]
    if not failed or any(result["status"] == "error" for result in results):
        return ""
    lines = [f"{len(failed)} check{'s' if len(failed) > 1 else ''} of the data failed, so nothing was published:"]
    with warehouse.connect(home, read_only=True) as connection:
        for result in failed:
            count = result["failures"]
            lines.append(f"{result['unique_id'].split('.')[2]} ({count} row{'s' if count > 1 else ''}):")
            found = connection.execute(result["compiled_code"])
            names = [column[0] for column in found.description]
            rows = found.fetchmany(ROWS_SHOWN)
            lines += [
                "  " + ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True) if value is not None)
                for row in rows
            ]
            if count > len(rows):
                lines.append(f"  and {count - len(rows)} more")
    return "\n".join(lines)
