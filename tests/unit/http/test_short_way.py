"""The short way on its connections: order, pieces and refusals."""

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from tests.connections import (
    GET,
    INFER,
    Connection,
    all_taken_back,
    counted,
    infer,
    listening,
    request,
    turns,
    value,
)
from tests.fakes.runtime import FakeRuntime, Output, error
from tests.waiting import until
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 1_000_000  # bytes of a body
LARGE = 300_000  # bytes of an answer: too many to write at once to a slow reader


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"max_request_bytes": LIMIT, "max_inflight_bytes": LIMIT}
    return settings.model_copy(update=limits)


def large(_: object) -> list[Output]:
    return [Output.of("y", "FP32", [LARGE // 4], bytes(LARGE))]


# -- the choice of the way


class Watched:
    """The application, and the targets that reached it."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.state = app.state
        self.targets: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.targets.append(scope["path"])
        await self._app(scope, receive, send)


async def test_an_ordinary_request_bypasses_the_framework(served: FastAPI) -> None:
    watched = Watched(served)
    async with listening(watched) as server, Connection(server) as connection:  # type: ignore[arg-type]
        for _ in range(3):
            assert value(await connection.ask(infer(5))) == 5
        whole = infer(6, 100)
        assert value(await connection.ask(whole[:200], whole[200:])) == 6
        assert watched.targets == []
        await connection.ask(GET)
        assert watched.targets == ["/engines/net"]
        assert value(await connection.ask(infer(7))) == 7
        assert len(watched.targets) == 1


@pytest.mark.parametrize(
    "header", ["Connection: close", "Expect: 100-continue", "Upgrade: h2c", "Content-Encoding: gzip"]
)
async def test_an_unusual_request_goes_through_the_framework(served: FastAPI, header: str) -> None:
    watched = Watched(served)
    async with listening(watched) as server, Connection(server) as connection:  # type: ignore[arg-type]
        await connection.ask(infer(1, 1, header))
        assert watched.targets == [INFER]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_client_that_accepts_compressed_answers_bypasses_the_framework(
    served: FastAPI, runtime: FakeRuntime, coding: str
) -> None:
    watched = Watched(served)
    decompress = {"gzip": gzip.decompress, "deflate": zlib.decompress}[coding]
    async with listening(watched) as server, Connection(server) as connection:  # type: ignore[arg-type]
        asking = infer(5, 1, f"Accept-Encoding: {coding}")
        answer = await connection.ask(asking)
        assert (value(answer), answer.header("vary")) == (5, "Accept-Encoding")
        runtime.compute = large
        await connection.send(asking + asking)  # compressed in a thread, answered in order
        for _ in range(2):
            compressed = await connection.answer()
            assert compressed is not None
            assert compressed.header("content-encoding") == coding
            assert decompress(compressed.body).endswith(bytes(LARGE))
        assert watched.targets == []
    await all_taken_back(served)


async def test_a_close_without_a_body_ends_the_connection(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request(INFER, b"", "Connection: close"))
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert await connection.answer() is None


@pytest.mark.parametrize("whole", [True, False])
async def test_an_unknown_model_is_refused_in_the_protocols_words(served: FastAPI, whole: bool) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for target in ("/v2/models/none/infer", "/v2/models/net/versions/7/infer"):
            asking = request(target, b"{}") if whole else request(target, b"{", length="1000")
            answer = await connection.ask(asking)
            assert answer.status == 404
            assert json.loads(answer.body)["error"].startswith("Request for unknown model: ")
            if not whole:
                return


async def test_an_unknown_engine_is_refused_before_the_body_arrives(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request("/engines/none/infer", b"{", length="1000"))
        assert answer.status == 404
        assert services_of(served).inflight.taken == 0


async def test_a_body_over_the_bytes_under_way_is_refused_before_it_arrives(served: FastAPI) -> None:
    services_of(served).inflight.take(LIMIT - 999)
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request(INFER, b"{", length="1000"))
        assert answer.status == 503
        assert "max-inflight-bytes" in answer.body.decode()
        assert services_of(served).inflight.taken == LIMIT - 999


# -- order


async def test_pipelined_requests_are_answered_in_order(served: FastAPI, runtime: FakeRuntime) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1) + GET + infer(2) + infer(3) + GET + infer(4))
        await until(lambda: len(runtime.waiting) == 1)
        runtime.release()
        kinds = []
        for _ in range(6):
            answer = await connection.answer()
            assert answer is not None
            kinds.append("GET" if answer.header("content-type") == "application/json" else value(answer))
        assert kinds == [1, "GET", 2, 3, "GET", 4]


async def test_the_next_request_waits_for_the_answer_before_it(served: FastAPI, runtime: FakeRuntime) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1), infer(2), GET, infer(3))
        await turns(20)
        assert len(runtime.timeouts) == 1
        runtime.release()
        assert value(await connection.answer()) == 1
        assert value(await connection.answer()) == 2
        answer = await connection.answer()
        assert answer is not None
        assert answer.header("content-type") == "application/json"
        assert value(await connection.answer()) == 3


async def test_a_request_waits_for_an_answer_of_the_framework(served: FastAPI, runtime: FakeRuntime) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1, 1, "Expect: nothing"))
        await until(lambda: len(runtime.waiting) == 1)
        await connection.send(infer(2))
        await turns(20)
        assert len(runtime.timeouts) == 1
        runtime.release()
        assert [value(await connection.answer()) for _ in range(2)] == [1, 2]


async def test_a_request_inside_a_refused_body_is_not_run(served: FastAPI, runtime: FakeRuntime) -> None:
    async with listening(served) as server, Connection(server) as connection:
        head = request("/engines/none/infer", length=str(len(infer(1))))
        assert (await connection.ask(head)).status == 404
        assert (await connection.ask(infer(1), GET)).header("content-type") == "application/json"
        assert runtime.timeouts == []
        assert value(await connection.ask(infer(2))) == 2


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
async def test_requests_in_pieces_each_get_their_own_answer(served: FastAPI, size: int) -> None:
    whole = b"".join(infer(number, 1 + number % 3) for number in range(8)) + GET + infer(9)
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(*(whole[at : at + size] for at in range(0, len(whole), size)))
        assert [value(await connection.answer()) for _ in range(8)] == list(range(8))
        await connection.answer()
        assert value(await connection.answer()) == 9
    await all_taken_back(served)


async def test_a_body_in_pieces_is_aligned_in_one_buffer(served: FastAPI, runtime: FakeRuntime) -> None:
    addresses = []

    def look(inputs: Any) -> list[Output]:
        (_, datatype, shape, buffer) = inputs[0]
        addresses.append(np.frombuffer(buffer, np.uint8).ctypes.data % 64)
        return [Output.of("y", datatype, shape, buffer)]

    runtime.compute = look
    whole = infer(3, 1000)
    async with listening(served) as server, Connection(server) as connection:
        assert value(await connection.ask(whole[:300], whole[300:5000], whole[5000:])) == 3
    assert addresses == [0]


async def test_an_answer_has_the_servers_current_headers(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for date in ("1", "2"):
            server.state.default_headers = [(b"date", date.encode())]
            for sent in (infer(1), request(INFER, b"{"), GET):
                assert (await connection.ask(sent)).header("date") == date


# -- refusals


async def test_an_error_is_counted_once_and_the_connection_goes_on(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    def fail(_: object) -> list[Output]:
        raise error("ExecutionFailed", "it is so")

    runtime.compute = fail
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(infer(1))
        assert (answer.status, json.loads(answer.body)["error"]) == (500, "It is so.")
        assert counted(served) == {"ExecutionFailed": 1}
        answer = await connection.ask(request(INFER, b"{"))
        assert answer.status == 400
        assert counted(served) == {"ExecutionFailed": 1, "InvalidInput": 1}
        assert server.state.total_requests == 2
    await all_taken_back(served)


async def test_an_unexpected_failure_is_answered_and_logged(
    served: FastAPI, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.compute = lambda _: [object()]  # type: ignore[list-item]
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(infer(1))
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "ExecutionFailed")
        assert "inference failed" in caplog.text
        assert counted(served) == {"ExecutionFailed": 1}
        runtime.compute = large
        assert len((await connection.ask(infer(1))).body) > LARGE
    await all_taken_back(served)


async def test_a_failed_compression_is_answered_with_an_error(
    served: FastAPI, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compress(*_: object) -> bytes:
        raise ValueError

    runtime.compute = large
    monkeypatch.setattr("trtserve.http.content_coding.compress", compress)
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(infer(1, 1, "Accept-Encoding: gzip"))
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "ExecutionFailed")
        assert counted(served) == {"ExecutionFailed": 1}
        assert value(await connection.ask(infer(2))) == 0
    await all_taken_back(served)


async def test_a_failure_behind_an_answer_ends_the_connection(
    served: FastAPI, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1) + infer(2, 10))
        await until(lambda: len(runtime.waiting) == 1)

        def known(raw: bytes) -> None:
            raise MemoryError

        monkeypatch.setattr(server.short_way, "known", known)
        runtime.release()
        assert value(await connection.answer()) == 1
        assert await connection.answer() is None
    await all_taken_back(served)
