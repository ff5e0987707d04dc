"""Fixtures for engines without a Runtime."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import runtime_ext
from runtime_ext import _C
from runtime_ext.backends import plugin_path
from tests.seam.conftest import Gates
from tests.seam.models import doubling


@cache
def register_toy() -> None:
    _C.register_process_backend("toy", str(plugin_path("toy")))


@pytest.fixture
def process_engines(gates: Gates) -> Iterator[None]:
    """Engines without a Runtime, with the toy backend; none is left after the test."""
    register_toy()
    yield
    gates.open_all()
    runtime_ext.shutdown()


@pytest.fixture
def double(tmp_path: Path) -> Path:
    return doubling(tmp_path / "double.onnx")
