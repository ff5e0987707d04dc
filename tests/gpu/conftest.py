"""The seam's fixtures for tests that also need a GPU, and real TensorRT backends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

import runtime_ext
from runtime_ext.backends import built_backends
from tests.gpu.effort import PLANS
from tests.gpu.real import GENERATIONS, RealTensorRt, plugin_library
from tests.seam.conftest import Harness, gates, harness, run_in_thread

__all__ = ["gates", "harness", "real", "real_with_plugins", "run_in_thread", "tensorrt"]

MODERN = next((f"tensorrt{major}" for major in (11, 10) if f"tensorrt{major}" in built_backends()), None)
"""The newest built backend with TensorRT 10's API."""

NOT_BUILT = "no backend `tensorrt` was built: it needs TensorRT's headers in TENSORRT_INCLUDE_DIR"


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


@pytest.fixture(scope="session")
def no_builder() -> dict[str, str]:
    """Say for each generation that cannot build plans here, why."""
    if GENERATIONS == ["none"]:
        return {"none": NOT_BUILT}
    reasons = {}
    runtime = runtime_ext.create_runtime()
    for backend in GENERATIONS:
        try:
            if not runtime.backend_builds(backend):
                reasons[backend] = f"the backend {backend} has no builder or no ONNX parser here"
        except runtime_ext.Error as error:
            reasons[backend] = str(error)
    runtime.close()
    return reasons


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder where the session keeps the plans that it has built."""
    if PLANS is None:
        return tmp_path_factory.mktemp("plans")
    PLANS.mkdir(parents=True, exist_ok=True)
    return PLANS


@pytest.fixture(params=GENERATIONS)
def real(
    request: pytest.FixtureRequest, tmp_path: Path, plans: Path, no_builder: dict[str, str]
) -> Iterator[RealTensorRt]:
    """Make a runtime for each generation of TensorRT that can build plans here.

    A generation without its library is skipped if another one has it; without any, the test cannot run.
    """
    backend = request.param
    if backend in no_builder:
        if len(no_builder) < len(GENERATIONS):
            pytest.skip(no_builder[backend])
        cannot_run(no_builder[backend])
    made = RealTensorRt(tmp_path, backend, plans)
    yield made
    made.runtime.close()


@pytest.fixture
def real_with_plugins(real: RealTensorRt) -> Iterator[RealTensorRt]:
    """Make a runtime that has opened NVIDIA's own library of plugins."""
    real.runtime.backend_version(real.backend)  # opens the library
    library = plugin_library(real.backend)
    real.runtime.close()
    if library is None:
        cannot_run(f"there is no libnvinfer_plugin beside the library of {real.backend}")
    made = RealTensorRt(real.folder, real.backend, real.plans, (library,))
    yield made
    made.runtime.close()
