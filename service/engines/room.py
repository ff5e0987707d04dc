"""Finds room for engines that are about to be loaded: within the budgets, by evicting others if need be."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from runtime_ext import Condition, Error, Runtime, available_host_memory
from trtserve.engines.dependencies import Dependencies
from trtserve.engines.engine import Engine
from trtserve.engines.residency import RETRY_AFTER_S, Bytes, Choice, DoesNotFit, Residency
from trtserve.engines.retries import Sleep, pause
from trtserve.errors import TrtserveError, Unavailable, stopping
from trtserve.formats.backends import runtime_backend
from trtserve.formats.format import Format
from trtserve.options.devices import FIRST_GPU
from trtserve.settings import GIB, MIB, Settings, read_budget
from trtserve.shortage import is_of_memory
from trtserve.text import shown_bytes

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05  # while a load waits for room: nothing tells when an engine becomes idle
MOST_TRIES = 5  # of a module to be resident together with the engines that it calls
MEASURE_EVERY_S = 1.0  # at most, all engines; those that may be evicted are measured at each look
CPU_RESERVE = 4  # of the memory that is available at the start, 1 / CPU_RESERVE stays free …
MOST_CPU_RESERVE = 4 * GIB  # … but no more than that: for requests (max_inflight_bytes) and the server itself
DEVICE_RESERVE = 10  # of a device's memory, 1 / DEVICE_RESERVE: for requests' tensors, and the libraries
# What a load needs that was never measured: bytes for each of the plan, and besides. OpenVINO keeps a plan's
# weights as they were, and again as its kernels read them; TensorRT reads them as they are in the plan.
PLAN_FACTOR, TENSORRT_FACTOR, LEAST_BYTES = 2.0, 1.25, 4 * MIB

Memory = Mapping[str, Mapping[str, int]]
"""Bytes by device and kind."""


class NotWanted(Unavailable):
    """Nobody waits for this load any more."""


def total(memory: Memory) -> dict[str, int]:
    return {device: sum(kinds.values()) for device, kinds in memory.items()}


def largest(first: Bytes, second: Bytes) -> dict[str, int]:
    """The larger number of each device."""
    return {device: max(first.get(device, 0), second.get(device, 0)) for device in {*first, *second}}


class Turn:
    """A load's place in the queues of all its devices, which it enters in one step: so no two wait for each
    other."""

    def __init__(self, queues: list["deque[Turn]"]) -> None:
        self._queues = queues
        self.came = asyncio.Event()  # set once it is the first of each queue

    def wait(self) -> None:
        for queue in self._queues:
            queue.append(self)
        self._look()

    def leave(self) -> None:
        for queue in self._queues:
            queue.remove(self)
        for queue in self._queues:
            if queue:
                queue[0]._look()

    def _look(self) -> None:
        if all(queue[0] is self for queue in self._queues):
            self.came.set()


class Idle(Protocol):
    def __call__(self, ids: Iterable[int], *, called: bool = False) -> dict[int, Condition]:
        """Those of these engines that are idle; `called`: also those that modules call which may go too."""


class Room:
    """Belongs to the event loop. Its caller holds the lock of the engine's ID."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        residency: Residency,
        dependencies: Dependencies,
        *,
        sleep: Sleep,
        clock: Callable[[], float],
    ) -> None:
        self.residency = residency
        self._dependencies = dependencies
        self._clock = clock
        self._measured_all_at = -math.inf
        self._runtime = runtime
        self._sleep = sleep
        self._most_wait_s = settings.load_timeout_s
        self._queues: dict[str, deque[Turn]] = {}  # by device
        self._asked: set[str] = set()  # devices whose budget is known
        for device, size in read_budget(settings.memory_budget).items():
            self._asked.add(device)
            residency.budgets[device] = size
        self._stopping = False
        # Both are set by the registry, before the first load.
        self.idle: Idle
        self.evict: Callable[[int], Awaitable[bool]]  # whether it did

    def stop(self) -> None:
        """End all waits for room."""
        self._stopping = True

    async def take(self, engine: Engine, plan: Path, at_least: Bytes) -> None:
        """Hold what the engine's load needs, once there is room, and the engines that a module calls.

        Raises DoesNotFit, NotWanted, and what Dependencies.ready() raises. In any case let_go() ends it.
        """
        for _ in range(MOST_TRIES):
            await self._dependencies.ready(engine)
            await self._reserve(engine, plan, at_least)
            if self._dependencies.keep(engine):
                return
            self.residency.release(engine.place)
        raise Unavailable(
            f"While module {engine} waited for memory, the engines that it calls were evicted for others: "
            "try again later, pin them, or raise --memory-budget (TRTSERVE_MEMORY_BUDGET).",
            retry_after=RETRY_AFTER_S,
        )

    def let_go(self, place: int) -> None:
        """Hold no memory and no engines any more for one that is not loaded."""
        self.residency.release(place)
        self._dependencies.release(place)

    async def _reserve(self, engine: Engine, plan: Path, at_least: Bytes) -> None:
        devices = await self._devices(engine, plan)
        needs = largest(self._needs(engine, devices), at_least)
        for device in needs:
            await self._find_budget(device)
        if engine.calls:
            name = f"{engine}, with the engines that it calls,"
            self.residency.check_together(name, needs, engine.calls)
        async with self._in_turn(engine, devices):
            await self._wait_for(engine, needs)
            pinned = engine.stored.options.residency == "pinned"
            self.residency.hold(engine.place, needs, pinned=pinned)

    @asynccontextmanager
    async def _in_turn(self, engine: Engine, devices: Iterable[str]) -> AsyncIterator[None]:
        """Surrounds the search for room: of those on a device, who came first gets its room first."""
        turn = Turn([self._queues.setdefault(device, deque()) for device in set(devices)])
        turn.wait()
        try:
            engine.asks(engine)
            while not turn.came.is_set():
                self._check(engine)
                await pause(self._sleep, LOOK_EVERY_S, turn.came.wait)
            self._check(engine)
            yield
        finally:
            turn.leave()

    def _check(self, engine: Engine) -> None:
        """Raise if the engine need not wait for memory any more."""
        if self._stopping:
            raise stopping()
        if not engine.wanted():
            raise NotWanted(f"Nobody waits for engine {engine} any more: its load was given up.")

    async def settle(self, engine: Engine, memory: Memory, seconds: float) -> bool:
        """Hold what the engine's load took, which is over after so many seconds.

        If that is more than was expected, others are evicted. False if none can be now: its caller unloads it
        and takes its turn again, because others that are loaded may wait for what it holds. Raises DoesNotFit
        if it is too much.
        """
        found = total(memory)
        for device in found:
            await self._find_budget(device)
        while not (choice := self._choose(engine, found, of=memory)).fits:
            if not any(await asyncio.gather(*map(self.evict, choice.evict))):
                return False
        self.residency.loaded(engine.place, found, seconds)
        return True

    async def _wait_for(self, engine: Engine, needs: Bytes) -> None:
        waited = 0.0
        while True:
            choice = self._choose(engine, needs)
            if choice.fits:
                return
            self._check(engine)
            if choice.evict and any(await asyncio.gather(*map(self.evict, choice.evict))):
                continue
            if waited >= self._most_wait_s:
                raise DoesNotFit(
                    f"Engine {engine} waited {waited:.0f} s for memory: all engines that are resident have "
                    "work, are pinned, or were loaded a short time ago. Try again later, or raise "
                    "--memory-budget (TRTSERVE_MEMORY_BUDGET).",
                    retry_after=RETRY_AFTER_S,
                )
            await self._sleep(LOOK_EVERY_S)
            waited += LOOK_EVERY_S

    def _choose(self, engine: Engine, needs: Bytes, of: Memory | None = None) -> Choice:
        if self._clock() - self._measured_all_at >= MEASURE_EVERY_S:
            self._measured_all_at = self._clock()
            self._measure(self.residency.loaded_ids())
        if self.residency.fits(needs, own=engine.place):
            return Choice(fits=True)
        others = [id for id in self.residency.evictable() if id not in {engine.place, *engine.calls}]
        try:
            for called in (False, True):
                choice = self.residency.choose(
                    str(engine),
                    needs,
                    self._measure(others, called=called),
                    own=engine.place,
                    may_evict=engine.may_evict,
                )
                if choice.fits or choice.evict:
                    break
            return choice
        except DoesNotFit as refusal:
            kinds = _kinds(of or engine.past.memory)
            raise DoesNotFit(f"{refusal}{kinds}", retry_after=refusal.retry_after) from None

    async def tell_what_it_needs(self, engine: Engine, failure: Error | TrtserveError) -> None:
        """Complete the failure of a load for which take() held memory, if memory ran out."""
        if not is_of_memory(failure) or not self.residency.holds(engine.place):
            return
        free = await asyncio.to_thread(self._free, list(self.residency.held(engine.place)))
        told = self.residency.told(engine.place, free)
        kinds = _kinds(engine.past.memory)
        failure.args = (f"{failure} Engine {engine} needs {told}.{kinds}",)

    def _free(self, devices: list[str]) -> dict[str, int]:
        """What these devices have free now, where that can be known. Blocks."""
        found = {
            device: available_host_memory()
            if device == "cpu"
            else (self._runtime.device_memory(device) or (None,))[0]
            for device in devices
        }
        return {device: size for device, size in found.items() if size is not None}

    def _measure(self, ids: Iterable[int], *, called: bool = False) -> dict[int, float]:
        """Look at what those of these engines take that are idle, once after each use, because executions may
        have made it more. Returns for how many seconds each was not used."""
        idle = self.idle(ids, called=called)
        for id, now in idle.items():
            if not self.residency.is_measured(id, now.last_used_ns):
                self.residency.measured(id, total(self._runtime.memory(id)), now.last_used_ns)
        return {id: now.unused_seconds for id, now in idle.items()}

    def _needs(self, engine: Engine, devices: list[str]) -> Bytes:
        """What the engine took when it was resident last on these devices, or else an estimate.

        Of dead devices, nothing.
        """
        dead = self._runtime.dead_devices()
        devices = [device for device in devices if device not in dead]
        last = self.residency.last(engine.place) or total(engine.past.memory)
        if last.keys() >= set(devices):
            return {device: size for device, size in last.items() if device not in dead}
        factor = TENSORRT_FACTOR if engine.format == Format.TENSORRT else PLAN_FACTOR
        bytes = int(factor * engine.stored.plan_bytes) + LEAST_BYTES
        return dict.fromkeys(devices, bytes)

    async def _devices(self, engine: Engine, plan: Path) -> list[str]:
        """Where most of the engine is going to be."""
        option = engine.stored.options.device
        if engine.format in {Format.ONNX, Format.OPENVINO}:
            return ["cpu"]
        if option == "all" or engine.is_module:
            try:
                return await asyncio.to_thread(self._devices_of, engine.backend, plan, option)
            except (Error, TrtserveError, OSError) as failure:  # the load will tell
                logger.debug("engine %s: its devices are not known: %s", engine, failure)
        return [FIRST_GPU.get(device, device) for device in option.split(",")]

    def _devices_of(self, backend: str, plan: Path, option: str) -> list[str]:
        return self._runtime.devices_of(runtime_backend(backend, plan, self._runtime.backends()), option)

    async def _find_budget(self, device: str) -> None:
        """Decide the budget of a device that the setting leaves out, before its first load."""
        if device in self._asked:
            return
        self._asked.add(device)
        if device == "cpu":
            available = await asyncio.to_thread(available_host_memory)
            if available is None:
                return
            budget = available - min(available // CPU_RESERVE, MOST_CPU_RESERVE)
        else:
            memory = await asyncio.to_thread(self._runtime.device_memory, device)
            if memory is None:
                return
            free, whole = memory
            budget = max(0, free - whole // DEVICE_RESERVE)
        self.residency.budgets[device] = budget
        logger.info("%s: loaded engines may take %s", device, shown_bytes(budget))


def _kinds(memory: Memory) -> str:
    """A sentence about what a load needs, by kind, as it was measured last."""
    if not memory:
        return " That is an estimate: it was not loaded yet."
    told = [
        f"{shown_bytes(size)} {kind} on {device}"
        for device, kinds in memory.items()
        for kind, size in kinds.items()
        if size > 0
    ]
    return f" When it was loaded, it took {', '.join(told)}." if told else ""
