"""A load in its own thread, abandoned when it takes too long."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.running_load import RunningLoad

pytestmark = pytest.mark.anyio


class Slow:
    """A load that ends when the gate opens."""

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


async def test_a_finished_load_returns_its_result_without_releasing_it() -> None:
    slow = Slow()
    load = slow.begin()
    slow.gate.set()
    assert await load.result(60.0) == "an engine"
    load.when_gone(slow.has_gone)
    assert (slow.let_go, slow.gone) == (0, 1)


async def test_a_failed_load_raises_its_error() -> None:
    def fail() -> str:
        raise ValueError("bad plan")

    with pytest.raises(ValueError, match="bad plan"):
        await RunningLoad("a-load", fail, lambda: None).result(60.0)


@pytest.mark.parametrize("stopped", [False, True])
async def test_an_abandoned_load_releases_its_result_at_its_end(stopped: bool) -> None:
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


async def test_a_load_that_ends_at_its_timeout_returns_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has ended, but the event loop has not been notified yet."""
    calls: list[Callable[[], None]] = []

    def keep(call: Callable[[], None]) -> None:
        calls.append(call)

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
    calls[0]()
    assert await result == "an engine"
    assert slow.let_go == 0


async def test_an_abandoned_load_that_fails_releases_nothing() -> None:
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


async def test_an_abandoned_load_is_gone_even_if_its_release_fails() -> None:
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


def test_an_abandoned_load_may_end_after_its_event_loop() -> None:
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
