"""The limit on the memory of all request bodies together."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.asgi import post, refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.waiting import until
from trtserve.errors import Unavailable
from trtserve.inference.inflight import InflightBytes
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 1_000  # bytes of all bodies together
INFER = "/engines/net/infer"
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [X]}).encode().ljust(600)  # one body fits, two do not


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_request_bytes": LIMIT, "max_inflight_bytes": LIMIT})


@pytest.fixture
def inflight(app: FastAPI) -> InflightBytes:
    budget = services_of(app).inflight
    assert isinstance(budget, InflightBytes)
    return budget


@pytest.fixture(autouse=True)
async def engine(client: httpx.AsyncClient) -> None:
    (await client.post("/engines?name=net", content=onnx_plan())).raise_for_status()


async def test_a_share_that_cannot_grow_keeps_its_bytes() -> None:
    whole = InflightBytes(10)
    with whole.share() as first, whole.share() as second:
        first.grow_to(4)
        second.grow_to(6)
        second.grow_to(5)  # it already has more
        with pytest.raises(Unavailable, match="hold 10 bytes; 1 more are over this server's limit of 10"):
            first.grow_to(5)
        assert whole.taken == 10
    assert whole.taken == 0


@pytest.mark.parametrize("largest", [1_600, 1_550, 400, 1])
async def test_the_largest_request_fits_when_it_is_alone(largest: int) -> None:
    whole = InflightBytes(1_600, largest)
    with whole.share() as share:
        share.expect(largest)
        share.grow_to(largest)
    assert whole.taken == 0


async def test_requests_leave_room_for_smaller_ones() -> None:
    whole = InflightBytes(1_600, 400)

    def fill(size: int) -> int:
        """Fill with slowly growing requests of `size` bytes; return the bytes taken."""
        before = whole.taken
        with suppress(Unavailable):
            while True:
                whole.take(1, size)
        return whole.taken - before

    assert [fill(size) for size in (400, 101, 100, 50, 20, 20)] == [1_500, 0, 0, 50, 30, 0]
    with pytest.raises(Unavailable, match="20 more would leave too little room for smaller ones"):
        whole.take(20)
    whole.take(10)


async def test_a_growing_request_counts_with_its_declared_size() -> None:
    whole = InflightBytes(1_600, 400)
    whole.take(1_490, 400)
    with whole.share() as large, whole.share() as small:
        large.expect(10)
        large.grow_to(5)
        small.grow_to(5)
    with whole.share() as large:
        with pytest.raises(Unavailable):
            large.expect(400)
        large.grow_to(10)
        with pytest.raises(Unavailable):
            large.grow_to(90)


class Sender:
    """A client that sends queued messages and waits for more."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def send(self, body: bytes, *, more: bool) -> None:
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._messages.get()


async def infer(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(INFER, content=BODY, headers={"Content-Type": "application/json"})


DECLARED = {"declared": {"Content-Length": str(len(BODY))}, "unknown": {}}


async def test_a_declared_body_without_room_is_refused_before_it_arrives(
    app: FastAPI, inflight: InflightBytes
) -> None:
    inflight.take(LIMIT - len(BODY) + 1)
    response = await post(app, INFER, Sender().receive, DECLARED["declared"])
    assert "--max-inflight-bytes" in refused(response, 503, "Unavailable")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("length", DECLARED)
async def test_a_body_counts_as_it_arrives(
    app: FastAPI, client: httpx.AsyncClient, inflight: InflightBytes, length: str
) -> None:
    stalled, late = Sender(), Sender()
    answering = [
        asyncio.create_task(post(app, INFER, sender.receive, DECLARED[length])) for sender in (stalled, late)
    ]
    for sender in (stalled, late):
        sender.send(BODY[:10], more=True)
    await until(lambda: inflight.taken == 20)
    assert (await infer(client)).status_code == 200
    stalled.send(BODY[10:100], more=True)
    await until(lambda: inflight.taken == 110)
    stalled.send(BODY[100:], more=True)
    await until(lambda: inflight.taken == len(BODY) + 10)
    late.send(BODY[10:400], more=True)
    await until(lambda: inflight.taken == len(BODY) + 400)
    late.send(BODY[400:401], more=True)
    assert "limit of 1000" in refused(await answering[1], 503, "Unavailable")
    assert inflight.taken == len(BODY)
    stalled.leave()
    refused(await answering[0], 499, "Cancelled")
    assert inflight.taken == 0


async def test_a_request_that_waits_for_its_engine_holds_its_body(
    client: httpx.AsyncClient, runtime: FakeRuntime, inflight: InflightBytes
) -> None:
    runtime.hold()
    waiting = asyncio.create_task(infer(client))
    await until(lambda: len(runtime.waiting) == 1)
    assert inflight.taken == len(BODY)
    refused(await infer(client), 503, "Unavailable")
    runtime.release()
    assert (await waiting).status_code == 200
    assert inflight.taken == 0


async def test_a_refused_failed_or_cancelled_request_releases_its_bytes(
    app: FastAPI, client: httpx.AsyncClient, runtime: FakeRuntime, inflight: InflightBytes
) -> None:
    refused(await client.post(INFER, content=b"no JSON"), 400, "InvalidInput")
    assert inflight.taken == 0

    def fail(_: object) -> Any:
        raise error("ExecutionFailed", "it is so")

    runtime.compute = fail
    refused(await infer(client), 500, "ExecutionFailed")
    assert inflight.taken == 0

    runtime.hold()
    sender = Sender()
    sender.send(BODY, more=False)
    answering = asyncio.create_task(post(app, INFER, sender.receive))
    await until(lambda: len(runtime.waiting) == 1)
    answering.cancel()
    refused(await answering, 503, "Unavailable")
    assert inflight.taken == 0
