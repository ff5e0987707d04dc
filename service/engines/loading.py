"""Loads engines into the runtime and unloads them, in threads, until the server stops.

A load has its own thread. A load that exceeds its time is given up, because a library cannot be interrupted:
its thread stays, and releases what it may still load. Until then nothing else can be loaded under its ID.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runtime_ext import EngineInfo, Error, Runtime
from trtserve.engines.dependencies import Dependencies
from trtserve.engines.engine import Engine, State
from trtserve.engines.inspection import Inspections
from trtserve.engines.joining import NOT_CHECKED, Joining
from trtserve.engines.room import Room, largest, total
from trtserve.engines.running_load import RunningLoad
from trtserve.engines.seam_options import load_options
from trtserve.engines.turns import Turns
from trtserve.engines.warm_up import WarmUps
from trtserve.errors import ExecutionFailed, TrtserveError, Unavailable, stopping
from trtserve.formats.backends import BACKENDS, runtime_backend
from trtserve.plans.checks import explained
from trtserve.plans.child import PlanCrashed
from trtserve.plans.trial import Checked, References, Trial, Trials
from trtserve.settings import Settings
from trtserve.shortage import check_memory, shortage_behind
from trtserve.store.compiled_files import CompiledFiles
from trtserve.store.load_marks import LoadMarks, Mark

logger = logging.getLogger(__name__)

T = TypeVar("T")

DRAINS_AT_ONCE = 8  # a drain mostly waits


@dataclass
class Loaded:
    """The result of a load."""

    info: EngineInfo
    seconds: float
    metadata: dict[str, Any] | None


class Loader:
    """Belongs to the event loop and never blocks it. Its caller holds the lock of the engine's ID."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        marks: LoadMarks,
        compiled: CompiledFiles,
        *,
        room: Room,
        dependencies: Dependencies,
        trial: Trial | None,
        clock: Callable[[], float],
    ) -> None:
        """`trial` tries a plan before its first load here; None: no trial. `clock`, in seconds, measures what
        loads take, in their threads."""
        self._runtime = runtime
        self._clock = clock
        self._drain_s = settings.drain_s
        self._load_timeout_s = settings.load_timeout_s
        self._warm_ups = WarmUps(runtime, settings)
        self._marks = marks
        self._compiled = compiled if settings.keep_compiled else None
        self._room = room
        self._trials = Trials(trial) if trial is not None else None
        self.turns = Turns(settings.max_waiting_loads)
        self._inspections = Inspections(runtime, self.turns, self._trials, dependencies)
        self._joining = Joining(runtime, self._trials)
        self._suspects = asyncio.Lock()  # held by the suspect that is loading
        self._loads: dict[int, RunningLoad[Loaded]] = {}  # by engine ID; includes those given up
        self._given_up: set[int] = set()  # of them
        self._stopping = False
        self._stopped = asyncio.Event()
        self._drained_by: float | None = None  # once stopping: when the drain time ends (time.monotonic)
        self._drain_threads = ThreadPoolExecutor(DRAINS_AT_ONCE, "trtserve-drain")

    @property
    def given_up(self) -> int:
        """The number of loads that were given up and have not ended."""
        return len(self._given_up)

    @property
    def keeps_compiled(self) -> bool:
        """Whether compiled models are kept in the store."""
        return self._compiled is not None

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def refuse_when_stopping(self) -> None:
        if self._stopping:
            raise stopping()

    def begin_drain(self) -> None:
        """Start the drain time of all engines together, unless it has started."""
        if self._drained_by is None:
            self._drained_by = time.monotonic() + self._drain_s

    @property
    def drain_left_s(self) -> float:
        """Seconds left of the drain time, once it has started."""
        return self._drain_s if self._drained_by is None else max(0.0, self._drained_by - time.monotonic())

    def stop(self) -> None:
        """Stop loading and end the trials; start the drain time, unless it has started."""
        self._stopping = True
        self._stopped.set()
        self._room.stop()
        if self._trials is not None:
            self._trials.stop()
        self.begin_drain()

    def give_up_loads(self) -> None:
        """Stop waiting for loads: the drain time is over."""
        for load in self._loads.values():
            load.stop()

    def close(self) -> None:
        self._drain_threads.shutdown(wait=False)

    async def stopped(self) -> None:
        """Return once the server stops."""
        await self._stopped.wait()

    async def load_first(self, engine: Engine, plan: Path, name: str | None) -> None:
        """Load a plan for the first time here, or after a failure: with a trial before."""
        try:
            await self._load_after_trial(engine, plan, name)
        except (TrtserveError, Error) as failure:
            if BACKENDS[engine.backend].blame_plan is None:
                raise
            told = await asyncio.to_thread(explained, self._runtime, engine.backend, plan, failure)
            if told is failure:
                raise
            raise told from failure

    async def _load_after_trial(self, engine: Engine, plan: Path, name: str | None) -> None:
        if engine.is_module:
            await self._inspections.inspect(engine, plan)
            await self._load_in_memory(engine, plan, partial(self._load, engine, plan, name))
            return
        checked: Checked | None = None

        async def load() -> None:
            nonlocal checked
            check_memory()
            if self._trials is not None and checked is None:
                logger.info("engine %s: trial load in a process of its own", engine)
                found = await self._trials.run(plan, engine.stored)
                assert not isinstance(found, References), "only a module has references"
                checked = found or NOT_CHECKED
            await self._load(engine, plan, name, checked)

        await self._load_in_memory(engine, plan, load)

    async def load(self, engine: Engine, plan: Path) -> None:
        """Load a plan that has been loaded here before."""
        if engine.is_module and engine.stored.uses is None:  # its row was damaged
            await self._inspections.inspect(engine, plan)
        await self._load_in_memory(engine, plan, partial(self._load, engine, plan, None))

    async def _load_in_memory(self, engine: Engine, plan: Path, load: Callable[[], Awaitable[None]]) -> None:
        """Hold memory for a load, and from then on what the loaded engine takes, until it is unloaded.

        So it does with the engines that a module calls. An engine that takes more than there is room for is
        loaded again once there is.
        """
        self.refuse_when_stopping()
        self._refuse_twice(engine)
        needs: dict[str, int] = {}
        while True:
            try:
                await self._room.take(engine, plan, needs)
                async with self.turns.turn():
                    await load()
            except BaseException as failure:
                if isinstance(failure, (Error, TrtserveError)):
                    await self._room.tell_what_it_needs(engine, failure)
                if engine.place not in self._given_up:
                    self._room.let_go(engine.place)
                raise
            try:
                engine.past.memory = self._runtime.memory(engine.place)
                fits = await self._room.settle(engine, engine.past.memory, engine.load_seconds or 0.0)
            except BaseException:
                await self.unload(engine, drain=False)
                raise
            if fits:
                return
            await self.unload(engine, drain=False)
            needs = largest(needs, total(engine.past.memory))
            logger.info("engine %s: takes more than was expected, and waits for memory", engine)

    async def load_suspect(self, engine: Engine, plan: Path, mark: Mark) -> None:
        """At a start, load a plan that was loading when the former server ended; see load_marks.py."""
        accused = f"It crashed the server when it was loaded at {mark.at}"
        if mark.guilty:
            raise ExecutionFailed(
                f"{accused}, and not for the first time: it is left alone until it is loaded again."
            )
        async with self._suspects:
            logger.warning("engine %s: was being loaded at %s, when the server ended", engine, mark.at)
            try:
                await self._load_after_trial(engine, plan, None)
            except PlanCrashed as failure:
                raise ExecutionFailed(f"{accused}. {failure}") from failure

    def _refuse_twice(self, engine: Engine) -> None:
        if engine.place in self._loads:
            raise Unavailable(
                f"A load of engine {engine.id} that was given up has not ended yet, and holds its ID: try "
                "again when it has, or restart the server."
            )

    async def _load(
        self, engine: Engine, plan: Path, name: str | None, checked: Checked | None = None
    ) -> None:
        """`checked`: what a trial that has just ended found; None: there was none."""
        self.refuse_when_stopping()  # again: it may have waited long for its turn
        self._refuse_twice(engine)
        check_memory()
        stored = engine.stored
        if name is None and engine.names:
            name = engine.names[0].name
        read_metadata = BACKENDS[stored.backend].read_metadata
        options = load_options(stored.options, name or "", stored.uses)
        compiled = self._compiled
        shown = f"{engine.id} ({name})" if name else str(engine.id)
        logger.info("engine %s: loading (%s, %.1f MB)", shown, stored.format, stored.plan_bytes / 1e6)

        def load() -> Loaded:
            # First, because nothing may fail here once the runtime has the engine.
            metadata = read_metadata(plan) if read_metadata is not None else None
            with self._marks.during(stored.digest):
                began = self._clock()
                backend = runtime_backend(stored.backend, plan, self._runtime.backends())
                if compiled is not None and (found := compiled.find(stored.digest)) is not None:
                    options.compiled = str(found)
                info = self._runtime.load(engine.place, str(plan), backend, options)
                loaded = Loaded(info, self._clock() - began, metadata)
                if compiled is not None:
                    compiled.keep(stored.digest, stored.plan_bytes, write_compiled)
                return loaded

        def write_compiled(path: str) -> bool:
            return self._runtime.write_compiled(engine.place, path)

        def let_go() -> None:
            self._take_down(engine, 0.0)
            if compiled is not None:
                compiled.delete(stored.digest)  # the engine may have been removed meanwhile
            logger.info("engine %s: its load, which was given up, has ended, and is undone", shown)

        try:
            loaded = await self._in_time(engine.place, RunningLoad("trtserve-load", load, let_go))
        except (OSError, MemoryError, RuntimeError) as failure:
            shortage = shortage_behind(failure)
            if shortage is None:
                raise
            raise shortage from failure
        engine.info, engine.load_seconds, engine.metadata = loaded.info, loaded.seconds, loaded.metadata
        engine.past.name = loaded.info.name
        logger.info("engine %s: loaded in %.2f s", shown, engine.load_seconds)
        if stored.options.leaves_open:
            engine.info = await self._joining.decide(engine, plan, loaded.info, checked, shown)
        try:
            await self._warm_ups.run(engine, shown)
        except BaseException:
            await self.unload(engine, drain=False)
            raise

    async def _in_time(self, id: int, load: RunningLoad[Loaded]) -> Loaded:
        self._loads[id] = load
        try:
            return await load.result(self._load_timeout_s)
        except TimeoutError:
            self._given_up.add(id)
            load.when_gone(partial(self._forget, id))
            self.refuse_when_stopping()
            raise Unavailable(
                f"The plan's load took longer than {self._load_timeout_s:g} s and was given up. It may hang: "
                "remove the engine, or start the server with a higher --load-timeout-s."
            ) from None
        finally:
            if id not in self._given_up:
                del self._loads[id]

    def _forget(self, id: int) -> None:
        self._given_up.discard(id)
        del self._loads[id]
        self._room.let_go(id)

    async def unload(self, engine: Engine, drain: bool = True) -> None:
        """Finish what the engine has accepted, within the drain time, and release it and its memory."""

        def unload() -> None:
            # Asked here, not before: the call may have waited for a thread.
            self._take_down(engine, self.drain_left_s if drain else 0.0)

        await self._release(engine, unload)
        logger.info("engine %s: unloaded", engine)

    async def evict(self, engine: Engine) -> None:
        """Release an engine without work, and its memory; its next life goes on with its counters."""
        memory = self._runtime.memory(engine.place)
        self._room.residency.measured(engine.place, total(memory))
        engine.past.memory = memory
        await self._release(engine, lambda: self._take_down(engine, self.drain_left_s))
        logger.info("engine %s: evicted", engine)

    def measure(self, engine: Engine) -> None:
        """Look again at what an engine takes, if it is READY."""
        if engine.state is State.READY:
            with suppress(Error):
                engine.past.memory = self._runtime.memory(engine.place)

    def _take_down(self, engine: Engine, drain_s: float) -> None:
        """Unload an engine. One that is DORMANT before or after keeps its counters. Blocks."""
        if engine.moving:
            self._runtime.unload(engine.place, drain_s, keep_counts=True)
        else:
            self._runtime.unload(engine.place, drain_s)

    async def _release(self, engine: Engine, unload: Callable[[], None]) -> None:
        try:
            await self._in(self._drain_threads, unload)
        finally:
            self._room.let_go(engine.place)

    def exchange(self, engine: Engine, beside: Engine) -> None:
        """Let a loaded engine serve in the place of another life of it, which keeps what it has begun.

        It cannot fail, and no request comes between its beginning and the next `await`.
        """
        self._runtime.exchange(engine.id)
        self._room.residency.exchange(engine.place, beside.place)
        engine.is_beside, beside.is_beside = True, False

    def is_drained(self, engine: Engine) -> bool:
        """True if an engine has no request, or an execution that is stuck: it may never end the rest."""
        try:
            now = self._runtime.condition(engine.place)
        except Error:
            return True
        return now.requests == 0 or now.executions_stuck > 0

    @contextmanager
    def staying(self, engine: Engine) -> Iterator[None]:
        """Meanwhile no load counts on the memory of an engine, as if it were pinned."""
        residency = self._room.residency
        residency.pin(engine.place, True)
        try:
            yield
        finally:
            residency.pin(engine.place, engine.stored.options.residency == "pinned")

    def pin(self, engine: Engine) -> None:
        """Let a loaded engine be evicted or not, as its options say."""
        self._room.residency.pin(engine.place, engine.stored.options.residency == "pinned")

    def forget_counts(self, engine: Engine) -> None:
        """Drop the counters that an eviction kept."""
        self._runtime.forget(engine.id)

    def forget(self, engine: Engine) -> None:
        """Keep nothing of an engine that is removed."""
        self.forget_counts(engine)
        self._room.residency.forget(engine.id)

    async def _in(self, threads: Executor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, call)
