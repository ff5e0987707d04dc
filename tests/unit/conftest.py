"""Fixtures of tests that go through the whole application, with a fake runtime; how properties are tested."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import hypothesis
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.asgi import client_of
from tests.fakes.runtime import FakeRuntime

# Nothing is asserted about time: a slow machine is no failure.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a store of the test's own."""
    return Settings(store=tmp_path / "store", drain_s=1.0)


@pytest.fixture
def runtime() -> FakeRuntime:
    """A fake Runtime: see tests/fakes/runtime.py for what a test can tell it."""
    return FakeRuntime()


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime) -> AsyncIterator[FastAPI]:
    """The application, started; a test's own `settings` and `runtime` are its."""
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client
