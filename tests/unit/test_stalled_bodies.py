"""Bodies that stop coming: their requests are ended, on whichever way, and hold no bytes from then on."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI

from service.settings import Settings
from tests.asgi import Message, post, refused
from tests.connections import (
    INFER,
    LOOKS_S,
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

pytestmark = pytest.mark.anyio

LIMIT = 100_000  # bytes, of one body and of all together
STALLED_S = 0.01


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"max_request_bytes": LIMIT, "max_inflight_bytes": LIMIT, "body_timeout_s": STALLED_S}
    return settings.model_copy(update=limits)


def sending(*pieces: bytes) -> Callable[[], Awaitable[Message]]:
    """A client that sends these pieces of a body, and then nothing."""
    left = list(pieces)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


# -- on the short way


async def test_a_stalled_body_keeps_nobody_out_for_long(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as stalled:
        await stalled.send(request(INFER, b"", length=str(LIMIT)))
        await until(lambda: served.state.inflight.taken == LIMIT)
        async with Connection(server) as other:
            assert (await other.ask(infer(1))).status == 503
            clock.advance(STALLED_S + LOOKS_S)
            assert value(await other.ask(infer(1))) == 1
        answer = await stalled.answer()
        assert answer is not None
        assert (answer.status, json.loads(answer.body)["code"]) == (408, "DeadlineExceeded")
        assert "--body-timeout-s" in json.loads(answer.body)["error"]
        assert answer.header("connection") == "close"
        assert await stalled.answer() is None
    await all_taken_back(served)
    assert counted(served) == {"Unavailable": 1, "DeadlineExceeded": 1}


async def test_a_body_that_stalls_half_way_starts_nothing(served: FastAPI, runtime: FakeRuntime) -> None:
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


async def test_a_body_that_comes_slowly_is_served(served: FastAPI) -> None:
    clock = Clock()
    whole = infer(2, 100)
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(whole[:200])
        for at in range(200, len(whole), 200):
            await connection.send(whole[at : at + 200])
            await turns(20)
            clock.advance(STALLED_S)
        assert value(await connection.answer()) == 2
        clock.advance(STALLED_S)
        assert value(await connection.ask(infer(3))) == 3


async def test_a_client_that_leaves_is_not_told_of_its_body(served: FastAPI) -> None:
    clock = Clock()
    async with listening(served, clock=clock) as server, Connection(server) as connection:
        await connection.send(infer(1, 100)[:-1])
        await until(lambda: served.state.inflight.taken > 0)
        connection.leave()
        await until(lambda: not server.state.connections)
        clock.advance(STALLED_S)
    await all_taken_back(served)
    assert counted(served) == {"Cancelled": 1}


# -- through the framework


@pytest.mark.parametrize("pieces", [[], [b"{", b'"inputs"']], ids=["nothing", "half"])
async def test_a_stalled_body_is_ended_on_every_way(served: FastAPI, pieces: list[bytes]) -> None:
    answer = await post(served, INFER, sending(*pieces), {"Content-Length": str(LIMIT)})
    assert "came for 0.01 s" in refused(answer, 408, "DeadlineExceeded")
    assert served.state.inflight.taken == 0


async def test_a_stalled_json_object_is_ended(served: FastAPI) -> None:
    answer = await post(served, "/v2/repository/index", sending(b"{"))
    refused(answer, 408, "DeadlineExceeded")


async def test_a_stalled_upload_leaves_nothing(served: FastAPI, settings: Settings) -> None:
    answer = await post(served, "/engines", sending(onnx_plan(1)[:-1]))
    assert "plan" in refused(answer, 408, "DeadlineExceeded")
    assert list((settings.store / "incoming").iterdir()) == []
    assert len(list((settings.store / "plans").iterdir())) == 1
