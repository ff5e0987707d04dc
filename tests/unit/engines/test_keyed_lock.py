"""Locks by key."""

import asyncio

import pytest

from tests.waiting import until
from trtserve.engines.keyed_lock import KeyedLock

pytestmark = pytest.mark.anyio


async def test_holders_of_one_key_take_turns_and_others_do_not_wait() -> None:
    locks: KeyedLock[str] = KeyedLock()
    inside: list[str] = []
    leave = asyncio.Event()

    async def hold(key: str) -> None:
        async with locks.hold(key):
            inside.append(key)
            await leave.wait()
            inside.remove(key)

    tasks = [asyncio.create_task(hold(key)) for key in ("a", "a", "b")]
    await until(lambda: len(inside) == 2)
    assert sorted(inside) == ["a", "b"]
    leave.set()
    await asyncio.gather(*tasks)


async def test_a_failure_or_a_cancelled_wait_leaves_no_lock_behind() -> None:
    locks: KeyedLock[int] = KeyedLock()

    async def fail() -> None:
        async with locks.hold(1):
            raise RuntimeError

    async with locks.hold(1):
        waiting = asyncio.create_task(fail())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(locks) == 1
    assert len(locks) == 0

    with pytest.raises(RuntimeError):
        await fail()
    assert len(locks) == 0
