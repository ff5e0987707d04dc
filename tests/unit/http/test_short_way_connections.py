"""Connections on the short way: clients that leave or do not read, the server's stop."""

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from tests.connections import (
    HUGE,
    IDLE_S,
    WAYS,
    Clock,
    Connection,
    all_taken_back,
    counted,
    held,
    huge,
    infer,
    listening,
    not_reading,
    turns,
    value,
)
from tests.fakes.runtime import FakeRuntime, Output, echo
from tests.waiting import until
from trtserve.http.connection_limits import EVERY_S
from trtserve.http.half_closed import STEP_BYTES
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LARGE = 300_000  # bytes of an answer: too many to write at once to a slow reader


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"body_timeout_s": 10.0 * IDLE_S})  # out of the way of these tests


def large(_: object) -> list[Output]:
    return [Output.of("y", "FP32", [LARGE // 4], bytes(LARGE))]


# -- clients that leave


@pytest.mark.parametrize("how", [Connection.leave, Connection.reset])
async def test_a_client_that_leaves_removes_its_request_from_the_queue(
    served: FastAPI, runtime: FakeRuntime, how: Callable[[Connection], None]
) -> None:
    async with held(served, runtime, infer(1)) as (server, connection):
        (ticket,) = runtime.waiting
        how(connection)
        await until(lambda: runtime.cancelled == [ticket])
        await until(lambda: not server.state.connections)
        runtime.release()
    await all_taken_back(served)
    assert counted(served) == {"Cancelled": 1}


async def test_a_client_that_leaves_during_compression_leaves_nothing_behind(
    served: FastAPI, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.compute = large
    begun, left = threading.Event(), threading.Event()

    def compress(*_: object) -> bytes:
        begun.set()
        left.wait()
        return b"compressed"

    monkeypatch.setattr("trtserve.http.content_coding.compress", compress)
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1, 1, "Accept-Encoding: gzip"))
        await until(begun.is_set)
        connection.leave()
        await until(lambda: not server.state.connections)
        left.set()
    await all_taken_back(served)
    assert counted(served) == {"Cancelled": 1}


@pytest.mark.parametrize("how", [Connection.leave, Connection.reset, Connection.end_sending])
async def test_a_client_that_leaves_halfway_through_its_body_starts_nothing(
    served: FastAPI, runtime: FakeRuntime, how: Callable[[Connection], None]
) -> None:
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1, 1000)[:-1])
        await until(lambda: services_of(served).inflight.taken > 16_000)
        how(connection)
        await until(lambda: not server.state.connections)
    await all_taken_back(served)
    assert (runtime.timeouts, counted(served)) == ([], {"Cancelled": 1})


