"""What readers see: figures and pages over the published files. No Dagster, no writing of marts."""
