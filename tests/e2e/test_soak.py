"""A short soak; soak.py runs the long one."""

import os
from pathlib import Path

from tests.e2e.soak import soak


def test_nothing_fails_and_nothing_grows_while_an_engine_comes_and_goes(
    tmp_path: Path,
) -> None:
    report = soak(tmp_path, clients=40, seconds=6)
    assert set(report.load.statuses) == {"200"}
    assert report.load.churned > 0
    assert report.after.descriptors <= report.before.descriptors
    # The thread pool of asyncio adds threads until it reaches its limit.
    pool = min(32, (os.cpu_count() or 1) + 4)
    assert report.after.threads <= report.before.threads + pool
    # An allocator keeps some memory; a leak on every request would be far larger.
    assert report.after.rss_mib < 1.05 * report.before.rss_mib
