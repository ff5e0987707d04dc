"""On loopback, requests for foreign hosts or from pages of other origins are refused, on both ways."""

import json

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, refused
from tests.connections import GET, WAYS, Connection, counted, infer, listening, request, value
from tests.fakes.runtime import FakeRuntime
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.server.app import create_app
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LOCAL = AllowedHosts("", local=True)
HOST = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def takes(hosts: AllowedHosts, method: str = "POST", **headers: str) -> bool:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return hosts.refusal(method, raw) is None


# -- hosts

OURS = [
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "models.localhost:1",
    "127.0.0.1",
    "127.0.0.1:8000",
    "10.1.2.3:80",
    "[::1]",
    "[::1]:8000",
    "[fe80::1]:8000",
    "test",
    "trtserve:8000",
    "",
]
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "EVIL.EXAMPLE.",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example:localhost",
    "localhost@evil.example",
    "[::1].evil.example",
    "[evil.example]",
    "::1.evil.example",
    "evil.example/localhost",
    "evil.example\xe9",
    "127.0.0.1:80:evil",
]


@pytest.mark.parametrize("host", OURS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_addresses_and_local_names_are_allowed_on_loopback(host: str, method: str) -> None:
    assert takes(LOCAL, method, host=host)


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "PUT"])
def test_other_names_are_refused_on_loopback_for_every_method(host: str, method: str) -> None:
    assert not takes(LOCAL, method, host=host)


def test_a_request_without_a_host_is_allowed() -> None:
    assert takes(LOCAL)


@pytest.mark.parametrize(
    ("names", "accepted", "refused"),
    [
        (
            "a.example",
            ["a.example", "A.example:80", "localhost", "127.0.0.1", "[::1]:80"],
            ["b.example", "test"],
        ),
        ("*.a.example", ["x.a.example", "x.y.a.example"], ["a.example", "xa.example", "a.example.b"]),
        ("a.example, Test", ["a.example", "test:1"], ["b"]),
        ("*", ["a.example", "anything.at.all"], []),
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_the_setting_lists_the_allowed_names(
    names: str, accepted: list[str], refused: list[str], local: bool
) -> None:
    hosts = AllowedHosts(names, local=local)
    assert [host for host in (*accepted, *refused) if takes(hosts, host=host)] == accepted


@pytest.mark.parametrize(
    ("address", "checks"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("*", False),
        ("::", False),
        ("10.1.2.3", False),
    ],
)
def test_a_server_for_other_machines_allows_every_name_by_default(address: str, checks: bool) -> None:
    assert takes(AllowedHosts.of(Settings(host=address)), host="a.example") == (not checks)
    hosts = AllowedHosts.of(Settings(host=address, allowed_hosts="b.example"))
    assert not takes(hosts, host="a.example")


# -- pages


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:80000"},
        {"origin": "https://127.0.0.1.evil.example:8000"},
        {"origin": "http://evil.example@127.0.0.1:8000"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "127.0.0.1:8000"},
        {"origin": "http://127.0.0.1:8000 http://evil.example"},
        {"origin": "http://evil.example", "sec_fetch_site": "cross-site"},
        {"origin": "http://127.0.0.1:8000", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "Same-Site"},
        {"origin": "http://evil.example", "sec_fetch_site": "none"},
        {"origin": "chrome-extension://abcdef"},
    ],
)
def test_a_page_of_another_origin_cannot_change_anything(headers: dict[str, str]) -> None:
    for method in ("POST", "DELETE", "PUT", "PATCH"):
        assert not takes(LOCAL, method, host=HOST, **headers)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert takes(LOCAL, method, host=HOST, **headers)


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        (HOST, {}),
        (HOST, {"origin": "http://127.0.0.1:8000"}),
        (HOST, {"origin": "http://127.0.0.1:8000", "sec_fetch_site": "same-origin"}),
        (HOST, {"sec_fetch_site": "none"}),
        ("localhost", {"origin": "http://localhost"}),
        ("localhost", {"origin": "http://localhost:80"}),
        ("LocalHost:443", {"origin": "https://localhost"}),
        ("[::1]:8000", {"origin": "http://[::1]:8000"}),
        # A proxy that uses a different name for the server than the page does.
        ("trtserve", {"origin": "https://models.example", "sec_fetch_site": "same-origin"}),
    ],
)
def test_the_servers_own_page_and_requests_without_a_page_are_allowed(
    host: str, headers: dict[str, str]
) -> None:
    assert takes(LOCAL, host=host, **headers)


