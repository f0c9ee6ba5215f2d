"""Dagster definitions, one file a layer: the file list is the pipeline.

Every function here is glue: read, call a pure function, write, report. No file here postpones
annotations (``from __future__ import annotations``): Dagster reads them when it decorates.
"""
