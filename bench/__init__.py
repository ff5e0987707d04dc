"""Benchmarks: ratios within one run, medians over interleaved rounds. Times of two runs do not compare."""
