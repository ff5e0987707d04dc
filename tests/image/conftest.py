"""The image under test, which `make image-test` names, and a served container of it."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.image.container import Container, container_of
from tests.waiting import wait_until

IMAGE, ENGINE = os.environ.get("IMAGE"), os.environ.get("ENGINE")
NOT_BUILT = "needs a built image: run `make image-test`"


@dataclass
class Served:
    """A server in a container; its ports stay the same when it starts again."""

    container: Container
    store: Path
    port: int
    grpc_port: int
    client: httpx.Client

    def start(self) -> None:
        """Start it, and return once it is ready."""
        self.container.start(
            self.store,
            TRTSERVE_HOST="127.0.0.1",
            TRTSERVE_PORT=str(self.port),
            TRTSERVE_GRPC_PORT=str(self.grpc_port),
        )
        wait_until(self._ready, "the readiness of the server in the container")

    def _ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@pytest.fixture(scope="session")
def container() -> Iterator[Container]:
    """A container that has not been started."""
    if not IMAGE or not ENGINE:
        pytest.skip(NOT_BUILT)
    made = container_of(ENGINE, IMAGE)
    yield made
    made.remove()


@pytest.fixture
def store(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that belongs to the image's user, in folders that this user may enter."""
    folder = tmp_path_factory.mktemp("store")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    user, group = map(int, container.config["User"].split(":"))
    os.chown(folder, user, group)
    return folder


@pytest.fixture
def served(container: Container, store: Path) -> Iterator[Served]:
    """A server that is ready, and stopped at the end."""
    port = free_port()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        server = Served(container, store, port, free_port(), client)
        server.start()
        yield server
