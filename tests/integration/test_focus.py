"""The FOCUS export of a simulated network: accepted by focus-validator, exact, and equal to the ledger.

focus-validator has an environment of its own, kept in the user's cache between runs.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from orchestration.home import PROJECT
from tests.conftest import succeed

REQUIREMENTS = Path(__file__).with_name("focus_validator_requirements.txt")
# The rule set inside the wheel; others would have to be downloaded.
RULES = "1.2.0.1"
# What is true of the operator, so that the rules which hold only then are looked at too.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED", "COMMITMENT_DISCOUNT_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED", "REGION_SUPPORTED", "SUB_ACCOUNT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED",
)
# As counted when written: 302 pass, 272 can't be decided from a file or are of what the operator has not.
LEAST_PASSED_RULES = 300
# Rules of that set which no file can keep, with the reason. Both are told from the text of the rules.
UNKEEPABLE = {
    # One of two alternatives, null or not null, each asked of every row; the rule above them takes either.
    "InvoiceId-C-005-C": "InvoiceId-C-004-C holds, and with it InvoiceId-C-003-C",
    # Meant for rows that have a CommitmentDiscountId, but its condition in the rule set is that there is
    # none, where CommitmentDiscountStatus-C-003-C wants null. What it means is tested here.
    "CommitmentDiscountStatus-C-004-C": "contradicts CommitmentDiscountStatus-C-003-C, which holds",
    "CommitmentDiscountStatus-C-002-C": "holds the rule before",
    "CommitmentDiscountStatus-C-000-C": "holds the rule before",
}


def _python_3_12() -> Path | None:
    """A Python 3.12, the one version that the pinned wheels are for."""
    names = [sys.executable, shutil.which("python3.12")]
    names += sorted(map(str, (Path.home() / ".pyenv" / "versions").glob("3.12*/bin/python")))
    for name in filter(None, names):
        found = subprocess.run([name, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False)
        if found.stdout.strip() == "(3, 12)":
            return Path(name)
    return None


def _uv() -> str | None:
    """The uv that scripts/setup uses."""
    for name in ("uv", str(PROJECT / ".tools" / "bin" / "uv"), str(Path.home() / ".local" / "bin" / "uv")):
        if shutil.which(name):
            return name
    return None


@pytest.fixture(scope="session")
def validator() -> Iterator[Path]:
    """The Python of an environment that has the pinned focus-validator."""
    python, uv = _python_3_12(), _uv()
    if python is None:
        pytest.skip("2026-11-24: focus-validator 2.2.1 needs Python 3.12, and none was found (python3.12 on PATH, or pyenv's)")
    assert uv is not None, "focus-validator is installed with uv, which `make setup` brings"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegauge"
    cache.mkdir(parents=True, exist_ok=True)
    environment = cache / f"focus-validator-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    complete = environment / "complete"
    # As scripts/setup does: a company's own certificate authority is in the system's store.
    trusting = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true", **os.environ}
    with (cache / "focus-validator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", str(python), str(environment)], check=True)
            subprocess.run(
                [uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"),
                 "--require-hashes", "--requirement", str(REQUIREMENTS)],
                check=True, env=trusting,
            )
            complete.touch()
    yield environment / "bin" / "python"


@pytest.fixture(scope="session")
def focus_file(simulated_home, tmp_path_factory) -> Path:
    """The FOCUS 1.2 export of the simulated home."""
    path = tmp_path_factory.mktemp("focus") / "focus.csv"
    succeed(simulated_home, "export", "focus", "--out", path)
    return path


@pytest.fixture(scope="session")
def charges(focus_file) -> list[dict[str, str]]:
    """Its rows, as text."""
    with focus_file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def number(text: str) -> Decimal:
    """A decimal; nothing is 0."""
    return Decimal(text or 0)


def validate(python: Path, data_file: Path) -> dict[str, str]:
    """Verdict of each rule: PASS, FAIL or SKIPPED."""
    site_packages = next((python.parent.parent / "lib").glob("python3.12/site-packages"))
    finished = subprocess.run(
        [str(python.with_name("focus-validator")), "--data-file", str(data_file), "--validate-version", RULES,
         "--block-download", "--applicability-criteria", ",".join(CRITERIA)],
        # It opens its list of currencies by a path that is relative to there.
        cwd=site_packages, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    verdicts = dict(re.findall(r"([A-Za-z]+-[A-Z]-\d{3}-[A-Z]): (PASS|FAIL|SKIPPED)", finished.stdout))
    assert verdicts, finished.stdout[-2000:] + finished.stderr[-2000:]
    return verdicts


def test_the_validator_of_the_standard_finds_no_violation(validator, focus_file):
    """A FinOps tool that takes FOCUS must take ours; what we think of the standard counts for nothing."""
    verdicts = validate(validator, focus_file)
    failed = {rule for rule, verdict in verdicts.items() if verdict == "FAIL"}
    assert failed - set(UNKEEPABLE) == set()
    assert {verdicts[rule] for rule in ("InvoiceId-C-000-O", "CommitmentDiscountStatus-C-003-C")} == {"PASS"}
    # A file that was not understood is checked by no rule and violates none.
    assert list(verdicts.values()).count("PASS") >= LEAST_PASSED_RULES


def test_a_status_says_of_each_use_of_a_package_whether_it_was_used(charges):
    """The rule that the validator has upside down: use that draws on a package says so, nothing else does."""
    uses = [row for row in charges if row["ChargeCategory"] == "Usage" and row["CommitmentDiscountId"]]
    assert {row["CommitmentDiscountStatus"] for row in uses} == {"Used", "Unused"}
    assert {row["CommitmentDiscountStatus"] for row in charges if not row["CommitmentDiscountId"]} == {""}


def test_price_times_quantity_is_cost_to_the_last_digit(charges):
    """A cost that is not its price times its quantity can't be checked by who pays it."""
    priced = [row for row in charges if row["ListUnitPrice"]]
    assert priced
    for row in priced:
        quantity = number(row["PricingQuantity"])
        assert number(row["ListUnitPrice"]) * quantity == number(row["ListCost"]), row
        assert number(row["ContractedUnitPrice"]) * quantity == number(row["ContractedCost"]), row
    for row in charges:
        if row["ConsumedQuantity"]:
            pricing_unit = {"Tokens": 1_000_000, "Accelerator-Hours": 1}[row["ConsumedUnit"]]
            assert number(row["ConsumedQuantity"]) == number(row["PricingQuantity"]) * pricing_unit, row
    assert not any("e" in row[column].lower() for row in charges for column in row if column.endswith(("Cost", "Price", "Quantity")))


