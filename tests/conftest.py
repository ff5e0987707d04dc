"""For all tests: no settings from outside, and the mark `gpu`.

That is skipped where there is no GPU, and failed instead where REQUIRE_GPU=1 says there is one.
"""

import os

import pytest
import torch

for setting in [name for name in os.environ if name.upper().startswith("TRTSERVE_")]:
    del os.environ[setting]  # before a module of tests makes Settings when it is imported


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None or torch.cuda.is_available():
        return
    reason = f"torch {torch.__version__} sees no NVIDIA GPU"
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)
