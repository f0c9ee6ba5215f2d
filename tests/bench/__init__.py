"""The benchmark: ours beside its peers in the same run, in CPU seconds and peak memory."""
