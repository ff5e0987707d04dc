"""Uploads that the routes of engines refuse, with a fake runtime."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import post, refused
from tests.fakes.plans import onnx_plan, padding, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", drain_s=1.0, max_plan_bytes=10_000_000)


def files(settings: Settings) -> list[str]:
    return [file.name for folder in ("incoming", "plans") for file in (settings.store / folder).iterdir()]


async def test_a_plan_over_the_limit_is_refused_by_its_length_or_while_it_arrives(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    plan = onnx_plan() + padding(10_000_000)
    assert "over this server's limit of 10000000 bytes" in refused(
        await client.post("/engines", content=plan), 413, "TooLarge"
    )

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(plan), 1_000_000):
            yield plan[begin : begin + 1_000_000]

    assert "--max-plan-bytes" in refused(await client.post("/engines", content=chunks()), 413, "TooLarge")
    assert files(settings) == []


async def test_an_empty_body_is_refused(client: httpx.AsyncClient, settings: Settings) -> None:
    assert "The plan is empty" in refused(await client.post("/engines"), 400, "InvalidInput")
    assert files(settings) == []


async def test_a_wrong_file_is_named_and_leaves_nothing(
    client: httpx.AsyncClient, settings: Settings, runtime: FakeRuntime
) -> None:
    html = b"<!doctype html><title>404</title>" + b" " * 100
    assert "an HTML page titled “404”" in refused(
        await client.post("/engines", content=html), 400, "InvalidInput"
    )
    assert files(settings) == []
    assert runtime.loads == []


async def test_a_wrong_file_is_refused_before_it_has_arrived_whole(app: FastAPI, settings: Settings) -> None:
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": b"<html>" + bytes(1_000_000), "more_body": True}

    response = await post(app, "/engines", receive)
    assert response.status_code == 400
    assert sent < 10
    assert files(settings) == []


async def test_the_refusal_of_a_tensorrt_plan_says_how_to_get_its_backend(client: httpx.AsyncClient) -> None:
    sentence = refused(await client.post("/engines", content=tensorrt_plan()), 501, "Unsupported")
    assert "TensorRT 10.13.2.6" in sentence
    assert 'README, "On a GPU"' in sentence


async def test_a_plan_that_fails_to_load_is_refused_with_the_backends_sentence(
    client: httpx.AsyncClient, runtime: FakeRuntime, settings: Settings
) -> None:
    runtime.load_error = error("InvalidInput", "OpenVINO cannot read the model: opset 99.")
    response = await client.post("/engines", content=onnx_plan())
    assert refused(response, 400, "InvalidInput") == "OpenVINO cannot read the model: opset 99."
    assert files(settings) == []
    assert (await client.get("/engines")).json() == {"engines": []}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("name=123", "name"),
        ("name=a/b", "name"),
        ("name=" + "x" * 129, "name"),
        ("name=", "name"),
        ("name=net%0A", "name"),
        ("format=pickle", "format"),
        ("instances=-1", "instances"),
        ("instances=many", "instances"),
        ("max_queue_size=0", "max_queue_size"),
        ("device=tpu", "device"),
        ("device=cuda:%D9%A3", "device"),
        ("precision=f8", "precision"),
        ("cuda_graphs=always", "cuda_graphs"),
        ("instance=2", "instance"),
        ("max_batch_size=0", "max_batch_size"),
        ("max_batch_size=65537", "max_batch_size"),
        ("max_queue_delay_us=soon", "max_queue_delay_us"),
        ("latency_target_us=0", "latency_target_us"),
        ("preferred_batch_sizes=4,", "preferred_batch_sizes"),
        ("batch_dims=x", "batch_dims"),
    ],
)
async def test_a_wrong_query_is_refused_before_the_body_is_read(
    app: FastAPI, settings: Settings, query: str, parameter: str
) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    response = await post(app, "/engines", receive, query=query)
    assert parameter in refused(response, 400, "InvalidInput")
    assert files(settings) == []


async def test_a_wrong_name_or_device_is_refused_with_what_is_allowed(client: httpx.AsyncClient) -> None:
    name = refused(await client.post("/engines?name=2nd", content=onnx_plan()), 400, "InvalidInput")
    assert name == (
        "The query parameter 'name' is '2nd': Input should be a letter or _, then letters, digits, _, . and "
        "-, 128 at most."
    )
    device = refused(await client.post("/engines?device=gpu", content=onnx_plan()), 400, "InvalidInput")
    assert device.endswith(
        "is 'gpu': Input should be 'auto', 'all', 'cpu', 'cuda', 'cuda:N', or GPUs with commas between them."
    )


async def test_a_compressed_plan_is_refused_before_it_is_read(app: FastAPI, settings: Settings) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    response = await post(app, "/engines", receive, {"Content-Encoding": "gzip"})
    assert "Content-Encoding is 'gzip'" in refused(response, 415, "InvalidInput")
    assert files(settings) == []


async def test_a_client_that_leaves_halfway_leaves_nothing(app: FastAPI, settings: Settings) -> None:
    messages = [
        {"type": "http.request", "body": onnx_plan() + padding(5_000_000)[:4_500_000], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    response = await post(app, "/engines", receive, {"Content-Length": "5000000"})
    assert response.status_code == 499
    assert files(settings) == []


async def test_a_body_shorter_than_declared_is_refused(app: FastAPI, settings: Settings) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": onnx_plan(), "more_body": False}

    response = await post(app, "/engines", receive, {"Content-Length": "1000"})
    assert "Content-Length is 1000" in refused(response, 400, "InvalidInput")
    assert files(settings) == []


async def test_a_form_is_refused_before_it_is_read(app: FastAPI, settings: Settings) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    response = await post(app, "/engines", receive, {"Content-Type": "multipart/form-data; boundary=-"})
    assert "curl -T FILE" in refused(response, 415, "InvalidInput")
    assert files(settings) == []


@pytest.mark.parametrize("form", ["application/x-www-form-urlencoded", "application/octet-stream"])
async def test_a_file_that_curl_has_changed_is_refused_with_the_reason(
    client: httpx.AsyncClient, settings: Settings, runtime: FakeRuntime, form: str
) -> None:
    runtime.load_error = error("InvalidInput", "The plan is damaged.")
    response = await client.post("/engines", content=onnx_plan(), headers={"Content-Type": form})
    told = "`curl -d` takes the line ends out" in refused(response, 400, "InvalidInput")
    assert told == (form == "application/x-www-form-urlencoded")
