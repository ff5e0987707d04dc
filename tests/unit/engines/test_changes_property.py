"""Any order of changes of options, requests, uploads, loads, unloads and removals keeps their promises.

No request fails unless its engine was unloaded or removed, none runs with other options than its engine had
when it was sent, and the engine, the runtime and the store agree on the options. By default a few hundred
steps run; CHANGES_STEPS=10000 runs that many.
"""

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime_ext import BESIDE, Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime
from tests.submitting import submit
from tests.unit.serving import Server
from tests.waiting import HANGS_AFTER_S
from trtserve.engines.engine import State
from trtserve.errors import TrtserveError
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

T = TypeVar("T")

STEPS = int(os.environ.get("CHANGES_STEPS", "400"))
STEPS_OF_ONE = 40
NAMES = ["a", "b", "shared"]
PLANS = {"a": 1, "b": 2, "shared": 1}  # two names share an engine
INSTANCES = st.integers(1, 4)
ROW = ("x", "FP32", [1, 4], bytes(16))


class Changed(RuleBasedStateMachine):
    """A registry with a fake runtime, in which operations overlap with each other and with requests."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.runtime = FakeRuntime()
        self.under_way: list[asyncio.Task[Any]] = []
        self.sent: dict[int, int] = {}  # by ticket, the engine that is to answer
        self.ended: set[int] = set()  # engines that somebody has unloaded or removed: their requests may fail
        self.server = self._started()

    def _started(self) -> Server:
        settings = Settings(store=Path(self.folder.name) / "store")
        server = self.run(self._new(settings))
        self.run(server.registry.start())
        self.run(server.registry.restored())
        return server

    async def _new(self, settings: Settings) -> Server:
        return Server(settings, self.runtime, None, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(operation, HANGS_AFTER_S))

    def begin_operation(self, operation: Coroutine[Any, Any, Any]) -> None:
        self.under_way.append(self.loop.create_task(operation))

    def ids(self, name: str) -> list[int]:
        names = self.server.registry.names()
        return [*names[name].versions.values()] if name in names else []

    # -- what may happen

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            self.run(self.server.add(onnx_plan(PLANS[name]), name, instances=1))

    @rule(name=st.sampled_from(NAMES), instances=INSTANCES, in_place=st.booleans())
    def change(self, name: str, instances: int, in_place: bool) -> None:
        if in_place:
            self.ended.update(self.ids(name))
        asked = EngineOptions(instances=instances)
        self.begin_operation(self.server.registry.change(name, asked, in_place=in_place))

    @rule(name=st.sampled_from(NAMES), instances=INSTANCES)
    def upload(self, name: str, instances: int) -> None:
        self.begin_operation(self.server.add(onnx_plan(PLANS[name]), name, instances=instances))

    @rule(name=st.sampled_from(NAMES), instances=st.none() | INSTANCES)
    def load(self, name: str, instances: int | None) -> None:
        asked = EngineOptions() if instances is None else EngineOptions(instances=instances)
        self.begin_operation(self.server.registry.load(name, asked))

    @rule(name=st.sampled_from(NAMES))
    def unload(self, name: str) -> None:
        self.ended.update(self.ids(name))
        self.begin_operation(self.server.registry.unload(name))

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        self.ended.update(self.ids(name))
        self.begin_operation(self.server.registry.remove(name))

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
    def request(self, names: list[str]) -> None:
        for name in names:
            self.run(self._ask(name))

    async def _ask(self, name: str) -> None:
        """As requests do: what they ask is found, prepared and submitted in one step of the event loop."""
        try:
            engine = self.server.registry.ready(name).engine
        except TrtserveError:
            if not self.ended & {*self.ids(name)}:
                assert not self.ids(name), "a request was refused although nobody unloads its engine"
            return
        ticket = submit(self.runtime, engine.id, [ROW])
        self.sent[ticket] = engine.id
        assert self.runtime.takers[ticket].instances == engine.stored.options.instances

    @rule()
    def hold(self) -> None:
        """From now on requests execute until answer()."""
        self.runtime.hold()

    @rule()
    def answer(self) -> None:
        self.runtime.release()
        for completion in self.runtime.take_completions():
            id = self.sent.pop(completion.ticket)
            assert completion.kind is None or id in self.ended, completion.message
        assert not self.sent

    @rule(turns=st.integers(1, 30))
    def go_on(self, turns: int) -> None:
        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(turn())

    @rule(open=st.booleans())
    def gate(self, open: bool) -> None:
        """Loads wait from now on, or go on."""
        (self.runtime.load_gate.set if open else self.runtime.load_gate.clear)()

    @rule(instances=st.none() | INSTANCES)
    def loads_fail(self, instances: int | None) -> None:
        self.runtime.refuses = lambda options: options.instances == instances

    @rule()
    def finish(self) -> None:
        """Whatever is under way ends, and then everybody agrees."""
        self.runtime.load_gate.set()
        self.answer()
        operations, self.under_way = self.under_way, []
        for end in self.run(self._ends(operations)):
            assert end is None or isinstance(end, (tuple, TrtserveError, Error)), repr(end)
        self.answer()
        registry, loaded = self.server.registry, {info.id: info for info in self.runtime.engines()}
        assert len(loaded) == len(self.runtime.engines()), "a former life is left"
        for engine in registry.engines():
            if engine.state is State.READY:
                assert loaded.pop(engine.id).instances == engine.stored.options.instances
                assert not registry.residency.holds(engine.id | BESIDE)
        assert not loaded, "an engine is left in the runtime"
        ready = [engine for engine in registry.engines() if engine.state is State.READY]
        assert registry.residency.resident().get("cpu", 0) == len(ready) * MEMORY_BYTES
        stored = {engine.id: engine.options for engine in self.server.store.engines()}
        assert stored == {engine.id: engine.stored.options for engine in registry.engines()}
        self.ended = {engine.id for engine in registry.engines() if engine.state is not State.READY}

    @staticmethod
    async def _ends(operations: list[asyncio.Task[Any]]) -> list[Any]:
        return await asyncio.gather(*operations, return_exceptions=True)

    @rule()
    def restart(self) -> None:
        self.finish()
        before = {engine.id: engine.stored.options for engine in self.server.registry.engines()}
        self._stop()
        self.runtime = FakeRuntime()
        self.server = self._started()
        assert {engine.id: engine.stored.options for engine in self.server.registry.engines()} == before

    # -- what always holds

    @invariant()
    def an_engine_has_at_most_two_lives(self) -> None:
        ids = [info.id for info in self.runtime.engines()]
        assert all(ids.count(id) <= 2 for id in ids)

    def _stop(self) -> None:
        self.run(self.server.registry.close())
        self.server.store.close()
        self.runtime.end()

    def teardown(self) -> None:
        self.finish()
        self._stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()


Changed.TestCase.settings = hypothesis.settings(
    max_examples=max(1, STEPS // STEPS_OF_ONE), stateful_step_count=STEPS_OF_ONE, deadline=None
)
TestChanged = Changed.TestCase
