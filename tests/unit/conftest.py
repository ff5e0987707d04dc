"""Fixtures of tests that go through the whole application, with a fake runtime; how properties are tested."""

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
def runtime() -> Iterator[FakeRuntime]:
    """A fake Runtime: see tests/fakes/runtime.py for what a test can tell it."""
    runtime = FakeRuntime()
    yield runtime
    runtime.end()


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


@pytest.fixture
async def served(client: httpx.AsyncClient, app: FastAPI) -> FastAPI:
    """The application with the engine `net`."""
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    return app


@pytest.fixture
def key() -> Iterator[str]:
    """Of a shared memory object: no other test has it, and nobody after the test."""
    key = f"trtserve-test-{uuid.uuid4().hex}"
    yield key
    for left in SHM.glob(f"{key}*"):
        left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()


@pytest.fixture
def memory() -> Iterator[Regions]:
    """Regions of the objects that `key` names."""
    memory = Regions(Settings(shared_memory="trtserve-test-*"))
    yield memory
    memory.close()
