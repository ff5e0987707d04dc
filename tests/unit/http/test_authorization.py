"""A server with tokens over HTTP: both ways of a request refuse alike, before its body comes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, refused
from tests.connections import GET, WAYS, Connection, all_taken_back, infer, listening, request, value
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.tokens import Tokens
from trtserve.access.scopes import ROUTES
from trtserve.errors import InvalidInput
from trtserve.http.console_files import console_files
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "tokens.json")


@pytest.fixture
def all_of_it(tokens: Tokens) -> str:
    return tokens.add("infer", "manage", "metrics", name="all")


@pytest.fixture
async def app(
    settings: Settings, runtime: FakeRuntime, tokens: Tokens, all_of_it: str
) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"token_file": tokens.file}), runtime=runtime)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def served(app: FastAPI, all_of_it: str) -> FastAPI:
    async with client_of(app) as client:
        for name in ("net", "other"):
            plan = onnx_plan(name.encode())
            added = await client.post(
                "/engines", params={"name": name}, content=plan, headers={"Authorization": all_of_it}
            )
            added.raise_for_status()
    return app


def reread(app: FastAPI) -> None:
    guard = services_of(app).guard
    assert guard is not None
    guard.reread()


def added(app: FastAPI, tokens: Tokens, *scopes: str, engines: tuple[str, ...] = ("*",)) -> dict[str, str]:
    header = tokens.add(*scopes, engines=engines)
    reread(app)
    return {"Authorization": header}


ASSET = next(path for path in console_files() if path.startswith("assets/")).removeprefix("assets/")
EXAMPLES = {
    "{ref}": "net",
    "{name}": "net",
    "{name:path}": "r/1",
    "{version}": "1",
    "{file}": ASSET,
}


def path_of(route: str) -> tuple[str, str]:
    method, _, path = route.partition(" ")
    for name, of_it in EXAMPLES.items():
        path = path.replace(name, of_it)
    return method, path


NEEDY = sorted(route for route, need in ROUTES.items() if not need.open)
SHUTTING = {"DELETE /engines/{ref}", "DELETE /modules/{ref}"}


@pytest.mark.parametrize("route", sorted(ROUTES))
async def test_every_address_but_the_open_ones_asks_for_a_token(
    client: httpx.AsyncClient, route: str
) -> None:
    method, path = path_of(route)
    answer = await client.request(method, path)
    if ROUTES[route].open:
        assert answer.status_code == 200
        return
    assert "no token" in refused(answer, 401, "InvalidInput")
    assert answer.headers["www-authenticate"] == 'Bearer realm="trtserve"'
    answer = await client.request(method, path, headers={"Authorization": "Bearer trtserve_00000000_x"})
    assert "does not know" in refused(answer, 401, "InvalidInput")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", NEEDY)
async def test_every_address_accepts_its_scopes_and_no_others(
    served: FastAPI, tokens: Tokens, route: str
) -> None:
    method, path = path_of(route)
    async with client_of(served) as client:
        for scope in ("infer", "manage", "metrics"):
            header = added(served, tokens, scope)
            if scope in ROUTES[route].scopes:
                answer = await client.request(method, path, headers=header)
                assert answer.status_code not in {401, 403}, answer.text
            else:
                answer = await client.request(method, path, headers=header)
                assert "scope" in refused(answer, 403, "InvalidInput")
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("route", NEEDY)
async def test_every_address_about_an_engine_refuses_a_token_for_others(
    served: FastAPI, tokens: Tokens, route: str
) -> None:
    method, path = path_of(route)
    async with client_of(served) as client:
        header = added(served, tokens, "infer", "manage", "metrics", engines=("else-*",))
        answer = await client.request(method, path, headers=header)
        if ROUTES[route].about is None:
            assert answer.status_code not in {401, 403}, answer.text
        else:
            assert "for the engines else-*" in refused(answer, 403, "InvalidInput")
    assert services_of(served).registry.resolve("net").engine.state == "READY"


async def test_an_unknown_address_is_not_found_without_a_token(client: httpx.AsyncClient) -> None:
    refused(await client.get("/nowhere"), 404, "NotFound")
    assert (await client.head("/health/live")).status_code == 200
    assert (await client.head("/metrics")).status_code == 401


async def test_an_upload_must_name_an_engine_that_its_token_is_for(app: FastAPI, tokens: Tokens) -> None:
    header = added(app, tokens, "manage", engines=("team-a-*",))
    async with client_of(app) as client:
        for name in (None, "", "team-b-x"):
            params = {} if name is None else {"name": name}
            answer = await client.post("/engines", params=params, content=onnx_plan(), headers=header)
            refused(answer, 403, "InvalidInput")
        assert services_of(app).registry.engines() == []
        named = await client.post(
            "/engines", params={"name": "team-a-x"}, content=onnx_plan(), headers=header
        )
        assert named.status_code == 201
        assert (await client.get(named.headers["location"], headers=header)).status_code == 200


async def test_an_engine_of_two_teams_is_not_removed_by_its_id_with_the_token_of_one(
    app: FastAPI, tokens: Tokens, all_of_it: str
) -> None:
    header = added(app, tokens, "manage", engines=("team-a-*",))
    async with client_of(app) as client:
        for name in ("team-a-x", "team-b-x"):
            answer = await client.post(
                "/engines", params={"name": name}, content=onnx_plan(), headers={"Authorization": all_of_it}
            )
        path = f"/engines/{answer.json()['id']}"
        assert (await client.get(path, headers=header)).status_code == 200
        refused(await client.delete(path, headers=header), 403, "InvalidInput")
        assert (await client.delete("/engines/team-a-x", headers=header)).status_code == 204
        assert services_of(app).registry.resolve("team-b-x").engine.state == "READY"


async def test_two_authorizations_are_no_token(client: httpx.AsyncClient, all_of_it: str) -> None:
    headers = [("Authorization", all_of_it), ("Authorization", all_of_it)]
    refused(await client.get("/v2", headers=headers), 401, "InvalidInput")


async def test_the_refusals_are_counted(app: FastAPI, client: httpx.AsyncClient, all_of_it: str) -> None:
    async with listening(app):  # its connections bring the metric only on a server
        await client.get("/v2")
    guard = services_of(app).guard
    assert guard is not None
    assert guard.refused == {"missing": 1}
    page = (await client.get("/metrics", headers={"Authorization": all_of_it})).text
    assert 'trtserve_errors_total{code="InvalidInput"} 1.0' in page


# -- over connections


async def asked(connection: Connection, way: str, *headers: str) -> tuple[int, str]:
    """The status of an inference with these headers, and the sentence of its refusal."""
    answer = await connection.ask(infer(5, 1, *headers, *WAYS[way]))
    if answer.status == 200:
        assert value(answer) == 5
        return 200, ""
    return answer.status, json.loads(answer.body)["error"]


@pytest.mark.parametrize("way", WAYS)
async def test_an_inference_needs_its_token_each_time(served: FastAPI, tokens: Tokens, way: str) -> None:
    good = f"Authorization: {tokens.add('infer', name='good')}"
    of_metrics = f"Authorization: {tokens.add('metrics')}"
    of_other = f"authorization: {tokens.add('infer', engines=('other',))}"
    reread(served)
    async with listening(served) as server, Connection(server) as connection:
        for _ in range(3):
            assert await asked(connection, way, good) == (200, "")
            assert (await asked(connection, way))[0] == 401
            assert (await asked(connection, way, good + "x"))[0] == 401
            assert (await asked(connection, way, good, good))[0] == 401
            status, sentence = await asked(connection, way, of_metrics)
            assert (status, "scope infer" in sentence) == (403, True)
            status, sentence = await asked(connection, way, of_other)
            assert (status, "'net' is none of them" in sentence) == (403, True)
        tokens.remove("good")
        reread(served)
        assert (await asked(connection, way, good))[0] == 401
    await all_taken_back(served)


async def test_a_request_with_a_known_token_takes_the_short_way(served: FastAPI, tokens: Tokens) -> None:
    headers = [f"Authorization: {tokens.add('infer', engines=('n*',))}" for _ in range(3)]
    reread(served)
    async with listening(served) as server, Connection(server) as connection:
        known = server.short_way.heads.look_up
        for header in headers:
            assert known(infer(5, 1, header)) is None, "a token is learnt on the long way"
            assert (await asked(connection, "short", header))[0] == 200
            assert known(infer(5, 1, header)) is not None
        assert known(infer(5, 1)) is None
        shared = {id(head.head) for header in headers if (head := known(infer(5, 1, header))) is not None}
        assert len(shared) == 1, "the heads of different tokens are one"


async def test_a_body_is_refused_before_it_comes(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(request(body=b"", length="200000000"))
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 401
        assert services_of(served).inflight.taken == 0


async def test_probes_over_a_connection_need_no_token(served: FastAPI) -> None:
    live = request("/health/live", method="GET", length=None)
    async with listening(served) as server, Connection(server) as connection:
        assert (await connection.ask(live)).status == 200
        assert (await connection.ask(GET)).status == 401


# -- start


def test_a_bad_token_file_is_refused_at_the_start(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.touch(0o600)
    with pytest.raises(InvalidInput, match=f"token file {file} is damaged"):
        create_app(settings.model_copy(update={"token_file": file}))


async def test_without_authentication_the_file_is_not_read(
    settings: Settings, runtime: FakeRuntime, tmp_path: Path
) -> None:
    off = settings.model_copy(update={"token_file": tmp_path / "missing", "auth": "off"})
    app = create_app(off, runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.get("/engines")).status_code == 200
