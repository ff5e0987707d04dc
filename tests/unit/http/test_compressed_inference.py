"""Inference with compressed bodies and answers, through the whole application."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.asgi import post, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, error
from tests.waiting import until
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 200_000  # bytes of a body
COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}
INFER = "/v2/models/net/infer"
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
JSON = json.dumps({"inputs": [X]}).encode()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_request_bytes": LIMIT, "max_inflight_bytes": 2 * LIMIT})


@pytest.fixture(autouse=True)
async def engine(client: httpx.AsyncClient) -> None:
    # httpx accepts compressed answers by default; here only a test that says so does.
    client.headers["Accept-Encoding"] = "identity"
    (await client.post("/engines?name=net", content=onnx_plan())).raise_for_status()


def binary(rows: int, **members: object) -> tuple[bytes, dict[str, str]]:
    x = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16 * rows}}
    header = json.dumps({"inputs": [x]} | members).encode()
    blob = np.arange(4 * rows, dtype=np.float32).tobytes()
    return header + blob, {"Inference-Header-Content-Length": str(len(header))}


async def infer(client: httpx.AsyncClient, body: bytes = JSON, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(INFER, content=body, headers=named)


async def raw(client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> tuple[bytes, httpx.Headers]:
    """The raw body and the headers of a good answer."""
    async with client.stream("POST", INFER, content=body, headers=headers) as response:
        content = b"".join([part async for part in response.aiter_raw()])
        assert response.status_code == 200, content
        assert int(response.headers["content-length"]) == len(content)
        return content, response.headers


# -- requests


@pytest.mark.parametrize("coding", sorted(COMPRESS))
async def test_a_compressed_request_is_answered(client: httpx.AsyncClient, coding: str) -> None:
    plain = await infer(client)
    response = await infer(client, COMPRESS[coding](JSON), content_encoding=coding)
    assert (response.content, response.headers) == (plain.content, plain.headers)


@pytest.mark.parametrize("coding", sorted(COMPRESS))
@pytest.mark.parametrize("rows", [1, 10_000])
async def test_the_header_length_counts_the_decompressed_json(
    client: httpx.AsyncClient, coding: str, rows: int
) -> None:
    body, headers = binary(rows, parameters={"binary_data_output": True})
    plain = await client.post(INFER, content=body, headers=headers)
    headers["Content-Encoding"] = coding
    response = await client.post(INFER, content=COMPRESS[coding](body), headers=headers)
    assert response.status_code == 200
    assert response.content == plain.content


async def test_a_broken_stream_is_refused(client: httpx.AsyncClient) -> None:
    whole = gzip.compress(JSON)
    for body, sentence in (
        (whole[:-1], "ends before its gzip stream does"),
        (b"", "ends before its gzip stream does"),
        (whole + b"x", "behind the end of its gzip stream"),
        (JSON, "not what its Content-Encoding says, gzip"),
    ):
        response = await infer(client, body, content_encoding="gzip")
        assert sentence in refused(response, 400, "InvalidInput")


async def test_the_body_limit_applies_to_the_decompressed_bytes(client: httpx.AsyncClient) -> None:
    body = gzip.compress(JSON.ljust(LIMIT))
    assert (await infer(client, body, content_encoding="gzip")).status_code == 200
    response = await infer(client, gzip.compress(JSON.ljust(LIMIT + 1)), content_encoding="gzip")
    assert "limit of 200000 bytes, compressed or not" in refused(response, 413, "TooLarge")


async def test_decompression_stops_at_the_limit(client: httpx.AsyncClient) -> None:
    bomb = _bomb(100)
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        response = await infer(client, bomb, content_encoding="gzip")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    refused(response, 413, "TooLarge")
    assert most < 10 * 1_048_576


def _bomb(mebibytes: int) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [stream.compress(bytes(1_048_576)) for _ in range(mebibytes)]
    return b"".join([*parts, stream.flush()])


async def test_an_endless_empty_stream_hits_the_limit_too(app: FastAPI) -> None:
    pieces = 0

    async def receive() -> dict[str, Any]:
        nonlocal pieces
        pieces += 1
        # Empty deflate blocks, which could go on for ever.
        body = gzip.compress(b"")[:10] if pieces == 1 else b"\0\0\0\xff\xff" * 1_000
        return {"type": "http.request", "body": body, "more_body": True}

    response = await post(app, INFER, receive, {"Content-Encoding": "gzip"})
    refused(response, 413, "TooLarge")
    assert pieces <= LIMIT // 5_000 + 2


async def test_the_decompressed_bytes_count_as_under_way(
    app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.hold()
    body = gzip.compress(JSON.ljust(LIMIT))
    waiting = asyncio.create_task(infer(client, body, content_encoding="gzip"))
    await until(lambda: len(runtime.waiting) == 1)
    assert services_of(app).inflight.taken == LIMIT
    response = await infer(client, body, content_encoding="gzip")
    assert "--max-inflight-bytes" in refused(response, 503, "Unavailable")
    assert services_of(app).inflight.taken == LIMIT
    runtime.release()
    assert (await waiting).status_code == 200
    assert services_of(app).inflight.taken == 0


async def test_a_compressed_plan_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Content-Encoding": "gzip"}
    response = await client.post("/engines", content=gzip.compress(onnx_plan(1)), headers=headers)
    assert "Content-Encoding is 'gzip'; send it as it is" in refused(response, 415, "InvalidInput")


# -- answers


@pytest.mark.parametrize("coding", sorted(COMPRESS))
@pytest.mark.parametrize("rows", [100, 10_000])  # the larger is compressed in a thread
async def test_an_answer_is_compressed_on_request(client: httpx.AsyncClient, coding: str, rows: int) -> None:
    for members in ({}, {"parameters": {"binary_data_output": True}}):
        body, headers = binary(rows, **members)
        plain, plain_headers = await raw(client, body, headers)
        assert "content-encoding" not in plain_headers
        content, found = await raw(client, body, headers | {"Accept-Encoding": coding})
        assert found["content-encoding"] == coding
        assert found["vary"] == "Accept-Encoding"
        assert {"gzip": gzip.decompress, "deflate": zlib.decompress}[coding](content) == plain
        own = "inference-header-content-length"
        assert found.get(own) == plain_headers.get(own)
        assert found["content-type"] == plain_headers["content-type"]


async def test_an_answer_that_would_not_shrink_is_not_compressed(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    content, headers = await raw(client, JSON, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in headers
    assert headers["vary"] == "Accept-Encoding"
    assert json.loads(content)["outputs"][0]["data"] == [1, 2, 3, 4]

    noise = np.random.default_rng(0).bytes(4_000)
    runtime.compute = lambda _: [Output.of("y", "UINT8", [4_000], noise)]
    body, sent = binary(1, parameters={"binary_data_output": True})
    content, headers = await raw(client, body, sent | {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in headers
    assert content.endswith(noise)


async def test_only_good_answers_of_inference_are_compressed(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    def fail(_: object) -> list[Output]:
        raise error("ExecutionFailed", "it is so " + "and so " * 1_000)

    runtime.compute = fail
    response = await infer(client, accept_encoding="gzip")
    refused(response, 500, "ExecutionFailed")
    assert "content-encoding" not in response.headers
    for page in ("/openapi.json", "/metrics", "/engines"):
        response = await client.get(page, headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200
        assert "content-encoding" not in response.headers


async def test_an_answer_is_compressed_only_if_clearly_requested(client: httpx.AsyncClient) -> None:
    body, headers = binary(100)
    for accepted in ("*", "gzip;q=0", "br", "identity, gzip;q=0.5"):
        _, found = await raw(client, body, headers | {"Accept-Encoding": accepted})
        assert "content-encoding" not in found
