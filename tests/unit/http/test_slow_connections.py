"""A connection that waits only for its client is ended after a time limit."""

import json
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from tests.asgi import exchange
from tests.connections import (
    BODY_S,
    GET,
    HEADER_S,
    HUGE,
    IDLE_S,
    INFER,
    LOOKS_S,
    WAYS,
    WRITE_S,
    Answer,
    Clock,
    Connection,
    Listening,
    all_taken_back,
    ended,
    gone,
    held,
    huge,
    infer,
    listening,
    read_slowly,
    request,
    stays_and_ends,
    turns,
    value,
)
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 1_000_000  # bytes of a body
SMALL = 4096  # bytes that the kernel buffers for a client that does not read
TAKEN = 32768  # bytes that a client reads at once: far fewer than the kernel buffers here


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_request_bytes": LIMIT})


async def trickle(connection: Connection, clock: Clock, pieces: list[bytes]) -> None:
    """Send one piece every second."""
    for piece in pieces:
        await connection.send(piece)
        await turns(10)
        clock.advance(1)


def refused(answer: Answer | None) -> str:
    """Check a 408 that ends the connection; return its sentence."""
    assert answer is not None
    assert (answer.status, json.loads(answer.body)["code"]) == (408, "DeadlineExceeded")
    assert answer.header("connection") == "close"
    return str(json.loads(answer.body)["error"])


# -- heads


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n\n"], ids=["nothing", "a line", "lines"])
async def test_a_connection_without_a_request_is_ended(served: FastAPI, sent: bytes) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(sent)
        await turns(20)
        await stays_and_ends(server, clock, HEADER_S)
        assert await connection.answer() is None
        assert ended(server) == {"head": 1}


@pytest.mark.parametrize("cut", [1, 10, 60, -5])
@pytest.mark.parametrize("before", [b"", infer(1), GET], ids=["first", "after an inference", "after another"])
async def test_half_a_head_is_refused_with_408(served: FastAPI, before: bytes, cut: int) -> None:
    clock = Clock()
    head = request(INFER, b"", "X-Long: " + "a" * 100)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        if before:
            assert (await connection.ask(before)).status == 200
        await connection.send(head[:cut])
        await turns(20)
        clock.advance(HEADER_S + LOOKS_S)
        assert "--header-timeout-s" in refused(await connection.answer())
        assert await connection.answer() is None
        await gone(server)


async def test_a_head_that_trickles_in_gets_no_extra_time(served: FastAPI) -> None:
    clock = Clock()
    head = request(INFER, b"", "X-Long: " + "a" * 1000)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await trickle(
            connection, clock, [head[at : at + 20] for at in range(0, 20 * (HEADER_S + LOOKS_S), 20)]
        )
        refused(await connection.answer())
        await gone(server)


async def test_a_head_in_pieces_that_completes_in_time_is_served(served: FastAPI) -> None:
    clock = Clock()
    whole = infer(3)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        for _ in range(3):  # the time starts anew for each request
            await trickle(connection, clock, [whole[at : at + 10] for at in range(0, 200, 10)])
            assert value(await connection.ask(whole[200:])) == 3


# -- idle connections


@pytest.mark.parametrize("way", WAYS)
async def test_blank_lines_do_not_count_as_a_request(served: FastAPI, way: str) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1, 1, *WAYS[way]))) == 1
        await trickle(connection, clock, [b"\r\n"] * (IDLE_S + LOOKS_S))
        assert await connection.answer() is None
        assert ended(server) == {"idle": 1}


# -- bodies behind an early answer


EARLY = {
    "unknown engine": request("/engines/none/infer", b"{", length=str(LIMIT)),
    "unknown route": request("/nowhere", b"{", length=str(LIMIT)),
    "too large": request(INFER, b"{", length=str(LIMIT + 1)),
    "a route without a body": request("/health/live", b"{", method="GET", length=str(LIMIT)),
    "chunked": request("/nowhere", b"5\r\n12345\r\n", "Transfer-Encoding: chunked", length=None),
}


@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize("sends", [False, True], ids=["silent", "sending"])
async def test_the_body_behind_an_early_answer_has_a_time_limit(
    served: FastAPI, early: str, sends: bool
) -> None:
    clock = Clock()
    piece = b"1\r\n1\r\n" if early == "chunked" else bytes(5000)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert (await connection.ask(EARLY[early])).status in {200, 404, 413}
        await trickle(connection, clock, [piece if sends else b""] * (BODY_S + LOOKS_S))
        assert await connection.answer() is None
        await gone(server)
        assert ended(server) == {"rest": 1}


async def test_the_connection_goes_on_after_the_body_behind_an_early_answer(served: FastAPI) -> None:
    clock = Clock()
    rest = bytes(100_000)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert (await connection.ask(request("/nowhere", b"", length=str(len(rest))))).status == 404
        clock.advance(BODY_S - 2)
        await connection.send(rest)
        assert value(await connection.ask(infer(1))) == 1
        assert ended(server) == {}


# -- clients that do not read


async def not_read(server: Listening) -> None:
    protocol = server.connection
    await until(lambda: protocol.transport.get_write_buffer_size() > 0)


