"""The routes of liveness, readiness and the server's description."""

import asyncio
import platform

import httpx
import pytest
import torch

from tests.asgi import client_of, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.fakes.values import Condition
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings
from trtserve.version import VERSION

pytestmark = pytest.mark.anyio


async def test_a_server_without_engines_is_live_and_ready(client: httpx.AsyncClient) -> None:
    live = await client.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_server_is_live_at_once_and_ready_once_its_stored_engines_loaded_or_failed(
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
        await until(lambda: services_of(second).registry.loading == 0)
        assert (await client.get("/health/ready")).status_code == 200


async def test_the_server_stays_ready_while_an_upload_is_loading(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.load_gate.clear()
    uploading = asyncio.create_task(client.post("/engines", content=onnx_plan()))
    await until(lambda: len(runtime.loads) == 1)
    assert (await client.get("/health/ready")).status_code == 200
    runtime.load_gate.set()
    assert (await uploading).status_code == 201


async def test_a_server_with_a_dead_device_is_live_but_not_ready(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.dead = {"cuda:0": "an illegal memory access was encountered."}
    sentence = refused(await client.get("/health/ready"), 503, "Unavailable")
    assert sentence == "Device cuda:0 is dead: an illegal memory access was encountered. Restart the server."
    runtime.dead["cuda:1"] = "the GPU fell off the bus"
    sentence = refused(await client.get("/health/ready"), 503, "Unavailable")
    assert "Device cuda:1 is dead: the GPU fell off the bus. Restart the server." in sentence
    assert (await client.get("/health/live")).status_code == 200


async def test_versions_and_the_error_of_a_backend_are_reported(settings: Settings) -> None:
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


async def test_a_server_is_not_ready_while_all_instances_of_an_engine_are_stuck(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    id = (await client.post("/engines?name=net&instances=2", content=onnx_plan(1))).json()["id"]
    await client.post("/engines?name=other", content=onnx_plan(2))
    runtime.conditions[id] = Condition(2, executions_stuck=1, longest_stuck_seconds=61.4)
    ready = await client.get("/health/ready")
    sentence = (
        f"1 of 2 instances of engine {id} (net) are stuck in executions that do not end, "
        "the longest for 61 s: unload the engine and load it again, or restart the server."
    )
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "stuck": [sentence]})
    assert (await client.get("/v2/models/net/ready")).status_code == 200
    assert (await client.get("/engines/net")).json()["executions_stuck"] == 1

    runtime.conditions[id] = Condition(2, executions_stuck=2, longest_stuck_seconds=61.4)
    lost = refused(await client.get("/health/ready"), 503, "Unavailable")
    assert lost == sentence.replace("1 of 2", "2 of 2")
    assert refused(await client.get("/v2/models/net/ready"), 503, "Unavailable") == lost
    assert (await client.get("/v2/models/other/ready")).status_code == 200
    assert (await client.get("/health/live")).status_code == 200

    assert (await client.delete("/engines/net")).status_code == 204
    assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_an_engine_without_instances_or_being_unloaded_is_not_stuck(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    id = (await client.post("/engines?name=net", content=onnx_plan())).json()["id"]
    runtime.conditions[id] = Condition(0)
    assert (await client.get("/health/ready")).status_code == 200
    assert (await client.get("/v2/models/net/ready")).status_code == 200
    del runtime.conditions[id]
    runtime.unload(id, 0.0)
    assert (await client.get("/health/ready")).json() == {"status": "ready"}
    assert (await client.get("/engines/net")).json()["id"] == id


async def test_a_model_on_a_dead_device_is_not_ready(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    await client.post("/engines?name=net", content=onnx_plan())
    (info,) = runtime.engines()
    runtime.dead = {"cuda:7": "it is another's"}
    assert (await client.get("/v2/models/net/ready")).status_code == 200
    runtime.dead[info.device] = "the GPU fell off the bus"
    sentence = refused(await client.get("/v2/models/net/ready"), 503, "Unavailable")
    assert sentence == f"Device {info.device} is dead: the GPU fell off the bus. Restart the server."


async def test_an_engine_shows_whether_it_joins_requests(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    id = (await client.post("/engines?name=net&max_batch_size=8", content=onnx_plan())).json()["id"]
    runtime.conditions[id] = Condition(1, joins_requests=True)
    assert (await client.get("/engines/net")).json()["joins_requests"] is True
    runtime.conditions[id] = Condition(1, joins_requests=False)
    assert (await client.get("/engines/net")).json()["joins_requests"] is False
    await client.post("/v2/repository/models/net/unload")
    assert (await client.get("/engines/net")).json()["joins_requests"] is None


async def test_a_server_is_degraded_while_its_engines_answer_from_other_devices_than_a_dead_one(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await client.post("/engines?name=net&backend=openvino&device=cuda:0,cuda:1", content=onnx_plan())
    runtime.dead = {"cuda:1": "the GPU fell off the bus"}
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    (told,) = ready.json()["degraded"]
    assert told.startswith("Device cuda:1 is dead: the GPU fell off the bus. Restart the server when")
    assert (await client.get("/v2/models/net/ready")).status_code == 200


async def test_a_server_is_not_ready_once_an_engine_has_no_device_left(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await client.post("/engines?name=both&backend=openvino&device=cuda:0,cuda:1", content=onnx_plan())
    await client.post("/engines?name=one&backend=openvino&device=cuda:1", content=onnx_plan("another"))
    runtime.dead = {"cuda:1": "the GPU fell off the bus"}
    told = refused(await client.get("/health/ready"), 503, "Unavailable")
    assert "Device cuda:1 is dead: the GPU fell off the bus." in told
    assert "(one)" in told
    assert "(both)" not in told
    told = refused(await client.get("/v2/models/one/ready"), 503, "Unavailable")
    assert told == "Device cuda:1 is dead: the GPU fell off the bus. Restart the server."


async def test_an_engine_shows_which_of_its_replicas_are_alive(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await client.post(
        "/engines?name=net&backend=openvino&device=cuda:0,cuda:1&instances=2", content=onnx_plan()
    )
    runtime.dead = {"cuda:1": "the GPU fell off the bus"}
    engine = (await client.get("/engines/net")).json()
    assert engine["device"] == "cuda:0,cuda:1"
    assert engine["replicas"] == [
        {"device": "cuda:0", "instances": 2, "alive": True, "reason": None},
        {"device": "cuda:1", "instances": 2, "alive": False, "reason": "The GPU fell off the bus."},
    ]
