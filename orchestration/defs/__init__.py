"""Dagster definitions, one file a layer: the file list is the pipeline.

Every function here is glue: read, call a pure function, write, report.
"""
