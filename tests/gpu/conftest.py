"""The seam's fixtures, for tests that need a GPU as well, and the real TensorRT backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import runtime_ext
from runtime_ext.backends import plugin_path
from tests.seam.conftest import Harness, gates, harness

__all__ = ["gates", "harness", "tensorrt"]


@pytest.fixture
def tensorrt(tmp_path: Path) -> Iterator[Harness]:
    """A harness whose tensorrt backend runs on the real library; skips where there is none."""
    if not plugin_path("tensorrt").exists():
        pytest.skip("the tensorrt backend was not built: it needs TENSORRT_INCLUDE_DIR")
    made = Harness(tmp_path)
    try:
        made.runtime.backend_version("tensorrt")
    except runtime_ext.Error as error:
        made.runtime.close()
        pytest.skip(str(error))
    yield made
    made.runtime.close()
