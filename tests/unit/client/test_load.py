"""Load on a server: what is sent, how many requests are outstanding, and what is counted."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.certificates import Files
from trtserve.client import Client, NoAnswer
from trtserve.client.load import Measured, Target, load

pytestmark = pytest.mark.anyio

SECONDS = 0.2
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FULL_BODY = b'{"error": "Full up.", "code": "QueueFull"}'
FULL = b"HTTP/1.1 429 Too Many\r\nContent-Length: %d\r\n\r\n%s" % (len(FULL_BODY), FULL_BODY)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Answering:
    """A server that answers each request with what `answer` makes of its number; None ends the connection.

    The first requests are answered once there are `together` of them.
    """

    def __init__(self, answer: Callable[[int], bytes | None], together: int = 1) -> None:
        self._answer = answer
        self._together = asyncio.Barrier(together)
        self.requests: list[bytes] = []
        self.connections = 0
        self.outstanding = 0
        self.url = ""

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Answering"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(
                    int(head.lower().partition(b"content-length: ")[2].split()[0])
                )
                self.requests.append(head + body)
                self.outstanding += 1
                if len(self.requests) <= self._together.parties:
                    await self._together.wait()
                self.outstanding -= 1
                answer = self._answer(len(self.requests))
                if answer is None:
                    return
                for piece in (answer[:20], answer[20:]):  # as a network may cut it
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()


def request(url: str, **headers: str) -> httpx.Request:
    return httpx.Request("POST", f"{url}/engines/a%20b/infer", content=b"body", headers=headers)


async def measured(server: Answering, concurrency: int = 1) -> Measured:
    return await load(Target.of(request(server.url)), concurrency, SECONDS)


async def test_as_many_requests_as_asked_are_outstanding_and_all_answers_are_timed() -> None:
    async with Answering(lambda _: OK, together=4).listening() as server:
        found = await measured(server, 4)
        assert server.connections == 4
        assert server.outstanding == 0
        assert 0 < len(found.latencies_s) < len(server.requests)  # those of the lead-in do not count
        assert found.latencies_s == sorted(found.latencies_s)
        assert found.errors == {}
        assert found.per_second == len(found.latencies_s) / found.seconds


async def test_a_time_too_short_for_a_request_lasts_from_the_end_of_one_to_that_of_the_next() -> None:
    async with Answering(lambda _: OK).listening() as server:
        found = await load(Target.of(request(server.url)), 1, 1e-9, lead_in_s=0.0)
    assert 0 < len(found.latencies_s) < len(server.requests)
    assert found.seconds > 0


async def test_the_request_is_that_of_the_client() -> None:
    async with Answering(lambda _: OK).listening() as server:
        with Client(f"{server.url}/prefix", token="secret") as client:
            sent = client.infer_request("a b", {"x": [1.0]})
        await load(Target.of(sent), 1, SECONDS)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        assert line == "POST /prefix/engines/a%20b/infer HTTP/1.1"
        fields = {name.lower(): value for name, value in (header.split(": ", 1) for header in headers)}
        assert fields["authorization"] == "Bearer secret"
        assert fields["content-type"] == "application/x-safetensors"
        assert fields["host"] == server.url.removeprefix("http://")
        assert body == sent.content
        assert set(server.requests) == {server.requests[0]}


async def test_the_password_in_a_url_is_sent_as_httpx_does() -> None:
    target = Target.of(request("http://user:p%40ss@127.0.0.1:1"))
    expected = httpx.BasicAuth("user", "p@ss")
    (signed,) = expected.auth_flow(httpx.Request("GET", "http://server"))
    assert f"Authorization: {signed.headers['Authorization']}\r\n".lower() in target.message.decode().lower()


async def test_refusals_are_counted_with_their_status_and_sentence() -> None:
    async with Answering(lambda number: OK if number % 2 else FULL).listening() as server:
        found = await measured(server, 2)
    assert list(found.errors) == ["429"]
    assert found.example == "Full up."
    assert found.latencies_s


async def test_a_connection_that_ends_is_counted_and_another_takes_its_place() -> None:
    async with Answering(lambda number: OK if number % 3 else None).listening() as server:
        found = await measured(server, 2)
        assert found.errors["connection lost"] > 0
        assert server.connections > 2
        assert found.latencies_s


async def test_an_answer_that_ends_its_connection_is_no_error() -> None:
    last = OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    async with Answering(lambda _: last).listening() as server:
        found = await measured(server)
        assert found.errors == {}
        assert server.connections > 1
        assert found.latencies_s


async def test_what_is_not_http_is_an_error() -> None:
    async with Answering(lambda _: b"220 smtp.example ESMTP ready\r\n").listening() as server:
        found = await measured(server)
    assert list(found.errors) == ["no HTTP"]
    assert found.example == "The answer is not HTTP: does another server than trtserve run there?"
    assert found.latencies_s == []


async def test_it_works_over_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate, files.key)
    async with Answering(lambda _: OK).listening(tls) as server:
        found = await load(Target.of(request(server.url), files.trust()), 2, SECONDS)
        assert (found.errors, server.connections) == ({}, 2)
        assert found.latencies_s
        with pytest.raises(NoAnswer, match="No connection to 127"):
            await measured(server)  # its certificate is nobody's that is known


async def test_a_server_that_does_not_listen_is_an_error() -> None:
    async with Answering(lambda _: OK).listening() as server:
        target = Target.of(request(server.url))
    with pytest.raises(NoAnswer, match="No connection to 127"):
        await load(target, 1, SECONDS)


def test_percentiles_are_times_that_occurred() -> None:
    found = Measured(1, 2.0, [number / 1000 for number in range(1, 101)])
    assert [found.percentile_ms(share) for share in (0.5, 0.95, 0.99, 1.0)] == [50.0, 95.0, 99.0, 100.0]
    assert found.per_second == 50.0
    assert Measured(1).percentile_ms(0.5) is None
    assert Measured(1).per_second == 0.0
