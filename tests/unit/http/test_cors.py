"""Web pages of other origins: those that the setting lists may use the server, and no others."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, refused
from tests.connections import Connection, infer, listening, value
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.server.app import create_app
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

PAGE = "https://app.example.com"
OTHER = "https://evil.example"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime) -> AsyncIterator[FastAPI]:
    listed = settings.model_copy(update={"cors_origins": f"{PAGE}, http://localhost:3000"})
    app = create_app(listed, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
        yield app


def asking(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,inference-header-content-length",
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_listed_page_may_send_any_request(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.options("/engines/net/infer", headers=asking(PAGE, method))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_another_page_may_not(client: httpx.AsyncClient) -> None:
    for origin in (OTHER, PAGE + ".evil.example", "http://app.example.com", PAGE + ":8443", "null"):
        answer = await client.options("/engines/net/infer", headers=asking(origin))
        assert "access-control-allow-origin" not in answer.headers
        refused(await client.delete("/engines/net", headers={"Origin": origin}), 403, "InvalidInput")
        assert (
            "access-control-allow-origin"
            not in (await client.get("/engines", headers={"Origin": origin})).headers
        )


async def test_a_listed_page_reads_answers_and_errors(client: httpx.AsyncClient) -> None:
    for path, status in (("/engines/net", 200), ("/engines/none", 404)):
        answer = await client.get(path, headers={"Origin": PAGE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, PAGE)
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


async def test_a_listed_page_reads_the_answer_of_an_inference(app: FastAPI) -> None:
    async with listening(app) as server, Connection(server) as connection:
        for headers in ((), (f"Origin: {PAGE}", "Sec-Fetch-Site: cross-site"), ()):
            answer = await connection.ask(infer(5, 1, *headers))
            assert value(answer) == 5
            assert answer.header("access-control-allow-origin") == (PAGE if headers else None)
        answer = await connection.ask(infer(5, 1, f"Origin: {OTHER}"))
        assert answer.status == 403
        assert OTHER in json.loads(answer.body)["error"]


async def test_without_the_setting_no_page_is_told_anything(settings: Settings, runtime: FakeRuntime) -> None:
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for answer in (
            await client.options("/engines", headers=asking(PAGE)),
            await client.get("/engines", headers={"Origin": PAGE}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "given",
    [
        "*",
        "app.example.com",
        f"{PAGE}/",
        f"{PAGE}/x",
        "https://App.example.com",
        "null",
        "https://*.example",
        ",",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="origins as browsers send them"):
        Settings(cors_origins=given)


@pytest.mark.parametrize("given", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080", PAGE])
def test_an_origin_is_accepted(given: str) -> None:
    assert Settings(cors_origins=given).cors_origins == given


# -- on addresses that others can reach


def takes(hosts: AllowedHosts, **headers: str) -> bool:
    return hosts.refusal("POST", [(name.encode(), value.encode()) for name, value in headers.items()]) is None


def test_without_tokens_a_page_of_another_origin_is_refused_on_every_address() -> None:
    hosts = AllowedHosts.of(Settings(host="0.0.0.0", auth="off"))
    assert takes(hosts, host="models.example")
    assert takes(hosts, host="models.example", origin="http://models.example")
    assert takes(hosts, host="inner", origin="https://models.example", **{"sec-fetch-site": "same-origin"})
    assert not takes(hosts, host="models.example", origin=OTHER)
    assert not takes(hosts, host="models.example", **{"sec-fetch-site": "cross-site"})
    assert takes(
        AllowedHosts.of(Settings(host="0.0.0.0", auth="off", allowed_hosts="*")), host="a", origin=OTHER
    )


def test_with_tokens_a_page_may_come_from_anywhere_and_gets_no_further_than_its_token() -> None:
    hosts = AllowedHosts.of(Settings(host="0.0.0.0", token_file="/tokens.json"))
    assert takes(hosts, host="models.example", origin=OTHER)
