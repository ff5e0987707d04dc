"""The end of a message: no part of a body ever runs as a request, and an ambiguous message is refused."""

import json
import shutil
import subprocess
from asyncio import create_subprocess_exec
from pathlib import Path

import pytest
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.connections import GET, INFER, Answer, Connection, listening, request, turns
from trtserve.http.connection import BoundedHttp
from trtserve.http.half_closed import HalfClosedHttp
from trtserve.http.short_way import InferProtocol

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("protocol", [BoundedHttp, InferProtocol], ids=["framework", "short"])
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
JSON = json.dumps({"inputs": [X]}).encode()
DELETE = request("/engines/net", method="DELETE")
H2C = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
OFFERS = {
    "h2c": H2C,
    "websocket": ["Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
    "anything": ["Connection: upgrade", "Upgrade: anything/1"],
    "two": ["Connection: upgrade", "Upgrade: tls/1.2", "upgrade: h2c"],
}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def head_and_body(body: bytes, *headers: str, version: str = "1.1") -> list[bytes]:
    """The head and the body, each in its own segment."""
    whole = request(INFER, body, *headers, version=version)
    at = whole.index(b"\r\n\r\n") + 4
    return [whole[:at], whole[at:]]


def refused(answer: Answer | None, status: int, code: str) -> str:
    assert answer is not None
    body = json.loads(answer.body)
    assert (answer.status, body["code"]) == (status, code)
    return str(body["error"])


async def still_there(connection: Connection) -> bool:
    return (await connection.ask(GET)).status == 200


# -- upgrade offers


@BOTH
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_a_body_behind_an_upgrade_offer_belongs_to_its_message(
    served: FastAPI, protocol: type[HttpToolsProtocol], offer: list[str]
) -> None:
    async with listening(served, protocol) as server, Connection(server) as connection:
        refused(await connection.ask(*head_and_body(DELETE, *offer)), 400, "InvalidInput")
        assert await still_there(connection)
        assert (await connection.ask(*head_and_body(JSON, *offer))).status == 200
        assert (await connection.ask(request(INFER, JSON, *offer))).status == 200
        assert await still_there(connection)


@BOTH
async def test_chunks_behind_an_upgrade_offer_belong_to_their_message(
    served: FastAPI, protocol: type[HttpToolsProtocol]
) -> None:
    head = request(INFER, b"", *H2C, "Transfer-Encoding: chunked", length=None)
    async with listening(served, protocol) as server, Connection(server) as connection:
        answer = await connection.ask(head, b"%x\r\n%b\r\n" % (len(JSON), JSON), b"0\r\n\r\n")
        assert answer.status == 200
        refused(
            await connection.ask(head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(DELETE), DELETE)), 400, "InvalidInput"
        )
        assert await still_there(connection)


@BOTH
async def test_an_upgrade_offer_without_a_body_is_answered(
    served: FastAPI, protocol: type[HttpToolsProtocol]
) -> None:
    offering = request("/engines/net", b"", *H2C, method="GET", length=None)
    async with listening(served, protocol) as server, Connection(server) as connection:
        assert (await connection.ask(offering)).status == 200
        await connection.send(offering * 20)  # many requests in one segment
        assert [(await connection.answer()).status for _ in range(20)] == [200] * 20  # type: ignore[union-attr]
        assert await still_there(connection)


@BOTH
@pytest.mark.parametrize("size", [1, 7, 64])
async def test_an_upgrade_offer_may_arrive_in_any_pieces(
    served: FastAPI, protocol: type[HttpToolsProtocol], size: int
) -> None:
    whole = request(INFER, JSON, *H2C)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    async with listening(served, protocol) as server, Connection(server) as connection:
        assert (await connection.ask(*pieces)).status == 200
        assert await still_there(connection)


# -- ambiguous messages


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
AMBIGUOUS = {
    "a length and chunks": (["Transfer-Encoding: chunked"], "5", 400),
    "two lengths": (["Content-Length: 5"], "6", 400),
    "a length twice": (["Content-Length: 5"], "5", 400),
    "two lengths in one": (["Content-Length: 5, 5"], None, 400),
    "a length with a sign": (["Content-Length: +5"], None, 400),
    "a length in two parts": (["Content-Length: 1 5"], None, 400),
    "a space before the colon": (["Content-Length : 5"], None, 400),
    "a folded line": (["X: a\r\n b"], "5", 400),
    "a folded length": (["Content-Length:\r\n 5"], None, 400),
    "a bare line feed": (["X: a\nContent-Length: 5"], None, 400),
    "a bare carriage return": (["X: a\rContent-Length: 5"], None, 400),
    "a zero byte": (["X: a\0b"], "5", 400),
    "two hosts": (["Host: other"], "5", 400),
    "two types": (["Content-Type: application/json", "Content-Type: application/x-safetensors"], "5", 400),
    "two codings of the body": (["Content-Encoding: identity", "Content-Encoding: gzip"], "5", 400),
    "two lengths of the JSON": (
        ["Inference-Header-Content-Length: 5", "Inference-Header-Content-Length: 6"],
        "5",
        400,
    ),
    "gzip in chunks": (["Transfer-Encoding: gzip, chunked"], None, 501),
    "gzip in chunks, in two lines": (["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], None, 501),
    "gzip without chunks": (["Transfer-Encoding: gzip"], None, 501),
    "no coding": (["Transfer-Encoding: identity"], None, 501),
    "chunks twice": (["Transfer-Encoding: chunked, chunked"], None, 400),
    "chunks in two lines": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], None, 400),
    "chunks behind a control byte": (["Transfer-Encoding: \x0bchunked"], None, 400),
    "chunks and more letters": (["Transfer-Encoding: chunkedx"], None, 501),
}


