"""The truth against the files, counted here on their own in plain Python."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from orchestration.contracts import (
    CAPITAL_ASSETS,
    DISCOUNTS,
    NODE_POOLS,
    PERFORMANCE_TARGETS,
    PLANNED_DELIVERIES,
    SUBSCRIPTIONS,
    TENANTS,
)
from orchestration.sources.simulate.network import read_seed
from orchestration.sources.simulate.usage import BROKEN_KINDS

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
WHOLE = ("window_seconds", "request_count", *TOKENS, "time_to_first_token_us", "duration_us")
REQUESTS = {
    "ok": "request_count",
    "throttled": "throttled_request_count",
    "failed": "failed_request_count",
}
SURPLUS = ("duplicate_lines", "overlap_lines", "conflict_lines")
OCTETS = {"octets_a_to_b": pl.UInt64, "octets_b_to_a": pl.UInt64}


def files(tiny, feed: str) -> list[Path]:
    """Data files of a feed in the order in which they count: by delivery day, then name."""
    found = [
        path
        for path in (tiny.home.landing / feed).rglob("*")
        if path.is_file() and "manifest" not in path.name
    ]
    return sorted(found, key=lambda path: (path.parent.name, path.name))


def content(path: Path) -> bytes:
    """The file's bytes, decompressed."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def samples(tiny) -> pl.DataFrame:
    """All samples of devices."""
    return pl.concat(
        [pl.read_parquet(path) for path in files(tiny, "telemetry") if path.suffix == ".parquet"]
    )


def counters(tiny) -> pl.DataFrame:
    """All samples of links, by link and time."""
    paths = [path for path in files(tiny, "telemetry") if path.suffix == ".gz"]
    return pl.concat([pl.read_csv(path, schema_overrides=OCTETS) for path in paths]).sort(
        "link_id", "sampled_at"
    )


def unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """The object of the pairs; ValueError when a key comes twice."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def strict(line: bytes, now: datetime) -> dict | str:
    """The record of a line, or the way in which the line is broken."""
    try:
        record = json.loads(line.decode(), object_pairs_hook=unique_keys)
    except UnicodeDecodeError:
        return "not_utf8"
    except json.JSONDecodeError:
        return "cut_json"
    except ValueError:
        return "duplicate_key"
    for name in WHOLE:
        value = record[name]
        if isinstance(value, float):
            return "not_a_number" if math.isnan(value) else "fractional_tokens"
        if value is not None and value < 0:
            return "negative_tokens"
        if value is not None and value >= 2**63:
            return "above_bigint"
    try:
        occurred_at = datetime.strptime(record["occurred_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(
            tzinfo=UTC
        )
    except ValueError:
        return "bad_timestamp"
    if occurred_at > now:
        return "future_timestamp"
    if record["status"] not in REQUESTS:
        return "unknown_status"
    return record


def read_usage(tiny) -> tuple[dict[str, dict], Counter, Counter]:
    """First record of every id, surplus lines by kind, broken lines by kind; re-sent bytes count once."""
    now = datetime(2026, 11, 24, tzinfo=UTC)
    first: dict[str, dict] = {}
    seen_in: dict[str, str] = {}
    surplus, broken, deliveries = Counter(), Counter(), set()
    for path in files(tiny, "token_usage"):
        data = content(path)
        digest = hashlib.sha256(data).hexdigest()
        if digest in deliveries:
            continue
        deliveries.add(digest)
        for line in data.splitlines():
            record = strict(line, now)
            if isinstance(record, str):
                broken[record] += 1
            elif record["event_id"] not in first:
                first[record["event_id"]] = record
                seen_in[record["event_id"]] = digest
            elif record != first[record["event_id"]]:
                surplus["conflict_lines"] += 1
            elif seen_in[record["event_id"]] == digest:
                surplus["duplicate_lines"] += 1
            else:
                surplus["overlap_lines"] += 1
    return first, surplus, broken


def totals(records: list[dict]) -> dict[str, int]:
    """Requests by status and tokens by type, to the integer."""
    sums = Counter()
    for record in records:
        sums[REQUESTS[record["status"]]] += record["request_count"]
        sums[f"{record['status']}_record_count"] += 1
        for name in TOKENS:
            sums[name] += record[name] or 0
    return dict(sums)


def same(truth: dict[str, int], counted: dict[str, int]) -> bool:
    """Whether both say the same, a name left out being 0."""
    return all(truth[name] == counted.get(name, 0) for name in truth)


def business_date(record: dict) -> date:
    """The day of the record in Shanghai."""
    return (datetime.fromisoformat(record["occurred_at"]) + timedelta(hours=8)).date()


def test_token_totals_are_what_the_files_hold(tiny):
    """A truth that counts anything but the files would make every later comparison worthless."""
    first, surplus, broken = read_usage(tiny)
    truth = tiny.truth["token_usage"]
    assert same(truth["total"], totals(list(first.values())))
    assert {name: surplus[name] for name in SURPLUS} == {
        name: truth["lines"][name] for name in SURPLUS
    }
    assert all(surplus[name] for name in SURPLUS)
    assert {kind: broken[kind] for kind in BROKEN_KINDS} == truth["lines"]["broken_lines"]
    parameters = tiny.truth["parameters"]
    assert (
        len(first) + truth["held_back_records"] == parameters["days"] * parameters["events_per_day"]
    )


def test_every_breakdown_is_what_the_files_hold(tiny):
    """A total can be right while its parts are swapped between days, sites, tenants or models."""
    first, _, _ = read_usage(tiny)
    keys = {
        "by_utc_day": lambda record: record["occurred_at"][:10],
        "by_usage_date": lambda record: business_date(record).isoformat(),
        "by_origin_site": lambda record: record["origin_site_id"],
        "by_serving_site": lambda record: record["serving_site_id"],
        "by_tenant": lambda record: record["tenant_id"],
        "by_model": lambda record: record["model_id"],
        "by_product": lambda record: record["product"],
    }
    for name, key in keys.items():
        groups = defaultdict(list)
        for record in first.values():
            groups[key(record)].append(record)
        truth = tiny.truth["token_usage"][name]
        assert {group for group, sums in truth.items() if any(sums.values())} == set(groups), name
        for group, records in groups.items():
            assert same(truth[group], totals(records)), (name, group)


def test_late_records_come_in_files_of_their_own_after_their_day(tiny):
    """Late records are what restatements are for; were none late, none would be tested."""
    late = [path for path in files(tiny, "token_usage") if "-late-" in path.name]
    lines = [
        (path.parent.name, json.loads(line)) for path in late for line in content(path).splitlines()
    ]
    assert len(lines) == tiny.truth["token_usage"]["late_records"] > 0
    for delivered, record in lines:
        assert 1 <= (date.fromisoformat(delivered) - business_date(record)).days <= 30


def test_files_come_again_under_another_name_and_the_next_day(tiny):
    """Deliveries repeat; the same bytes must be there twice for a test that they count once."""
    resent = tiny.truth["token_usage"]["resent_files"]
    assert {entry["name"] == entry["of"] for entry in resent} == {True, False}
    for entry in resent:
        again = tiny.home.landing / "token_usage" / entry["delivered_date"] / entry["name"]
        original = next(path for path in files(tiny, "token_usage") if path.name == entry["of"])
        assert content(again) == content(original)
        assert again != original


def test_every_file_is_as_its_manifest_says(tiny):
    """A file that differs from its manifest is quarantined whole."""
    listed = {
        (entry["feed"], entry["delivered_date"], entry["name"])
        for entry in tiny.truth["deliveries"]
    }
    found = set()
    for feed in ("token_usage", "job_logs", "telemetry", "reference"):
        for path in files(tiny, feed):
            manifest = json.loads(path.with_name(f"{path.name}.manifest.json").read_text())
            assert (manifest["name"], manifest["feed"]) == (path.name, feed)
            assert manifest["size"] == path.stat().st_size
            assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            lines = (
                pl.read_parquet(path).height
                if path.suffix == ".parquet"
                else content(path).count(b"\n")
            )
            assert manifest["lines"] == lines
            found.add((feed, path.parent.name, path.name))
    assert found == listed


def sightings(tiny) -> list[dict]:
    """All lines of the scheduler's accounting, in the order of delivery."""
    rows = []
    for path in files(tiny, "job_logs"):
        heading, *lines = content(path).decode().splitlines()
        names = heading.split("|")
        seen_at = datetime.fromisoformat(path.parent.name).replace(hour=15, minute=59, second=59)
        rows += [
            {**dict(zip(names, line.split("|"), strict=True)), "seen_at": seen_at} for line in lines
        ]
    return rows


def attempt(row: dict) -> tuple[str, ...]:
    """What tells one attempt of a job from all others."""
    return row["Cluster"], row["JobID"], row["Submit"], row["Restarts"]


