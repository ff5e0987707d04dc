"""Uploads of models that plans are built from, over HTTP, with a fake build."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import refused
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.builds import TARGET, FakeBuild, building_runtime
from tests.waiting import until
from trtserve.errors import InvalidInput, Unsupported
from trtserve.server.app import create_app
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

BUILT = {"backend": "tensorrt"}
ASYNC = {"Prefer": "return=minimal, respond-async"}
PROFILE = "x:1x3x224x224/8x3x224x224/32x3x224x224"


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    runtime = building_runtime()
    yield runtime
    runtime.end()


@pytest.fixture
async def build() -> FakeBuild:
    return FakeBuild()


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime, build: FakeBuild) -> AsyncIterator[FastAPI]:
    app = create_app(settings, runtime=runtime, build=build)
    async with app.router.lifespan_context(app):
        yield app


def files(settings: Settings) -> list[str]:
    folders = ("incoming", "plans", "pending", "built")
    return [path.name for folder in folders for path in (settings.store / folder).iterdir()]


async def until_state(client: httpx.AsyncClient, location: str, state: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            engine: dict[str, Any] = (await client.get(location)).json()
            if engine["state"] == state:
                return engine
            await asyncio.sleep(0)  # a call of the application need not give way to its tasks


async def test_an_upload_with_backend_tensorrt_is_answered_with_the_built_engine(
    client: httpx.AsyncClient,
) -> None:
    query = [
        *BUILT.items(),
        ("name", "net"),
        ("precision", "f16"),
        ("profile", PROFILE),
        ("profile", "x:1/2/3"),
    ]
    response = await client.post("/engines", params=query, content=onnx_plan())
    assert response.status_code == 201, response.text
    engine = response.json()
    assert (engine["state"], engine["format"], engine["backend"]) == ("READY", "tensorrt", "tensorrt")
    assert engine["id"] == int(engine["digest"].removeprefix("sha256:")[:13], 16)
    assert engine["build"].pop("seconds") >= 0
    assert engine["build"].pop("source").startswith("sha256:")
    assert engine["build"] == {
        "precision": "f16",
        "profiles": [PROFILE, "x:1/2/3"],
        "max_batch_size": 1,
        "workspace_bytes": 0,
        "timing_cache": True,
        "name": None,
        "target": TARGET,
        "reason": None,
        "phase": "done",
        "percent": 25.0,
        "log": "Tactic 7 of 9",
    }
    again = await client.post("/engines", params=query, content=onnx_plan())
    assert (again.status_code, again.json()["id"]) == (200, engine["id"])


@pytest.mark.parametrize("query", [{"device": "cuda"}, {"device": "cuda:1", "format": "onnx"}])
async def test_a_model_for_a_gpu_is_built(
    client: httpx.AsyncClient, build: FakeBuild, query: dict[str, str]
) -> None:
    response = await client.post("/engines", params=query, content=onnx_plan())
    assert (response.status_code, response.json()["backend"]) == (201, "tensorrt")
    assert build.jobs[0].options["device"] == query["device"]


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ({}, 16),
        ({"max_batch_size": "auto"}, 16),
        ({"max_batch_size": "8"}, 8),
        ({"max_batch_size": "1"}, 1),
        ({"profile": PROFILE}, 1),  # which says it itself
    ],
)
async def test_the_profile_of_a_build_takes_batches_of_16_unless_told_otherwise(
    client: httpx.AsyncClient, build: FakeBuild, query: dict[str, str], most: int
) -> None:
    (await client.post("/engines", params=BUILT | query, content=onnx_plan())).raise_for_status()
    assert build.jobs[0].options["max_batch_size"] == most


async def test_a_model_is_run_by_openvino_unless_a_gpu_is_asked_for(
    client: httpx.AsyncClient, build: FakeBuild
) -> None:
    for query in ({}, {"backend": "openvino"}, {"device": "cpu"}):
        response = await client.post("/engines", params=query, content=onnx_plan(query))
        assert (response.status_code, response.json()["backend"]) == (201, "openvino")
        assert response.json()["build"] is None
    assert build.jobs == []


async def test_without_profiles_the_build_gets_the_batch_size(
    client: httpx.AsyncClient, build: FakeBuild
) -> None:
    await client.post("/engines", params={**BUILT, "max_batch_size": 8}, content=onnx_plan())
    assert (build.jobs[0].options["max_batch_size"], build.jobs[0].options["profiles"]) == (8, [])


@pytest.mark.parametrize(
    ("query", "plan", "told"),
    [
        ({**BUILT, "profile": "x:1x3"}, onnx_plan(), r"profile 'x:1x3' cannot be read.*as profile=x:1x3x224"),
        ({**BUILT, "precision": "f8"}, onnx_plan(), "'auto', 'f32', 'f16', 'bf16', 'int8' or 'fp8'"),
        ({**BUILT, "device": "cpu"}, onnx_plan(), "built on a GPU"),
        ({**BUILT, "workspace_bytes": "-1"}, onnx_plan(), "workspace_bytes"),
        ({"precision": "int8"}, onnx_plan(), "the openvino backend has f32, f16, bf16"),
        (
            {"precision": "auto", "backend": "openvino"},
            onnx_plan(),
            "the openvino backend has f32, f16, bf16",
        ),
        ({"profile": PROFILE}, onnx_plan(), "Ask for backend=tensorrt"),
        ({"timing_cache": "false", "backend": "openvino"}, onnx_plan(), "timing_cache is an option of"),
        ({"workspace_bytes": "1"}, tensorrt_plan((11, 0, 0, 1)), "Leave workspace_bytes out"),
        ({"backend": "openvino"}, tensorrt_plan((11, 0, 0, 1)), "which the backend tensorrt loads"),
        ({"backend": "tensorrt"}, b"RR_UPCVO" + bytes(600), "or an ONNX model to build a plan from"),
        ({"backend": "onnxruntime"}, onnx_plan(), "backend"),
    ],
)
async def test_options_that_do_not_go_together_are_refused_with_what_to_do(
    client: httpx.AsyncClient, settings: Settings, query: dict[str, str], plan: bytes, told: str
) -> None:
    response = await client.post("/engines", params=query, content=plan)
    assert re.search(told, refused(response, 400, "InvalidInput")), response.text
    assert files(settings) == []


async def test_without_a_builder_an_upload_is_a_501_that_says_what_to_install(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.builders = set()
    response = await client.post("/engines", params=BUILT, content=onnx_plan())
    assert "libnvonnxparser" in refused(response, 501, "Unsupported")


async def test_a_build_that_fails_is_the_answer(client: httpx.AsyncClient, build: FakeBuild) -> None:
    build.failure = Unsupported("The operator Foo of node foo_3 is not known.")
    response = await client.post("/engines", params=BUILT, content=onnx_plan())
    assert "node foo_3" in refused(response, 501, "Unsupported")
    assert (await client.get("/engines")).json() == {"engines": []}


async def test_respond_async_is_answered_at_once_with_where_to_look(
    client: httpx.AsyncClient, build: FakeBuild
) -> None:
    build.gate.clear()
    response = await client.post(
        "/engines", params={**BUILT, "name": "net"}, content=onnx_plan(), headers=ASYNC
    )
    assert response.status_code == 202, response.text
    assert response.headers["preference-applied"] == "respond-async"
    location = response.headers["location"]
    assert location == f"/engines/{response.json()['id']}"
    assert response.json()["state"] == "BUILDING"
    assert response.json()["build"]["name"] == "net"
    await until(lambda: build.running == 1)
    building = (await client.get(location)).json()
    assert (building["state"], building["build"]["percent"]) == ("BUILDING", 25.0)
    assert building["build"]["target"] is None
    assert 'trtserve_engines{state="BUILDING"} 1.0' in (await client.get("/metrics")).text
    (index,) = (await client.post("/v2/repository/index")).json()
    assert (index["state"], index["reason"]) == ("LOADING", "its plan is being built: tuning, 25 %")
    assert (await client.get(f"/v2/models/{building['id']}/ready")).status_code == 503
    assert "is being built" in refused(await client.get(f"/v2/models/{building['id']}"), 503, "Unavailable")
    assert (await client.get("/health/ready")).status_code == 200
    build.gate.set()
    await until_state(client, location, "READY")
    assert (await client.get("/engines/net")).json()["id"] == building["id"]
    assert 'trtserve_builds_total{outcome="succeeded"} 1.0' in (await client.get("/metrics")).text


async def test_a_client_that_waits_gets_the_engine_if_it_is_ready_in_time(
    client: httpx.AsyncClient, build: FakeBuild
) -> None:
    build.gate.clear()
    waits = {"Prefer": "respond-async, wait=3600"}
    uploading = asyncio.create_task(
        client.post("/engines", params={**BUILT, "name": "net"}, content=onnx_plan(), headers=waits)
    )
    await until(lambda: build.running == 1)
    build.gate.set()
    response = await uploading
    assert (response.status_code, response.json()["state"]) == (201, "READY")
    assert "preference-applied" not in response.headers


async def test_a_client_that_waits_for_a_build_that_fails_is_told_where_the_engine_says_why(
    client: httpx.AsyncClient, build: FakeBuild
) -> None:
    build.failure = InvalidInput("Node 3 is wrong.")
    waits = {"Prefer": "respond-async, wait=3600"}
    response = await client.post("/engines", params=BUILT, content=onnx_plan(), headers=waits)
    assert response.status_code == 202
    assert (response.json()["state"], response.json()["reason"]) == ("FAILED", "Node 3 is wrong.")


async def test_respond_async_for_an_engine_that_is_ready_is_answered_as_ever(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/engines", params=BUILT, content=onnx_plan())
    response = await client.post("/engines", params=BUILT, content=onnx_plan(), headers=ASYNC)
    assert response.status_code == 200
    assert "preference-applied" not in response.headers


async def test_respond_async_for_a_plan_is_answered_when_it_is_ready(client: httpx.AsyncClient) -> None:
    response = await client.post("/engines", content=onnx_plan(), headers=ASYNC)
    assert (response.status_code, response.json()["state"]) == (201, "READY")


async def test_an_accepted_build_that_fails_is_shown_until_it_is_removed(
    client: httpx.AsyncClient, build: FakeBuild, settings: Settings
) -> None:
    build.failure = Unsupported("The operator Foo of node foo_3 is not known.")
    response = await client.post("/engines", params=BUILT, content=onnx_plan(), headers=ASYNC)
    location = response.headers["location"]
    failed = await until_state(client, location, "FAILED")
    assert failed["reason"] == build.failure.args[0]
    assert (await client.delete(location)).status_code == 204
    assert files(settings) == []


@pytest.mark.parametrize("headers", [ASYNC, {}])
async def test_a_delete_ends_a_build_at_once(
    client: httpx.AsyncClient, build: FakeBuild, settings: Settings, headers: dict[str, str]
) -> None:
    build.gate.clear()
    upload = asyncio.create_task(client.post("/engines", params=BUILT, content=onnx_plan(), headers=headers))
    await until(lambda: build.running == 1)
    (engine,) = (await client.get("/engines")).json()["engines"]
    assert (await client.delete(f"/engines/{engine['id']}")).status_code == 204
    assert build.running == 0
    assert (await client.get("/engines")).json() == {"engines": []}
    assert files(settings) == []
    if not headers:
        refused(await upload, 409, "Conflict")
    await asyncio.wait((upload,))


async def test_a_model_for_tensorrt_in_a_repository_load_is_refused_with_what_to_do(
    client: httpx.AsyncClient,
) -> None:
    parameters = {
        "config": '{"platform": "tensorrt_plan"}',
        "file:1/model.onnx": base64.b64encode(onnx_plan()).decode(),
    }
    response = await client.post("/v2/repository/models/net/load", json={"parameters": parameters})
    assert "POST /engines?backend=tensorrt" in refused(response, 400, "InvalidInput")
