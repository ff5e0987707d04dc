"""Fixtures for tests of a whole server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime_ext import GRPC_SESSION
from tests.e2e.server import Server
from tests.seam.models import doubling, slow


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server shared by all tests that clean up after themselves."""
    with Server(tmp_path_factory.mktemp("shared") / "store") as server:
        yield server


@pytest.fixture(scope="session", params=["auto", "aio"] if GRPC_SESSION else ["aio"])
def each_grpc_server() -> None:
    """Run the test with the fast path of gRPC and with grpc.aio: clients see no difference."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose what serves gRPC, before a fixture starts a server. Not done in the fixture above, which lasts
    longer than the tests that ask for it."""
    of_test = item.callspec.params if hasattr(item, "callspec") else {}
    Server.grpc_server = of_test.get("each_grpc_server", "auto")


@pytest.fixture(scope="session")
def shared_grpc_server(tmp_path_factory: pytest.TempPathFactory, each_grpc_server: None) -> Iterator[Server]:
    """A server with gRPC shared by all tests that clean up after themselves."""
    with Server(tmp_path_factory.mktemp("shared_grpc") / "store", grpc=True) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """A running server without engines; leftovers of a test are removed."""
    yield shared_server
    remove_all(shared_server)


@pytest.fixture
def grpc_server(shared_grpc_server: Server) -> Iterator[Server]:
    """A running server with gRPC and without engines; leftovers of a test are removed."""
    yield shared_grpc_server
    remove_all(shared_grpc_server)


def remove_all(server: Server) -> None:
    for engine in reversed(server.client.get("/engines").json()["engines"]):  # modules before what they call
        server.client.delete(f"/engines/{engine['id']}").raise_for_status()
    leftovers = [path.name for folder in ("incoming", "plans") for path in (server.store / folder).iterdir()]
    assert leftovers == []


@pytest.fixture
def plan(tmp_path: Path) -> bytes:
    """An ONNX model of y = 2x for x: FP32 [?, 4]."""
    return doubling(tmp_path / "doubling.onnx").read_bytes()


@pytest.fixture(scope="session")
def big_plan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An ONNX model with many layers: loading and running it take a moment."""
    return slow(tmp_path_factory.mktemp("big") / "slow.onnx").read_bytes()
