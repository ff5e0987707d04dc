"""Requests with inputs and outputs in shared memory."""

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.asgi import exchange, inference_of, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, TensorSpec, error
from tests.fakes.shared_memory import FakeSharedMemory
from tests.waiting import until
from trtserve.codec.open_inference import HEADER_LENGTH
from trtserve.errors import NotFound
from trtserve.http.headers import read_headers
from trtserve.inference.calls import RequestHead
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 1_000  # bytes of a body, or of inputs in shared memory
BLOB = np.arange(4, dtype=np.float32).tobytes()
INFER = "/v2/models/net/infer"


def placed(region: str = "in", size: int = 16, offset: int = 0) -> dict[str, object]:
    place: dict[str, object] = {"shared_memory_region": region, "shared_memory_byte_size": size}
    return {"parameters": place | ({"shared_memory_offset": offset} if offset else {})}


X = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
IN = X | placed()
OUT: dict[str, object] = {"name": "y"} | placed("out")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_request_bytes": LIMIT})


@pytest.fixture
def memory() -> FakeSharedMemory:
    return FakeSharedMemory(**{"in": BLOB + BLOB[::-1], "out": bytes(20)})


@pytest.fixture(autouse=True)
async def served(app: FastAPI, client: httpx.AsyncClient, memory: FakeSharedMemory) -> None:
    exchange(app, inference=inference_of(app, shared_memory=memory))
    (await client.post("/engines?name=net", content=onnx_plan())).raise_for_status()


async def infer(client: httpx.AsyncClient, *outputs: object, **x: Any) -> httpx.Response:
    request = {"inputs": [IN | x]} | ({"outputs": outputs} if outputs else {})
    return await client.post(INFER, json=request)


async def test_an_input_is_read_from_its_region(client: httpx.AsyncClient) -> None:
    (y,) = (await infer(client)).json()["outputs"]
    assert y["data"] == [0, 1, 2, 3]
    (y,) = (await infer(client, **placed("in", 16, 16))).json()["outputs"]
    assert np.array(y["data"], np.float32).tobytes() == BLOB[::-1]


async def test_an_output_is_written_to_its_region_and_left_out_of_the_answer(
    client: httpx.AsyncClient, memory: FakeSharedMemory
) -> None:
    (y,) = (await infer(client, OUT)).json()["outputs"]
    assert y == {"name": "y", "shape": [1, 4], "datatype": "FP32"}
    assert memory.regions["out"] == BLOB + bytes(4)
    assert (await infer(client, {"name": "y"} | placed("out", 16, 4))).status_code == 200
    assert memory.writes == [("out", 0, 16), ("out", 4, 16)]


async def test_a_binary_request_can_have_its_output_in_a_region(
    client: httpx.AsyncClient, memory: FakeSharedMemory
) -> None:
    x = X | {"parameters": {"binary_data_size": 16}}
    header = json.dumps({"inputs": [x], "outputs": [OUT]}).encode()
    for value in (1, 2):  # twice: the second must not reuse the first answer
        blob = np.full(4, value, np.float32).tobytes()
        response = await client.post(
            INFER, content=header + blob, headers={"Inference-Header-Content-Length": str(len(header))}
        )
        assert response.headers["content-type"] == "application/json"
        assert memory.regions["out"] == blob + bytes(4)


def binary_to(region: str) -> bytes:
    x = X | {"parameters": {"binary_data_size": 16}}
    return json.dumps({"inputs": [x], "outputs": [{"name": "y"} | placed(region)]}).encode()


async def test_requests_with_one_head_each_use_their_own_place(
    app: FastAPI, memory: FakeSharedMemory
) -> None:
    memory.regions["two"] = bytearray(16)
    head = RequestHead.of("net", None, read_headers({HEADER_LENGTH: str(len(binary_to("out")))}))
    for region in ("out", "two", "out"):
        ended: list[Any] = []
        call = services_of(app).inference.start(head, binary_to(region) + BLOB, 0, ended.append)
        await until(lambda ended=ended: len(ended) == 1)
        services_of(app).inference.answer(call, ended[0])
    assert [name for name, *_ in memory.writes] == ["out", "two", "out"]


