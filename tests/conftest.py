"""Fixtures that many tests share."""

from pathlib import Path

import pytest

from service.settings import Settings
from tests.fakes.runtime import FakeRuntime


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a store of the test's own."""
    return Settings(store=tmp_path / "store", drain_s=1.0)


@pytest.fixture
def runtime() -> FakeRuntime:
    """A fake Runtime: see tests/fakes/runtime.py for what a test can tell it."""
    return FakeRuntime()


@pytest.fixture
def anyio_backend() -> str:
    """What `pytest.mark.anyio` runs coroutines on: the only loop that the service runs on."""
    return "asyncio"
