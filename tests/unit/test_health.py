"""Is it alive, is it ready, what is it."""

import asyncio
import platform

import httpx
import pytest
import torch

from service.app import create_app
from service.settings import Settings
from service.version import VERSION
from tests.asgi import client_of, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_server_without_engines_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    live = await client.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_server_is_alive_at_once_and_ready_when_its_stored_engines_have_loaded_or_failed(
    settings: Settings,
) -> None:
    first = create_app(settings, runtime=FakeRuntime())
    async with first.router.lifespan_context(first), client_of(first) as client:
        await client.post("/engines", content=onnx_plan(1))
        await client.post("/engines", content=onnx_plan(2))

    runtime = FakeRuntime()
    runtime.load_gate.clear()
    runtime.load_error = error("Unsupported", "the driver is gone")
    second = create_app(settings, runtime=runtime)
    async with second.router.lifespan_context(second), client_of(second) as client:
        assert (await client.get("/health/live")).status_code == 200
        response = await client.get("/health/ready")
        assert "Stored engines are still loading: 2 to go" in refused(response, 503, "Unavailable")
        assert response.headers["retry-after"] == "1"
        runtime.load_gate.set()
        await until(lambda: second.state.registry.loading == 0)
        assert (await client.get("/health/ready")).status_code == 200


async def test_an_upload_that_is_loading_leaves_the_server_ready(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.load_gate.clear()
    uploading = asyncio.create_task(client.post("/engines", content=onnx_plan()))
    await until(lambda: len(runtime.loads) == 1)
    assert (await client.get("/health/ready")).status_code == 200
    runtime.load_gate.set()
    assert (await uploading).status_code == 201


async def test_a_server_with_a_dead_device_is_alive_but_not_ready(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.dead = {"cuda:0": "an illegal memory access was encountered."}
    sentence = refused(await client.get("/health/ready"), 503, "Unavailable")
    assert sentence == "Device cuda:0 is dead: an illegal memory access was encountered. Restart the server."
    runtime.dead["cuda:1"] = "the GPU fell off the bus"
    sentence = refused(await client.get("/health/ready"), 503, "Unavailable")
    assert "Device cuda:1 is dead: the GPU fell off the bus. Restart the server." in sentence
    assert (await client.get("/health/live")).status_code == 200


async def test_versions_and_what_is_wrong_with_a_backend(settings: Settings) -> None:
    runtime = FakeRuntime(backends=("openvino", "tensorrt"))
    runtime.versions["tensorrt"] = error("Unavailable", "libnvinfer.so.10 is not there.")
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.get("/version")).json() == {
            "trtserve": VERSION,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "backends": {"openvino": "2026.4-fake", "tensorrt": "libnvinfer.so.10 is not there."},
        }
