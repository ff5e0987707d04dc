"""HTTP over TLS: the limits on slow clients and on what is kept for them hold there too."""

import asyncio
import socket
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.asgi import exchange
from tests.connections import (
    BODY_S,
    GET,
    HEADER_S,
    HUGE,
    IDLE_S,
    LOOKS_S,
    WAYS,
    WRITE_S,
    Clock,
    Listening,
    all_taken_back,
    ended,
    gone,
    huge,
    infer,
    read_slowly,
    request,
    stays_and_ends,
    turns,
    value,
)
from tests.fakes.runtime import FakeRuntime
from tests.secure_connections import SecureConnection, listening_securely
from tests.waiting import until
from trtserve.http.connection_limits import CLOSES_WITHIN_S, Phase
from trtserve.services import services_of

pytestmark = pytest.mark.anyio

BUFFER = 4096  # bytes that the kernel buffers for a client that does not read
TAKEN = 65_536  # bytes that a client reads at once: fewer than are handed over at once
HEADS = {"short": (), "ordinary": ("Expect: nothing",), "last": ("Connection: close",)}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


async def awaits(server: Listening, phase: Phase) -> None:
    """Wait until the server knows that its client has received what was written: the client's kernel may
    acknowledge it some milliseconds after the client has read it."""
    await until(lambda: server.connection.standing().phase is phase)  # type: ignore[attr-defined]


async def take(connection: SecureConnection, size: int) -> None:
    begin = len(connection._received)
    while len(connection._received) < begin + size:
        assert await connection._receive(), "the connection ended"


async def begun(server: Listening) -> None:
    """Wait until a message has begun to arrive, on the connection after its handshake."""
    await until(lambda: bool(server.state.connections))
    await until(lambda: server.connection.standing().number == 1)  # type: ignore[attr-defined]


async def not_read(server: Listening) -> None:
    """Wait until an answer that the client does not read is on its way."""
    await until(lambda: bool(server.state.connections))
    await until(lambda: server.connection.flow.write_paused)


@pytest.mark.parametrize("way", WAYS)
async def test_requests_and_long_answers_are_served(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path, way: str
) -> None:
    async with listening_securely(served, tmp_path) as server, SecureConnection(server) as connection:
        for number in (1, 2):
            assert value(await connection.ask(infer(number, 1, *WAYS[way]))) == number
        large = infer(3, 60_000, *WAYS[way])
        assert value(await connection.ask(large[:1000], large[1000:700_000], large[700_000:])) == 3
        compute, runtime.compute = runtime.compute, huge
        for _ in range(3):
            answer = await connection.ask(infer(1, 1, *WAYS[way]))
            assert len(answer.body) > HUGE
        runtime.compute = compute
        assert value(await connection.ask(infer(4, 1, *WAYS[way]))) == 4
        assert (await connection.ask(GET)).status == 200
    await all_taken_back(served)


@pytest.mark.parametrize("way", HEADS)
async def test_a_connection_with_an_unread_answer_is_ended(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path, way: str
) -> None:
    clock = Clock()
    runtime.compute = huge
    async with (
        listening_securely(served, tmp_path, clock) as server,
        SecureConnection(server, receive_buffer=BUFFER) as connection,
    ):
        await connection.send(infer(1, 1, *HEADS[way]))
        await not_read(server)
        await stays_and_ends(server, clock, WRITE_S)
        assert ended(server) == {"answer": 1}
    await all_taken_back(served)