def test_job_totals_are_what_the_files_hold(tiny):
    """Accelerator-hours of jobs are money; a truth off by a second would hide an error of a second."""
    rows = sightings(tiny)
    latest = {attempt(row): row for row in rows}
    truth = tiny.truth["job_logs"]
    assert (len(rows), len(latest)) == (truth["sightings"], truth["attempts"])
    held, days = 0, Counter()
    for row in latest.values():
        if row["Start"] == "Unknown":
            continue
        start = datetime.fromisoformat(row["Start"])
        end = row["seen_at"] if row["End"] == "Unknown" else datetime.fromisoformat(row["End"])
        count = int(row["AllocTRES"].split("gres/gpu=")[1].split(",")[0])
        held += int((end - start).total_seconds()) * count
        while start < end:
            midnight = datetime(start.year, start.month, start.day) + timedelta(days=1)
            days[start.date().isoformat()] += (
                int((min(end, midnight) - start).total_seconds()) * count
            )
            start = min(end, midnight)
    assert held == sum(days.values()) == truth["accelerator_seconds"]
    assert dict(days) == truth["accelerator_seconds_by_utc_day"]


def test_open_jobs_are_seen_again(tiny):
    """Truing up an open job is only tested when one is seen running and later ended."""
    states = defaultdict(list)
    for row in sightings(tiny):
        states[attempt(row)].append(row["State"])
    assert any(seen[0] == "RUNNING" and seen[-1] == "COMPLETED" for seen in states.values())
    assert any(seen[0] == "PENDING" and seen[-1] != "PENDING" for seen in states.values())


def test_samples_of_devices_are_what_the_files_hold(tiny):
    """Down hours and installed counts come from the samples; each device speaks three times a day."""
    frame, truth = samples(tiny), tiny.truth["telemetry"]
    assert dict(frame.group_by("device_state").len().iter_rows()) == truth["samples_by_state"]
    assert frame["device_id"].n_unique() == truth["device_count"]
    assert not frame.select("device_id", "sampled_at").is_duplicated().any()
    installed = sum(entry["installed_accelerators"] for entry in truth["installed_by_usage_date"])
    assert frame.height + truth["missing_samples"] == 3 * installed
    assert frame["interval_seconds"].unique().to_list() == [8 * 3600]


def test_energy_counters_fall_only_when_they_are_reset(tiny):
    """A counter that falls for no reason would make the energy of a day a fiction."""
    readings = (
        samples(tiny).filter(pl.col("energy_joules").is_not_null()).sort("device_id", "sampled_at")
    )
    fallen = readings.filter(pl.col("energy_joules").diff().over("device_id") < 0)
    assert 0 < fallen.height <= tiny.truth["telemetry"]["energy_counter_resets"]


def test_octets_are_what_the_files_hold(tiny):
    """Link traffic must be told right across a wrap, and a reset must not become 2^64 octets."""
    frame, truth = counters(tiny), tiny.truth["link_counters"]
    assert frame.height == truth["samples"]
    resets = {(entry["link_id"], entry["step_started_at"]) for entry in truth["resets"]}
    previous: dict[str, tuple] = {}
    observed = defaultdict(lambda: [0, 0])
    for sampled_at, link_id, *readings, _capacity in frame.iter_rows():
        at = datetime.fromisoformat(sampled_at)
        if link_id in previous and at - previous[link_id][0] == timedelta(minutes=30):
            began, *before = previous[link_id]
            reset = (link_id, began.strftime("%Y-%m-%dT%H:%M:%SZ")) in resets
            for direction, (new, old) in enumerate(zip(readings, before, strict=True)):
                observed[link_id][direction] += new if reset else (new - old) % 2**64
        previous[link_id] = (at, *readings)
    for link_id, counts in truth["by_link"].items():
        assert observed[link_id] == [
            counts["octets_observed_a_to_b"],
            counts["octets_observed_b_to_a"],
        ]
        assert counts["octets_observed_a_to_b"] <= counts["octets_sent_a_to_b"]


def test_links_are_neither_idle_nor_full(tiny):
    """Utilization outside 8-85% would make every link a problem, or none."""
    truth = tiny.truth["link_counters"]
    unusual = [entry["link_id"] for kind in ("resets", "wraps", "gaps") for entry in truth[kind]]
    rates = (
        counters(tiny)
        .filter(~pl.col("link_id").is_in(unusual))
        .select(
            pl.col("octets_a_to_b").cast(pl.Int128).diff().over("link_id")
            * 8
            / 1800
            / 1e9
            / pl.col("capacity_gbps")
        )
        .to_series()
        .drop_nulls()
    )
    assert 0.0799 < rates.min() <= rates.max() < 0.8501
    assert 0.2 < rates.mean() < 0.6


