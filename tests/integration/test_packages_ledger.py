"""Packages through the real pipeline: delivered reference and usage, the dbt models, the figures of FORMULAS 4."""

from __future__ import annotations

import subprocess
from datetime import date
from decimal import Decimal

import pytest

from orchestration import dbt_runs, warehouse
from orchestration.home import DBT_PROJECT, Home
from tests.integration.deliveries import deliver_reference, deliver_usage, load

PACKAGES = (
    "package_id,package_name,package_kind,quota_tokens,price_cny,priority,validity_days,expected_breakage_ratio\n"
    "trial,Trial A,trial,1000000,0.00,1,90,\n"
    "paid,Paid B,paid,5000000,30.00,2,90,\n"
    "expecting,Paid B with breakage,paid,5000000,30.00,2,90,0.1\n"
)
WEIGHTS = "package_id,model_id,weight_ratio\ntrial,*,1\npaid,*,1\nexpecting,*,1\n"
SUBSCRIPTIONS = (
    "subscription_id,package_id,tenant_id,granted_date,starts_date,expires_date,funding\n"
    + "".join(
        f"A-{tenant},trial,{tenant},2026-08-01,2026-08-01,2026-09-01,none\n"
        f"B-{tenant},{paid},{tenant},2026-08-01,2026-08-01,2026-12-01,invoice\n"
        for tenant, paid in (("k1", "paid"), ("k1-expecting", "expecting"), ("k2", "paid"))
    )
)
K1_USAGE = (("2026-08-30T02:00:00Z", 700_000), ("2026-08-31T02:00:00Z", 200_000), ("2026-09-02T02:00:00Z", 600_000))


def record(tenant: str, occurred_at: str, tokens: int) -> dict:
    """One request of nothing but input tokens."""
    return {
        "event_id": f"{tenant}-{occurred_at}", "occurred_at": occurred_at, "origin_site_id": "cn-bj", "tenant_id": tenant,
        "model_id": "kimi-k3", "status": "ok", "request_count": 1, "input_tokens": tokens,
    }


def build(home: Home) -> None:
    """Everything that packages are made from, and their marts, with their tests."""
    load(home)
    with warehouse.writer_lock(home):
        prepared = warehouse.prepare(home)
        finished = subprocess.run(
            [
                str(dbt_runs.EXECUTABLE), *dbt_runs.build_arguments(prepared), "--select", "+fct_package_burndown_daily",
                "+int_package__revenue_daily", "+int_package__burn", "+int_package__weights",
                "--indirect-selection", "cautious",
            ],
            env=dbt_runs.environment(home, dbt_runs.target_folder(home)), cwd=DBT_PROJECT, capture_output=True, text=True,
            check=False,
        )
    assert finished.returncode == 0, dbt_runs.messages_of(finished.stdout)


@pytest.fixture(scope="module")
def packages_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the customers of K1 (with and without expected breakage) and K2."""
    home = Home(tmp_path_factory.mktemp("packages") / "home")
    for table, text in (("packages", PACKAGES), ("package_weights", WEIGHTS), ("subscriptions", SUBSCRIPTIONS)):
        deliver_reference(home, date(2026, 8, 1), f"{table}.csv", text, table)
    records = [record(tenant, *used) for tenant in ("k1", "k1-expecting") for used in K1_USAGE]
    deliver_usage(home, date(2026, 9, 2), "usage.jsonl", [*records, record("k2", "2026-08-30T02:00:00Z", 1_500_000)])
    build(home)
    return home


def figures(home: Home, subscription_id: str, *columns: str, on: str = "2026-09-02") -> tuple:
    """Columns of one grant's burn-down on a day."""
    with warehouse.connect(home, read_only=True) as connection:
        return connection.execute(
            f"select {', '.join(columns)} from finance.fct_package_burndown_daily where subscription_id = ? and usage_date = ?",
            [subscription_id, date.fromisoformat(on)],
        ).fetchone()


def test_k1_on_the_real_models(packages_home: Home) -> None:
    """Formula K1: A consumed 900,000 and expired 100,000; B has 4,400,000 left, earned 3.60 and defers 26.40."""
    assert figures(packages_home, "A-k1", "consumed_tokens", "expired_tokens", "remaining_tokens", "state") == (
        900_000, 100_000, 0, "expired",
    )
    assert figures(
        packages_home, "B-k1", "consumed_tokens", "remaining_tokens", "recognised_cny", "deferred_cny", "state"
    ) == (600_000, 4_400_000, Decimal("3.60"), Decimal("26.40"), "active")


def test_k1_with_expected_breakage_on_the_real_models(packages_home: Home) -> None:
    """Formula K1, expected consumption 4,500,000: recognised 4.00 (3.60 use, 0.40 breakage), deferred 26.00."""
    assert figures(
        packages_home, "B-k1-expecting", "recognised_cny", "package_revenue_cny", "breakage_cny", "deferred_cny"
    ) == (Decimal("4.00"), Decimal("3.60"), Decimal("0.40"), Decimal("26.00"))


def test_k2_on_the_real_models(packages_home: Home) -> None:
    """Formula K2: one record of 1,500,000 is split in two."""
    with warehouse.connect(packages_home, read_only=True) as connection:
        split = connection.execute(
            "select subscription_id, settlement, tokens from intermediate.int_package__burn where tenant_id = 'k2' order by 1"
        ).fetchall()
    assert split == [("A-k2", "trial", 1_000_000), ("B-k2", "package", 500_000)]
    assert figures(packages_home, "A-k2", "state", on="2026-08-30") == ("exhausted",)


def test_a_trial_is_there_until_midnight_in_shanghai(packages_home: Home) -> None:
    """What expires on 1 September is still there on the evening before."""
    assert figures(packages_home, "A-k1", "remaining_tokens", "state", on="2026-08-31") == (100_000, "active")
    assert figures(packages_home, "A-k1", "remaining_tokens", "state", on="2026-09-01") == (0, "expired")


def test_revenue_belongs_to_the_rows_that_used_the_tokens(packages_home: Home) -> None:
    """Revenue without a site and a model can't be set against what it cost."""
    with warehouse.connect(packages_home, read_only=True) as connection:
        revenue = connection.execute(
            "select usage_date, serving_site_id, model_id, package_revenue_cny, breakage_cny"
            " from intermediate.int_package__revenue_daily where subscription_id = 'B-k1-expecting'"
        ).fetchall()
    assert revenue == [(date(2026, 9, 2), "cn-bj", "kimi-k3", Decimal("3.60"), Decimal("0.40"))]


def test_late_use_reopens_the_day_that_a_trial_was_closed_on(packages_home: Home) -> None:
    """Late use of 31 August must come out of the trial that ended then, and B must get its tokens back."""
    deliver_usage(packages_home, date(2026, 9, 5), "late.jsonl", [record("k1", "2026-08-31T03:00:00Z", 150_000)])
    build(packages_home)
    assert figures(packages_home, "A-k1", "consumed_tokens", "expired_tokens", "state") == (1_000_000, 0, "exhausted")
    assert figures(packages_home, "B-k1", "consumed_tokens", "recognised_cny") == (650_000, Decimal("3.90"))
