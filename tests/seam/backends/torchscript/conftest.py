"""The runtime with the fake TensorRT, for modules on the fake device."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import TensorRt, running


@pytest.fixture
def trt(tmp_path: Path) -> Iterator[TensorRt]:
    with running(tmp_path, sdk.V11) as trt:
        yield trt
