"""Memory of this process before and after many repetitions."""

from collections.abc import Callable

import psutil
import torch

HOST_GROWTH_BYTES = 8 << 20  # an allocator's own overhead; a plan leaked per load would be far more
DEVICE_GROWTH_BYTES = 4 << 20  # the driver takes memory in blocks of 2 MiB


def memory() -> dict[str, int]:
    """Return bytes in use: by this process on the host, and on the device in total and by torch."""
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return {
        "host": psutil.Process().memory_info().rss,
        "device": total - free,
        "torch": torch.cuda.memory_allocated(),
    }


def check_flat(run: Callable[[], object], times: int, settle: int, device_growth: int = 0) -> None:
    """Check that memory after `times` runs is what it was after the first few."""
    for _ in range(settle):
        run()
    before = memory()
    for _ in range(times):
        run()
    after = memory()
    print(f"\n{times} times: {before} -> {after}")
    assert after["torch"] == before["torch"]
    assert after["device"] - before["device"] <= device_growth
    assert after["host"] - before["host"] < HOST_GROWTH_BYTES
