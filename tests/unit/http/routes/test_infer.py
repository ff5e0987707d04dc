"""POST /engines/{ref}/infer, with a fake runtime that returns x as y."""

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from safetensors.torch import load, save

from tests.asgi import client_of, post, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, TensorSpec, error
from tests.waiting import until
from trtserve.errors import HTTP_STATUS
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 10_000  # bytes
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
Y = {"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}
INFER = "/engines/net/infer"
SAFETENSORS = {"Content-Type": "application/x-safetensors"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_request_bytes": LIMIT, "request_timeout_s": 2.0})


@pytest.fixture
async def engine(client: httpx.AsyncClient) -> dict[str, Any]:
    """An engine named `net` with a queue of two."""
    response = await client.post("/engines", params={"name": "net", "max_queue_size": 2}, content=onnx_plan())
    assert response.status_code == 201, response.text
    return dict(response.json())


def binary(**request: object) -> tuple[bytes, dict[str, str]]:
    """A body with x as a blob, and its headers."""
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    header = json.dumps({"inputs": [x]} | request).encode()
    blob = np.array([1, 2, 3, 4], np.float32).tobytes()
    return header + blob, {"Inference-Header-Content-Length": str(len(header))}


# -- answers


async def test_json_is_answered_with_json(client: httpx.AsyncClient, engine: dict[str, Any]) -> None:
    response = await client.post(INFER, json={"id": "a", "inputs": [X]})
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"model_name": "net", "model_version": "1", "id": "a", "outputs": [Y]}


async def test_an_unnamed_engine_is_called_by_its_id(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    unnamed = (await client.post("/engines", content=onnx_plan(1))).json()
    response = await client.post(f"/engines/{unnamed['id']}/infer", json={"inputs": [X]})
    assert (response.json()["model_name"], response.json()["model_version"]) == (str(unnamed["id"]), "1")


async def test_an_answer_names_the_current_version(client: httpx.AsyncClient, engine: dict[str, Any]) -> None:
    await client.post("/engines?name=net", content=onnx_plan(1))
    response = await client.post(INFER, json={"inputs": [X]})
    assert (response.json()["model_name"], response.json()["model_version"]) == ("net", "2")


async def test_the_protocols_routes_give_the_same_answers(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    response = await client.post("/v2/models/n%65t/infer", json={"inputs": [X]})
    assert response.json() == {"model_name": "net", "model_version": "1", "outputs": [Y]}
    response = await client.post(f"/v2/models/{engine['id']}/versions/1/infer", json={"inputs": [X]})
    assert response.json() == {"model_name": "net", "model_version": "1", "outputs": [Y]}
    response = await client.post("/v2/models/none/infer", json={"inputs": [X]})
    assert "no engine 'none'" in refused(response, 404, "NotFound")


async def test_a_version_other_than_the_current_one_can_be_called(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    await client.post("/engines?name=net", content=onnx_plan(1))
    for path, version in (("net", "2"), ("net/versions/1", "1"), ("net/versions/2", "2")):
        response = await client.post(f"/v2/models/{path}/infer", json={"inputs": [X]})
        assert response.json()["model_version"] == version
    for version in ("3", "01", "latest", "-1"):
        response = await client.post(f"/v2/models/net/versions/{version}/infer", json={"inputs": [X]})
        assert f"version '{version}'" in refused(response, 404, "NotFound")


async def test_binary_is_answered_with_json_unless_binary_is_requested(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    body, headers = binary()
    assert (await client.post(INFER, content=body, headers=headers)).json()["outputs"] == [Y]

    body, headers = binary(parameters={"binary_data_output": True})
    response = await client.post(INFER, content=body, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    (y,) = json.loads(response.content[:length])["outputs"]
    assert y["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(response.content[length:], np.float32).tolist() == Y["data"]


async def test_safetensors_are_answered_with_safetensors(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    x = torch.rand(1, 4)
    response = await client.post(INFER, content=save({"x": x}), headers=SAFETENSORS)
    assert response.headers["content-type"] == "application/x-safetensors"
    assert torch.equal(load(response.content)["y"], x)


async def test_the_answer_can_have_another_form_than_the_request(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    accept_json = {**SAFETENSORS, "Accept": "application/json"}
    response = await client.post(
        INFER, content=save({"x": torch.tensor([[1.0, 2, 3, 4]])}), headers=accept_json
    )
    assert response.json()["outputs"] == [Y]
    response = await client.post(INFER, json={"inputs": [X]}, headers={"Accept": "application/x-safetensors"})
    assert load(response.content)["y"].tolist() == [Y["data"]]


async def test_only_requested_outputs_are_answered(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    runtime.outputs = [TensorSpec("a", "INT8", [1]), TensorSpec("b", "INT8", [1])]
    runtime.compute = lambda _: [Output.of("a", "INT8", [1], b"\x01"), Output.of("b", "INT8", [1], b"\x02")]
    await client.post("/engines?name=net", content=onnx_plan())
    response = await client.post(INFER, json={"inputs": [X], "outputs": [{"name": "b"}, {"name": "a"}]})
    assert [(y["name"], y["data"]) for y in response.json()["outputs"]] == [("b", [2]), ("a", [1])]
    response = await client.post(INFER, json={"inputs": [X], "outputs": [{"name": "c"}]})
    assert "no output 'c'; its outputs: 'a', 'b'" in refused(response, 400, "InvalidInput")


async def test_a_request_without_a_timeout_gets_the_servers(
    client: httpx.AsyncClient, engine: dict[str, Any], runtime: FakeRuntime
) -> None:
    await client.post(INFER, json={"inputs": [X]})
    await client.post(INFER, json={"inputs": [X], "parameters": {"timeout": 5}})
    await client.post(INFER, json={"inputs": [X]}, headers={"Inference-Timeout-Ms": "7"})
    await client.post(INFER, json={"inputs": [X], "parameters": {"timeout": 0}})
    assert runtime.timeouts == [2_000_000_000, 5_000, 7_000_000, 2_000_000_000]


# -- refusals


async def test_an_unknown_engine_is_a_404(client: httpx.AsyncClient) -> None:
    response = await client.post(INFER, json={"inputs": [X]})
    assert "no engine 'net'" in refused(response, 404, "NotFound")


async def test_a_refusal_by_the_runtime_is_answered_with_its_sentence(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    response = await client.post(INFER, json={"inputs": [X | {"name": "z"}]})
    assert refused(response, 400, "InvalidInput") == f"The inputs of engine {engine['id']} are x."


async def test_the_refusal_of_strings_names_the_datatype_of_the_engine(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    strings = X | {"datatype": "BYTES", "data": ["a", "b", "c", "d"]}
    sentence = "Input 'x' is BYTES [1, 4]; the engine's input is FP32 [-1, 4]."
    assert refused(await client.post(INFER, json={"inputs": [strings]}), 400, "InvalidInput") == sentence
    described = {key: value for key, value in strings.items() if key != "data"}
    described["parameters"] = {"binary_data_size": 20}
    for blob in (4 * b"\1\0\0\0a", bytes(20), b"\xff" * 20):  # its content no longer matters
        body, headers = binary(inputs=[described])
        body = body[: int(headers["Inference-Header-Content-Length"])] + blob
        response = await client.post(INFER, content=body, headers=headers)
        assert refused(response, 400, "InvalidInput") == sentence


@pytest.mark.parametrize(("kind", "status"), sorted(HTTP_STATUS.items()))
async def test_a_failed_execution_is_answered_with_its_error(
    client: httpx.AsyncClient, engine: dict[str, Any], runtime: FakeRuntime, kind: str, status: int
) -> None:
    def fail(_: object) -> list[Output]:
        raise error(kind, "it is so")

    runtime.compute = fail
    response = await client.post(INFER, json={"inputs": [X]})
    assert refused(response, status, kind) == "It is so."


async def test_a_full_queue_is_a_429_with_a_retry_after(
    client: httpx.AsyncClient, engine: dict[str, Any], runtime: FakeRuntime
) -> None:
    runtime.hold()
    waiting = [asyncio.create_task(client.post(INFER, json={"inputs": [X]})) for _ in range(2)]
    await until(lambda: len(runtime.waiting) == 2)
    response = await client.post(INFER, json={"inputs": [X]})
    assert "is full (2 requests)" in refused(response, 429, "QueueFull")
    assert response.headers["retry-after"] == "1"
    runtime.release()
    assert [r.status_code for r in await asyncio.gather(*waiting)] == [200, 200]


async def test_an_engine_that_is_loading_or_has_failed_is_a_503(
    client: httpx.AsyncClient, engine: dict[str, Any], settings: Settings, app: FastAPI
) -> None:
    services_of(app).store.close()  # as at the end of a process: the next opens the same store
    restarted = FakeRuntime()
    restarted.load_gate.clear()
    second = create_app(settings, runtime=restarted)
    async with second.router.lifespan_context(second), client_of(second) as again:
        response = await again.post(INFER, json={"inputs": [X]})
        assert "is still loading" in refused(response, 503, "Unavailable")
        restarted.load_error = error("Unsupported", "the driver is gone")
        restarted.load_gate.set()
        await until(lambda: services_of(second).registry.loading == 0)
        response = await again.post(INFER, json={"inputs": [X]})
        assert "could not be loaded: the driver is gone" in refused(response, 503, "Unavailable")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Encoding": "br"}, (415, "InvalidInput", "Content-Encoding is 'br'; send it with gzip")),
        ({"Content-Encoding": "gzip, gzip"}, (415, "InvalidInput", "'gzip, gzip'; compress it once")),
        ({"Content-Type": "text/plain"}, (415, "InvalidInput", "Content-Type is 'text/plain'")),
        ({"Inference-Header-Content-Length": "many"}, (400, "InvalidInput", "'many'")),
        ({"Inference-Timeout-Ms": "soon"}, (400, "InvalidInput", "'soon'")),
    ],
)
async def test_a_header_that_cannot_be_served_is_refused(
    client: httpx.AsyncClient, engine: dict[str, Any], headers: dict[str, str], expected: tuple[int, str, str]
) -> None:
    status, code, sentence = expected
    response = await client.post(INFER, json={"inputs": [X]}, headers=headers)
    assert sentence in refused(response, status, code)


async def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(
    app: FastAPI, engine: dict[str, Any]
) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    response = await post(app, INFER, receive, {"Content-Length": str(LIMIT + 1)})
    assert "limit of 10000 bytes" in refused(response, 413, "TooLarge")


async def test_a_body_without_a_length_is_read_only_up_to_the_limit(
    app: FastAPI, engine: dict[str, Any]
) -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1_000
        return {"type": "http.request", "body": bytes(1_000), "more_body": True}

    response = await post(app, INFER, receive)
    assert "--max-request-bytes" in refused(response, 413, "TooLarge")
    assert read == LIMIT + 1_000


async def test_a_body_of_exactly_the_limit_is_accepted(
    client: httpx.AsyncClient, engine: dict[str, Any]
) -> None:
    body = json.dumps({"inputs": [X]}).encode().ljust(LIMIT)
    headers = {"Content-Type": "application/json"}
    assert (await client.post(INFER, content=body, headers=headers)).status_code == 200
    refused(await client.post(INFER, content=body + b" ", headers=headers), 413, "TooLarge")


# -- clients that leave


class Connection:
    """A client that sends these messages and leaves when `leave` is called."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = list(messages)
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_leaves_removes_its_request_from_the_queue(
    app: FastAPI, engine: dict[str, Any], runtime: FakeRuntime
) -> None:
    runtime.hold()
    body = json.dumps({"inputs": [X]}).encode()
    connection = Connection({"type": "http.request", "body": body, "more_body": False})
    answering = asyncio.create_task(post(app, INFER, connection.receive))
    await until(lambda: len(runtime.waiting) == 1)
    (ticket,) = runtime.waiting
    connection.leave()
    refused(await answering, 499, "Cancelled")
    await until(lambda: runtime.cancelled == [ticket])
    (stats,) = runtime.stats()
    assert (stats.outcomes, stats.queue_depth) == ({"Cancelled": 1}, 0)


async def test_a_client_that_leaves_halfway_through_its_body_starts_nothing(
    app: FastAPI, engine: dict[str, Any], runtime: FakeRuntime
) -> None:
    connection = Connection({"type": "http.request", "body": b'{"inputs"', "more_body": True})
    connection.leave()
    response = await post(app, INFER, connection.receive)
    assert "left before the whole request had arrived" in refused(response, 499, "Cancelled")
    assert runtime.timeouts == []


async def test_an_answered_request_does_not_wait_for_its_client(app: FastAPI, engine: dict[str, Any]) -> None:
    body = json.dumps({"inputs": [X]}).encode()
    connection = Connection({"type": "http.request", "body": body, "more_body": False})
    before = asyncio.all_tasks()
    assert (await post(app, INFER, connection.receive)).status_code == 200
    await until(lambda: asyncio.all_tasks() == before)


@pytest.mark.parametrize(
    "path",
    ["/engines/{ref}/infer", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"],
)
async def test_the_route_is_documented(client: httpx.AsyncClient, path: str) -> None:
    described = (await client.get("/openapi.json")).json()["paths"][path]["post"]
    forms = {"application/json", "application/octet-stream", "application/x-safetensors"}
    assert described["requestBody"]["content"].keys() == forms
    assert described["responses"]["200"]["content"].keys() == forms
    assert described["requestBody"]["content"]["application/json"]["example"]["inputs"]
    assert {"400", "404", "413", "429", "503", "504"} <= described["responses"].keys()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "sent",
    [
        {"instances": [[1, 2, 3, 4]]},
        {"x": [[1, 2, 3, 4]]},
        {"inputs": {"x": [[1, 2, 3, 4]]}},
        {"inputs": [[1, 2, 3, 4]]},
        {"inputs": [{"name": "x", "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "x", "shape": [1, 4], "data": [1, 2, 3, 4]}]},
        [[1, 2, 3, 4]],
        {},
    ],
)
@pytest.mark.parametrize("in_binary_form", [False, True])
async def test_json_in_another_form_is_answered_with_a_request_that_works(
    client: httpx.AsyncClient, sent: object, in_binary_form: bool
) -> None:
    body = json.dumps(sent).encode()
    kind = "Inference-Header-Content-Length" if in_binary_form else "Content-Type"
    headers = {kind: str(len(body)) if in_binary_form else "application/json"}
    response = await client.post(INFER, content=body, headers=headers)
    refused(response, 400, "InvalidInput")
    _, _, example = response.json()["error"].partition("For this engine send ")
    answer = await client.post(INFER, json=json.loads(example.removesuffix(".")))
    assert answer.status_code == 200
    assert answer.json()["outputs"] == [Y | {"data": [0.0, 0.0, 0.0, 0.0]}]
