"""For all tests: ignore settings of the environment, let SIGINT interrupt, leave the log as it was, keep the
garbage collector quick, and apply the mark `gpu`.

Without a GPU a marked test is skipped; with REQUIRE_GPU=1 it fails instead.
"""

import gc
import logging
import os
import signal
from collections.abc import Iterator

import pytest
import torch

for setting in [name for name in os.environ if name.upper().startswith("TRTSERVE_")]:
    del os.environ[setting]  # before a test module creates Settings on import

# A shell lets what it starts in the background ignore SIGINT, and so would each process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Take back what a test changes about the log: the command `serve` sets it for the whole process."""
    root, of_uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, of_uvicorn.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    of_uvicorn.setLevel(before[2])


def pytest_collection_finish() -> None:
    """Hide thousands of collected tests from the garbage collector: each collection that a test asks for
    visited them, and took seconds."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None or torch.cuda.is_available():
        return
    reason = f"torch {torch.__version__} sees no NVIDIA GPU"
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)
