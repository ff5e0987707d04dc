"""Streams over gRPC whose client leaves or reads no answers, and streams while the server stops."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.connections import LOOKS_S, Clock, turns
from tests.waiting import until
from trtserve.errors import Unavailable
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.rpc import status
from trtserve.rpc.delivery import Delivery
from trtserve.rpc.streams import Context, Streams

pytestmark = pytest.mark.anyio

WRITE_S = 30


@pytest.fixture
def streams() -> Streams:
    async def answer(message: bytes, context: Context, share: Share) -> bytes:
        return message

    inflight = InflightBytes(1)
    return Streams(answer, inflight, Delivery(inflight, 60, [].append))


async def silent() -> AsyncIterator[bytes]:
    """The requests of a client that stays connected and sends nothing."""
    await asyncio.Event().wait()
    yield b""


class Untaken:
    """A call whose client reads no answers."""

    async def write(self, answer: bytes) -> None:
        await asyncio.Event().wait()


async def test_a_stream_with_unread_answers_ends_and_releases_its_bytes() -> None:
    inflight = InflightBytes(100)
    clock: Any = Clock()
    counted: list[str] = []

    async def answer(message: bytes, context: Context, share: Share) -> bytes:
        share.grow_to(10)
        return message

    async def many() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"a"
        await asyncio.Event().wait()

    streams = Streams(answer, inflight, Delivery(inflight, WRITE_S, counted.append, clock))
    stream = asyncio.ensure_future(streams.answer(many(), Untaken()))  # type: ignore[arg-type]
    await until(lambda: inflight.taken == 100)
    clock.advance(WRITE_S)
    await turns(10)
    assert not stream.done()
    clock.advance(1 + LOOKS_S)
    async with asyncio.timeout(60):  # only to end a test that would never end
        with pytest.raises(asyncio.CancelledError):  # which ends the call for gRPC
            await stream
    assert inflight.taken == 0
    assert counted == ["DeadlineExceeded"]


class Left:
    """A call whose client has left: it accepts neither a message nor a status."""

    def __init__(self, remaining: float | None) -> None:
        self._remaining = remaining

    def time_remaining(self) -> float | None:
        return self._remaining

    async def write(self, answer: bytes) -> None:
        raise grpc.aio.InternalError("written to nobody")

    async def abort(self, *_: object) -> None:
        raise grpc.aio.InternalError("aborted for nobody")


@pytest.mark.parametrize(("remaining", "kind"), [(None, "Cancelled"), (0.0, "DeadlineExceeded")])
async def test_a_client_that_leaves_a_stream_is_counted_and_not_logged(
    streams: Streams, caplog: pytest.LogCaptureFixture, remaining: float | None, kind: str
) -> None:
    counted: list[str] = []

    async def one() -> AsyncIterator[bytes]:
        yield b"a request"
        await asyncio.Event().wait()

    left: Any = Left(remaining)
    async with asyncio.timeout(60):  # only to end a test that would never end
        with pytest.raises(asyncio.CancelledError):  # which ends an abandoned call for gRPC
            await status.answered(streams.answer(one(), left), left, counted.append)
    assert counted == [kind]
    assert caplog.text == ""


async def ended(stream: Any) -> None:
    async with asyncio.timeout(60):  # only to end a test that would never end
        with pytest.raises(Unavailable, match="stopping"):
            await stream


async def test_a_stream_that_begins_after_the_stop_ends_at_once(streams: Streams) -> None:
    streams.stop()
    await ended(streams.answer(silent(), Any))  # type: ignore[arg-type]


async def test_a_stop_ends_a_stream_that_has_just_begun(streams: Streams) -> None:
    """The stop comes before the first step of the stream's reader."""
    stream = streams.answer(silent(), Any)  # type: ignore[arg-type]
    asyncio.get_running_loop().call_soon(streams.stop)
    await ended(stream)


async def test_a_stop_ends_a_stream_that_waits_for_its_client(streams: Streams) -> None:
    task = asyncio.ensure_future(streams.answer(silent(), Any))  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.sleep(0)
    streams.stop()
    await ended(task)
