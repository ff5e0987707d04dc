"""Loads with files over the repository extension, with a fake runtime."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, post, refused
from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.http.routes.repository_calls import current, encoded, files, load, load_files
from tests.unit.plans.external_data import external, model
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", drain_s=1.0, max_plan_bytes=5_000_000)


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
        ({"file:2/m.onnx": PLAN[:-1]}, "The parameter 'file:2/m.onnx' is not base64: it has"),
        ({"file:2/m.onnx": PLAN[:-4] + "ab*="}, "The parameter 'file:2/m.onnx' is not base64: "),
        ({"file:2/m.onnx": PLAN[:8] + "\n" + PLAN[9:]}, "The parameter 'file:2/m.onnx' is not base64: "),
        ({"file:2/m.onnx": "ä" * 8}, "The parameter 'file:2/m.onnx' is not base64: "),
        ({"file:2/m.onnx": "AAA=" * 2}, "The parameter 'file:2/m.onnx' is not base64: "),
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
        ({"file:2/m.onnx": PLAN, "config": "{"}, "The parameter 'config' is not valid JSON"),
        (
            {"file:2/m.onnx": PLAN, "config": "[]"},
            "The parameter 'config' holds []; it must hold a JSON object",
        ),
        (
            {"file:2/m.onnx": PLAN, "config": {"a": 1}},
            "The parameter 'config' is {'a': 1}; it must be a string",
        ),
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


def zipped(files: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    return archive.getvalue()


async def test_an_archive_becomes_one_plan(
    client: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    packed = zipped(external(tmp_path / "net"))
    assert (await load_files(client, "net", v3=packed)).json() == {}
    engine = (await client.get("/engines/net")).json()
    assert (engine["version"], engine["format"], engine["state"]) == (3, "onnx", "READY")
    (plan,) = files(settings)
    assert onnx.load(settings.store / "plans" / plan) == model()


async def test_an_archive_that_cannot_be_used_leaves_nothing(
    client: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    good = external(tmp_path / "net")
    cut_off, too_large = good | {"weights.bin": b""}, good | {"other.bin": bytes(6_000_000)}
    response = await load_files(client, "net", v1=onnx_plan(7), v2=zipped(cut_off))
    assert "it is not whole" in refused(response, 400, "InvalidInput")
    response = await load_files(client, "net", v1=onnx_plan(7), v2=zipped(too_large))
    assert "more than 5000000 bytes together" in refused(response, 413, "TooLarge")
    assert (await client.get("/engines")).json() == {"engines": []}
    assert files(settings) == []


async def test_an_error_late_in_base64_is_refused_too(client: httpx.AsyncClient, settings: Settings) -> None:
    text = encoded(onnx_plan(1, padding=1_500_000))
    for wrong in (
        text[: 1024**2 - 4] + "AA==" + text[1024**2 :],  # padding at the end of a block
        text[:1_500_000] + "*" + text[1_500_001:],
    ):
        response = await load(client, "net", **{"file:1/m.onnx": wrong})
        assert "is not base64" in refused(response, 400, "InvalidInput")
        assert files(settings) == []


async def test_an_unavailable_backend_is_reported(client: httpx.AsyncClient, settings: Settings) -> None:
    response = await load(client, "net", **{"file:1/model.plan": encoded(tensorrt_plan())})
    assert 'README, "On a GPU"' in refused(response, 501, "Unsupported")
    response = await load(client, "net", config='{"backend": "python"}', **{"file:1/model.py": PLAN})
    assert "does not support the config's backend 'python'" in refused(response, 501, "Unsupported")
    assert files(settings) == []


async def test_an_id_cannot_name_a_new_engine(client: httpx.AsyncClient) -> None:
    sentence = refused(await load_files(client, "123", v1=onnx_plan()), 400, "InvalidInput")
    assert sentence.startswith("'123' is not a name that an engine can have")


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