def test_reference_files_have_the_contract_columns(tiny):
    """A reference delivery with another heading is quarantined, and the whole inventory with it."""
    by_name = {path.name: path for path in files(tiny, "reference")}
    for table in (NODE_POOLS, PLANNED_DELIVERIES, TENANTS, SUBSCRIPTIONS, DISCOUNTS, CAPITAL_ASSETS, PERFORMANCE_TARGETS):
        frame = pl.read_csv(by_name[f"{table.name}.csv"])
        assert frame.columns == [column.name for column in table.columns]
        assert frame.height == tiny.truth["reference"][table.name]
    assert {path.parent.name for path in by_name.values()} == {
        tiny.truth["parameters"]["first_date"]
    }


def test_truth_lies_outside_landing(tiny):
    """Truth that the pipeline could load would no longer be a test of it."""
    assert tiny.path == tiny.home.truth / "truth.json"
    assert tiny.home.landing not in tiny.path.parents
    assert json.loads(tiny.path.read_text("utf-8")) == tiny.truth


def reference_rows(tiny, table: str) -> list[dict[str, str]]:
    """Rows of a reference delivery as text."""
    path = next(path for path in files(tiny, "reference") if path.name == f"{table}.csv")
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_what_was_sold_and_bought_is_what_the_files_hold(tiny):
    """Deferred revenue and depreciation are compared with these totals; a truth of its own would prove nothing."""
    truth = tiny.truth["sold_and_bought"]
    grants = reference_rows(tiny, "subscriptions")
    for kind in ("trial", "paid"):
        mine = [row for row in grants if row["package_id"].startswith("trial-") == (kind == "trial")]
        assert len(mine) == truth["subscriptions"][kind]["subscription_count"] > 0
        assert sum(int(row["granted_tokens"]) for row in mine) == truth["subscriptions"][kind]["granted_tokens"]
        price = sum((Decimal(row["price_cny"]) for row in mine), Decimal(0))
        assert price == Decimal(truth["subscriptions"][kind]["price_cny"])
    assert sum(int(row["granted_tokens"]) for row in grants if row["package_id"].startswith("trial-")) <= 10**12
    assert sum(bool(row["voided_date"]) for row in grants) == truth["voided_count"] == 1
    assert sum(bool(row["renews_subscription_id"]) for row in grants) == truth["renewal_count"] > 0
    refunds = [Decimal(row["refund_cny"]) for row in grants if row["refund_cny"]]
    assert sum(refunds) == Decimal(truth["refund_cny"]) > 0
    tranches = reference_rows(tiny, "capital_assets")
    assert sum(Decimal(row["capital_cny"]) for row in tranches) == Decimal(truth["capital_cny"])
    assert sum(int(row["accelerator_count"]) for row in tranches) == truth["capital_accelerator_count"]


def test_every_grant_is_of_a_package_and_a_tenant_that_exist(tiny):
    """A grant of an unknown package has no weights, so it would never be used and nobody would see why."""
    packages = {row["package_id"] for row in read_seed("packages")}
    tenants = {row["tenant_id"] for row in reference_rows(tiny, "tenants")}
    grants = reference_rows(tiny, "subscriptions")
    ids = {row["subscription_id"] for row in grants}
    assert len(ids) == len(grants)
    assert {row["package_id"] for row in grants} <= packages
    assert {row["tenant_id"] for row in grants} <= tenants
    assert {row["renews_subscription_id"] for row in grants} - {""} <= ids
    assert all(row["granted_date"] <= row["starts_date"] < row["expires_date"] for row in grants)
    last = tiny.truth["parameters"]["end_date"]
    assert {row["expires_date"] <= last for row in grants} == {True, False}


def test_discounts_keep_the_rows_of_the_seed_and_add_the_contracts_of_the_largest(tiny):
    """A delivery replaces the seed wholly, so own use would be charged if its row were left out."""
    rows = reference_rows(tiny, "discounts")
    assert {row["contract_id"] for row in read_seed("discounts")} < {row["contract_id"] for row in rows}
    ours = [row["tenant_id"] for row in rows if row["tenant_id"] != "*"]
    assert len(set(ours)) == 9
    assert set(ours) <= {row["tenant_id"] for row in reference_rows(tiny, "tenants")}
