"""Fixtures of the whole application on a fake runtime, and the profile of property tests."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
from fastapi import FastAPI

from tests.asgi import client_of
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.shared_objects import SHM
from trtserve.inference.shared_memory import Regions
from trtserve.server.app import create_app
from trtserve.settings import Settings

# No deadline: a slow machine must not fail a test.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a store for this test alone."""
    return Settings(store=tmp_path / "store", drain_s=1.0)


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    """A fake Runtime; tests/fakes/runtime.py describes its controls."""
    runtime = FakeRuntime()
    yield runtime
    runtime.end()


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime) -> AsyncIterator[FastAPI]:
    """The started application; a test may override `settings` and `runtime`."""
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def served(client: httpx.AsyncClient, app: FastAPI) -> FastAPI:
    """The application with the engine `net`."""
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    return app


@pytest.fixture
def key() -> Iterator[str]:
    """The key of a shared memory object for this test alone; the object is removed afterwards."""
    key = f"trtserve-test-{uuid.uuid4().hex}"
    yield key
    for left in SHM.glob(f"{key}*"):
        left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()


@pytest.fixture
def memory() -> Iterator[Regions]:
    """Shared memory that allows the object of `key`."""
    memory = Regions(Settings(shared_memory="trtserve-test-*"))
    yield memory
    memory.close()
