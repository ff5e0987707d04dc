"""The Open Inference Protocol over HTTP, except inference."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.shared_objects import make
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings
from trtserve.version import VERSION

pytestmark = pytest.mark.anyio


@pytest.fixture
def key(key: str) -> str:
    """The key of an object of 64 bytes."""
    return make(key, bytes(64)).name


async def upload(client: httpx.AsyncClient, query: str = "", seed: object = 0) -> dict[str, Any]:
    response = await client.post(f"/engines{query}", content=onnx_plan(seed))
    assert response.status_code in {200, 201}, response.text
    return dict(response.json())


async def get(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


# -- the server


async def test_the_server_is_live_and_ready(client: httpx.AsyncClient) -> None:
    server = await get(client, "/v2")
    assert (server["name"], server["version"]) == ("trtserve", VERSION)
    assert "statistics" in server["extensions"]
    assert "system_shared_memory" not in server["extensions"]
    assert await get(client, "/v2/health/live") == {"live": True}
    assert await get(client, "/v2/health/ready") == {"ready": True}


async def test_a_setting_names_the_server(settings: Settings, runtime: FakeRuntime) -> None:
    app = create_app(settings.model_copy(update={"server_name": "triton"}), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await get(client, "/v2"))["name"] == "triton"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/{}",
        "/v2/models/{}/ready",
        "/v2/models/{}/config",
        "/v2/models/{}/stats",
        "/v2/models/{}/trace/setting",
    ],
)
async def test_an_unknown_model_is_refused_in_the_protocols_words(
    client: httpx.AsyncClient, path: str
) -> None:
    await upload(client, "?name=net")
    sentence = refused(await client.get(path.format("nobody")), 404, "NotFound")
    assert sentence == "Request for unknown model: There is no engine 'nobody'. There is: net."


async def test_the_server_is_not_ready_when_health_ready_refuses(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.dead = {"cuda:0": "gone"}
    for path in ("/v2/health/ready", "/health/ready"):
        assert "Device cuda:0 is dead" in refused(await client.get(path), 503, "Unavailable")
    assert await get(client, "/v2/health/live") == {"live": True}


# -- models


async def test_metadata_is_served_for_a_model_a_version_and_an_id(client: httpx.AsyncClient) -> None:
    first = await upload(client, "?name=net", 1)
    await upload(client, "?name=net", 2)
    expected = {
        "name": "net",
        "versions": ["1", "2"],
        "platform": "openvino_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }
    for path in ("net", "net/versions/1", "net/versions/2", str(first["id"])):
        assert await get(client, f"/v2/models/{path}") == expected
    unnamed = await upload(client, "", 3)
    found = await get(client, f"/v2/models/{unnamed['id']}")
    assert (found["name"], found["versions"]) == (str(unnamed["id"]), ["1"])


async def test_names_in_a_path_are_percent_encoded(client: httpx.AsyncClient) -> None:
    await upload(client, "?name=net.a-b")
    assert (await get(client, "/v2/models/%6eet%2Ea%2db"))["name"] == "net.a-b"
    assert "'net a'" in refused(await client.get("/v2/models/net%20a"), 404, "NotFound")


@pytest.mark.parametrize("part", ["", "/ready", "/config", "/stats"])
async def test_an_unknown_model_or_version_is_a_404_everywhere(client: httpx.AsyncClient, part: str) -> None:
    await upload(client, "?name=net")
    refused(await client.get(f"/v2/models/nte{part}"), 404, "NotFound")
    for version in ("2", "0", "01", "-1", "x"):
        refused(await client.get(f"/v2/models/net/versions/{version}{part}"), 404, "NotFound")
    assert (await client.get(f"/v2/models/net/versions/1{part}")).status_code == 200


@pytest.mark.parametrize("part", ["", "/ready", "/config", "/stats"])
async def test_a_loading_or_failed_model_is_a_503_with_the_reason(settings: Settings, part: str) -> None:
    first = create_app(settings, runtime=FakeRuntime())
    async with first.router.lifespan_context(first), client_of(first) as client:
        await upload(client, "?name=net")
    runtime = FakeRuntime()
    runtime.load_gate.clear()
    runtime.load_error = error("Unsupported", "the driver is gone")
    second = create_app(settings, runtime=runtime)
    async with second.router.lifespan_context(second), client_of(second) as client:
        for path in (f"/v2/models/net{part}", f"/v2/models/net/versions/1{part}"):
            assert "still loading" in refused(await client.get(path), 503, "Unavailable")
        refused(await client.get("/v2/health/ready"), 503, "Unavailable")
        assert await get(client, "/v2/models/stats") == {"model_stats": []}
        runtime.load_gate.set()
        await until(lambda: services_of(second).registry.loading == 0)
        assert "the driver is gone" in refused(await client.get(f"/v2/models/net{part}"), 503, "Unavailable")


async def test_a_model_is_ready_unless_its_device_is_dead(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    await upload(client, "?name=net")
    assert await get(client, "/v2/models/net/ready") == {"name": "net", "ready": True}
    runtime.dead = {"cuda:1": "of no interest"}
    assert (await get(client, "/v2/models/net/versions/1/ready"))["ready"] is True
    runtime.dead = {"cpu": "on fire"}
    assert "cpu is dead: on fire" in refused(await client.get("/v2/models/net/ready"), 503, "Unavailable")


async def test_versions_that_are_not_ready_are_not_listed(settings: Settings) -> None:
    first = create_app(settings, runtime=FakeRuntime())
    async with first.router.lifespan_context(first), client_of(first) as client:
        await upload(client, "?name=net", 1)
        second = await upload(client, "?name=net", 2)

    class Runtime(FakeRuntime):
        def load(self, id: int, *rest: Any) -> Any:
            if id != second["id"]:
                raise error("Unsupported", "the driver is gone")
            return super().load(id, *rest)

    again = create_app(settings, runtime=Runtime())
    async with again.router.lifespan_context(again), client_of(again) as client:
        await until(lambda: services_of(again).registry.loading == 0)
        assert (await get(client, "/v2/models/net"))["versions"] == ["2"]
        config = await get(client, "/v2/models/net/config")
        assert config["version_policy"] == {"specific": {"versions": [2]}}
        assert [each["version"] for each in (await get(client, "/v2/models/net/stats"))["model_stats"]] == [
            "2"
        ]


async def test_the_configuration_shows_the_options_of_the_upload(client: httpx.AsyncClient) -> None:
    await upload(client, "?name=net&max_batch_size=8&preferred_batch_sizes=4&instances=3&max_queue_size=7")
    config = await get(client, "/v2/models/net/config")
    assert (config["name"], config["max_batch_size"]) == ("net", 8)
    assert config["input"][0]["dims"] == [4]
    assert config["instance_group"][0]["count"] == 3
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    assert config["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 7
    assert await get(client, "/v2/models/net/versions/1/config") == config


async def test_statistics_are_served_for_all_models_a_model_and_a_version(client: httpx.AsyncClient) -> None:
    await upload(client, "?name=net", 1)
    await upload(client, "?name=net", 2)
    await upload(client, "?name=other", 3)

    async def versions(path: str) -> list[tuple[str, str]]:
        found = (await get(client, path))["model_stats"]
        return [(each["name"], each["version"]) for each in found]

    assert await versions("/v2/models/stats") == [("net", "1"), ("net", "2"), ("other", "1")]
    assert await versions("/v2/models/net/stats") == [("net", "1"), ("net", "2")]
    assert await versions("/v2/models/net/versions/2/stats") == [("net", "2")]


async def test_a_model_named_stats_is_reachable_by_version(
    client: httpx.AsyncClient,
) -> None:
    await upload(client, "?name=net", 1)
    await upload(client, "?name=stats", 2)
    assert len((await get(client, "/v2/models/stats"))["model_stats"]) == 2
    assert (await get(client, "/v2/models/stats/versions/1"))["name"] == "stats"
    assert (await get(client, "/v2/models/stats/config"))["name"] == "stats"
    assert (await get(client, "/v2/models/stats/ready"))["ready"] is True
    assert [each["name"] for each in (await get(client, "/v2/models/stats/stats"))["model_stats"]] == [
        "stats"
    ]


# -- shared memory


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    allowed = getattr(request, "param", "")
    return Settings(store=tmp_path / "store", drain_s=1.0, shared_memory=allowed)


sharing = pytest.mark.parametrize("settings", ["trtserve-test-*"], indirect=True)

SYSTEM = "/v2/systemsharedmemory"
CUDA = "/v2/cudasharedmemory"


async def register(client: httpx.AsyncClient, name: str, **asked: Any) -> httpx.Response:
    # Like tritonclient, without a Content-Type.
    return await client.post(f"{SYSTEM}/region/{name}/register", content=json.dumps(asked))


@sharing
async def test_a_region_is_registered_shown_and_unregistered(
    app: FastAPI, client: httpx.AsyncClient, key: str
) -> None:
    assert "system_shared_memory" in (await get(client, "/v2"))["extensions"]
    assert (await register(client, "in", key=f"/{key}", offset=16, byte_size=32)).status_code == 200
    assert (await register(client, "a%2Fb%20c", key=key, byte_size=64)).status_code == 200
    first = {"name": "in", "key": f"/{key}", "offset": 16, "byte_size": 32}
    second = {"name": "a/b c", "key": key, "offset": 0, "byte_size": 64}
    assert await get(client, f"{SYSTEM}/status") == [first, second]
    assert await get(client, f"{SYSTEM}/region/in/status") == [first]
    assert await get(client, f"{SYSTEM}/region/a%2Fb%20c/status") == [second]
    services_of(app).shared_memory.write("in", 0, b"x")
    refused(await register(client, "in", key=key, offset=16, byte_size=32), 409, "Conflict")
    large = refused(await register(client, "large", key=key, byte_size=65), 400, "InvalidInput")
    assert "which has 64:" in large

    for _ in range(2):
        assert (await client.post(f"{SYSTEM}/region/in/unregister")).status_code == 200
    assert await get(client, f"{SYSTEM}/status") == [second]
    refused(await client.get(f"{SYSTEM}/region/in/status"), 404, "NotFound")
    assert (await client.post(f"{SYSTEM}/unregister")).status_code == 200
    assert await get(client, f"{SYSTEM}/status") == []


@sharing
@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"key": "else", "byte_size": 1}, 400, "InvalidInput"),
        ({"key": "trtserve-test-nobody's", "byte_size": 1}, 404, "NotFound"),
        ({"key": None, "byte_size": 1}, 400, "InvalidInput"),
        ({"byte_size": 1}, 400, "InvalidInput"),
        ({"key": "trtserve-test-x"}, 400, "InvalidInput"),
        ({"key": "trtserve-test-x", "byte_size": "1"}, 400, "InvalidInput"),
        ({"key": "trtserve-test-x", "byte_size": 2**70}, 400, "InvalidInput"),
    ],
)
async def test_an_impossible_region_is_refused(
    client: httpx.AsyncClient, asked: dict[str, Any], status: int, code: str
) -> None:
    refused(await register(client, "in", **asked), status, code)
    assert await get(client, f"{SYSTEM}/status") == []


async def test_shared_memory_is_off_by_default_and_unregistering_succeeds(
    client: httpx.AsyncClient, key: str
) -> None:
    assert "--shared-memory" in refused(
        await register(client, "in", key=key, byte_size=1), 501, "Unsupported"
    )
    assert await get(client, f"{SYSTEM}/status") == []
    assert (await client.post(f"{SYSTEM}/unregister")).status_code == 200
    assert (await client.post(f"{SYSTEM}/region/in/unregister")).status_code == 200


async def test_cuda_shared_memory_is_unsupported_and_unregistering_succeeds(
    client: httpx.AsyncClient,
) -> None:
    asked = {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 64}
    response = await client.post(f"{CUDA}/region/in/register", content=json.dumps(asked))
    assert "takes none" in refused(response, 501, "Unsupported")
    assert await get(client, f"{CUDA}/status") == []
    refused(await client.get(f"{CUDA}/region/in/status"), 404, "NotFound")
    assert (await client.post(f"{CUDA}/unregister")).status_code == 200
    assert (await client.post(f"{CUDA}/region/in/unregister")).status_code == 200


@pytest.mark.parametrize("settings", ["trtserve-test-*"], indirect=True)
async def test_the_stop_of_the_server_closes_its_regions(settings: Settings, key: str) -> None:
    app = create_app(settings, runtime=FakeRuntime())
    async with app.router.lifespan_context(app), client_of(app) as client:
        await register(client, "in", key=key, byte_size=1)
        assert len(services_of(app).shared_memory.status()) == 1
    assert services_of(app).shared_memory.status() == []


# -- settings of the running server


async def test_tracing_is_off_and_stays_off(client: httpx.AsyncClient) -> None:
    await upload(client, "?name=net")
    for path in ("/v2/trace/setting", "/v2/models/net/trace/setting"):
        assert (await get(client, path))["trace_level"] == ["OFF"]
        response = await client.post(path, content=b'{"trace_level": ["OFF"]}')
        assert (response.status_code, response.json()) == (200, await get(client, path))
        refused(await client.post(path, content=b'{"trace_level": ["TIMESTAMPS"]}'), 501, "Unsupported")
    for method in ("GET", "POST"):
        response = await client.request(method, "/v2/models/nte/trace/setting", content=b"{}")
        refused(response, 404, "NotFound")


async def test_the_verbosity_of_the_log_can_be_changed(client: httpx.AsyncClient) -> None:
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    assert (await get(client, "/v2/logging"))["log_info"] is True
    response = await client.post("/v2/logging", content=b'{"log_verbose_level": 1}')
    assert (response.status_code, response.json()) == (200, await get(client, "/v2/logging"))
    assert root.level == logging.DEBUG
    refused(await client.post("/v2/logging", content=b'{"log_file": "/tmp/x"}'), 501, "Unsupported")


@pytest.mark.parametrize("path", ["/v2/logging", "/v2/trace/setting", f"{SYSTEM}/region/in/register"])
@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"null", b"{", b"\xff", b'{"a":"\\ud800"}', b"[" * 5000])
async def test_a_body_other_than_a_json_object_is_a_400(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    assert "body is" in refused(await client.post(path, content=body), 400, "InvalidInput")


async def test_a_body_too_large_for_its_request_is_a_413(client: httpx.AsyncClient) -> None:
    refused(await client.post("/v2/logging", content=bytes(65_537)), 413, "TooLarge")


async def test_every_path_is_documented_with_parameters_and_a_summary(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/stats",
        "/v2/models/{name}",
        "/v2/models/{name}/versions/{version}/config",
        "/v2/systemsharedmemory/region/{name}/register",
        "/v2/cudasharedmemory/unregister",
        "/v2/models/{name}/trace/setting",
        "/v2/logging",
    } <= paths.keys()
    for path, methods in paths.items():
        for route in methods.values():
            documented = {each["name"] for each in route.get("parameters", []) if each["in"] == "path"}
            assert documented == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert route["summary"]
            assert route["description"]
