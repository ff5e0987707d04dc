"""The short way on its connections: order, pieces, clients that leave or do not read, the end."""

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.settings import Settings
from tests.connections import Answer, Connection, Listening, listening, request, turns
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, error
from tests.waiting import until

pytestmark = pytest.mark.anyio

LIMIT = 1_000_000  # bytes of a body
LARGE = 300_000  # bytes that no pipe of the kernel's here holds whole
INFER = "/engines/net/infer"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"max_request_bytes": LIMIT, "max_inflight_bytes": LIMIT}
    return settings.model_copy(update=limits)


@pytest.fixture
async def served(client: httpx.AsyncClient, app: FastAPI) -> FastAPI:
    """The application with the engine `net`."""
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    return app


def infer(value: float = 1.0, rows: int = 1, *headers: str, **members: object) -> bytes:
    """A binary request with x of 4 * rows values; its answer is binary too."""
    size = 16 * rows
    x = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    document = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}} | members).encode()
    body = document + np.full(4 * rows, value, np.float32).tobytes()
    return request(INFER, body, f"Inference-Header-Content-Length: {len(document)}", *headers)


GET = request("/engines/net", method="GET", length=None)


def value(answer: Answer | None) -> float:
    """The first value of y; the answer is a good one."""
    assert answer is not None
    assert answer.status == 200, answer
    length = int(answer.header("inference-header-content-length") or 0)
    return float(np.frombuffer(answer.body[length:], np.float32)[0])


def counted(app: FastAPI) -> dict[str, float]:
    """Errors answered, by code."""
    samples = [s for family in app.state.metrics.errors.collect() for s in family.samples]
    return {s.labels["code"]: s.value for s in samples if s.name.endswith("_total")}


async def all_taken_back(app: FastAPI) -> None:
    await until(lambda: app.state.inflight.taken == 0)
    await turns(4)
    assert app.state.inflight.taken == 0


