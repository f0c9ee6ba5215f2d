"""Forecasting: pure functions over frames. No Dagster, no DuckDB, no files."""
