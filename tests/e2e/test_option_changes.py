"""Changes of an engine's options under load: no client notices, whatever way its requests take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import shared_memory

from tests.e2e.load import Load, Stream, X
from tests.e2e.server import Server
from tests.seam.models import doubling
from tests.waiting import wait_until

SIZE = X.nbytes


@contextmanager
def regions(key: str) -> Iterator[Any]:
    handle = shared_memory.create_shared_memory_region("net", key, 2 * SIZE, create_only=True)
    try:
        yield handle
    finally:
        shared_memory.destroy_shared_memory_region(handle)


class ThroughMemory:
    """Sends its inputs and takes its outputs through shared memory."""

    def __init__(self, server: Server, handle: Any, key: str) -> None:
        self._client = InferenceServerClient(str(server.client.base_url).removeprefix("http://"))
        self._client.register_system_shared_memory("net", key, 2 * SIZE)
        self._handle = handle
        shared_memory.set_shared_memory_region(handle, [X])

    def __call__(self) -> object:
        x, y = InferInput("x", X.shape, "FP32"), InferRequestedOutput("y")
        x.set_shared_memory("net", SIZE)
        y.set_shared_memory("net", SIZE, SIZE)
        self._client.infer("net", [x], outputs=[y])
        return shared_memory.get_contents_as_numpy(self._handle, np.float32, X.shape, SIZE)[0].tolist()


def instances(server: Server) -> int:
    return int(server.client.get("/engines/net").json()["instances"])


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "store", "--shared-memory", "trtserve-changes-*", grpc=True) as server:
        yield server


def test_no_request_fails_while_options_change(serving: Server, tmp_path: Path) -> None:
    server = serving
    plan = doubling(tmp_path / "doubling.onnx").read_bytes()
    server.client.post("/engines?name=net&instances=1", content=plan).raise_for_status()
    key = f"/trtserve-changes-{server.process.pid}"
    with regions(key) as handle:
        stream = Stream(server)
        load = Load(server, stream, ThroughMemory(server, handle, key))
        for options in ({"instances": 2, "max_batch_size": 8}, {"instances": 1, "max_batch_size": 1}):
            load.go_on()
            answer = server.client.patch("/engines/net", json=options)
            assert (answer.status_code, answer.json()["instances"]) == (200, options["instances"]), (
                answer.text
            )
        load.go_on()
        again = server.client.post("/engines?name=net&instances=2", content=plan)
        assert (again.status_code, again.json()["instances"]) == (200, 2)
        config = {"parameters": {"config": '{"instance_group": [{"count": 1}]}'}}
        server.client.post("/v2/repository/models/net/load", json=config).raise_for_status()
        load.go_on()
        load.end()
        stream.end()
    assert instances(server) == 1
    counted = sum(client.answers for client in load.clients)
    assert server.metric("trtserve_requests_total", engine="net", outcome="Success") == counted
    assert "Traceback" not in server.log


def test_a_server_that_is_killed_during_a_change_has_one_of_the_two_options(tmp_path: Path) -> None:
    plan = doubling(tmp_path / "doubling.onnx").read_bytes()
    with Server(tmp_path / "store") as server:
        server.client.post("/engines?name=net&instances=1", content=plan).raise_for_status()
        now = 1
        for asked in (2, 3, 4):
            answer = server.client.patch(
                "/engines/net", json={"instances": asked}, headers={"Prefer": "respond-async"}
            )
            assert answer.status_code in {200, 202}
            server.kill()
            server.start()
            server.wait_until_ready()
            assert instances(server) in {now, asked}
            server.client.patch("/engines/net", json={"instances": asked}).raise_for_status()
            now = asked
            wait_until(lambda asked=asked: instances(server) == asked, "the options are there")