def large(_: object) -> list[Output]:
    return [Output.of("y", "FP32", [LARGE // 4], bytes(LARGE))]


# -- which way


class Watched:
    """The application, and the targets that came to it."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.state = app.state
        self.targets: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.targets.append(scope["path"])
        await self._app(scope, receive, send)


async def test_an_ordinary_request_does_not_go_through_the_framework(served: FastAPI) -> None:
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


async def test_a_close_without_a_body_ends_the_connection(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request(INFER, b"", "Connection: close"))
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert await connection.answer() is None


async def test_an_unknown_engine_is_refused_before_its_body_has_come(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request("/engines/none/infer", b"{", length="1000"))
        assert answer.status == 404
        assert served.state.inflight.taken == 0


async def test_what_is_over_the_bytes_under_way_is_refused_before_its_body_has_come(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as first, Connection(server) as second:
        await first.send(request(INFER, b"{", length=str(LIMIT)))
        await until(lambda: served.state.inflight.taken == LIMIT)
        answer = await second.ask(request(INFER, b"{", length="1000"))
        assert answer.status == 503
        assert "max-inflight-bytes" in answer.body.decode()
        assert served.state.inflight.taken == LIMIT
    await all_taken_back(served)


# -- order


async def test_pipelined_requests_are_answered_in_their_order(served: FastAPI, runtime: FakeRuntime) -> None:
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


async def test_what_comes_behind_a_request_waits_for_its_answer(
    served: FastAPI, runtime: FakeRuntime
) -> None:
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


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
async def test_requests_in_pieces_are_answered_each_with_its_own(served: FastAPI, size: int) -> None:
    whole = b"".join(infer(number, 1 + number % 3) for number in range(8)) + GET + infer(9)
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(*(whole[at : at + size] for at in range(0, len(whole), size)))
        assert [value(await connection.answer()) for _ in range(8)] == list(range(8))
        await connection.answer()
        assert value(await connection.answer()) == 9
    await all_taken_back(served)


async def test_a_body_in_pieces_lies_aligned_in_one_buffer(served: FastAPI, runtime: FakeRuntime) -> None:
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


async def test_what_fails_unexpectedly_is_answered_and_logged(
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


# -- clients that leave


@pytest.mark.parametrize("how", [Connection.leave, Connection.reset, Connection.end_sending])
async def test_a_client_that_leaves_takes_its_request_out_of_the_queue(
    served: FastAPI, runtime: FakeRuntime, how: Callable[[Connection], None]
) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1))
        await until(lambda: len(runtime.waiting) == 1)
        (ticket,) = runtime.waiting
        how(connection)
        await until(lambda: runtime.cancelled == [ticket])
        await until(lambda: not server.state.connections)
        runtime.release()
    await all_taken_back(served)
    assert counted(served) == {"Cancelled": 1}


@pytest.mark.parametrize("how", [Connection.leave, Connection.reset, Connection.end_sending])
async def test_a_client_that_leaves_half_way_through_its_body_starts_nothing(
    served: FastAPI, runtime: FakeRuntime, how: Callable[[Connection], None]
) -> None:
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1, 1000)[:-1])
        await until(lambda: served.state.inflight.taken > 16_000)
        how(connection)
        await until(lambda: not server.state.connections)
    await all_taken_back(served)
    assert (runtime.timeouts, counted(served)) == ([], {"Cancelled": 1})


async def test_an_answer_for_who_has_left_is_dropped(served: FastAPI, runtime: FakeRuntime) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1))
        await until(lambda: len(runtime.waiting) == 1)
        server.connection.transport.abort()  # lost, but the protocol has not heard of it yet
        runtime.release()
        served.state.completions._drain()
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


# -- clients that do not read


async def not_reading(server: Listening) -> Callable[[], bool]:
    protocol = server.connection
    await until(lambda: protocol.flow is not None)
    return lambda: protocol.flow.write_paused


async def test_who_does_not_read_answers_makes_no_more_requests(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.compute = large
    requests = 60
    async with listening(served) as server, Connection(server, receive_buffer=4096) as connection:
        sending = asyncio.create_task(connection.send(infer(1) * requests))
        await until(lambda: bool(server.state.connections))
        await until(await not_reading(server))
        await turns(1000)
        made = len(runtime.timeouts)
        assert made < requests
        assert server.connection.transport.get_write_buffer_size() <= 2 * LARGE
        for _ in range(requests):
            answer = await connection.answer()
            assert answer is not None
            assert len(answer.body) > LARGE
        await sending
        assert len(runtime.timeouts) == requests
        assert value(await connection.ask(infer(1))) == 0
    await all_taken_back(served)


async def test_who_reads_late_is_served_again(served: FastAPI, runtime: FakeRuntime) -> None:
    runtime.compute = lambda _: [Output.of("y", "FP32", [2_000_000], bytes(8_000_000))]
    async with listening(served) as server, Connection(server, receive_buffer=4096) as connection:
        for _ in range(3):
            await connection.send(infer(1), infer(1))
            await until(await not_reading(server))
            for _ in range(2):
                assert value(await connection.answer()) == 0


# -- idle connections: with a time of 0 a connection is idle at once


async def test_an_idle_connection_is_ended(served: FastAPI) -> None:
    async with listening(served, keep_alive_s=0) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1))) == 1
        assert await connection.answer() is None


@pytest.mark.parametrize("cut", [1, 40, 150, 300])
async def test_a_connection_with_a_request_half_way_is_not_idle(served: FastAPI, cut: int) -> None:
    whole = infer(2, 10)
    async with listening(served, keep_alive_s=0) as server, Connection(server) as connection:
        await connection.send(infer(1) + whole[:cut])
        assert value(await connection.answer()) == 1
        await turns(50)
        assert value(await connection.ask(whole[cut:])) == 2
        assert await connection.answer() is None


@pytest.mark.parametrize("headers", [[], ["Expect: nothing"]], ids=["short way", "long way"])
async def test_a_connection_whose_request_waits_is_not_idle(
    served: FastAPI, runtime: FakeRuntime, headers: list[str]
) -> None:
    runtime.hold()
    async with listening(served, keep_alive_s=0) as server, Connection(server) as connection:
        await connection.send(infer(1) + infer(2, 1, *headers))
        await until(lambda: len(runtime.waiting) == 1)
        runtime.release()
        runtime.hold()
        assert value(await connection.answer()) == 1
        await until(lambda: len(runtime.waiting) == 1)
        await turns(50)
        runtime.release()
        assert value(await connection.answer()) == 2
        assert await connection.answer() is None


# -- the end of the server


async def test_a_stop_answers_the_request_under_way_and_ends_its_connection(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.hold()
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1) + infer(2))
        await until(lambda: len(runtime.waiting) == 1)
        server.shut_down()
        runtime.release()
        answer = await connection.answer()
        assert value(answer) == 1
        assert answer is not None
        assert answer.header("connection") == "close"
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    assert len(runtime.timeouts) == 1


async def test_a_stop_waits_for_a_body_that_is_coming(served: FastAPI) -> None:
    whole = infer(1, 10)
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(whole[:-1])
        await until(lambda: served.state.inflight.taken > 0)
        server.shut_down()
        answer = await connection.ask(whole[-1:])
        assert (value(answer), answer.header("connection")) == (1, "close")
        assert await connection.answer() is None


async def test_a_stop_ends_an_idle_connection(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1))) == 1
        server.shut_down()
        assert await connection.answer() is None


async def test_nothing_of_a_connection_stays_on_the_loop(served: FastAPI) -> None:
    """An idle timer that outlives its connection would hold it for a minute."""
    async with listening(served) as server:
        async with Connection(server) as connection:
            assert value(await connection.ask(infer(1))) == 1
            protocol = weakref.ref(server.connection)
        await until(lambda: not server.state.connections)

        def gone() -> bool:
            gc.collect()
            return protocol() is None

        await until(gone)
