"""Streams of requests over gRPC at the end of a server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from service.errors import Unavailable
from service.inflight import InflightBytes
from service.rpc.infer import Infer

pytestmark = pytest.mark.anyio


class OpenStream:
    """A client's side that sends nothing and does not end."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.Event().wait()
        raise StopAsyncIteration


def infer() -> Infer:
    return Infer(cast("Any", None), InflightBytes(1), lambda _: None)


async def test_a_stream_that_begins_while_the_server_stops_ends_at_once() -> None:
    served = infer()
    served.stop()
    with pytest.raises(Unavailable, match="stopping"):
        await served.stream(OpenStream(), cast("Any", None))


async def test_a_stream_that_has_just_begun_when_the_server_stops_ends_at_once() -> None:
    served = infer()
    stream = asyncio.create_task(served.stream(OpenStream(), cast("Any", None)))
    await asyncio.sleep(0)  # it has a reader, which has not run yet
    served.stop()
    with pytest.raises(Unavailable, match="stopping"):
        await stream
