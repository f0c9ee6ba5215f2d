"""The economics in Python: what SQL says badly. Pure functions; no Dagster, no files."""
