"""Clients that close their sending side after their requests still get their answers."""

import pytest
from fastapi import FastAPI

from tests.connections import (
    GET,
    WAYS,
    Clock,
    Connection,
    all_taken_back,
    counted,
    held,
    infer,
    listening,
    turns,
    value,
)
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


async def ended(connection: Connection) -> None:
    """Close the client's sending side, and let the server see it."""
    connection.end_sending()
    await turns(20)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("when", ["at once", "while it runs"])
async def test_a_request_is_answered_after_its_client_stops_sending(
    served: FastAPI, runtime: FakeRuntime, way: str, when: str
) -> None:
    async with listening(served) as server, Connection(server) as connection:
        if when == "while it runs":
            runtime.hold()
        await connection.send(infer(3, 1, *WAYS[way]))
        if when == "while it runs":
            await until(lambda: len(runtime.waiting) == 1)
        await ended(connection)
        runtime.release()
        assert value(await connection.answer()) == 3
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    await all_taken_back(served)
    assert counted(served) == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pieces", [2, 30])
async def test_a_body_in_pieces_is_answered(served: FastAPI, way: str, pieces: int) -> None:
    whole = infer(5, 2000, *WAYS[way])
    size = len(whole) // pieces
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(*(whole[at : at + size] for at in range(0, len(whole), size)))
        connection.end_sending()
        assert value(await connection.answer()) == 5
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("last", WAYS)
async def test_pipelined_requests_are_all_answered_in_order(
    served: FastAPI, runtime: FakeRuntime, first: str, last: str
) -> None:
    runtime.hold()
    requests = [infer(1, 1, *WAYS[first]), infer(2, 1, *WAYS[last]), GET, infer(4, 1, *WAYS[last])]
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(b"".join(requests))
        await ended(connection)
        runtime.release()
        assert value(await connection.answer()) == 1
        assert value(await connection.answer()) == 2
        described = await connection.answer()
        assert described is not None
        assert described.status == 200
        assert value(await connection.answer()) == 4
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("last", WAYS)
@pytest.mark.parametrize("cut", ["in its head", "in its body"])
async def test_a_request_cut_off_behind_others_ends_the_connection_after_their_answers(
    served: FastAPI, runtime: FakeRuntime, first: str, last: str, cut: str
) -> None:
    runtime.hold()
    whole = infer(2, 1, *WAYS[last])
    half = whole[:30] if cut == "in its head" else whole[:-1]
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1, 1, *WAYS[first]), half)
        await ended(connection)
        runtime.release()
        assert value(await connection.answer()) == 1
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


@pytest.mark.parametrize("way", WAYS)
async def test_a_single_request_cut_off_ends_the_connection(served: FastAPI, way: str) -> None:
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(infer(1, 1, *WAYS[way])[:-1])
        await ended(connection)
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


async def test_an_idle_client_that_stops_sending_is_disconnected(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        await connection.ask(GET)
        await ended(connection)
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)


@pytest.mark.parametrize("way", WAYS)
async def test_a_stopping_server_answers_the_request_and_ends_the_connection(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    async with held(served, runtime, infer(1, 1, *WAYS[way])) as (server, connection):
        await ended(connection)
        server.shut_down()
        runtime.release()
        answer = await connection.answer()
        assert value(answer) == 1
        assert answer is not None
        assert answer.header("connection") == "close"
        assert await connection.answer() is None
        await until(lambda: not server.state.connections)
    await all_taken_back(served)


@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_outlasts_the_drain_time_is_refused(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    async with held(served, runtime, infer(1, 1, *WAYS[way])) as (server, connection):
        await ended(connection)
        server.shut_down()
        server.end_drain()
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 503
        assert await connection.answer() is None
        runtime.release()
    await all_taken_back(served)


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_waits_long_gets_interim_answers_and_then_its_answer(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    clock = Clock()
    async with held(served, runtime, infer(1, 1, *WAYS[way]), clock) as (server, connection):
        await ended(connection)
        for seconds in (0.05, 0.1, 0.2):
            clock.advance(seconds)
            interim = await connection.answer(interim=True)
            assert interim is not None
            assert (interim.status, interim.headers, interim.body) == (100, (), b"")
        clock.advance(0.3)
        runtime.release()
        assert value(await connection.answer()) == 1
        assert await connection.answer() is None
        clock.advance(60)
        await until(lambda: not server.state.connections)


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_has_left_is_detected_and_its_request_cancelled(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    clock = Clock()
    async with held(served, runtime, infer(1, 1, *WAYS[way]), clock) as (server, connection):
        (ticket,) = runtime.waiting
        connection.leave()
        await turns(20)
        clock.advance(0.05)
        await turns(20)
        clock.advance(0.1)
        await until(lambda: runtime.cancelled == [ticket])
        await until(lambda: not server.state.connections)
        runtime.release()
    await all_taken_back(served)
    assert counted(served) == {"Cancelled": 1}


async def test_a_client_of_http_1_0_gets_no_interim_answer(served: FastAPI, runtime: FakeRuntime) -> None:
    clock = Clock()
    old = infer(1).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    async with held(served, runtime, old, clock) as (_, connection):
        await ended(connection)
        clock.advance(0.05)
        runtime.release()
        assert value(await connection.answer()) == 1
        assert await connection.answer() is None
