"""The order in which loads take turns."""

import asyncio
from collections.abc import Callable

import pytest

from tests.waiting import until
from trtserve.engines.turns import AT_MOST, AT_ONCE, Turns
from trtserve.errors import Unavailable

pytestmark = pytest.mark.anyio

FOR_EVER = 3600.0


class Loads:
    """Loads that take their turn and run until the test ends them."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.running: list[int] = []
        self.ends: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, *numbers: int) -> None:
        for number in numbers:
            self.ends[number] = asyncio.Event()
            self.tasks[number] = asyncio.create_task(self._load(number))

    async def end(self, *numbers: int) -> None:
        for number in numbers:
            self.ends[number].set()
            await self.tasks[number]

    async def _load(self, number: int) -> None:
        async with self.turns.turn():
            self.running.append(number)
            try:
                await self.ends[number].wait()
            finally:
                self.running.remove(number)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_two_loads_run_at_once_and_the_others_follow_in_order() -> None:
    loads = Loads(Turns(64, FOR_EVER))
    loads.begin(*range(5))
    await settled()
    assert loads.running == [0, 1]
    assert loads.turns.waiting == 3
    await loads.end(1)
    await settled()
    assert loads.running == [0, 2]
    await loads.end(0, 2)
    await settled()
    assert loads.running == [3, 4]
    await loads.end(3, 4)
    assert loads.turns.waiting == 0


async def test_slow_loads_block_no_others_up_to_a_limit() -> None:
    loads = Loads(Turns(64, 0.0))
    loads.begin(*range(AT_MOST + 3))
    await until(lambda: len(loads.running) == AT_MOST)
    await settled()
    assert loads.running == list(range(AT_MOST))
    await loads.end(5)
    await until(lambda: AT_MOST in loads.running)
    assert loads.turns.waiting == 2
    await loads.end(*(number for number in loads.ends if number != 5))
    loads.begin(100, 101)
    await until(lambda: loads.running == [100, 101])
    await loads.end(100, 101)


async def test_a_failed_load_frees_its_turn() -> None:
    turns = Turns(64, FOR_EVER)

    async def fails() -> None:
        with pytest.raises(ValueError, match="bad"):
            async with turns.turn():
                raise ValueError("bad")

    for _ in range(AT_ONCE + 1):
        await fails()


@pytest.mark.parametrize("called", [False, True])
async def test_a_load_cancelled_while_waiting_passes_its_turn_on(called: bool) -> None:
    loads = Loads(Turns(64, FOR_EVER))
    loads.begin(*range(4))
    await settled()
    if called:  # its turn has just come
        loads.ends[0].set()
        await until(lambda: loads.turns.waiting == 1)
    loads.tasks[2].cancel()
    await asyncio.wait((loads.tasks[2],))
    if not called:
        await loads.end(0)
    await settled()
    assert loads.running == [1, 3]
    await loads.end(1, 3)
    loads.begin(7, 8, 9)  # one too many: the cancelled load had no turn to give back
    await settled()
    assert loads.running == [7, 8]
    await loads.end(7, 8, 9)


async def test_a_turn_granted_to_a_load_being_cancelled_goes_to_the_next() -> None:
    loads = Loads(Turns(64, FOR_EVER))
    loads.begin(*range(4))
    await settled()
    loads.ends[0].set()  # its turn ends before the third load sees its cancellation
    loads.tasks[2].cancel()
    await asyncio.wait((loads.tasks[0], loads.tasks[2]))
    await settled()
    assert loads.tasks[0].exception() is None
    assert loads.running == [1, 3]
    await loads.end(1, 3)


async def test_a_load_beyond_the_waiting_limit_is_refused_with_a_retry_after() -> None:
    loads = Loads(Turns(3, FOR_EVER))
    check = loads.turns.check_room
    for number in range(5):
        check()
        loads.begin(number)
        await settled()
    with pytest.raises(Unavailable, match="3 loads are waiting") as refused:
        check()
    assert refused.value.retry_after is not None
    await loads.end(0)
    await settled()
    check()
    await loads.end(1, 2, 3, 4)


async def test_a_load_cancelled_while_waiting_no_longer_counts() -> None:
    loads = Loads(Turns(1, FOR_EVER))
    loads.begin(*range(3))
    await settled()
    with pytest.raises(Unavailable):
        loads.turns.check_room()
    loads.tasks[2].cancel()
    await settled()
    assert loads.turns.waiting == 0
    loads.turns.check_room()
    await loads.end(0, 1)


async def test_a_slow_load_frees_only_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads(Turns(64, FOR_EVER))
    patience: list[Callable[[], None]] = []

    def call_later(_: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        patience.append(callback)
        return asyncio.TimerHandle(0.0, callback, (), asyncio.get_running_loop())

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    loads.begin(0)
    await settled()
    patience[0]()
    await loads.end(0)
    loads.begin(*range(1, 6))
    await settled()
    assert loads.running == [1, 2]
    await loads.end(*range(1, 6))
