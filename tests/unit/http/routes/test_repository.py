"""The repository extension over HTTP, with a fake runtime."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.asgi import client_of, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.http.routes.repository_calls import current, encoded, index, load, load_files
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", drain_s=1.0, max_plan_bytes=5_000_000)


# -- index


async def test_the_index_lists_all_versions_with_their_states_and_reasons(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await load_files(client, "net", v1=onnx_plan(1), v3=onnx_plan(3))
    nameless = (await client.post("/engines", content=onnx_plan(2))).json()["id"]
    await load_files(client, "off", v1=onnx_plan(4))
    await client.post("/v2/repository/models/off/unload")
    await load_files(client, "bad", v1=onnx_plan(5))
    await client.post("/v2/repository/models/bad/unload")
    runtime.load_error = error("Unavailable", "The device is lost.")
    refused(await client.post("/v2/repository/models/bad/load"), 503, "Unavailable")
    ready = [("net", "1", "READY", ""), ("net", "3", "READY", ""), (str(nameless), "1", "READY", "")]
    assert await index(client) == [
        ("bad", "1", "UNAVAILABLE", "The device is lost."),
        *ready[:2],
        ("off", "1", "UNAVAILABLE", "unloaded"),
        ready[2],
    ]
    assert await index(client, ready=True) == ready
    assert (await client.post("/v2/repository/index")).status_code == 200  # without a body


async def test_the_only_repository_has_no_name(client: httpx.AsyncClient) -> None:
    refused(await client.post("/v2/repository/mine/index"), 404, "NotFound")


async def test_the_index_shows_loads_and_unloads_under_way(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await load_files(client, "net", v1=onnx_plan(1))
    runtime.unload_gate.clear()
    unloading = asyncio.create_task(client.post("/v2/repository/models/net/unload"))
    await until(lambda: len(runtime.unloading) == 1)
    assert await index(client) == [("net", "1", "UNLOADING", "")]
    runtime.unload_gate.set()
    await unloading
    runtime.load_gate.clear()
    loading = asyncio.create_task(client.post("/v2/repository/models/net/load"))
    await until(lambda: len(runtime.loads) == 2)
    assert await index(client) == [("net", "1", "LOADING", "")]
    runtime.load_gate.set()
    assert (await loading).status_code == 200


@pytest.mark.parametrize("body", [b"[]", b'{"ready": 1}', b'{"ready": null}', b"{"])
async def test_a_wrong_index_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    refused(await client.post("/v2/repository/index", content=body), 400, "InvalidInput")


# -- load and unload of stored engines


async def test_a_model_is_unloaded_and_loaded_again(client: httpx.AsyncClient) -> None:
    await load_files(client, "net", v1=onnx_plan(1), v2=onnx_plan(2))
    body = {"parameters": {"unload_dependents": True}}
    unloaded = await client.post("/v2/repository/models/net/unload", json=body)
    assert (unloaded.status_code, unloaded.json()) == (200, {})
    assert "load it with POST /v2/repository/models/net/load" in refused(
        await client.post("/engines/net/infer", json={}), 503, "Unavailable"
    )
    loaded = await client.post("/v2/repository/models/net/load", content=b"")
    assert (loaded.status_code, loaded.json()) == (200, {})
    assert {state for _, _, state, _ in await index(client)} == {"READY"}


async def test_an_unnamed_model_is_called_by_its_id(client: httpx.AsyncClient) -> None:
    id = (await client.post("/engines", content=onnx_plan())).json()["id"]
    assert (await client.post(f"/v2/repository/models/{id}/unload")).status_code == 200
    assert (await client.get(f"/engines/{id}")).json()["state"] == "UNLOADED"
    assert (await client.post(f"/v2/repository/models/{id}/load")).status_code == 200


CONFIG = json.dumps({"max_batch_size": 8, "dynamic_batching": {}, "instance_group": [{"count": 3}]})


async def options(client: httpx.AsyncClient) -> tuple[str, int, int]:
    engine = (await client.get("/engines/net")).json()
    return engine["state"], engine["instances"], engine["max_batch_size"]


@pytest.mark.parametrize("before", ["ready", "unloaded"])
@pytest.mark.parametrize("again", ["kept", "sent"])
async def test_a_load_with_another_config_replaces_the_engine(
    client: httpx.AsyncClient, runtime: FakeRuntime, before: str, again: str
) -> None:
    await load_files(client, "net", v1=onnx_plan())
    if before == "unloaded":
        await client.post("/v2/repository/models/net/unload")
    sent = {"file:1/model.onnx": encoded(onnx_plan())} if again == "sent" else {}
    assert (await load(client, "net", config=CONFIG, **sent)).status_code == 200
    assert await options(client) == ("READY", 3, 8)
    loads = len(runtime.loads)
    assert (await load(client, "net", config=CONFIG, **sent)).status_code == 200
    assert (await load(client, "net", **sent)).status_code == 200
    assert len(runtime.loads) == loads, "the engine already has these options"
    assert await current(client, "net") == (1, [1])


async def config_of(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/v2/models/net/config")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_a_max_batch_size_without_dynamic_batching_is_stored_and_joins_nothing(
    settings: Settings, runtime: FakeRuntime
) -> None:
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await load_files(client, "net", v1=onnx_plan())
        assert (await config_of(client))["max_batch_size"] == 0
        assert (await load(client, "net", config='{"max_batch_size": "16"}')).status_code == 200
        original = await config_of(client)
        assert (original["max_batch_size"], "dynamic_batching" in original) == (16, False)
        assert runtime.loads[-1][3].batch.max_batch_size == 1
        loads = len(runtime.loads)
        assert (await load(client, "net", config=json.dumps(original))).status_code == 200
        assert len(runtime.loads) == loads, "the engine already has these options"
    runtime = FakeRuntime()
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await until(lambda: services_of(app).registry.loading == 0)
        assert await config_of(client) == original
        joined = json.dumps({"max_batch_size": 16, "dynamic_batching": {}})
        assert (await load(client, "net", config=joined)).status_code == 200
        assert (await config_of(client))["dynamic_batching"]["max_queue_delay_microseconds"] == 0
        assert runtime.loads[-1][3].batch.max_batch_size == 16
        assert (await load(client, "net", config="{}")).status_code == 200
        assert (await config_of(client))["max_batch_size"] == 0


async def test_requests_are_answered_while_their_engine_is_replaced(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await load_files(client, "net", v1=onnx_plan())
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    runtime.hold()
    under_way = asyncio.create_task(client.post("/engines/net/infer", json={"inputs": [x]}))
    await until(lambda: len(runtime.waiting) == 1)
    runtime.load_gate.clear()
    loading = asyncio.create_task(load(client, "net", config=CONFIG))
    await until(lambda: len(runtime.loads) == 2)
    meanwhile = asyncio.create_task(client.post("/engines/net/infer", json={"inputs": [x]}))
    await until(lambda: len(runtime.waiting) == 2)
    runtime.load_gate.set()
    await until(
        lambda: len(runtime.engines()) == 2 and runtime.takers and runtime.engines()[0].instances == 3
    )
    late = asyncio.create_task(client.post("/engines/net/infer", json={"inputs": [x]}))
    await until(lambda: len(runtime.waiting) == 3)
    assert not runtime.unloading
    runtime.release()
    for answer in (under_way, meanwhile, late, loading):
        assert (await answer).status_code == 200
    assert [info.instances for info in runtime.takers.values()] == [1, 1, 3]


async def test_a_config_that_fails_to_load_leaves_the_engine_unchanged(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await load_files(client, "net", v1=onnx_plan())
    runtime.refuses = lambda options: options.instances == 3
    assert refused(await load(client, "net", config=CONFIG), 400, "InvalidInput")
    assert await options(client) == ("READY", 1, 1)
    wrong = json.dumps({"dynamic_batching": {"preferred_batch_size": [4]}})
    loads = len(runtime.loads)
    assert refused(await load(client, "net", config=wrong), 400, "InvalidInput")
    assert len(runtime.loads) == loads


@pytest.mark.parametrize("again", ["kept", "sent"])
async def test_a_replaced_engine_keeps_its_new_options_after_a_restart(
    settings: Settings, runtime: FakeRuntime, again: str
) -> None:
    sent = {"file:1/model.onnx": encoded(onnx_plan())} if again == "sent" else {}
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await load_files(client, "net", v1=onnx_plan())
        assert (await load(client, "net", config=CONFIG, **sent)).status_code == 200
    app = create_app(settings, runtime=FakeRuntime())
    async with app.router.lifespan_context(app), client_of(app) as client:
        await until(lambda: services_of(app).registry.loading == 0)
        assert await options(client) == ("READY", 3, 8)


async def test_an_upload_with_other_options_replaces_the_engine_too(client: httpx.AsyncClient) -> None:
    await load_files(client, "net", v1=onnx_plan())
    again = await client.post("/engines?name=net&instances=3", content=onnx_plan())
    assert (again.status_code, again.json()["instances"]) == (200, 3)


async def test_a_config_of_another_format_is_refused(client: httpx.AsyncClient) -> None:
    await load_files(client, "net", v1=onnx_plan())
    await client.post("/v2/repository/models/net/unload")
    sentence = refused(await load(client, "net", config='{"backend": "tensorrt"}'), 400, "InvalidInput")
    assert sentence == (
        "The config's backend 'tensorrt' stands for plans of the format tensorrt, but this one is of the "
        "format onnx. To have a plan built from it, upload it with POST /engines?backend=tensorrt. So the "
        "server failed to load 'net'."
    )


@pytest.mark.parametrize("operation", ["load", "unload"])
async def test_an_unknown_model_is_refused(client: httpx.AsyncClient, operation: str) -> None:
    response = await client.post(f"/v2/repository/models/net/{operation}")
    assert refused(response, 404, "NotFound").startswith("There is no engine 'net'")


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("load", {"parameters": []}),
        ("load", {"parameters": {"files": "x"}}),
        ("load", {"parameters": {"config": {}}}),
        ("load", {"parameters": {"config": "{"}}),
        ("unload", {"parameters": {"unload_dependents": "true"}}),
        ("unload", {"parameters": {"config": "{}"}}),
        ("unload", []),
    ],
)
async def test_wrong_parameters_are_refused(client: httpx.AsyncClient, operation: str, body: Any) -> None:
    await load_files(client, "net", v1=onnx_plan())
    response = await client.post(f"/v2/repository/models/net/{operation}", json=body)
    refused(response, 400, "InvalidInput")