@BOTH
@pytest.mark.parametrize("offer", [[], H2C], ids=["plain", "offer"])
@pytest.mark.parametrize("ambiguity", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_an_ambiguous_message_is_refused_and_ends_the_connection(
    served: FastAPI,
    protocol: type[HttpToolsProtocol],
    ambiguity: tuple[list[str], str | None, int],
    offer: list[str],
) -> None:
    headers, length, status = ambiguity
    whole = request(INFER, CHUNKS + DELETE, *headers, *offer, length=length)
    async with listening(served, protocol) as server:
        async with Connection(server) as connection:
            refused(await connection.ask(whole), status, "InvalidInput" if status == 400 else "Unsupported")
            assert await connection.answer() is None
        async with Connection(server) as other:
            assert await still_there(other)


@BOTH
@pytest.mark.parametrize(
    "chunk", [b"0x5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5;a\nhello\r\n", b"5\r\nhelloXX"]
)
async def test_a_malformed_chunk_ends_the_connection(
    served: FastAPI, protocol: type[HttpToolsProtocol], chunk: bytes
) -> None:
    head = request(INFER, b"", "Transfer-Encoding: chunked", length=None)
    async with listening(served, protocol) as server, Connection(server) as connection:
        refused(await connection.ask(head + chunk + b"0\r\n\r\n" + DELETE), 400, "InvalidInput")
        assert await connection.answer() is None


@BOTH
async def test_a_chunk_extension_is_ignored(served: FastAPI, protocol: type[HttpToolsProtocol]) -> None:
    head = request(INFER, b"", "Transfer-Encoding: Chunked", length=None)
    async with listening(served, protocol) as server, Connection(server) as connection:
        chunks = b'%x;name="value"\r\n%b\r\n0;last\r\nX-Trailer: a\r\n\r\n' % (len(JSON), JSON)
        assert (await connection.ask(head + chunks)).status == 200
        assert await still_there(connection)


TRAILERS = {
    "the length of the JSON": "Inference-Header-Content-Length: 3",
    "a coding": "Content-Encoding: gzip",
    "a type": "Content-Type: text/plain",
    "another host": "Host: evil.example",
    "a page": "Origin: http://evil.example",
    "an expectation": "Expect: 100-continue",
    "an offer": "Connection: upgrade\r\nUpgrade: h2c",
}


@BOTH
@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS)
@pytest.mark.parametrize("whole", [True, False], ids=["one segment", "two segments"])
async def test_trailers_change_nothing(
    served: FastAPI, protocol: type[HttpToolsProtocol], trailer: str, whole: bool
) -> None:
    head = request(INFER, b"", "Transfer-Encoding: chunked", length=None)
    begin, end = head + b"%x\r\n%b\r\n" % (len(JSON), JSON), b"0\r\n%b\r\n\r\n" % trailer.encode()
    async with listening(served, protocol) as server, Connection(server) as connection:
        await connection.send(begin + end) if whole else await connection.send(begin, end)
        answer = await connection.answer(interim=True)
        assert answer is not None
        assert answer.status == 200, answer
        assert await still_there(connection)


@BOTH
async def test_a_connection_close_in_a_trailer_ends_the_connection_after_the_answer(
    served: FastAPI, protocol: type[HttpToolsProtocol]
) -> None:
    head = request(INFER, b"", "Transfer-Encoding: chunked", length=None)
    chunks = b"%x\r\n%b\r\n0\r\nConnection: close\r\n\r\n" % (len(JSON), JSON)
    async with listening(served, protocol) as server, Connection(server) as connection:
        answer = await connection.ask(head + chunks + GET)
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await connection.answer() is None