async def test_a_known_head_is_refused_once_its_region_is_gone(
    app: FastAPI, memory: FakeSharedMemory, runtime: FakeRuntime
) -> None:
    body = binary_to("out")
    head = RequestHead.of("net", None, read_headers({HEADER_LENGTH: str(len(body))}))
    services_of(app).inference.start(head, body + BLOB, 0, lambda _: None)
    del memory.regions["out"]
    with pytest.raises(NotFound, match="region 'out'"):
        services_of(app).inference.start(head, body + BLOB, 0, lambda _: None)
    assert len(runtime.timeouts) == 1


async def test_an_unknown_or_too_small_region_is_refused(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    assert "region 'none'" in refused(await infer(client, **placed("none")), 404, "NotFound")
    assert "32 bytes" in refused(await infer(client, **placed("in", 16, 17)), 400, "InvalidInput")
    response = await infer(client, {"name": "y"} | placed("none"))
    assert "region 'none'" in refused(response, 404, "NotFound")
    response = await infer(client, {"name": "y"} | placed("out", 21))
    assert "20 bytes" in refused(response, 400, "InvalidInput")
    assert runtime.timeouts == []


async def test_a_place_known_to_be_too_small_is_refused_before_the_execution(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.outputs = [TensorSpec("y", "FP32", [1, 4])]
    (await client.post("/engines?name=net", content=onnx_plan(1))).raise_for_status()
    response = await infer(client, {"name": "y"} | placed("out", 15))
    sentence = refused(response, 400, "InvalidInput")
    assert sentence == (
        "Output 'y', FP32 [1, 4], has 16 bytes; the request gives it 15 bytes of the shared memory region "
        "'out'."
    )
    assert runtime.timeouts == []


async def test_a_place_that_turns_out_too_small_is_an_error_and_nothing_is_written(
    client: httpx.AsyncClient, runtime: FakeRuntime, memory: FakeSharedMemory
) -> None:
    runtime.outputs = [TensorSpec("a", "FP32", [-1]), TensorSpec("b", "FP32", [-1])]
    runtime.compute = lambda _: [Output.of(name, "FP32", [4], BLOB) for name in "ab"]
    (await client.post("/engines?name=net", content=onnx_plan(1))).raise_for_status()
    response = await infer(client, {"name": "a"} | placed("out", 16), {"name": "b"} | placed("out", 4, 16))
    assert "Output 'b', FP32 [4], has 16 bytes" in refused(response, 400, "InvalidInput")
    assert memory.writes == []


async def test_a_failed_execution_writes_nothing(
    client: httpx.AsyncClient, runtime: FakeRuntime, memory: FakeSharedMemory
) -> None:
    def fail(_: object) -> list[Output]:
        raise error("ExecutionFailed", "it is so")

    runtime.compute = fail
    refused(await infer(client, OUT), 500, "ExecutionFailed")
    assert memory.writes == []


async def test_the_body_limit_applies_to_inputs_in_regions(client: httpx.AsyncClient) -> None:
    response = await infer(client, shape=[100, 4], **placed("in", 1_600))
    assert "--max-request-bytes" in refused(response, 413, "TooLarge")


async def test_inputs_in_regions_count_as_bytes_under_way(
    app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    inflight = services_of(app).inflight
    (await infer(client)).raise_for_status()
    assert inflight.taken == 0
    runtime.hold()
    waiting = asyncio.create_task(infer(client))
    await until(lambda: runtime.waiting)
    body = len(httpx.Request("POST", INFER, json={"inputs": [IN]}).content)
    assert inflight.taken == body + 16
    runtime.release()
    (await waiting).raise_for_status()
    assert inflight.taken == 0


async def test_inputs_in_regions_no_longer_count_once_abandoned(
    app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.hold()
    waiting = asyncio.create_task(infer(client))
    await until(lambda: runtime.waiting)
    waiting.cancel()
    await until(lambda: runtime.cancelled)
    assert services_of(app).inflight.taken == 0


async def test_inputs_in_regions_no_longer_count_once_refused(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    refused(await infer(client, **placed("none")), 404, "NotFound")
    assert services_of(app).inflight.taken == 0


async def test_a_server_without_shared_memory_refuses_regions(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    exchange(app, inference=inference_of(app))
    assert "System shared memory is off" in refused(await infer(client), 501, "Unsupported")
    x = X | {"data": [1, 2, 3, 4], "parameters": {}}
    assert "System shared memory is off" in refused(await infer(client, OUT, **x), 501, "Unsupported")
