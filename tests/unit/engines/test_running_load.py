"""A load in a thread of its own, which is given up when it takes too long."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.running_load import RunningLoad

pytestmark = pytest.mark.anyio


class Slow:
    """A load that ends when the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.let_go = 0
        self.gone = 0

    def load(self) -> str:
        assert self.gate.wait(HANGS_AFTER_S)
        return "an engine"

    def begin(self) -> RunningLoad[str]:
        return RunningLoad("a-load", self.load, self._let_go)

    def _let_go(self) -> None:
        self.let_go += 1

    def has_gone(self) -> None:
        self.gone += 1


async def test_its_result_is_handed_over_and_not_let_go() -> None:
    slow = Slow()
    load = slow.begin()
    slow.gate.set()
    assert await load.result(60.0) == "an engine"
    load.when_gone(slow.has_gone)
    assert (slow.let_go, slow.gone) == (0, 1)


async def test_what_it_raises_is_raised() -> None:
    def fail() -> str:
        raise ValueError("bad plan")

    with pytest.raises(ValueError, match="bad plan"):
        await RunningLoad("a-load", fail, lambda: None).result(60.0)


@pytest.mark.parametrize("stopped", [False, True])
async def test_one_that_is_given_up_lets_go_what_it_loads_in_the_end(stopped: bool) -> None:
    slow = Slow()
    load = slow.begin()
    if stopped:
        load.stop()
        load.stop()
    with pytest.raises(TimeoutError):
        await load.result(60.0 if stopped else 0.0)
    load.when_gone(slow.has_gone)
    assert (slow.let_go, slow.gone) == (0, 0)
    slow.gate.set()
    await until(lambda: slow.gone == 1)
    assert slow.let_go == 1


async def test_one_that_has_ended_as_its_time_is_over_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has nothing to let go any more, and the event loop has not heard of it yet."""
    told: list[Callable[[], None]] = []

    def keep(call: Callable[[], None]) -> None:
        told.append(call)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", keep)
    slow = Slow()
    load = slow.begin()
    slow.gate.set()
    for thread in threading.enumerate():
        if thread.name == "a-load":
            thread.join(HANGS_AFTER_S)
    result = asyncio.create_task(load.result(0.0))
    for _ in range(10):
        await asyncio.sleep(0)
    told[0]()
    assert await result == "an engine"
    assert slow.let_go == 0


async def test_one_that_is_given_up_and_fails_has_nothing_to_let_go() -> None:
    gate = threading.Event()
    let_go: list[int] = []
    gone = asyncio.Event()

    def fail() -> str:
        assert gate.wait(HANGS_AFTER_S)
        raise ValueError("bad plan")

    load = RunningLoad("a-load", fail, lambda: let_go.append(1))
    with pytest.raises(TimeoutError):
        await load.result(0.0)
    load.when_gone(gone.set)
    gate.set()
    await gone.wait()
    assert let_go == []


async def test_one_that_cannot_be_let_go_is_gone_all_the_same() -> None:
    slow = Slow()

    def fail() -> None:
        slow.let_go += 1
        raise ValueError("it is not there")

    load = RunningLoad("a-load", slow.load, fail)
    with pytest.raises(TimeoutError):
        await load.result(0.0)
    load.when_gone(slow.has_gone)
    slow.gate.set()
    await until(lambda: slow.gone == 1)
    assert slow.let_go == 1


def test_one_that_ends_after_its_event_loop_has_nobody_to_tell() -> None:
    slow = Slow()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await slow.begin().result(0.0)

    asyncio.run(give_up())
    slow.gate.set()
    for thread in threading.enumerate():
        if thread.name == "a-load":
            thread.join(HANGS_AFTER_S)
    assert slow.let_go == 1