@BOTH
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request("test:80", DELETE, method="CONNECT"), 501, "Unsupported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "InvalidInput"),
        (request(INFER, JSON, version="2.0"), 400, "InvalidInput"),
        (b"GET /engines/net\r\n\r\n", 400, "InvalidInput"),
        (
            request(INFER, b"", "Transfer-Encoding: chunked", version="1.0", length=None) + CHUNKS,
            400,
            "InvalidInput",
        ),
    ],
    ids=["tunnel", "http/2", "2.0", "0.9", "chunks of 1.0"],
)
async def test_messages_other_than_http_1_are_refused(
    served: FastAPI, protocol: type[HttpToolsProtocol], sent: bytes, status: int, code: str
) -> None:
    async with listening(served, protocol) as server, Connection(server) as connection:
        refused(await connection.ask(sent), status, code)
        assert await connection.answer() is None


# -- behind unanswered requests


GARBAGE = {
    "malformed http": b"\x16\x03\x01\x02\x00\x01",
    "an ambiguous length": request(INFER, CHUNKS, "Transfer-Encoding: chunked", length="5"),
    "another version": request(INFER, JSON, version="2.0"),
    "a malformed chunk": request(INFER, b"zz\r\n", "Transfer-Encoding: chunked", length=None),
}


@BOTH
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("before", [1, 3])
async def test_a_refusal_does_not_overtake_earlier_answers(
    served: FastAPI, protocol: type[HttpToolsProtocol], garbage: bytes, before: int
) -> None:
    protocol = HalfClosedHttp if protocol is BoundedHttp else protocol
    async with listening(served, protocol) as server, Connection(server) as connection:
        await connection.send(GET * before + garbage, DELETE)
        for _ in range(before):
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200
        refused(await connection.answer(), 400, "InvalidInput")
        assert await connection.answer() is None
        async with Connection(server) as other:
            assert await still_there(other)


# -- Expect: 100-continue, and real clients


@BOTH
async def test_a_client_that_waits_for_100_gets_it_and_then_an_answer(
    served: FastAPI, protocol: type[HttpToolsProtocol]
) -> None:
    head, body = head_and_body(JSON, "Expect: 100-continue")
    async with listening(served, protocol) as server, Connection(server) as connection:
        await connection.send(head)
        interim = await connection.answer(interim=True)
        assert interim is not None
        assert interim.status == 100
        assert (await connection.ask(body)).status == 200
        assert await still_there(connection)


@BOTH
async def test_a_refused_client_that_waits_for_100_does_not_get_it(
    served: FastAPI, protocol: type[HttpToolsProtocol]
) -> None:
    head, body = head_and_body(DELETE, "Expect: 100-continue")
    async with listening(served, protocol) as server, Connection(server) as connection:
        refused(await connection.ask(head.replace(b"/net/", b"/none/")), 404, "NotFound")
        await connection.send(body)
        await turns(10)
        async with Connection(server) as other:
            assert await still_there(other)


@BOTH
async def test_a_client_of_http_1_0_gets_no_interim_answer(
    served: FastAPI, protocol: type[HttpToolsProtocol]
) -> None:
    async with listening(served, protocol) as server, Connection(server) as connection:
        await connection.send(*head_and_body(JSON, "Expect: 100-continue", version="1.0"))
        answer = await connection.answer(interim=True)
        assert answer is not None
        assert answer.status == 200


JAVA = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;

public class Asks {
    public static void main(String[] at) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < 3; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(at[0]))
                .POST(HttpRequest.BodyPublishers.ofFile(Path.of(at[1]))).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version());
        }
    }
}
"""


async def output(*command: str) -> str:
    process = await create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await process.communicate()
    return said.decode()


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no JDK")
async def test_javas_client_that_offers_h2c_is_served(served: FastAPI, tmp_path: Path) -> None:
    (tmp_path / "Asks.java").write_text(JAVA)
    (tmp_path / "body").write_bytes(JSON)
    async with listening(served) as server:
        url = f"http://127.0.0.1:{server.port}{INFER}"
        said = await output("java", str(tmp_path / "Asks.java"), url, str(tmp_path / "body"))
    assert said.split("\n")[:3] == ["200 HTTP_1_1"] * 3, said


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize(
    "options", [["--http2"], ["--http1.0"], ["-H", "Expect: 100-continue"], ["-T"]], ids=str
)
async def test_curl_is_served(served: FastAPI, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "body").write_bytes(JSON)
    file = str(tmp_path / "body")
    sending = ["-X", "POST", "-T", file] if options == ["-T"] else [*options, "--data-binary", f"@{file}"]
    async with listening(served) as server:
        url = f"http://127.0.0.1:{server.port}{INFER}"
        said = await output(
            "curl",
            "-s",
            "-m",
            "20",
            "-w",
            "%{http_code}\n",
            "-o",
            "/dev/null",
            *sending,
            "-H",
            "Content-Type: application/json",
            url,
        )
    assert said == "200\n"
