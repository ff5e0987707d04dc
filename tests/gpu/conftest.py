"""The seam's fixtures for tests that also need a GPU, and the real TensorRT backend."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

import runtime_ext
from runtime_ext.backends import built_backends
from tests.seam.conftest import Harness, gates, harness

__all__ = ["gates", "harness", "tensorrt"]

MODERN = next((f"tensorrt{major}" for major in (11, 10) if f"tensorrt{major}" in built_backends()), None)
"""The newest built backend with TensorRT 10's API."""


def cannot_run(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)


@contextmanager
def harness_with(backend: str, folder: Path) -> Iterator[Harness]:
    """Make a harness for a built backend; the test cannot run without its library."""
    made = Harness(folder)
    try:
        made.runtime.backend_version(backend)
    except runtime_ext.Error as error:
        made.runtime.close()
        cannot_run(str(error))
    yield made
    made.runtime.close()


@pytest.fixture
def tensorrt(tmp_path: Path) -> Iterator[Harness]:
    """Make a harness whose tensorrt backend uses the real library; skip or fail without it."""
    if MODERN is None:
        cannot_run("no backend was built for TensorRT 10 or later: it needs TENSORRT_INCLUDE_DIR")
    with harness_with(MODERN, tmp_path) as made:
        yield made
