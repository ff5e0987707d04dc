"""Answers over gRPC that wait for their client: they have a time limit, and their bytes count until then."""

import asyncio
from typing import Any

import pytest

from tests.connections import LOOKS_S, Clock, turns
from trtserve.errors import Unavailable
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.rpc.delivery import TAKEN_BYTES_S, Delivery

pytestmark = pytest.mark.anyio

WRITE_S = 30
SIZE = 10 * TAKEN_BYTES_S  # gives a client ten more seconds


class Calls:
    """Calls that are answered with SIZE bytes; gRPC finishes sending once `taken` is set."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.inflight = InflightBytes(2 * SIZE)
        self.ended: list[str] = []
        self.taken = asyncio.Event()
        self.delivery = Delivery(self.inflight, WRITE_S, self.ended.append, self.clock)

    async def one(self) -> "asyncio.Task[None]":
        """Begin a call, and wait until its answer is handed to gRPC."""
        call = asyncio.ensure_future(self._call())
        await turns(4)
        return call

    async def _call(self) -> None:
        await self.delivery.only(self._answer)
        await self.taken.wait()

    async def _answer(self, share: Share) -> bytes:
        share.grow_to(SIZE)
        return bytes(SIZE)


async def test_an_answer_counts_until_its_client_has_read_it() -> None:
    calls = Calls()
    first, second = await calls.one(), await calls.one()
    assert calls.inflight.taken == 2 * SIZE
    with pytest.raises(Unavailable):
        await (await calls.one())
    calls.taken.set()
    await asyncio.gather(first, second)
    await turns(4)
    assert calls.inflight.taken == 0
    calls.clock.advance(WRITE_S + 10 + LOOKS_S)
    assert calls.ended == []


async def test_a_call_whose_answer_is_not_read_in_time_is_ended() -> None:
    calls = Calls()
    call = await calls.one()
    calls.clock.advance(WRITE_S + 10)
    await turns(4)
    assert not call.done()
    calls.clock.advance(LOOKS_S)
    await turns(4)
    assert call.cancelled()
    assert (calls.ended, calls.inflight.taken) == (["DeadlineExceeded"], 0)
    later = await calls.one()
    calls.clock.advance(WRITE_S)
    await turns(4)
    assert not later.done()


async def test_a_blocked_loop_ends_no_call() -> None:
    calls = Calls()
    call = await calls.one()
    calls.clock.advance(2)
    calls.clock.stand_still(1000)
    calls.clock.advance(1)
    calls.taken.set()
    await call
    assert calls.ended == []


async def test_a_refused_call_no_longer_counts() -> None:
    calls = Calls()

    async def refused(share: Share) -> bytes:
        share.grow_to(SIZE)
        raise Unavailable("full")

    with pytest.raises(Unavailable, match="full"):
        await calls.delivery.only(refused)
    assert calls.inflight.taken == 0