def test_trials_cost_nothing_and_packages_are_billed_once(charges):
    """A trial that is billed loses the customer; a package billed at purchase and again at use loses the next."""
    by_trial: dict[str, Decimal] = defaultdict(Decimal)
    for row in charges:
        if row["ChargeCategory"] == "Credit" or (row["x_SubscriptionId"] and not row["CommitmentDiscountId"]):
            by_trial[row["x_SubscriptionId"]] += number(row["BilledCost"])
    assert by_trial
    assert set(by_trial.values()) == {Decimal(0)}
    drawn = [row for row in charges if row["CommitmentDiscountStatus"] == "Used"]
    assert {number(row["BilledCost"]) for row in drawn} == {Decimal(0)}
    assert max(number(row["EffectiveCost"]) for row in drawn) > 0
    purchases = [row for row in charges if row["ChargeCategory"] == "Purchase"]
    assert {number(row["EffectiveCost"]) for row in purchases} == {Decimal(0)}
    assert max(number(row["BilledCost"]) for row in purchases) > 0


def test_charges_add_up_to_what_the_ledger_earned_and_metered(simulated_home, query, charges):
    """A charge that is lost or doubled between ledger and bill."""
    ((earned,),) = query(
        simulated_home.finance,
        "select sum(list_revenue_cny - discount_cny + package_revenue_cny + breakage_cny) from finance.fct_margin_daily",
    )
    with duckdb.connect(str(simulated_home.warehouse), read_only=True) as connection:
        (tokens,) = connection.execute(
            "select sum(tokens) from intermediate.int_usage__settled where settlement <> 'unpriced'"
        ).fetchone()
        (bought,) = connection.execute(
            "select sum(transfer_cny) from intermediate.int_package__entries where entry in ('granted', 'voided')"
        ).fetchone()
    own = [row for row in charges if row["ChargeCategory"] != "Adjustment"]
    assert sum(number(row["EffectiveCost"]) for row in own) == earned
    assert sum(number(row["ConsumedQuantity"]) for row in own if row["ConsumedUnit"] == "Tokens") == tokens
    assert sum(number(row["BilledCost"]) for row in own if row["ChargeCategory"] == "Purchase") == bought


def test_an_export_can_be_piped_and_what_is_written_is_for_its_group(simulated_home, tidegauge, focus_file, tmp_path):
    """Money on standard output must be the same bytes, and in a file must not be for all to read."""
    piped = tidegauge(simulated_home, "export", "focus", "--out", "-")
    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout.encode("utf-8") == focus_file.read_bytes().replace(b"\r\n", b"\n")
    assert stat.S_IMODE(focus_file.stat().st_mode) == 0o640
    newer = tidegauge(simulated_home, "export", "focus", "--focus-version", "1.4", "--from", "2026-11-20", "--to", "2026-11-20",
                      "--out", tmp_path / "f.csv", "--json")
    assert newer.json["exported"][0]["row_count"] > 0
    wrong = tidegauge(simulated_home, "export", "focus", "--focus-version", "0.9")
    assert wrong.exit_code == 1
    assert "1.2 or 1.4" in wrong.stderr


def test_every_published_mart_of_both_editions_can_be_exported(simulated_home, tidegauge, query, tmp_path):
    """A mart that no other tool can read is half published."""
    for edition in ("capacity", "finance"):
        ran = tidegauge(simulated_home, "export", "csv", "--edition", edition, "--out", tmp_path, "--json")
        assert ran.exit_code == 0, ran.stderr
        counts = {item["table"]: item["row_count"] for item in ran.json["exported"]}
        tables = query(simulated_home.edition(edition), "select schema_name || '.' || table_name from duckdb_tables() where database_name = 'edition'")
        assert set(counts) == {name for (name,) in tables}
        for item in ran.json["exported"]:
            with Path(item["path"]).open(newline="", encoding="utf-8") as stream:
                assert sum(1 for _ in csv.reader(stream)) == item["row_count"] + 1, item
            name = Path(item["path"]).name
            assert name.startswith("finance.") == (edition == "finance"), name
