"""What several tests share: scratch homes, the command line in a process of its own, real traces.

Homes that take long to make are made once a session; tests only read them, or copy them first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from orchestration.home import PROJECT, Home
from orchestration.warehouse import canonical_hash, open_published

TIDEGAUGE = Path(sys.executable).with_name("tidegauge")
# Real traces are kept beside the checkout and are not part of it.
SHARED_DATA = PROJECT.parent / "shared" / "data"
SMALL_SIMULATION = ("--days", "21", "--events-per-day", "1500", "--seed", "7")


def pytest_configure() -> None:
    """Keeps every test out of the project's own data/, also one that forgets to name a home."""
    if "TIDEGAUGE_HOME" not in os.environ:
        os.environ["TIDEGAUGE_HOME"] = tempfile.mkdtemp(prefix="tidegauge-tests-")


def pytest_unconfigure() -> None:
    """Removes the scratch home of the session."""
    home = Path(os.environ.get("TIDEGAUGE_HOME", ""))
    if home.name.startswith("tidegauge-tests-"):
        shutil.rmtree(home, ignore_errors=True)


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit code and what it said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.stdout)


Command = Callable[..., Ran]


def run_tidegauge(home: Home, *arguments: object, **environment: str) -> Ran:
    """Runs the command line on a home, as a person would."""
    finished = subprocess.run(
        [str(TIDEGAUGE), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "TIDEGAUGE_HOME": str(home.root), **environment},
    )
    return Ran(finished.returncode, finished.stdout, finished.stderr)


def succeed(home: Home, *arguments: object, **environment: str) -> Ran:
    """Runs a command that a test relies on."""
    ran = run_tidegauge(home, *arguments, **environment)
    assert ran.exit_code == 0, f"tidegauge {' '.join(map(str, arguments))}\n{ran.stdout}\n{ran.stderr}"
    return ran


@pytest.fixture
def tidegauge() -> Command:
    """The command line: ``tidegauge(home, "status", "--json").json``."""
    return run_tidegauge


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real traces; skips where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"2026-11-24: real traces are not beside the checkout ({SHARED_DATA.name} is absent)")
    return SHARED_DATA


def demo_home(name: str, tmp_path_factory: pytest.TempPathFactory, *arguments: object) -> Home:
    """A home where ``demo`` has run once, however many processes the tests are spread over.

    The first process to need it makes it; each then works on a copy of its own, because a command
    that changes nothing still takes the home's lock and writes to Dagster's store.
    """
    mine = Home(tmp_path_factory.mktemp(name) / "home")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        succeed(mine, "demo", *arguments)
        return mine
    # Every process's folder lies in one that they share. The home stays where it was made, because the
    # warehouse of a copy reads raw files there until its own next build.
    made = Home(tmp_path_factory.getbasetemp().parent / name)
    done = made.root.with_suffix(".done")
    with FileLock(made.root.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(made.root, ignore_errors=True)
            succeed(made, "demo", *arguments)
            done.touch()
    shutil.copytree(made.root, mine.root)
    return mine


@pytest.fixture(scope="session")
def traces_home(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home where the main job has run on the real traces. Read only."""
    return demo_home("traces", tmp_path_factory, "--traces", shared_data)


@pytest.fixture(scope="session")
def simulated_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home where the main job has run on a small simulated network. Read only."""
    return demo_home("simulated", tmp_path_factory, *SMALL_SIMULATION)


@pytest.fixture
def copied_home(simulated_home: Home, tmp_path: Path) -> Iterator[Home]:
    """A copy of the simulated home that a test may change."""
    copy = tmp_path / "copy"
    shutil.copytree(simulated_home.root, copy)
    yield Home(copy)
    shutil.rmtree(copy, ignore_errors=True)


@pytest.fixture
def query() -> Callable[[Path, str], list[tuple]]:
    """Rows of a query over a DuckDB file, opened read only."""

    def rows(path: Path, sql: str) -> list[tuple]:
        with open_published(path) as connection:
            return connection.execute(sql).fetchall()

    return rows


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    """Canonical hash of each mart of a published file."""

    def of(path: Path) -> dict[str, str]:
        with open_published(path) as connection:
            return canonical_hash(connection)

    return of
