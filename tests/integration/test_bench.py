"""The short form of the benchmarks: that they run, compare like with like, and would notice a collapse."""

from __future__ import annotations

import duckdb

from orchestration import raw_store
from orchestration.sql import literal
from tests.bench import __main__ as bench
from tests.bench.large_build import SIMULATED_DAYS, copy_usage


def test_ingest_costs_less_than_its_peers_in_the_same_run(tmp_path, monkeypatch):
    """A hundredfold slowdown passes every other test; here the peers run beside it, on few rows and once."""
    monkeypatch.setattr(bench, "ROWS", 40_000)
    monkeypatch.setattr(bench, "RUNS", 1)
    monkeypatch.setattr(bench, "CONTENDERS", {name: bench.CONTENDERS[name] for name in ("tidegauge", "pandas", "dlt_default")})
    cpu = {figure.work: figure.cpu_seconds for figure in bench.ingest_figures(tmp_path)}
    ours, pandas, dlt = (cpu[f"ingest: {name}"] for name in ("tidegauge", "pandas", "dlt_default"))
    start = {name: cpu[f"start-up: {name}"] * 1_000_000 / bench.ROWS for name in ("tidegauge", "pandas")}
    assert ours < dlt
    # What starting costs would hide the work, on so few rows.
    assert ours - start["tidegauge"] < pandas


def test_the_large_build_is_given_each_event_once_more_on_an_earlier_day(copied_home):
    """Copies under the ids of the first would be deduplicated away, and the build be measured on a fifth of its rows."""
    def events() -> list[tuple]:
        files = [str(copied_home.raw / name) for receipt in raw_store.receipts(copied_home, "token_usage") for name in receipt.files]
        return duckdb.sql(
            f"select count(*), count(distinct event_id), sum(output_tokens), min(occurred_at) "
            f"from read_parquet([{', '.join(map(literal, files))}])"
        ).fetchall()

    ((rows, ids, tokens, first),) = events()
    copy_usage(copied_home, 2)
    ((rows_now, ids_now, tokens_now, first_now),) = events()
    assert (rows_now, ids_now, tokens_now) == (2 * rows, 2 * ids, 2 * tokens)
    assert (first - first_now).days == SIMULATED_DAYS
