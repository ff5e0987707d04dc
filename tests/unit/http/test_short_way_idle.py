"""Idle connections on the short way."""

import pytest
from fastapi import FastAPI

from tests.connections import (
    HEADER_S,
    IDLE_S,
    LOOKS_S,
    WAYS,
    Clock,
    Connection,
    ended,
    huge,
    infer,
    listening,
    not_reading,
    turns,
    value,
)
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"body_timeout_s": 10.0 * IDLE_S})  # out of the way of these tests


async def test_an_idle_connection_is_ended(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        for number in range(4):
            assert value(await connection.ask(infer(number))) == number
            clock.advance(IDLE_S - 1)
        clock.advance(1 + LOOKS_S)
        assert await connection.answer() is None


@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_arrived_before_the_end_of_the_idle_time_is_answered(
    served: FastAPI, way: str
) -> None:
    """A loop that was busy, or a process that was stopped, sees the end of the time first."""
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1))) == 1
        connection.send_unread(infer(2, 1, *WAYS[way]))
        clock.advance(IDLE_S + LOOKS_S)
        assert value(await connection.answer()) == 2
        clock.advance(IDLE_S + LOOKS_S)
        assert await connection.answer() is None
        assert ended(server) == {"idle": 1}


async def test_a_first_request_that_arrived_in_time_is_answered(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await until(lambda: bool(server.state.connections))
        connection.send_unread(infer(1))
        clock.advance(HEADER_S + LOOKS_S)
        assert value(await connection.answer()) == 1


async def test_blank_lines_that_arrive_at_the_end_of_the_idle_time_do_not_lengthen_it(
    served: FastAPI,
) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1))) == 1
        connection.send_unread(b"\r\n")
        clock.advance(IDLE_S + LOOKS_S)
        await turns(20)
        clock.advance(1)
        assert await connection.answer() is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cut", [1, 40, 150, 300])
async def test_a_connection_with_half_a_request_is_not_idle(served: FastAPI, way: str, cut: int) -> None:
    clock = Clock()
    whole = infer(2, 10)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1, 1, *WAYS[way]))) == 1
        await connection.send(whole[:cut])
        await turns(20)
        clock.advance(2 * IDLE_S)
        assert value(await connection.ask(whole[cut:])) == 2
        clock.advance(IDLE_S + LOOKS_S)
        assert await connection.answer() is None


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_whose_request_waits_is_not_idle(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(1))) == 1
        runtime.hold()
        await connection.send(infer(2, 1, *WAYS[way]), infer(3))
        await until(lambda: len(runtime.waiting) == 1)
        clock.advance(2 * IDLE_S)
        runtime.release()
        assert value(await connection.answer()) == 2
        assert value(await connection.answer()) == 3
        clock.advance(IDLE_S + LOOKS_S)
        assert await connection.answer() is None


async def test_a_connection_with_pending_requests_of_a_slow_reader_is_not_idle(
    served: FastAPI, runtime: FakeRuntime
) -> None:
    clock = Clock()
    runtime.compute = huge
    server_of = listening(served, clock=clock)
    async with server_of as server, Connection(server, receive_buffer=4096) as connection:
        await connection.send(infer(1) + infer(2))
        await until(await not_reading(server))
        await turns(20)
        clock.advance(2 * IDLE_S)
        assert value(await connection.answer()) == 0
        assert value(await connection.answer()) == 0
