"""Heads that are too long and malformed HTTP are refused in the common error form."""

import json

import pytest
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.connections import GET, INFER, Answer, Connection, counted, infer, listening, request
from trtserve.http.connection import MOST_HEAD_BYTES, BoundedHttp
from trtserve.http.short_way import InferProtocol

pytestmark = pytest.mark.anyio

PIECE = 16_384  # bytes
BOTH = pytest.mark.parametrize("protocol", [BoundedHttp, InferProtocol], ids=["framework", "short"])
CHUNKED = request(INFER, b"", "Transfer-Encoding: chunked", length=None)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def pieces(whole: bytes, size: int = PIECE) -> list[bytes]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def refusal(answer: Answer | None, status: int) -> str:
    """Check an answer that ends the connection; return its sentence."""
    assert answer is not None
    assert (answer.status, answer.header("content-type")) == (status, "application/json")
    assert answer.header("connection") == "close"
    body = json.loads(answer.body)
    assert body["code"] == "InvalidInput"
    return str(body["error"])


X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
JSON = json.dumps({"inputs": [X]}).encode()
LONG = b"a" * MOST_HEAD_BYTES


@BOTH
@pytest.mark.parametrize(
    "sent",
    [
        [b"GET /", *pieces(LONG)],
        [b"GET / HTTP/1.1\r\nX: ", *pieces(LONG)],
        [b"GET / HTTP/1.1\r\n", *pieces(LONG)],
        [b"GET / HTTP/1.1\r\n", *pieces(b"X: y\r\n" * (MOST_HEAD_BYTES // 5 + 2))],
        [CHUNKED, b"0\r\nX: ", *pieces(LONG)],
        [CHUNKED, b"5;", *pieces(LONG)],
        [infer(1, 1, "X: " + "a" * MOST_HEAD_BYTES)],
    ],
    ids=["target", "value", "name", "headers", "trailer", "chunk", "in one"],
)
async def test_an_endless_head_is_refused(
    served: FastAPI, protocol: type[HttpToolsProtocol], sent: list[bytes]
) -> None:
    async with listening(served, protocol) as server, Connection(server) as connection:
        assert "over 65536 bytes" in refusal(await connection.ask(*sent), 431)
        assert await connection.answer() is None
    assert counted(served)["InvalidInput"] == 1


@BOTH
@pytest.mark.parametrize("size", [1000, PIECE, 10 * PIECE])
async def test_a_long_head_within_the_limit_is_served(
    served: FastAPI, protocol: type[HttpToolsProtocol], size: int
) -> None:
    head = GET.replace(b"\r\n\r\n", b"\r\nX: " + LONG[:60_000] + b"\r\n\r\n")
    async with listening(served, protocol) as server, Connection(server) as connection:
        for whole in (head, head):
            assert (await connection.ask(*pieces(whole, size))).status == 200


@BOTH
async def test_chunk_framing_does_not_count_towards_the_head_limit(
    served: FastAPI, protocol: type[HttpToolsProtocol], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trtserve.http.connection.MOST_HEAD_BYTES", 200)
    chunks = [piece for byte in JSON for piece in (b"1\r\n", bytes([byte]), b"\r\n")]
    async with listening(served, protocol) as server, Connection(server) as connection:
        assert (await connection.ask(CHUNKED, *chunks, b"0\r\n\r\n")).status == 200


@BOTH
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "Invalid method"),
        (GET.replace(b"Host:", b"Host :"), "Invalid header token"),
        (request(INFER, b"", "Content-Length: 5"), "Content-Length"),
        (request(b"/engines/n\xc3\xa9t/infer"), "Invalid char in url path"),
        (request("http://test"), "its target is not a path"),
    ],
    ids=["tls", "header", "length", "target", "not a path"],
)
async def test_malformed_http_is_refused_in_the_common_error_form(
    served: FastAPI, protocol: type[HttpToolsProtocol], sent: bytes, reason: str
) -> None:
    async with listening(served, protocol) as server, Connection(server) as connection:
        assert reason in refusal(await connection.ask(sent), 400)
        assert await connection.answer() is None
    assert counted(served) == {"InvalidInput": 1}
