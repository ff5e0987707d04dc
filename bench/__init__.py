"""Benchmarks: ratios within one run, medians over interleaved rounds. Times of different runs are not
comparable."""