async def test_the_answer_for_a_client_that_has_left_is_dropped(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    async with held(served, runtime, infer(1)) as (server, _):
        server.connection.transport.abort()  # lost, but the protocol has not been notified yet
        runtime.release()
        services_of(served).completions._drain()
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


# -- clients that do not read


async def test_a_client_that_reads_no_answers_starts_no_more_requests(
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


async def test_a_client_that_reads_late_is_served_again(served: FastAPI, runtime: FakeRuntime) -> None:
    runtime.compute = huge
    async with listening(served) as server, Connection(server, receive_buffer=4096) as connection:
        for _ in range(3):
            await connection.send(infer(1), infer(1))
            await until(await not_reading(server))
            for _ in range(2):
                assert value(await connection.answer()) == 0


# -- answers that clients have not read


@pytest.mark.parametrize("way", WAYS)
async def test_the_outputs_of_a_batch_count_until_the_client_has_read_its_own(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    runtime.compute, runtime.batch_requests = huge, 4
    async with listening(served) as server, Connection(server, receive_buffer=4096) as connection:
        await connection.send(infer(1, 1, *WAYS[way]))
        kept = HUGE * (4 if way == "short" else 1)  # through the framework, each client has a copy
        await until(lambda: kept <= services_of(served).inflight.taken < kept + LARGE)
        assert value(await connection.answer()) == 0
        await until(lambda: services_of(served).inflight.taken == 0)
        runtime.compute = echo
        assert value(await connection.ask(infer(2, 1, *WAYS[way]))) == 2
    await all_taken_back(served)


async def test_a_client_that_leaves_without_its_answer_releases_the_bytes(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.compute = huge
    async with listening(served) as server:
        async with Connection(server, receive_buffer=4096) as connection:
            await connection.send(infer(1))
            await until(lambda: services_of(served).inflight.taken > 0)
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


async def test_the_outputs_of_a_batch_count_once_for_all_its_clients(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.compute, runtime.batch_requests = huge, 2
    async with (
        listening(served) as server,
        Connection(server, 4096) as one,
        Connection(server, 4096) as two,
    ):
        await one.send(infer(1))
        await two.send(infer(1))
        await until(lambda: services_of(served).inflight.taken == 2 * HUGE)
        assert value(await one.answer()) == 0
        await turns(100)
        assert services_of(served).inflight.taken == 2 * HUGE
        assert value(await two.answer()) == 0
        await until(lambda: services_of(served).inflight.taken == 0)
    await all_taken_back(served)


@pytest.mark.parametrize("room", [False, True])
async def test_a_client_whose_answer_finds_no_room_in_time_loses_its_connection(
    served: FastAPI, runtime: FakeRuntime, room: bool
) -> None:
    runtime.compute = huge
    taken = services_of(served).settings.max_inflight_bytes - HUGE + 1
    clock = Clock()
    async with (
        listening(served, clock=clock) as server,
        Connection(server, receive_buffer=4096) as connection,
    ):
        runtime.hold()
        await connection.send(infer(1))
        services_of(served).inflight.take(taken, 0)
        runtime.release()
        await until(lambda: server.connection._untaken is not None)  # type: ignore[attr-defined]
        clock.advance(EVERY_S)
        assert not server.connection.transport.is_closing()
        services_of(served).inflight.give_back(taken if room else 0)
        clock.advance(EVERY_S)
        if room:
            assert services_of(served).inflight.taken == HUGE
            assert value(await connection.answer()) == 0
        else:
            await until(lambda: not server.state.connections)
            services_of(served).inflight.give_back(taken)
    await all_taken_back(served)
    assert counted(served) == ({} if room else {"Unavailable": 1})


# -- the stop of the server


async def test_a_stop_answers_the_request_under_way_and_ends_its_connection(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    async with held(served, runtime, infer(1) + infer(2)) as (server, connection):
        server.shut_down()
        runtime.release()
        answer = await connection.answer()
        assert value(answer) == 1
        assert answer is not None
        assert answer.header("connection") == "close"
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    assert len(runtime.timeouts) == 1


async def test_a_stop_waits_for_a_body_that_is_arriving(served: FastAPI) -> None:
    whole = infer(1, 10)
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(whole[:-1])
        await until(lambda: services_of(served).inflight.taken > 0)
        server.shut_down()
        answer = await connection.ask(whole[-1:])
        assert (value(answer), answer.header("connection")) == (1, "close")
        assert await connection.answer() is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("missing", [0, 1], ids=["waits", "half way"])
async def test_a_request_that_outlasts_the_drain_time_is_refused(
    served: FastAPI, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture, way: str, missing: int
) -> None:
    runtime.hold()
    whole = infer(1, 10, *WAYS[way])
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(whole[: len(whole) - missing])
        await until(lambda: services_of(served).inflight.taken > 0 and len(runtime.waiting) == 1 - missing)
        server.shut_down()
        server.end_drain()
        answer = await connection.answer()
        assert answer is not None
        assert (answer.status, json.loads(answer.body)["code"]) == (503, "Unavailable")
        assert "The server is stopping" in json.loads(answer.body)["error"]
        assert (answer.header("connection"), answer.header("retry-after")) == ("close", "1")
        assert await connection.answer() is None
        await until(lambda: len(runtime.cancelled) == 1 - missing)
        runtime.release()
    await all_taken_back(served)
    assert counted(served) == {"Unavailable": 1}
    assert "Traceback" not in caplog.text


async def test_a_stop_ends_an_idle_connection(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1))) == 1
        server.shut_down()
        assert await connection.answer() is None


async def test_a_closed_connection_leaves_nothing_on_the_loop(served: FastAPI) -> None:
    """An idle timer that outlives its connection would keep it in memory for a minute."""
    async with listening(served) as server:
        async with Connection(server) as connection:
            assert value(await connection.ask(infer(1))) == 1
            protocol = weakref.ref(server.connection)
        await until(lambda: not server.state.connections)

        def gone() -> bool:
            gc.collect()
            return protocol() is None

        await until(gone)


# -- many pipelined requests


@pytest.mark.parametrize("way", WAYS)
async def test_many_pipelined_requests_are_parsed_few_at_a_time_and_all_answered(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    requests = 4000
    many = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * requests
    async with held(served, runtime, infer(1, 1, *WAYS[way])) as (server, connection):
        sending = asyncio.create_task(connection.send(many, infer(2)))
        await turns(1000)
        assert len(server.connection.pipeline) <= STEP_BYTES // (len(many) // requests) + 1
        assert len(server.connection._early) <= 2**20  # type: ignore[attr-defined]
        runtime.release()
        assert value(await connection.answer()) == 1
        most = 0
        for _ in range(requests):
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200
            most = max(most, len(server.connection.pipeline))
        assert most <= STEP_BYTES // (len(many) // requests) + 1
        await sending
        assert value(await connection.answer()) == 2
    await all_taken_back(served)
