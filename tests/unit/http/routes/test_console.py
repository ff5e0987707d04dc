"""The console's files at `/`: what is served, how browsers keep it, and what its pages may do."""

import gzip
import re
from pathlib import Path

import httpx
import pytest

from tests.asgi import client_of, refused
from tests.fakes.runtime import FakeRuntime
from tests.tokens import Tokens
from trtserve.http.console_files import console_files
from trtserve.server.app import create_app
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

FILES = {f"/{path}" for path in console_files() if path != "index.html"}


async def test_the_page_loads_files_that_are_there_and_nothing_from_elsewhere(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {path.removeprefix(".") for path in loaded} - {"docs"} == FILES
    assert not re.search(r"https?://", page.text)


async def test_the_page_has_no_inline_script_or_style(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)


@pytest.mark.parametrize("path", ["/", *sorted(FILES)])
async def test_every_file_has_a_strict_policy(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    directives = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert directives["default-src"] == directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers


async def test_the_page_is_checked_at_each_visit_and_its_hashed_files_are_kept(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/")).headers["cache-control"] == "no-cache"
    assert all(re.search(r"-[\w-]{8}\.\w+$", path) for path in FILES)
    for path in FILES:
        assert "immutable" in (await client.get(path)).headers["cache-control"]


@pytest.mark.parametrize("path", ["/", *sorted(FILES)])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_file_that_the_browser_has_is_not_sent_again(
    client: httpx.AsyncClient, path: str, form: str
) -> None:
    etag = (await client.get(path)).headers["etag"]
    again = await client.get(path, headers={"If-None-Match": form.format(etag)})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = await client.get(path, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("path", ["/", *sorted(FILES)])
async def test_a_browser_that_takes_gzip_gets_it_where_it_is_shorter(
    client: httpx.AsyncClient, path: str
) -> None:
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    async with client.stream("GET", path, headers={"Accept-Encoding": "gzip, deflate, br"}) as short:
        sent = b"".join([piece async for piece in short.aiter_raw()])
    assert plain.headers["vary"] == short.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    if path.endswith((".js", ".css")):
        assert len(sent) < 0.5 * len(plain.content)
    if "content-encoding" in short.headers:
        assert (short.headers["content-encoding"], gzip.decompress(sent)) == ("gzip", plain.content)
        assert short.headers["etag"] != plain.headers["etag"]
        known = {"If-None-Match": short.headers["etag"], "Accept-Encoding": "gzip"}
        assert (await client.get(path, headers=known)).status_code == 304
    else:
        assert sent == plain.content


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "deflate;q=1, gzip;q=0.5"])
async def test_other_clients_get_the_files_as_they_are(client: httpx.AsyncClient, accepted: str) -> None:
    for path in FILES:
        assert (
            "content-encoding" not in (await client.get(path, headers={"Accept-Encoding": accepted})).headers
        )


@pytest.mark.parametrize("path", ["/", *sorted(FILES)])
async def test_a_head_has_the_headers_of_a_get(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers
    assert int(head.headers["content-length"]) == got.num_bytes_downloaded > 0


@pytest.mark.parametrize("path", ["/", *sorted(FILES)])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_files_are_only_read(client: httpx.AsyncClient, path: str, method: str) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../console_files.py",
        "/assets/..%2fconsole_files.py",
        "/assets/%2e%2e/%2e%2e/settings.py",
        "/assets/..%5c..%5csettings.py",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/index.html",
        "/assets/",
        "/assets/a%00.js",
        "/index.html",
    ],
)
async def test_no_other_file_is_reached(client: httpx.AsyncClient, path: str) -> None:
    url = client.base_url.copy_with(raw_path=path.encode())
    refused(await client.get(url), 404, "NotFound")


async def test_the_files_need_no_token_and_the_api_does(
    settings: Settings, runtime: FakeRuntime, tmp_path: Path
) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    tokens.add("infer")
    app = create_app(settings.model_copy(update={"token_file": tokens.file}), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path in ("/", *FILES):
            assert (await client.get(path)).status_code == 200
        for path in ("/engines", "/names", "/options", "/logs", "/metrics", "/version"):
            refused(await client.get(path), 401, "InvalidInput")


async def test_a_foreign_host_gets_no_page(client: httpx.AsyncClient) -> None:
    refused(await client.get("/", headers={"Host": "attacker.example"}), 403, "InvalidInput")


async def test_a_setting_turns_the_console_off(settings: Settings, runtime: FakeRuntime) -> None:
    app = create_app(settings.model_copy(update={"console": False}), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path in ("/", *FILES):
            refused(await client.get(path), 404, "NotFound")
        assert (await client.get("/engines")).status_code == 200
