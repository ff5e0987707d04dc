"""Any order of loads, requests, evictions, unloads, removals and deaths of a device keeps the promises of
residency, also of modules and the engines that they call.

No request is lost, no budget is exceeded, no engine with work or a lease is evicted, counters never go back,
and no request is refused because of a dead device while its engine has another. By default a few hundred
steps run; RESIDENCY_STEPS=10000 runs that many.
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
from tests.fakes.plans import module_plan, onnx_plan, tensorrt_plan
from tests.fakes.runtime import MEMORY_BYTES, error
from tests.submitting import submit
from tests.unit.engines.modules import Runtime as ModuleRuntime
from tests.unit.engines.modules import Trial
from tests.unit.serving import Server
from tests.waiting import HANGS_AFTER_S
from trtserve.engines import readiness
from trtserve.engines.engine import Engine, State
from trtserve.errors import TrtserveError, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

T = TypeVar("T")

STEPS = int(os.environ.get("RESIDENCY_STEPS", "500"))
STEPS_OF_ONE = 50
ON_CPU = [f"net{number}" for number in range(5)]
ON_GPUS = [f"gpu{number}" for number in range(4)]
CALLS = {"calls0": ["net0"], "calls1": ["net1", "gpu0"], "calls2": ["net0", "net2", "calls0"]}
LATER = "gpu3"  # is not there at the beginning
NAMES = ON_CPU + ON_GPUS + list(CALLS)
GPUS = ["cuda:0", "cuda:1"]
DEVICES = ["cpu", *GPUS]
HOLDS = 3  # engines of the least size, on each device
BUDGET = HOLDS * MEMORY_BYTES
SIZES = [MEMORY_BYTES, MEMORY_BYTES * 5 // 4, MEMORY_BYTES * 2]
REQUESTS = st.lists(st.sampled_from(NAMES), max_size=8)
ROW = ("x", "FP32", [1, 4], bytes(16))


class Checked(ModuleRuntime):
    """Fails if an engine that is pinned, or has work or a lease, is evicted."""

    def __init__(self) -> None:
        super().__init__("tensorrt")
        self.devices = dict.fromkeys(GPUS, (BUDGET, BUDGET))
        self.is_pinned: Callable[[int], bool] = lambda id: False

    def unload(self, id: int, drain_seconds: float = 30.0, keep_counts: bool = False) -> None:
        if keep_counts:
            assert not self.is_pinned(id), "it is pinned"
            assert all(waiting.engine != id for waiting in self._waiting.values()), "it had work"
            assert not self.leases[id], "it had a lease"
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
        self.of: dict[int, Engine] = {}  # the engines of accepted requests, by ticket
        self.counted: Counter[int] = Counter()
        self.server = self._started()

    def _started(self) -> Server:
        settings = Settings(
            store=Path(self.folder.name) / "store",
            memory_budget=",".join(f"{device}={BUDGET}" for device in DEVICES),
            load_timeout_s=5.0,
        )
        server = self.run(self._new(settings))
        self.runtime.is_pinned = lambda id: _is_pinned(server, id)
        self.run(server.registry.start())
        return server

    async def _new(self, settings: Settings) -> Server:
        return Server(settings, self.runtime, Trial(), self._sleep, clock=lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(operation, HANGS_AFTER_S))

    def there(self, name: str) -> bool:
        return name in self.server.registry.names()

    async def _ask(self, name: str) -> int:
        try:
            engine = (await self.server.registry.demand.resident(name)).engine
        except (TrtserveError, Error) as refused:
            self.check_refusal(self.server.registry.resolve(name).engine, str(refused))
            raise
        ticket = submit(self.runtime, engine.id, [ROW])
        self.of[ticket] = engine
        return ticket

    def check_refusal(self, engine: Engine, why: str) -> None:
        assert why
        (dead,) = self.runtime.dead or [None]
        assert "is dead" not in why or engine.stored.options.device == dead

    async def _try(self, operation: Coroutine[Any, Any, Any]) -> None:
        with suppress(TrtserveError, Error):
            await operation

    # -- what may happen

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            if name != LATER:
                self.upload(name, "eager", "all")

    @rule(
        name=st.sampled_from(NAMES),
        residency=st.sampled_from(["eager", "lazy", "pinned"]),
        device=st.sampled_from(["all", "cuda:1,cuda:0", *GPUS]),
    )
    def upload(self, name: str, residency: str, device: str) -> None:
        options = {"residency": residency}
        if name in ON_GPUS:
            plan = tensorrt_plan() + name.encode()
            options["device"] = device
        elif name in CALLS:
            plan = module_plan(*CALLS[name])
        else:
            plan = onnx_plan(name)
        if self._changes(name, EngineOptions(**options)):
            self.runtime.release()  # a change waits for what its former life has accepted
        self.run(self._try(self.server.add(plan, name, **options)))

    def _changes(self, name: str, asked: EngineOptions) -> bool:
        """True if an engine that serves would have to be loaded beside itself for these options."""
        if not self.there(name):
            return False
        engine = self.server.registry.resolve(name).engine
        return engine.state is State.READY and bool(engine.others(asked))

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
        for end in self.run(self._ends(asked)):
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                assert isinstance(end, (TrtserveError, Error)), repr(end)
        for completion in self.runtime.take_completions():
            engine = self.of.pop(completion.ticket)
            if completion.kind is not None:
                assert completion.kind == "Unavailable"
                self.check_refusal(engine, completion.message)
        assert self.of == {}, "requests that were accepted got no answer"

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

    @rule(name=st.sampled_from(NAMES))
    def lease(self, name: str) -> None:
        """From now on an operator uses the engine."""
        if self.there(name):
            engine = self.server.registry.resolve(name).engine
            if engine.state is State.READY:
                self.runtime.leases[engine.id] += 1

    @rule()
    def end_leases(self) -> None:
        self.runtime.leases.clear()

    @rule(device=st.sampled_from(GPUS))
    @precondition(lambda self: not self.runtime.dead)
    def device_dies(self, device: str) -> None:
        """Until the next start."""
        self.runtime.dead[device] = "it fell off the bus"

    @rule()
    def hold(self) -> None:
        """From now on requests are executing until answer()."""
        self.runtime.hold()

    @rule(name=st.sampled_from(NAMES), dependents=st.booleans())
    def unload(self, name: str, dependents: bool) -> None:
        if self.there(name):
            self.run(self._try(self.server.registry.unload(name, dependents=dependents)))

    @rule(name=st.sampled_from(NAMES), residency=st.sampled_from([None, "eager", "lazy", "pinned"]))
    def load(self, name: str, residency: str | None) -> None:
        if self.there(name):
            options = EngineOptions() if residency is None else EngineOptions(residency=residency)
            self.run(self._try(self.server.registry.load(name, options)))

    @rule(name=st.sampled_from(NAMES), force=st.booleans())
    def remove(self, name: str, force: bool) -> None:
        if self.there(name):
            self.run(self._try(self.server.registry.remove(name, force=force)))

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
    def no_budget_is_exceeded(self) -> None:
        resident = self.server.registry.residency.resident()
        assert resident.keys() == set(DEVICES)
        assert all(0 <= size <= BUDGET for size in resident.values())

    @invariant()
    def what_is_ready_is_accounted_for(self) -> None:
        registry = self.server.registry
        for engine in registry.engines():
            if engine.state is State.READY:
                assert registry.residency.holds(engine.id)
                each = self.runtime.memory_bytes.get(engine.id, MEMORY_BYTES)
                assert registry.residency.last(engine.id) == dict.fromkeys(engine.loaded.devices, each)
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

    @invariant()
    def a_server_is_ready_while_each_engine_has_a_device(self) -> None:
        engines = [each for each in self.server.registry.engines() if each.state is State.READY]
        if not engines or any(set(each.loaded.devices) <= self.runtime.dead.keys() for each in engines):
            return
        try:
            troubles = readiness.check_server(self.runtime, self.server.registry)
        except Unavailable as unavailable:
            why = str(unavailable)
        else:
            assert len(troubles.degraded) == len(self.runtime.dead)
            why = ""
        assert "is dead" not in why

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
