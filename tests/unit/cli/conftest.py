"""A server on a real socket with a fake runtime behind it, and a plan for it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from trtserve.server.app import create_app
from trtserve.settings import Settings


@pytest.fixture
def url(settings: Settings, runtime: FakeRuntime) -> Iterator[str]:
    """A server's address; early connections wait in the socket's backlog."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(create_app(settings, runtime=runtime), log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "lenet.onnx"
    file.write_bytes(onnx_plan())
    return file
