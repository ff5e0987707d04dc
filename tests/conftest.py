"""The mark `gpu`: skipped where there is no GPU, failed instead where REQUIRE_GPU=1 says there is one."""

import os

import pytest
import torch


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None or torch.cuda.is_available():
        return
    reason = f"torch {torch.__version__} sees no NVIDIA GPU"
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)
