"""Any order of loads, requests, evictions, unloads and removals keeps the promises of residency.

No request is lost, the budget is not exceeded, no engine with work is evicted, and counters never go back. By
default a few hundred steps run; TRTSERVE_RESIDENCY_STEPS=10000 runs that many.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime, error
from tests.submitting import submit
from tests.unit.serving import Server
from tests.waiting import HANGS_AFTER_S
from trtserve.engines.engine import State
from trtserve.errors import TrtserveError
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

T = TypeVar("T")

STEPS = int(os.environ.get("TRTSERVE_RESIDENCY_STEPS", "500"))
STEPS_OF_ONE = 50
NAMES = [f"net{number}" for number in range(6)]
HOLDS = 3  # engines, of the least size
SIZES = [MEMORY_BYTES, MEMORY_BYTES * 5 // 4, MEMORY_BYTES * 2]
REQUESTS = st.lists(st.sampled_from(NAMES), max_size=8)
ROW = ("x", "FP32", [1, 4], bytes(16))


class Checked(FakeRuntime):
    """Fails if an engine that is pinned or has work is evicted."""

    def __init__(self) -> None:
        super().__init__()
        self.is_pinned: Callable[[int], bool] = lambda id: False

    def unload(self, id: int, drain_seconds: float = 30.0, keep_counts: bool = False) -> None:
        if keep_counts:
            assert not self.is_pinned(id), "it is pinned"
            assert all(waiting.engine != id for waiting in self._waiting.values()), "it had work"
        super().unload(id, drain_seconds, keep_counts)


def _is_pinned(server: Server, id: int) -> bool:
    engine = server.registry.resolve(str(id)).engine
    return engine.state is State.DRAINING and engine.stored.options.residency == "pinned"


class Residents(RuleBasedStateMachine):
    """The registry with a fake runtime; its clock moves only while a load waits for memory."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.runtime = Checked()
        self.now = 0.0
        self.asked: list[asyncio.Task[int]] = []
        self.answered = 0
        self.refused = 0
        self.abandoned = 0
        self.counted: Counter[int] = Counter()
        self.server = self._started()

    def _started(self) -> Server:
        settings = Settings(
            store=Path(self.folder.name) / "store",
            memory_budget=f"cpu={HOLDS * MEMORY_BYTES}",
            load_timeout_s=5.0,
        )
        server = self.run(self._new(settings))
        self.runtime.is_pinned = lambda id: _is_pinned(server, id)
        self.run(server.registry.start())
        return server

    async def _new(self, settings: Settings) -> Server:
        return Server(settings, self.runtime, None, self._sleep, clock=lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(operation, HANGS_AFTER_S))

    def there(self, name: str) -> bool:
        return name in self.server.registry.names()

    async def _ask(self, name: str) -> int:
        resolved = await self.server.registry.demand.resident(name)
        return submit(self.runtime, resolved.engine.id, [ROW])

    async def _try(self, operation: Coroutine[Any, Any, Any]) -> None:
        with suppress(TrtserveError, Error):
            await operation

    # -- what may happen

    @initialize()
    def begin(self) -> None:
        for number in range(len(NAMES) - 1):
            self.upload(number, "eager")

    @rule(number=st.integers(0, len(NAMES) - 1), residency=st.sampled_from(["eager", "lazy", "pinned"]))
    def upload(self, number: int, residency: str) -> None:
        plan = onnx_plan(number)
        self.run(self._try(self.server.add(plan, NAMES[number], residency=residency)))

    @rule(names=REQUESTS)
    def request(self, names: list[str]) -> None:
        """They are sent; later steps may come before they are answered."""
        self.asked += [self.loop.create_task(self._ask(name)) for name in names if self.there(name)]

    @rule(names=REQUESTS)
    def answer(self, names: list[str]) -> None:
        """Everything that was sent is answered, or refused with a reason."""
        self.request(names)
        self.runtime.release()
        asked, self.asked = self.asked, []
        ends = self.run(self._ends(asked))
        for end in ends:
            if isinstance(end, asyncio.CancelledError):
                self.abandoned += 1
            elif isinstance(end, BaseException):
                assert isinstance(end, (TrtserveError, Error)), repr(end)
                assert str(end)
                self.refused += 1
            else:
                self.answered += 1

    @staticmethod
    async def _ends(asked: list[asyncio.Task[int]]) -> list[Any]:
        return await asyncio.gather(*asked, return_exceptions=True)

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def leave(self, data: st.DataObject) -> None:
        """A client leaves while it waits."""
        data.draw(st.sampled_from(self.asked)).cancel()

    @rule(names=REQUESTS, turns=st.integers(1, 30))
    def go_on(self, names: list[str], turns: int) -> None:
        self.request(names)

        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(turn())

    @rule()
    def hold(self) -> None:
        """From now on requests are executing until answer()."""
        self.runtime.hold()

    @rule(name=st.sampled_from(NAMES))
    def unload(self, name: str) -> None:
        if self.there(name):
            self.run(self._try(self.server.registry.unload(name)))

    @rule(name=st.sampled_from(NAMES), residency=st.sampled_from([None, "eager", "lazy", "pinned"]))
    def load(self, name: str, residency: str | None) -> None:
        if self.there(name):
            options = EngineOptions() if residency is None else EngineOptions(residency=residency)
            self.run(self._try(self.server.registry.load(name, options, renew=True)))

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        if self.there(name):
            self.run(self._try(self.server.registry.remove(name)))

    @rule(fails=st.sampled_from([None, "InvalidInput", "Unavailable"]))
    def loads_fail(self, fails: str | None) -> None:
        retry_after = 1.0 if fails == "Unavailable" else None
        self.runtime.load_error = error(fails, "A load failed.", retry_after) if fails else None

    @rule(name=st.sampled_from(NAMES), size=st.sampled_from(SIZES))
    def next_life_takes(self, name: str, size: int) -> None:
        """An engine takes another amount of memory from its next load on."""
        if self.there(name):
            engine = self.server.registry.resolve(name).engine
            if engine.id not in {info.id for info in self.runtime.engines()}:
                self.runtime.memory_bytes[engine.id] = size

    @rule(seconds=st.sampled_from([0.1, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.answer([])
        self.runtime.load_error = None
        self._stop()
        self.counted.clear()
        self.runtime = Checked()
        self.server = self._started()

    # -- what always holds

    @invariant()
    def the_budget_is_not_exceeded(self) -> None:
        resident = self.server.registry.residency.resident()["cpu"]
        assert 0 <= resident <= HOLDS * MEMORY_BYTES

    @invariant()
    def what_is_ready_is_accounted_for(self) -> None:
        registry = self.server.registry
        for engine in registry.engines():
            if engine.state is State.READY:
                assert registry.residency.holds(engine.id)
                assert registry.residency.last(engine.id) == {
                    "cpu": self.runtime.memory_bytes.get(engine.id, MEMORY_BYTES)
                }
            elif engine.state in {State.DORMANT, State.UNLOADED, State.FAILED}:
                assert not registry.residency.holds(engine.id)

    @invariant()
    def counters_never_go_back(self) -> None:
        found = {stats.id: stats.success.count for stats in self.runtime.stats()}
        engines = self.server.registry.engines()
        gone = self.counted.keys() - {engine.id for engine in engines}
        gone |= {engine.id for engine in engines if engine.state in {State.UNLOADED, State.FAILED}}
        for id in gone:
            self.counted.pop(id, None)  # an engine that was unloaded by name, or removed, begins again
        for id, count in found.items():
            assert count >= self.counted[id]
            self.counted[id] = count

    def _stop(self) -> None:
        self.run(self.server.registry.close())
        self.server.store.close()
        self.runtime.end()

    def teardown(self) -> None:
        self.answer([])
        self._stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()


Residents.TestCase.settings = hypothesis.settings(
    max_examples=max(1, STEPS // STEPS_OF_ONE), stateful_step_count=STEPS_OF_ONE, deadline=None
)
TestResidents = Residents.TestCase
