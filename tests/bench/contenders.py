"""One way each of loading a gz JSONL file of token usage; run as a process of its own, so that it is measured whole.

Usage: python -m tests.bench.contenders NAME FILE SCRATCH
"""

from __future__ import annotations

import sys
from pathlib import Path

TYPES = {
    "event_id": "VARCHAR", "occurred_at": "TIMESTAMP", "origin_site_id": "VARCHAR", "serving_site_id": "VARCHAR",
    "tenant_id": "VARCHAR", "model_id": "VARCHAR", "product": "VARCHAR", "status": "VARCHAR", "request_count": "BIGINT",
    "input_tokens": "BIGINT", "cached_input_tokens": "BIGINT", "output_tokens": "BIGINT", "reasoning_tokens": "BIGINT",
    "time_to_first_token_us": "BIGINT", "duration_us": "BIGINT",
}


def duckdb_strict(file: Path, _scratch: Path) -> None:
    """The floor: DuckDB parses every column strictly, and keeps none of it."""
    import duckdb

    columns = ", ".join(f"{name}: '{kind}'" for name, kind in TYPES.items())
    sums = ", ".join(f"max({name})" for name in TYPES)
    duckdb.sql("set threads = 1")
    duckdb.sql(f"select {sums} from read_ndjson('{file}', columns = {{{columns}}})").fetchall()


def tidegauge(file: Path, scratch: Path) -> None:
    """Ours: gz JSONL to receipt, with validation, quarantine, deduplication and sorted Parquet."""
    from orchestration.home import Home
    from orchestration.landing import land
    from orchestration.raw_store import ingest

    home = Home(scratch / "home")
    land(home, [file])
    (receipt,) = ingest(home, workers=1)
    print(f"rows {receipt.loaded_count} bytes {sum(receipt.file_sizes)}", file=sys.stderr)


def polars(file: Path, scratch: Path) -> None:
    """Polars: read, deduplicate, sort, write Parquet."""
    import polars as pl

    frame = pl.read_ndjson(file)
    frame.unique("event_id", keep="first").sort("tenant_id", "occurred_at").write_parquet(scratch / "polars.parquet")


def pandas(file: Path, scratch: Path) -> None:
    """pandas: read, deduplicate, sort, write Parquet."""
    import pandas as pd

    frame = pd.read_json(file, lines=True)
    frame.drop_duplicates("event_id").sort_values(["tenant_id", "occurred_at"]).to_parquet(scratch / "pandas.parquet")


def dlt_default(file: Path, scratch: Path) -> None:
    """dlt to DuckDB, as its tutorial does it: dictionaries, one a row."""
    import gzip

    import dlt
    import orjson

    def rows():
        with gzip.open(file, "rb") as stream:
            yield from map(orjson.loads, stream)

    _pipeline(dlt, scratch).run(rows(), table_name="token_usage", primary_key="event_id", write_disposition="merge")


def dlt_arrow(file: Path, scratch: Path) -> None:
    """dlt to DuckDB from an Arrow table, its quickest way."""
    import dlt
    import pyarrow.json

    _pipeline(dlt, scratch).run(pyarrow.json.read_json(file), table_name="token_usage")


def _pipeline(dlt, scratch: Path):
    import os

    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "HOME": str(scratch)}
    return dlt.pipeline("bench", pipelines_dir=str(scratch / "pipelines"),
                        destination=dlt.destinations.duckdb(str(scratch / "dlt.duckdb")), dataset_name="bench")


CONTENDERS = {each.__name__: each for each in (duckdb_strict, tidegauge, polars, pandas, dlt_arrow, dlt_default)}

if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
