"""The margin dashboard: whether margin moved, why, and where, from the published finance file.

``readings`` aggregates in DuckDB, ``content`` says what the numbers mean, ``app`` serves the pages with
Vizro behind ``access``, and ``static_page`` writes the same pages as one file to print.
"""
