"""A server with a model, and the clients that call it."""

from collections.abc import Iterator

import pytest

from tests.e2e.server import Server
from tests.e2e.triton.clients import SHARED, TritonClient, upload
from tests.seam.models import scaling


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    with Server(folder / "store", "--shared-memory", f"{SHARED}*", grpc=True) as server:
        yield server


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Plans of y = n x for FP32 [?, 4], keyed by n."""
    folder = tmp_path_factory.mktemp("plans")
    return {n: scaling(folder / f"{n}.onnx", n).read_bytes() for n in (2, 3)}


@pytest.fixture
def server(triton_server: Server, plans: dict[int, bytes]) -> Iterator[Server]:
    """A server with the model `net`, y = 2x, which joins no requests; leftovers of a test are removed."""
    upload(triton_server, plans[2], max_batch_size=1)
    yield triton_server
    triton_server.client.post("/v2/systemsharedmemory/unregister").raise_for_status()
    for engine in triton_server.client.get("/engines").json()["engines"]:
        triton_server.client.delete(f"/engines/{engine['id']}").raise_for_status()


@pytest.fixture
def client(kind: str, server: Server) -> Iterator[TritonClient]:
    with TritonClient(kind, server) as client:
        yield client
