"""For all tests: ignore settings of the environment, let SIGINT interrupt, and apply the mark `gpu`.

Without a GPU a marked test is skipped; with REQUIRE_GPU=1 it fails instead.
"""

import os
import signal

import pytest
import torch

for setting in [name for name in os.environ if name.upper().startswith("TRTSERVE_")]:
    del os.environ[setting]  # before a test module creates Settings on import

# A shell lets what it starts in the background ignore SIGINT, and so would each process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None or torch.cuda.is_available():
        return
    reason = f"torch {torch.__version__} sees no NVIDIA GPU"
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)
