"""HEAD and OPTIONS at every address, as RFC 9110 defines them."""

import asyncio
import shutil
import subprocess

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import refused
from tests.connections import Connection, infer, listening, request, value

pytestmark = pytest.mark.anyio

ORIGIN = {"Origin": "http://trtserve"}  # like a browser's preflight request
BROWSER = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "x-any"}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def addresses(app: FastAPI) -> dict[str, set[str]]:
    """Every documented address and its methods."""
    paths = app.openapi()["paths"]
    named = {
        path.replace("{name}", "net")
        .replace("{ref}", "net")
        .replace("{version}", "1")
        .replace("{region}", "r"): {method.upper() for method in methods}
        for path, methods in paths.items()
    }
    assert not any("{" in path for path in named), named
    return named | {
        path: {"GET"} for path in ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css")
    }


CHANGES = {"date", "content-length"}  # headers that differ between two requests
STREAMED = "/engines/net/module"  # its length is not known before it is written


async def test_head_is_answered_like_get_without_the_body(served: FastAPI, client: httpx.AsyncClient) -> None:
    gets = [path for path, methods in addresses(served).items() if "GET" in methods]
    assert len(gets) > 20
    for path in gets:
        got, head = await client.get(path), await client.head(path)
        assert head.status_code == got.status_code, path
        assert head.content == b"", path
        changes = CHANGES if path == "/metrics" else {"date"}
        of_get = {name: text for name, text in got.headers.items() if name not in changes}
        assert {name: text for name, text in head.headers.items() if name not in changes} == of_get, path
        if path != STREAMED:
            assert int(head.headers["content-length"]) > 0


async def test_head_keeps_the_connection_usable(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for target, status in (("/engines/net", 200), ("/metrics", 200), ("/nowhere", 404), ("/docs", 200)):
            head = request(target, method="HEAD", length=None)
            await connection.send(head + infer(5))
            answer = await connection.answer(bodiless=True)
            assert answer is not None
            assert answer.status == status
            assert int(answer.header("content-length") or 0) > 0
            assert value(await connection.answer()) == 5


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("target", ["/engines/net", "/metrics", "/docs"])
async def test_curl_can_send_head(served: FastAPI, target: str) -> None:
    async with listening(served) as server:
        process = await asyncio.create_subprocess_exec(
            "curl", "-sI", "-m", "20", f"http://127.0.0.1:{server.port}{target}", stdout=subprocess.PIPE
        )
        said, _ = await process.communicate()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: " in said
    assert process.returncode == 0


async def test_head_of_an_unknown_address_or_one_without_get_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.head("/nowhere")).status_code == 404
    assert (await client.head("/engines/none")).status_code == 404
    answer = await client.head("/engines/net/infer")
    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["allow"] == "OPTIONS, POST"


async def test_options_names_every_method_of_its_address(served: FastAPI, client: httpx.AsyncClient) -> None:
    for path, methods in addresses(served).items():
        answer = await client.options(path, headers=ORIGIN | BROWSER)
        assert (answer.status_code, answer.content) == (204, b""), path
        expected = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        assert answer.headers["allow"] == ", ".join(sorted(expected)), path
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "content-length" not in answer.headers  # RFC 9110, 8.6


async def test_options_changes_nothing_and_keeps_the_connection_usable(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for target in ("/engines/net", "/engines/net/infer"):
            answer = await connection.ask(request(target, b"{}", method="OPTIONS"))
            assert (answer.status, answer.body) == (204, b"")
            assert value(await connection.ask(infer(5))) == 5


async def test_options_of_the_server_names_every_method(served: FastAPI) -> None:
    every = set().union(*addresses(served).values()) | {"HEAD", "OPTIONS"}
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request("*", method="OPTIONS"))
        assert (answer.status, answer.header("allow")) == (204, ", ".join(sorted(every)))
        assert (await connection.ask(request("*", method="GET"))).status == 404
        assert value(await connection.ask(infer(5))) == 5


async def test_options_of_an_unknown_address_is_a_404(client: httpx.AsyncClient) -> None:
    refused(await client.options("/nowhere"), 404, "NotFound")


async def test_a_method_unknown_to_the_address_is_a_405(client: httpx.AsyncClient) -> None:
    for method in ("TRACE", "PATCH", "PROPFIND"):
        answer = await client.request(method, "/engines")
        refused(answer, 405, "InvalidInput")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST, PUT"
