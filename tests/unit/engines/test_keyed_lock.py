"""Locks by key."""

import asyncio
from weakref import ref

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


async def test_a_failure_or_a_cancelled_wait_leaves_the_lock_free() -> None:
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
        assert locks.hold(1).locked()
    assert not locks.hold(1).locked()

    with pytest.raises(RuntimeError):
        await fail()
    assert not locks.hold(1).locked()


async def test_a_lock_is_gone_once_nobody_holds_it() -> None:
    locks: KeyedLock[int] = KeyedLock()
    async with locks.hold(1):
        lock = ref(locks.hold(1))
        assert lock() is not None
    assert lock() is None
