"""The repository extension over HTTP, with a fake runtime.

Above 400 lines: index, load and unload show each other's effects and share their request functions.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, post, refused
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", drain_s=1.0, max_plan_bytes=5_000_000)


def files(settings: Settings) -> list[str]:
    return [file.name for folder in ("incoming", "plans") for file in (settings.store / folder).iterdir()]


def encoded(plan: bytes) -> str:
    return base64.b64encode(plan).decode()


async def load(client: httpx.AsyncClient, name: str, **parameters: Any) -> httpx.Response:
    return await client.post(f"/v2/repository/models/{name}/load", json={"parameters": parameters})


async def load_files(client: httpx.AsyncClient, name: str, **plans: bytes) -> httpx.Response:
    """Load files; `v1=` is the plan of version 1."""
    return await load(client, name, **{f"file:{v[1:]}/model.onnx": encoded(p) for v, p in plans.items()})


async def index(client: httpx.AsyncClient, **body: Any) -> list[tuple[str, ...]]:
    response = await client.post("/v2/repository/index", json=body)
    assert response.status_code == 200, response.text
    return [(entry["name"], entry["version"], entry["state"], entry["reason"]) for entry in response.json()]


async def current(client: httpx.AsyncClient, name: str) -> tuple[int, list[int]]:
    shown = (await client.get(f"/names/{name}")).json()
    return shown["current"], [version["version"] for version in shown["versions"]]


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


async def test_requests_under_way_are_answered_before_their_engine_is_replaced(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await load_files(client, "net", v1=onnx_plan())
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    runtime.hold()
    runtime.unload_gate.clear()  # like the runtime's unload, which waits for accepted requests
    under_way = asyncio.create_task(client.post("/engines/net/infer", json={"inputs": [x]}))
    await until(lambda: len(runtime.waiting) == 1)
    loading = asyncio.create_task(load(client, "net", config=CONFIG))
    await until(lambda: len(runtime.unloading) == 1)
    new = await client.post("/engines/net/infer", json={"inputs": [x]})
    refused(new, 503, "Unavailable")
    assert "retry-after" in new.headers
    runtime.release()
    runtime.unload_gate.set()
    assert (await under_way).status_code == 200
    assert (await loading).status_code == 200
    assert (await client.post("/engines/net/infer", json={"inputs": [x]})).status_code == 200


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


async def test_an_upload_with_other_options_is_still_a_conflict(client: httpx.AsyncClient) -> None:
    await load_files(client, "net", v1=onnx_plan())
    again = await client.post("/engines?name=net&instances=3", content=onnx_plan())
    assert "unload it first" in refused(again, 409, "Conflict")


async def test_a_config_of_another_format_is_refused(client: httpx.AsyncClient) -> None:
    await load_files(client, "net", v1=onnx_plan())
    await client.post("/v2/repository/models/net/unload")
    sentence = refused(await load(client, "net", config='{"backend": "tensorrt"}'), 400, "InvalidInput")
    assert sentence == (
        "The config's backend 'tensorrt' stands for plans of the format tensorrt, but this one is of the "
        "format onnx. So the server failed to load 'net'."
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


# -- load of files


async def test_a_plan_in_base64_becomes_an_engine(
    client: httpx.AsyncClient, runtime: FakeRuntime, settings: Settings
) -> None:
    plan = onnx_plan(1, padding=3_000_000)
    config = json.dumps({"name": "net", "backend": "onnxruntime", "instance_group": [{"count": 2}]})
    response = await load(client, "net", config=config, **{"file:5/model.onnx": encoded(plan)})
    assert (response.status_code, response.json()) == (200, {})
    engine = (await client.get("/engines/net")).json()
    assert (engine["version"], engine["instances"], engine["state"]) == (5, 2, "READY")
    assert engine["plan_bytes"] == len(plan)
    assert engine["digest"] == f"sha256:{hashlib.sha256(plan).hexdigest()}"
    assert len(files(settings)) == 1


async def test_files_become_versions_in_order_and_the_last_is_current(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await load_files(client, "net", v10=onnx_plan(10), v9=onnx_plan(9))
    assert await current(client, "net") == (10, [9, 10])
    await load_files(client, "net", v2=onnx_plan(2), v20=onnx_plan(20))
    assert await current(client, "net") == (20, [9, 10, 11, 20])
    await load_files(client, "net", v1=onnx_plan(9))  # a plan already under the name keeps its version
    assert await current(client, "net") == (9, [9, 10, 11, 20])


async def test_a_file_that_fails_to_load_keeps_the_versions_before_it(
    client: httpx.AsyncClient, runtime: FakeRuntime, settings: Settings
) -> None:
    await load_files(client, "net", v1=onnx_plan(1))
    runtime.load_error = error("InvalidInput", "The model has no inputs.")
    response = await load_files(client, "net", v2=onnx_plan(2), v3=onnx_plan(3))
    sentence = refused(response, 400, "InvalidInput")
    assert sentence == "The model has no inputs. So the server failed to load 'net'."
    assert await current(client, "net") == (1, [1])
    assert len(files(settings)) == 1


@pytest.mark.parametrize(
    ("operation", "body", "sentence"),
    [
        ("index", {"ready": 1}, "The field 'ready' is 1; it is true or false."),
        ("models/net/load", {"parameters": [1]}, "The field 'parameters' is [1]; it is a JSON object."),
        (
            "models/net/unload",
            {"parameters": {"unload_dependents": "true"}},
            "The parameter 'unload_dependents' is 'true'; it is true or false.",
        ),
    ],
)
async def test_a_refusal_names_the_value_and_the_allowed_ones(
    client: httpx.AsyncClient, operation: str, body: dict[str, Any], sentence: str
) -> None:
    response = await client.post(f"/v2/repository/{operation}", json=body)
    assert refused(response, 400, "InvalidInput") == sentence


PLAN = encoded(onnx_plan(1))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"file:2/m.onnx": PLAN[:-1]}, "The parameter 'file:2/m.onnx' is no base64: it has"),
        ({"file:2/m.onnx": PLAN[:-4] + "ab*="}, "The parameter 'file:2/m.onnx' is no base64: "),
        ({"file:2/m.onnx": PLAN[:8] + "\n" + PLAN[9:]}, "The parameter 'file:2/m.onnx' is no base64: "),
        ({"file:2/m.onnx": "ä" * 8}, "The parameter 'file:2/m.onnx' is no base64: "),
        ({"file:2/m.onnx": "AAA=" * 2}, "The parameter 'file:2/m.onnx' is no base64: "),
        ({"file:2/m.onnx": ""}, "The plan is empty"),
        ({"file:2/m.onnx": 5}, "is 5; it is a string with the file's bytes in base64"),
        ({"file:2/m.onnx": None}, "is None; it is a string with"),
        ({"file:m.onnx": PLAN}, "does not name a file as file:<version>/<name>"),
        ({"file:0/m.onnx": PLAN}, "does not name a file"),
        ({"file:01/m.onnx": PLAN}, "does not name a file"),
        ({"file:-1/m.onnx": PLAN}, "does not name a file"),
        ({"file:12345678901/m.onnx": PLAN}, "does not name a file"),
        ({"file:2/": PLAN}, "does not name a file"),
        ({"file:2/sub/m.onnx": PLAN}, "does not name a file"),
        ({"file:/etc/passwd": PLAN}, "does not name a file"),
        ({"file:2/m.onnx": PLAN, "file:2/m.data": PLAN}, "Version 2 has two files"),
        ({"file:2/m.onnx": PLAN, "config": "{"}, "The parameter 'config' is no JSON"),
        (
            {"file:2/m.onnx": PLAN, "config": "[]"},
            "The parameter 'config' has [] in it; that is a JSON object",
        ),
        ({"file:2/m.onnx": PLAN, "config": {"a": 1}}, "The parameter 'config' is {'a': 1}; it is a string"),
        ({"file:2/m.onnx": PLAN, "config": '{"backend": "tensorrt"}'}, "format=tensorrt was asked for"),
        ({"file:2/m.onnx": PLAN, "other": 1}, "A load has no parameter 'other'"),
        ({"file:2/m.onnx": encoded(b"\x1f\x8b" + bytes(100))}, "The plan is gzip-compressed. Unpack it"),
    ],
)
async def test_a_wrong_file_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, settings: Settings, parameters: dict[str, Any], sentence: str
) -> None:
    good = {"file:1/good.onnx": encoded(onnx_plan(7))}  # comes before the wrong file
    response = await load(client, "net", **good, **parameters)
    assert sentence in refused(response, 400, "InvalidInput")
    assert (await client.get("/engines")).json() == {"engines": []}
    assert files(settings) == []


async def test_an_error_late_in_base64_is_refused_too(client: httpx.AsyncClient, settings: Settings) -> None:
    text = encoded(onnx_plan(1, padding=1_500_000))
    for wrong in (
        text[: 1024**2 - 4] + "AA==" + text[1024**2 :],  # padding at the end of a block
        text[:1_500_000] + "*" + text[1_500_001:],
    ):
        response = await load(client, "net", **{"file:1/m.onnx": wrong})
        assert "is no base64" in refused(response, 400, "InvalidInput")
        assert files(settings) == []


async def test_an_unavailable_backend_is_reported(client: httpx.AsyncClient, settings: Settings) -> None:
    response = await load(client, "net", **{"file:1/model.plan": encoded(tensorrt_plan())})
    assert 'README, "On a GPU"' in refused(response, 501, "Unsupported")
    response = await load(client, "net", config='{"backend": "python"}', **{"file:1/model.py": PLAN})
    assert "nothing for the config's backend 'python'" in refused(response, 501, "Unsupported")
    assert files(settings) == []


async def test_an_id_cannot_name_a_new_engine(client: httpx.AsyncClient) -> None:
    sentence = refused(await load_files(client, "123", v1=onnx_plan()), 400, "InvalidInput")
    assert sentence.startswith("'123' is no name that an engine can have")


async def test_a_plan_over_the_limit_is_refused(client: httpx.AsyncClient, settings: Settings) -> None:
    response = await load_files(client, "net", v1=onnx_plan(1, padding=5_000_000))
    assert "--max-plan-bytes" in refused(response, 413, "TooLarge")
    assert files(settings) == []


async def test_a_body_over_the_limit_is_refused_while_it_arrives(app: FastAPI) -> None:
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1_000_000
        return {"type": "http.request", "body": b" " * 1_000_000, "more_body": sent < 50_000_000}

    refused(await post(app, "/v2/repository/models/net/load", receive), 413, "TooLarge")
    assert sent == 8_000_000  # 5 million bytes in base64, and 1 MiB
    declared = {"Content-Length": "8000000"}
    refused(await post(app, "/v2/repository/models/net/load", receive, declared), 413, "TooLarge")
    assert sent == 8_000_000
    assert services_of(app).inflight.taken == 0


@pytest.fixture
async def small(settings: Settings, runtime: FakeRuntime) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that accepts bodies of up to 1000 bytes."""
    limits = {"max_request_bytes": 1000, "max_inflight_bytes": 1000}
    app = create_app(settings.model_copy(update=limits), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


async def test_the_body_of_a_load_counts_as_under_way(small: httpx.AsyncClient) -> None:
    response = await load_files(small, "net", v1=onnx_plan(1, padding=1000))
    assert "--max-inflight-bytes" in refused(response, 503, "Unavailable")
    assert (await load_files(small, "net", v1=onnx_plan(1))).status_code == 200


async def test_a_client_that_leaves_halfway_leaves_nothing(app: FastAPI, settings: Settings) -> None:
    messages = [
        {"type": "http.request", "body": b'{"parameters": {', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    response = await post(app, "/v2/repository/models/net/load", receive)
    assert refused(response, 499, "Cancelled")
    assert files(settings) == []


async def test_a_load_with_a_cancelled_caller_finishes_its_file_and_starts_no_other(
    app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime, settings: Settings
) -> None:
    runtime.load_gate.clear()
    parameters = {f"file:{v}/m.onnx": encoded(onnx_plan(v)) for v in (1, 2)}
    loading = asyncio.create_task(services_of(app).repository.load("net", parameters))
    await until(lambda: len(runtime.loads) == 1)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    runtime.load_gate.set()
    await until(lambda: "net" in services_of(app).registry.names())
    assert await current(client, "net") == (1, [1])
    assert len(files(settings)) == 1


async def test_a_file_can_be_raw_bytes(app: FastAPI, client: httpx.AsyncClient) -> None:
    await services_of(app).repository.load("net", {"file:3/m.onnx": onnx_plan(3)})  # as gRPC sends them
    assert await current(client, "net") == (3, [3])
