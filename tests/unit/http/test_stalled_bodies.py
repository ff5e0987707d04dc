"""Stalled bodies: their requests are ended on every way, and then hold no bytes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request

from tests.asgi import Message, exchange, post, refused
from tests.connections import (
    INFER,
    LOOKS_S,
    WAYS,
    Clock,
    Connection,
    all_taken_back,
    counted,
    infer,
    listening,
    request,
    turns,
    value,
)
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.errors import BodyStalled
from trtserve.http.bodies import chunks
from trtserve.inference.inflight import InflightBytes
from trtserve.inference.patience import LEAST_BYTES_S
from trtserve.services import services_of
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 100_000  # bytes of one body, and of all bodies together
STALLED_S = 0.01


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"max_request_bytes": LIMIT, "max_inflight_bytes": LIMIT, "body_timeout_s": STALLED_S}
    return settings.model_copy(update=limits)


def sending(*pieces: bytes) -> Callable[[], Awaitable[Message]]:
    """A client that sends these pieces of a body and then stalls."""
    left = list(pieces)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


# -- on the short way


async def test_slow_bodies_do_not_block_other_clients(served: FastAPI) -> None:
    limits = {"max_request_bytes": LIMIT, "max_inflight_bytes": 2 * LIMIT}
    inflight = InflightBytes(2 * LIMIT, LIMIT)
    exchange(served, inflight=inflight)
    exchange(served, settings=services_of(served).settings.model_copy(update=limits))
    async with listening(served) as server, Connection(server) as other:
        slow = [Connection(server) for _ in range(20)]
        for connection in slow:
            await connection.__aenter__()
            await connection.send(request(INFER, b"{", length=str(LIMIT)), b"1")
        await until(lambda: inflight.taken == 2 * len(slow))
        assert value(await other.ask(infer(1))) == 1
        for connection in slow:
            connection.leave()
    await all_taken_back(served)


async def test_a_stalled_body_is_refused_and_ends_its_connection(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as stalled:
        await stalled.send(request(INFER, b"{", length=str(LIMIT)))
        await until(lambda: services_of(served).inflight.taken == 1)
        clock.advance(STALLED_S + LOOKS_S)
        answer = await stalled.answer()
        assert answer is not None
        assert (answer.status, json.loads(answer.body)["code"]) == (408, "DeadlineExceeded")
        assert "--body-timeout-s" in json.loads(answer.body)["error"]
        assert answer.header("connection") == "close"
        assert await stalled.answer() is None
        assert server.short_way.connections.ended == {"body": 1}
    await all_taken_back(served)
    assert counted(served) == {"DeadlineExceeded": 1}


async def test_a_body_that_stalls_halfway_starts_nothing(served: FastAPI, runtime: FakeRuntime) -> None:
    clock = Clock()
    whole = infer(1, 100)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(whole[:200], whole[200:-1])
        await turns(20)
        clock.advance(STALLED_S + LOOKS_S)
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 408
    await all_taken_back(served)
    assert runtime.timeouts == []


@pytest.mark.parametrize(("rate", "status"), [(LEAST_BYTES_S, 200), (LEAST_BYTES_S // 2, 408)])
async def test_a_body_must_arrive_at_the_minimum_rate(served: FastAPI, rate: int, status: int) -> None:
    exchange(served, settings=services_of(served).settings.model_copy(update={"body_timeout_s": 30.0}))
    clock = Clock()
    whole = infer(2, 1000)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(whole[:300])
        for at in range(300, len(whole), rate):
            await connection.send(whole[at : at + rate])
            await turns(10)
            clock.advance(1)
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == status


@pytest.mark.parametrize("way", WAYS)
async def test_a_body_that_runs_out_of_room_is_refused_and_read_to_its_end(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    whole = infer(1, 1000, *WAYS[way])
    inflight = services_of(served).inflight
    async with listening(served) as server, Connection(server) as connection:
        await connection.send(whole[:400])
        await until(lambda: inflight.taken > 0)
        inflight.take(LIMIT - inflight.taken)
        answer = await connection.ask(whole[400:800])
        assert (answer.status, json.loads(answer.body)["code"]) == (503, "Unavailable")
        assert answer.header("connection") is None
        inflight.give_back(inflight.taken)
        await connection.send(whole[800:4000], whole[4000:] + infer(2))
        assert value(await connection.answer()) == 2
        assert value(await connection.ask(infer(3))) == 3
    await all_taken_back(served)
    assert (len(runtime.timeouts), counted(served)) == (2, {"Unavailable": 1})


@pytest.mark.parametrize("end", ["leaves", "server stops", "stalls"])
async def test_a_refused_body_that_stalls_ends_with_its_connection(served: FastAPI, end: str) -> None:
    clock = Clock()
    whole = infer(1, 1000)
    inflight = services_of(served).inflight
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(whole[:400])
        await until(lambda: inflight.taken > 0)
        inflight.take(LIMIT - inflight.taken)
        assert (await connection.ask(whole[400:800])).status == 503
        inflight.give_back(inflight.taken)
        if end == "leaves":
            connection.leave()
        elif end == "server stops":
            server.shut_down()
            server.end_drain()
        else:
            clock.advance(STALLED_S + LOOKS_S)
        await until(lambda: not server.state.connections)
        if end != "leaves":
            assert await connection.answer() is None
    await all_taken_back(served)
    assert counted(served) == {"Unavailable": 1}


async def test_a_body_without_memory_for_its_buffer_goes_through_the_framework(
    served: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*_: object) -> None:
        raise MemoryError

    whole = infer(1, 1000)
    async with listening(served) as server, Connection(server) as connection:
        assert value(await connection.ask(infer(0))) == 0
        monkeypatch.setattr("trtserve.http.short_body.np.empty", empty)
        await connection.send(whole[:400])
        monkeypatch.undo()
        assert value(await connection.ask(whole[400:])) == 1
    await all_taken_back(served)


async def test_a_client_that_leaves_gets_no_answer_about_its_body(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(infer(1, 100)[:-1])
        await until(lambda: services_of(served).inflight.taken > 0)
        connection.leave()
        await until(lambda: not server.state.connections)
        clock.advance(STALLED_S)
    await all_taken_back(served)
    assert counted(served) == {"Cancelled": 1}


# -- through the framework


@pytest.mark.parametrize("pieces", [[], [b"{", b'"inputs"']], ids=["nothing", "half"])
async def test_a_stalled_body_is_ended_on_every_way(served: FastAPI, pieces: list[bytes]) -> None:
    answer = await post(served, INFER, sending(*pieces), {"Content-Length": str(LIMIT)})
    assert "arrived for 0.01 s" in refused(answer, 408, "DeadlineExceeded")
    assert answer.headers["connection"] == "close"
    assert services_of(served).inflight.taken == 0


async def test_a_stalled_json_object_is_ended(served: FastAPI) -> None:
    answer = await post(served, "/v2/repository/index", sending(b"{"))
    refused(answer, 408, "DeadlineExceeded")


async def test_a_stalled_upload_leaves_nothing(served: FastAPI, settings: Settings) -> None:
    answer = await post(served, "/engines", sending(onnx_plan(1)[:-1]))
    assert "plan" in refused(answer, 408, "DeadlineExceeded")
    assert list((settings.store / "incoming").iterdir()) == []
    assert len(list((settings.store / "plans").iterdir())) == 1


def trickling(rate: float, settings: Settings) -> tuple[Request, Callable[[], float]]:
    """A request whose body arrives byte by byte at `rate` a second for a minute, and its clock."""
    at = 0.0

    async def receive() -> Message:
        nonlocal at
        at += 1 / rate
        return {"type": "http.request", "body": b"1", "more_body": at < 60}

    app = SimpleNamespace(state=SimpleNamespace(services=SimpleNamespace(settings=settings)))
    return Request({"type": "http", "app": app}, receive), lambda: at


@pytest.mark.parametrize("rate", [LEAST_BYTES_S / 2, 1])
async def test_a_body_that_trickles_is_ended(settings: Settings, rate: float) -> None:
    request, now = trickling(rate, settings.model_copy(update={"body_timeout_s": 20.0}))
    with pytest.raises(BodyStalled, match=f"{LEAST_BYTES_S} bytes a second"):
        async for _ in chunks(request, now=now):
            pass
    assert now() < 60


async def test_a_body_at_the_minimum_rate_is_read_to_its_end(settings: Settings) -> None:
    request, now = trickling(LEAST_BYTES_S + 1, settings.model_copy(update={"body_timeout_s": 20.0}))
    assert len([piece async for piece in chunks(request, now=now)]) > 60 * LEAST_BYTES_S


async def test_the_readers_own_time_does_not_count_against_the_client(settings: Settings) -> None:
    request, now = trickling(LEAST_BYTES_S + 1, settings.model_copy(update={"body_timeout_s": 0.5}))
    pieces: list[bytes] = []
    async for piece in chunks(request, now=lambda: now() + len(pieces)):
        pieces.append(piece)  # each piece takes the reader a second
    assert len(pieces) > 60 * LEAST_BYTES_S


def read_late(settings: Settings, piece: bytes, held_up_s: float) -> tuple[Request, Callable[[], float]]:
    """A request whose body arrives while the loop is blocked, so that timers run before it is read."""
    at = 0.0
    waits = 0

    async def receive() -> Message:
        nonlocal at, waits
        waits += 1
        if waits == 1:
            at += held_up_s
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": waits < 3}

    app = SimpleNamespace(state=SimpleNamespace(services=SimpleNamespace(settings=settings)))
    return Request({"type": "http", "app": app}, receive), lambda: at


@pytest.mark.parametrize("held_up_s", [STALLED_S, 1000])
async def test_a_body_that_arrived_while_the_loop_was_blocked_is_read(
    settings: Settings, held_up_s: float
) -> None:
    piece = bytes(2 * LEAST_BYTES_S)
    request, now = read_late(settings, piece, held_up_s)
    assert [each async for each in chunks(request, now=now)] == [piece, piece]


async def test_a_body_whose_end_has_arrived_is_not_refused(settings: Settings) -> None:
    request, now = trickling(1 / 60, settings)
    assert [each async for each in chunks(request, now=now)] == [b"1"]


async def test_a_blocked_loop_uses_little_of_a_clients_time(settings: Settings) -> None:
    """Each piece is one byte, so none earns more time."""
    request, now = trickling(1 / 25, settings.model_copy(update={"body_timeout_s": 20.0}))
    assert len([piece async for piece in chunks(request, now=now)]) == 3