@pytest.mark.parametrize("way", HEADS)
async def test_a_client_that_takes_some_of_its_answer_in_time_gets_all_of_it(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path, way: str
) -> None:
    """However little asyncio and the kernel say of it."""
    clock = Clock()
    runtime.compute = huge
    async with (
        listening_securely(served, tmp_path, clock) as server,
        SecureConnection(server, receive_buffer=BUFFER) as connection,
    ):
        await until(lambda: bool(server.state.connections))
        own = server.connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)  # so that asyncio keeps most of it
        await connection.send(infer(1, 1, *HEADS[way]))
        await not_read(server)
        clock.advance(LOOKS_S)
        for _ in range(3):
            before = server.connection.standing()  # type: ignore[attr-defined]
            await take(connection, TAKEN)
            await until(lambda: server.connection.standing().moved > before.moved + TAKEN // 2)  # type: ignore[attr-defined]  # noqa: B023
            assert server.connection.standing()[:2] == before[:2]  # type: ignore[attr-defined]
            clock.advance(WRITE_S - LOOKS_S)
        assert ended(server) == {}
        assert len(server.state.connections) == 1


@pytest.mark.parametrize("way", HEADS)
async def test_a_slow_reader_gets_its_whole_answer(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path, way: str
) -> None:
    clock = Clock()
    runtime.compute = huge
    async with (
        listening_securely(served, tmp_path, clock) as server,
        SecureConnection(server, receive_buffer=BUFFER) as connection,
    ):
        await connection.send(infer(1, 1, *HEADS[way]))
        await not_read(server)
        assert len((await read_slowly(connection, clock)).body) > HUGE
        if way == "last":
            assert await connection.answer() is None
            await awaits(server, Phase.CLOSING)
            clock.advance(CLOSES_WITHIN_S + LOOKS_S)  # it does not end the connection itself
            await gone(server)
            assert ended(server) == {"closing": 1}
    await all_taken_back(served)


async def test_an_answer_counts_until_its_client_has_taken_it(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.compute = huge
    async with (
        listening_securely(served, tmp_path) as server,
        SecureConnection(server, receive_buffer=BUFFER) as connection,
    ):
        await connection.send(infer(1))
        await not_read(server)
        await turns(1000)
        inflight = services_of(served).inflight
        assert inflight.taken >= HUGE
        await take(connection, HUGE // 2)
        assert inflight.taken >= HUGE
        answer = await connection.answer()
        assert answer is not None
        await until(lambda: inflight.taken == 0)
        assert value(await connection.ask(infer(1))) == 0
    await all_taken_back(served)


async def test_a_client_that_reads_no_answers_starts_no_more_requests(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.compute = huge
    requests = 6
    async with (
        listening_securely(served, tmp_path) as server,
        SecureConnection(server, receive_buffer=BUFFER) as connection,
    ):
        sending = asyncio.create_task(connection.send(infer(1) * requests))
        await not_read(server)
        await turns(1000)
        assert len(runtime.timeouts) == 1
        for _ in range(requests):
            assert value(await connection.answer()) == 0
        await sending
        assert len(runtime.timeouts) == requests
    await all_taken_back(served)


async def test_a_client_that_leaves_without_its_answer_releases_the_bytes(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.compute = huge
    async with listening_securely(served, tmp_path) as server:
        async with SecureConnection(server, receive_buffer=BUFFER) as connection:
            await connection.send(infer(1))
            await not_read(server)
        await gone(server)
        assert len(server.short_way.connections.places) == 0
    await all_taken_back(served)


async def test_a_stop_waits_for_an_answer_that_is_on_its_way(
    served: FastAPI, runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.compute = huge
    async with (
        listening_securely(served, tmp_path) as server,
        SecureConnection(server, receive_buffer=BUFFER) as connection,
    ):
        await connection.send(infer(1))
        await not_read(server)
        server.connection.shutdown()
        answer = await connection.answer()
        assert answer is not None
        assert len(answer.body) > HUGE
        assert await connection.answer() is None
        connection.leave()
        await gone(server)


async def test_slow_heads_and_idle_connections_are_ended(served: FastAPI, tmp_path: Path) -> None:
    clock = Clock()
    async with listening_securely(served, tmp_path, clock) as server:
        async with SecureConnection(server) as connection:
            await connection.send(GET[:20])
            await begun(server)
            clock.advance(HEADER_S + LOOKS_S)
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 408
            connection.leave()
            await gone(server)
        async with SecureConnection(server) as connection:
            assert (await connection.ask(GET)).status == 200
            await awaits(server, Phase.IDLE)
            clock.advance(IDLE_S + LOOKS_S + 1)
            assert await connection.answer() is None
            connection.leave()
            await gone(server)
        assert ended(server) == {"head": 1, "idle": 1}


async def test_a_request_that_arrived_before_the_end_of_the_idle_time_is_answered(
    served: FastAPI, tmp_path: Path
) -> None:
    clock = Clock()
    async with (
        listening_securely(served, tmp_path, clock) as server,
        SecureConnection(server) as connection,
    ):
        assert (await connection.ask(GET)).status == 200
        await awaits(server, Phase.IDLE)
        connection.send_unread(GET)
        clock.advance(IDLE_S + LOOKS_S)
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 200


async def test_a_stalled_body_is_refused(served: FastAPI, tmp_path: Path) -> None:
    clock = Clock()
    async with listening_securely(served, tmp_path, clock) as server:
        async with SecureConnection(server) as connection:
            await connection.send(request(body=b"{", length="1000"))
            await begun(server)
            clock.advance(BODY_S + LOOKS_S)
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 408
        await gone(server)
    await all_taken_back(served)


async def test_the_limits_on_connections_hold_over_tls(served: FastAPI, tmp_path: Path) -> None:
    held = services_of(served)
    exchange(served, settings=held.settings.model_copy(update={"max_connections": 2}))
    async with listening_securely(served, tmp_path) as server:
        async with SecureConnection(server) as one, SecureConnection(server) as two:
            for connection in (one, two):
                assert (await connection.ask(GET)).status == 200
            with pytest.raises((OSError, ConnectionError)):
                await SecureConnection(server).__aenter__()
            assert ended(server) == {"full": 1}
        await gone(server)
        async with SecureConnection(server) as connection:
            assert (await connection.ask(GET)).status == 200
