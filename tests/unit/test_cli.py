"""The command line without data: start-up, exit codes, messages, what programs read."""

from __future__ import annotations

import ast
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from orchestration.cli.doctor import storage_of
from orchestration.home import PROJECT

TIDEGAUGE = Path(sys.executable).with_name("tidegauge")
HELP_BUDGET_CPU_SECONDS = 0.5
HEAVY = ("duckdb", "polars", "pyarrow", "dagster", "pandas", "numpy", "plotly", "dbt", "great_expectations")


def test_help_costs_less_than_half_a_cpu_second():
    """A heavy import at module level would make every command, and every typo, slow."""
    subprocess.run([str(TIDEGAUGE), "--help"], capture_output=True, check=True)
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([str(TIDEGAUGE), "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # The least, because tests beside this one slow it down; they never make it cheaper.
    assert min(costs) < HELP_BUDGET_CPU_SECONDS


def test_importing_the_command_line_imports_nothing_heavy():
    """The budget of help depends on the machine; this does not."""
    code = f"import sys, orchestration.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_misuse_ends_with_one_and_not_with_the_code_that_means_blocked(tidegauge, home):
    """A script that waits for 2 (audit blocked) must not take a typo for it."""
    for arguments in (("nonsense",), ("simulate",), ("backfill", "token_usage"), ("status", "--nonsense")):
        ran = tidegauge(home, *arguments)
        assert ran.exit_code == 1, arguments
        assert ran.stderr
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "--week", "2026-W60"), "like 2026-W47"),
        (("report",), "nothing has been published yet"),
        (("reconcile",), "nothing has been published yet"),
        (("export", "csv"), "nothing has been published yet"),
        (("ingest", "--feed", "nonsense"), "token_usage, job_logs, telemetry, reference"),
        (("ingest", "missing.csv"), "missing.csv does not exist"),
        (("rebuild",), "landing holds nothing to rebuild from"),
        (("backfill", "token_usage", "--from", "2026-11-20", "--to", "2026-11-19", "--reason", "x"), "swap them"),
        (("backfill", "token_usage", "--from", "20.11.2026", "--to", "2026-11-19", "--reason", "x"), "like 2026-11-22"),
        (("backfill", "token_usage", "--from", "2026-11-19", "--to", "2026-11-20", "--reason", " "), "say why"),
        (("quarantine", "show", "abc"), "quarantine list"),
        (("demo", "--traces", "missing-folder"), "not a folder"),
    ],
)
def test_an_error_says_what_happened_and_the_next_step(tidegauge, home, arguments, said):
    """A person at three in the morning needs the next step, not a traceback."""
    ran = tidegauge(home, *arguments)
    assert ran.exit_code == 1
    assert said in ran.stderr
    assert "next:" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_every_error_of_a_command_names_the_next_step():
    """A message without a next step is where a person gives up; the source is read, so none can be added."""
    without = [
        f"{path.name}:{node.lineno}"
        for path in sorted((PROJECT / "orchestration" / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "CommandError"
        and not any(keyword.arg == "next_step" for keyword in node.keywords)
    ]
    assert without == []


def test_the_header_of_a_database_file_tells_who_wrote_it(tmp_path):
    """doctor warns of files that the installed DuckDB can't read, also when it can't open them."""
    path, other = tmp_path / "x.duckdb", tmp_path / "other"
    duckdb.connect(str(path)).close()
    other.write_bytes(b"no database")
    assert storage_of(path) == (64, f"v{duckdb.__version__}")
    assert storage_of(other) is None
    assert storage_of(tmp_path / "absent") is None


def test_doctor_names_a_run_whose_process_is_gone_and_the_next_run_ends_it(tidegauge, home):
    """A killed command's record would hold its place in the pool for ever, and nobody would know why."""
    from orchestration import definitions

    with definitions.instance_of(home) as instance:
        job = definitions.loaded().resolve_job_def(definitions.JOB_NAME)
        run = instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, tags={definitions.STARTED_BY: "command"}
        )
    check = next(
        check for check in tidegauge(home, "doctor", "--json").json["checks"] if check["check"] == "no run is stuck"
    )
    assert not check["ok"]
    assert run.run_id[:8] in check["found"]
    assert "tidegauge run" in check["next_step"]


def test_an_error_for_a_program_is_one_json_document(tidegauge, home):
    """A program that reads --json gets JSON also when the command fails."""
    ran = tidegauge(home, "reconcile", "--json")
    assert ran.exit_code == 1
    error = json.loads(ran.stdout)["error"]
    assert error["exit_code"] == 1
    assert error["message"] == "nothing has been published yet"
    assert error["next_step"]


@pytest.mark.parametrize("arguments", [("status",), ("doctor",), ("quarantine", "list"), ("ingest", "--list-formats")])
def test_a_fresh_home_can_be_looked_at(tidegauge, home, arguments):
    """The first thing a newcomer types must not fail because nothing is there yet."""
    ran = tidegauge(home, *arguments, "--json")
    assert ran.exit_code == 0, ran.stdout + ran.stderr
    assert isinstance(ran.json, dict)
    ran = tidegauge(home, *arguments)
    assert ran.exit_code == 0
    assert ran.stdout


def test_the_home_option_wins_over_the_environment(tidegauge, home, tmp_path):
    """A person who names a home must not change another."""
    other = tmp_path / "other"
    assert tidegauge(home, "status", "--home", other, "--json").json["home"] == str(other)


def test_what_waits_for_a_lock_says_who_holds_it_and_ends_with_three(tidegauge, home):
    """Two writers must not interleave; a script can wait when it knows that this is the reason."""
    home.root.mkdir(parents=True)
    code = (
        "import sys\nfrom pathlib import Path\nfrom orchestration.home import Home\n"
        "from orchestration.warehouse import writer_lock\n"
        f"with writer_lock(Home(Path({str(home.root)!r}))):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        ran = tidegauge(home, "build")
        assert ran.exit_code == 3
        assert f"pid {holder.pid}" in ran.stderr
        assert tidegauge(home, "doctor", "--json").exit_code == 1
    finally:
        holder.communicate("", timeout=30)


def test_a_reader_that_leaves_early_causes_no_traceback(home):
    """`tidegauge ingest --list-formats | head -1` is an ordinary thing to type."""
    environment = {**os.environ, "TIDEGAUGE_HOME": str(home.root)}
    said = subprocess.run(
        f"{TIDEGAUGE} ingest --list-formats | head -n 1", shell=True, capture_output=True, text=True,
        check=False, env=environment,
    )
    assert said.stdout.startswith("feed")
    assert "Traceback" not in said.stderr