@pytest.mark.parametrize("site", ["same-site", "cross-site", "same-origin"])
def test_a_page_of_an_allowed_host_is_allowed(site: str) -> None:
    hosts = AllowedHosts("ui.example,*.b.example", local=True)
    for origin in ("https://ui.example", "http://ui.example:3000", "https://x.b.example"):
        assert takes(hosts, host=HOST, origin=origin)
        assert takes(hosts, host=HOST, origin=origin, sec_fetch_site=site)
    assert not takes(hosts, host=HOST, origin="http://evil.example")
    assert not takes(hosts, host=HOST, sec_fetch_site="cross-site")


def test_one_foreign_origin_of_several_is_enough() -> None:
    raw = [(b"host", b"a"), (b"origin", b"http://evil.example"), (b"origin", b"http://a")]
    assert LOCAL.refusal("POST", raw) is not None


# -- over connections


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("header", "sentence"),
    [("Host: evil.example", "evil.example"), ("Origin: http://evil.example", "http://evil.example")],
)
async def test_a_foreign_inference_is_refused_and_the_next_one_answered(
    served: FastAPI, way: str, header: str, sentence: str
) -> None:
    good = infer(5, 1, *WAYS[way])
    if header.startswith("Host"):
        bad = good.replace(b"Host: test", header.encode())
    else:
        bad = infer(5, 1, header, *WAYS[way])
    async with listening(served) as server, Connection(server) as connection:
        for _ in range(2):
            assert value(await connection.ask(good)) == 5
            answer = await connection.ask(bad)
            assert answer.status == 403
            error = json.loads(answer.body)
            assert error["code"] == "InvalidInput"
            assert sentence in error["error"]
    assert counted(served)["InvalidInput"] == 2


async def test_a_foreign_host_reads_nothing(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        assert (await connection.ask(GET)).status == 200
        assert (await connection.ask(GET.replace(b"Host: test", b"Host: evil.example"))).status == 403
        assert (await connection.ask(GET.replace(b"Host: test\r\n", b""))).status == 200
        assert (await connection.ask(GET.replace(b"1.1\r\nHost: test", b"1.0"))).status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://test/engines/net", 200),
        ("HTTP://127.0.0.1:80/engines/net?", 200),
        ("http://evil.example/engines/net", 403),
        ("http://test@evil.example/engines/net", 403),
        ("http://evil.example@test/engines/net", 403),
    ],
)
async def test_an_absolute_url_as_the_target_names_the_host(
    served: FastAPI, target: str, status: int
) -> None:
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request(target, method="GET", length=None))
        assert answer.status == status
        evil = request(target, method="GET", length=None).replace(b"Host: test", b"Host: evil.example")
        assert (await connection.ask(evil)).status == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/engines?name=x"),
        ("DELETE", "/engines/net"),
        ("PUT", "/names/net"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/net/load"),
        ("POST", "/v2/repository/models/net/unload"),
        ("POST", "/v2/logging"),
        ("POST", "/v2/trace/setting"),
        ("POST", "/v2/systemsharedmemory/unregister"),
        ("POST", "/v2/models/net/infer"),
        ("POST", "/nowhere"),
    ],
)
async def test_every_address_refuses_pages_of_other_origins(
    served: FastAPI, client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path, headers={"Origin": "http://evil.example"}, content=b"{}")
    assert "http://evil.example" in refused(answer, 403, "InvalidInput")
    assert (await client.get("/engines/net")).json()["state"] == "READY"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics", "/engines", "/v2", "/health/live"])
async def test_every_address_refuses_foreign_hosts(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200
    sentence = refused(await client.get(path, headers={"Host": "evil.example"}), 403, "InvalidInput")
    assert "--allowed-hosts" in sentence


async def test_an_allowed_host_is_served_on_both_ways(settings: Settings, runtime: FakeRuntime) -> None:
    app = create_app(settings.model_copy(update={"allowed_hosts": "models.example"}), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.get("/v2", headers={"Host": "models.example"})
        assert answer.status_code == 200
        refused(await client.get("/v2"), 403, "InvalidInput")  # its host is trtserve
        async with listening(app) as server, Connection(server) as connection:
            asking = infer(5).replace(b"Host: test", b"Host: models.example")
            assert (await connection.ask(asking)).status == 404
            assert (await connection.ask(infer(5))).status == 403
