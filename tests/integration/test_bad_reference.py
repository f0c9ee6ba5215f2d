"""Reference data that can't be right: the build fails and says which line of which file; the last publish stays."""

from __future__ import annotations

import hashlib
import shutil
from datetime import timedelta

import duckdb
import pytest

from orchestration.home import Home
from tests.conftest import run_tidegauge, succeed
from tests.integration.deliveries import FIRST_DAY, deliver_reference, deliver_usage, usage

NEXT = FIRST_DAY + timedelta(days=1)
PRICES = "model_id,token_type,above_input_tokens,price_cny_per_million,currency,valid_from,valid_to\n"
ASSETS = "tranche_id,site_id,accelerator_id,accelerator_count,capital_cny,life_years,commissioned_date\n"
GRANTS = "subscription_id,package_id,tenant_id,granted_date,starts_date,expires_date\n"


def fingerprint(home: Home) -> dict[str, str]:
    """Every published file by its content."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.capacity.parent.glob("*.duckdb")
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that has published once, from good data; the last test of the file changes it."""
    home = Home(tmp_path_factory.mktemp("bad_reference") / "home")
    deliver_usage(home, NEXT, "usage.jsonl", usage(FIRST_DAY, 50))
    deliver_reference(home, NEXT, "prices.csv", PRICES + "kimi-k3,input,0,20,CNY,2026-01-01,\n", "price_book")
    succeed(home, "run")
    return home


def refused(home: Home) -> str:
    """What a run that must fail says; checks that readers still have what they had."""
    before = fingerprint(home)
    ran = run_tidegauge(home, "run")
    assert ran.exit_code != 0
    assert fingerprint(home) == before
    return ran.stderr


def test_a_delivery_without_one_good_line_is_named_too(published, tmp_path):
    """It never reaches the models, so the check before them must say what is wrong with it."""
    home = Home(tmp_path / "home")
    shutil.copytree(published.root, home.root)
    deliver_reference(
        home, NEXT + timedelta(days=1), "assets.csv", ASSETS + "t1,cn-bj,nvidia-h20,8,920000,0,2026-01-01\n", "capital_assets"
    )
    assert "assets.csv line 2: out_of_range, life_years must be from 0.001" in refused(home)


def test_every_kind_of_bad_line_is_named_and_nothing_is_published(published):
    """A price that silently falls out prices nothing, and the margin that follows looks right."""
    deliver = [
        ("negative.csv", PRICES + "kimi-k3,output,0,100,CNY,,\nkimi-k3,input,0,-20,CNY,,\n", "price_book"),
        ("dollars.csv", PRICES + "kimi-k3,input,0,20,USD,2026-02-01,\n", "price_book"),
        ("empty.csv", PRICES + "kimi-k3,input,0,20,CNY,2026-03-01,2026-03-01\n", "price_book"),
        ("assets.csv", ASSETS + "t0,cn-bj,nvidia-h20,8,920000,5,2026-01-01\nt1,cn-bj,nvidia-h20,8,920000,0,2026-01-01\n", "capital_assets"),
        ("grants.csv", GRANTS + "g0,trial-trillion,tenant-1,2026-05-01,2026-05-08,2026-06-01\n"
         "g1,trial-trillion,tenant-1,2026-05-01,2026-06-01,2026-05-08\n", "subscriptions"),
        ("overlap.csv", PRICES + "glm-5.2,input,0,8,CNY,2026-01-01,2026-07-01\nglm-5.2,input,0,9,CNY,2026-06-01,\n", "price_book"),
        ("plan.csv", "measure,target_value\nnet_revenue_cny,700\ngross_margin_ratio,35\n", "performance_targets"),
        ("tier.csv", PRICES + "glm-5.2,output,31000,28,CNY,,\n", "price_book"),
    ]
    for name, text, table in deliver:
        deliver_reference(published, NEXT + timedelta(days=1), name, text, table)
    said = " ".join(refused(published).split())
    for name, line, reason in (
        ("negative.csv", 3, "out_of_range"), ("dollars.csv", 2, "not_allowed"), ("empty.csv", 2, "empty_validity"),
        ("assets.csv", 3, "out_of_range"), ("grants.csv", 3, "expires_before_start"),
        ("plan.csv", 3, "ratio_above_one"),
    ):
        assert f"delivery_name {name}, line_number {line}, " in said, said
        assert f"reason_code {reason}" in said, said
    assert "overlap.csv line 2" in said
    assert "overlap.csv line 3" in said
    assert "tier.csv line 2" in said

    # The corrected files have the names of the bad ones, and so supersede them.
    for name, text in (
        ("negative.csv", "kimi-k3,output,0,100,CNY,,\n"), ("dollars.csv", "kimi-k3,input,32000,20,CNY,2026-02-01,\n"),
        ("empty.csv", "kimi-k3,input,64000,20,CNY,2026-03-01,\n"),
        ("overlap.csv", "glm-5.2,input,0,8,CNY,2026-01-01,2026-06-01\nglm-5.2,input,0,9,CNY,2026-06-01,\n"),
        ("tier.csv", "glm-5.2,output,32000,28,CNY,,\n"),
    ):
        deliver_reference(published, NEXT + timedelta(days=2), name, PRICES + text, "price_book")
    deliver_reference(
        published, NEXT + timedelta(days=2), "assets.csv", ASSETS + "t1,cn-bj,nvidia-h20,8,920000,5,2026-01-01\n",
        "capital_assets",
    )
    deliver_reference(
        published, NEXT + timedelta(days=2), "plan.csv", "measure,target_value\nnet_revenue_cny,700\ngross_margin_ratio,0.35\n",
        "performance_targets",
    )
    deliver_reference(
        published, NEXT + timedelta(days=2), "grants.csv",
        GRANTS + "g1,trial-trillion,tenant-1,2026-05-01,2026-05-08,2026-06-01\n", "subscriptions",
    )
    succeed(published, "run")
    with duckdb.connect(str(published.warehouse), read_only=True) as connection:
        assert connection.execute(
            "select price_cny_per_million from staging.stg_reference__price_book where model_id = 'kimi-k3' "
            "and token_type = 'output'"
        ).fetchall() == [(100,)]
        assert connection.execute(
            "select measure, site_id, target_value::varchar, provided_by, delivered_date::varchar from finance.dim_margin_target order by measure desc"
        ).fetchall() == [
            ("net_revenue_cny", "all", "700.000000000", "plan.csv line 2", str(NEXT + timedelta(days=2))),
            ("gross_margin_ratio", "all", "0.350000000", "plan.csv line 3", str(NEXT + timedelta(days=2))),
        ]