@pytest.mark.parametrize("headers", [(), ("Expect: nothing",), ("Connection: close",)], ids=str)
async def test_a_connection_with_an_unread_answer_is_ended(
    served: FastAPI, runtime: FakeRuntime, headers: tuple[str, ...]
) -> None:
    clock = Clock()
    runtime.compute = huge
    async with (
        listening(served, clock=clock) as server,
        Connection(server, receive_buffer=4096) as connection,
    ):
        await connection.send(infer(1, 1, *headers))
        await not_read(server)
        await stays_and_ends(server, clock, WRITE_S)
        assert ended(server) == {"answer": 1}
    await all_taken_back(served)


async def test_a_client_that_keeps_asking_and_reads_nothing_is_disconnected(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    clock = Clock()
    runtime.compute = huge
    async with (
        listening(served, clock=clock) as server,
        Connection(server, receive_buffer=4096) as connection,
    ):
        await connection.send(infer(1))
        await not_read(server)
        await trickle(connection, clock, [infer(1)] * (WRITE_S + LOOKS_S))
        await gone(server)
    await all_taken_back(served)


async def test_a_slow_reader_is_served(served: FastAPI, runtime: FakeRuntime) -> None:
    clock = Clock()
    runtime.compute = huge
    async with (
        listening(served, clock=clock) as server,
        Connection(server, receive_buffer=4096) as connection,
    ):
        await connection.send(infer(1))
        await not_read(server)
        assert len((await read_slowly(connection, clock)).body) > HUGE


async def take_some(server: Listening, connection: Connection) -> None:
    """Read a little of an answer; the server notices although it cannot write more."""
    before = server.connection.standing()
    await connection.take(TAKEN)
    await until(lambda: server.connection.standing().moved > before.moved + TAKEN // 2)
    assert server.connection.standing().number == before.number


@pytest.mark.parametrize("headers", [(), ("Expect: nothing",), ("Connection: close",)], ids=str)
async def test_reading_less_than_the_kernel_buffers_counts_as_progress(
    served: FastAPI, runtime: FakeRuntime, headers: tuple[str, ...]
) -> None:
    clock = Clock()
    runtime.compute = huge
    async with (
        listening(served, clock=clock) as server,
        Connection(server, receive_buffer=4096) as connection,
    ):
        await connection.send(infer(1, 1, *headers))
        await not_read(server)
        clock.advance(LOOKS_S)
        for _ in range(3):
            await take_some(server, connection)
            clock.advance(WRITE_S - LOOKS_S)
        assert ended(server) == {}


# -- without a time limit


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", [None, Connection.end_sending], ids=["open", "half closed"])
async def test_a_request_that_waits_for_its_engine_has_no_time_limit(
    served: FastAPI, runtime: FakeRuntime, way: str, end: Callable[[Connection], None] | None
) -> None:
    clock = Clock()
    async with held(served, runtime, infer(1, 1, *WAYS[way]), clock) as (server, connection):
        if end is not None:
            end(connection)
            await turns(20)
        clock.advance(1000 if end is None else 0.01)
        runtime.release()
        assert value(await connection.answer()) == 1
        assert ended(server) == {}


async def test_a_blocked_loop_ends_no_connection(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(infer(1)[:20])
        await turns(20)
        clock.advance(2)
        clock.stand_still(1000)
        clock.advance(1)
        assert value(await connection.ask(infer(1)[20:])) == 1


# -- too many connections


class Opened:
    """Opened connections, which are closed at the end."""

    def __init__(self, server: Listening) -> None:
        self._server = server
        self._opened: list[Connection] = []

    async def more(self, number: int) -> list[Connection]:
        new = [await Connection(self._server).__aenter__() for _ in range(number)]
        self._opened += new
        return new

    async def close(self) -> None:
        for connection in self._opened:
            connection.leave()
        await gone(self._server)


LIMITS = {
    "all": ({"max_connections": 4, "max_connections_per_address": 100}, 4, "--max-connections ", "full"),
    "one": ({"max_connections_per_address": 3}, 3, "--max-connections-per-address ", "address"),
    "one by default": ({"max_connections": 16}, 14, "--max-connections-per-address ", "address"),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_connection_over_a_limit_is_refused(served: FastAPI, limit: str) -> None:
    settings, room, named, reason = LIMITS[limit]
    exchange(served, settings=services_of(served).settings.model_copy(update=settings))
    async with listening(served) as server:
        opened = Opened(server)
        for connection in await opened.more(room):
            assert value(await connection.ask(infer(1))) == 1
        (over,) = await opened.more(1)
        answer = await over.answer()
        assert answer is not None
        assert (answer.status, json.loads(answer.body)["code"]) == (503, "Unavailable")
        assert named in json.loads(answer.body)["error"]
        assert (answer.header("connection"), answer.header("retry-after")) == ("close", "1")
        assert await over.answer() is None
        assert ended(server) == {reason: 1}
        await opened.close()
        assert value(await (await opened.more(1))[0].ask(infer(2))) == 2
        await opened.close()
        assert len(server.short_way.connections) == 0
