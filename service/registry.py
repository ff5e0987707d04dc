"""Names, versions, and the life of engines: LOADING → READY → DRAINING → gone, or FAILED.

The registry belongs to the event loop and never blocks it: the store, loads and unloads run in its
threads. What changes an engine holds the lock of its ID from the first step to the last; what changes
names commits to the store, which gives all names back, under one lock for all of them. An operation that
has begun goes on to its end, also where its caller is cancelled.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from runtime_ext import Error, Runtime
from service.batching import check_preferred
from service.directory import Directory
from service.engine import Engine, Resolved, State
from service.errors import TrtserveError, Unavailable
from service.keyed_lock import KeyedLock
from service.load_options import load_options
from service.metadata import StoredEngine, StoredName
from service.options import Options
from service.plan_format import BACKENDS, Format
from service.preflight import explained
from service.settings import Settings
from service.staging import StagedPlan, engine_id
from service.store import Store
from service.tensorrt_plan import read_metadata
from service.trial import Trial, TrialLoads

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

LOADS_AT_ONCE = 2  # a load uses every core it can get, or one GPU
DRAINS_AT_ONCE = 8  # a drain mostly waits


class Registry:
    def __init__(
        self, settings: Settings, store: Store, runtime: Runtime, trial: Trial | None = None
    ) -> None:
        """`trial` is what a TensorRT plan must stand before it is loaded here; None: nothing."""
        self._settings = settings
        self._store = store
        self._runtime = runtime
        self._directory = Directory()
        self._restoring: set[int] = set()  # stored engines whose load after a start has not ended
        self._id_locks: KeyedLock[int] = KeyedLock()
        self._names_lock = asyncio.Lock()
        self._operations: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._drained_by: float | None = None  # once closing: when the drain time ends (time.monotonic)
        self._trials = TrialLoads(trial, LOADS_AT_ONCE) if trial is not None else None
        self._store_thread = ThreadPoolExecutor(1, "trtserve-store")
        self._load_threads = ThreadPoolExecutor(LOADS_AT_ONCE, "trtserve-load")
        self._drain_threads = ThreadPoolExecutor(DRAINS_AT_ONCE, "trtserve-drain")

    async def start(self) -> None:
        """Begin to load the stored engines in the background."""
        engines = [Engine(stored) for stored in await self._in(self._store_thread, self._store.engines)]
        names = await self._in(self._store_thread, self._store.names)
        self._directory.show(*engines)
        self._directory.rename(names)
        self._restoring = {engine.id for engine in engines}
        for engine in engines:
            self._begin(self._restore(engine))

    async def close(self) -> None:
        """Wait for what is under way, then drain and unload every engine. Refuses everything else.

        A load or an execution that has begun is waited for, however long it takes, but a trial load is
        ended; what is left of the drain time, which begins now, is for all engines together.
        """
        self._closing = True
        if self._trials is not None:
            self._trials.stop()
        self._drained_by = time.monotonic() + self._settings.drain_s
        while self._operations:
            await asyncio.wait(self._operations)
        ready = [engine for engine in self.engines() if engine.state is State.READY]
        for engine in ready:
            engine.state = State.DRAINING
        ends = await asyncio.gather(*(self._unload(engine) for engine in ready), return_exceptions=True)
        for engine, failure in zip(ready, ends, strict=True):
            if failure is not None:
                logger.error("engine %s: not unloaded: %s", engine, failure)
        for threads in (self._store_thread, self._load_threads, self._drain_threads):
            threads.shutdown(wait=False)

    # -- asking; every request asks, so these are look-ups and nothing more

    def resolve(self, ref: str) -> Resolved:
        """The engine that an ID or a name stands for; NotFound says what there is."""
        return self._directory.resolve(ref)

    def ready(self, ref: str) -> Resolved:
        """The same, if it takes requests; else Unavailable with the reason."""
        resolved = self._directory.resolve(ref)
        if resolved.engine.state is not State.READY:
            raise Unavailable(resolved.engine.why_not_ready())
        return resolved

    def engines(self) -> list[Engine]:
        return self._directory.engines()

    @property
    def loading(self) -> int:
        """Stored engines that are still loading after a start; a load by an upload does not count."""
        return len(self._restoring)

    # -- adding

    async def add(
        self,
        plan: StagedPlan,
        *,
        name: str | None,
        format: Format,
        options: Options,
    ) -> tuple[Resolved, bool]:
        """Stand up the engine of a staged plan and keep it, or find the one that is there.

        Returns what the upload stands for, and whether the engine is new. The staged file is gone
        afterwards, however this ends. Raises what the load raises, InvalidInput for options that do not
        go together, and Conflict for another plan with the same ID or other options than the engine has.
        """
        wanted = StoredEngine(
            id=engine_id(plan.digest),
            digest=plan.digest,
            format=format,
            backend=BACKENDS[format],
            **options.decided(self._settings),
            plan_bytes=plan.size,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        return await asyncio.shield(self._begin(self._add(plan, wanted, name, options)))

    async def _add(
        self, plan: StagedPlan, wanted: StoredEngine, name: str | None, asked: Options
    ) -> tuple[Resolved, bool]:
        try:
            self._refuse_when_closing()
            async with self._id_locks.hold(wanted.id):
                there = self._directory.get(wanted.id)
                if there is not None:
                    there.check_same_plan(wanted)
                # Under the ID's lock an engine that is there is READY or FAILED.
                if there is not None and there.state is State.READY:
                    there.check_options(asked)
                    await self._rename(self._store.commit, there.stored, name)
                    engine = there
                else:
                    check_preferred(wanted)
                    engine = await self._stand_up(plan, wanted, name, there)
                return self._directory.label(engine, name), there is None
        finally:
            await asyncio.to_thread(plan.discard)

    async def _stand_up(
        self, plan: StagedPlan, wanted: StoredEngine, name: str | None, failed: Engine | None
    ) -> Engine:
        """Load and keep a new engine, or one that had failed after a restart; undo it all on a failure."""
        engine = Engine(wanted, names=failed.names if failed else ())
        self._directory.show(engine)
        try:
            await self._in(self._store_thread, self._store.adopt, plan, wanted)
            await self._first_load(engine, name)
            try:
                await self._rename(self._store.commit, wanted, name)
            except BaseException:
                await self._unload(engine, drain=False)
                raise
        except BaseException as failure:
            logger.warning("engine %s: not added: %s", engine, failure)
            if failed is None:
                self._directory.hide(engine)
                await self._in(self._store_thread, self._store.delete_plan, wanted)
            else:
                self._directory.show(failed)
            raise
        engine.state = State.READY
        return engine

    async def _restore(self, engine: Engine) -> None:
        """Load a stored engine after a start; it is FAILED where that cannot be."""
        async with self._id_locks.hold(engine.id):
            try:
                self._refuse_when_closing()
                await self._in(self._store_thread, self._store.check_plan, engine.stored)
                await self._load(engine, None)
                engine.state = State.READY
            except Exception as failure:
                told = isinstance(failure, (TrtserveError, Error))
                engine.state = State.FAILED
                engine.reason = (
                    str(failure) if told else f"An unexpected {type(failure).__name__}; see the log."
                )
                logger.error("engine %s: %s", engine, engine.reason, exc_info=None if told else failure)
            finally:
                self._restoring.discard(engine.id)

    async def _first_load(self, engine: Engine, name: str | None) -> None:
        """Load what nobody has loaded here before: TensorRT's after a trial; its failures name versions."""
        stored = engine.stored
        path = self._store.plan_path(stored)
        try:
            if self._trials is not None and stored.format == Format.TENSORRT:
                logger.info("engine %s: trial load in a process of its own", engine)
                await self._trials.run(path, stored)
            await self._load(engine, name)
        except (TrtserveError, Error) as failure:
            if stored.format != Format.TENSORRT:
                raise
            told = await asyncio.to_thread(explained, self._runtime, path, failure)
            if told is failure:
                raise
            raise told from failure

    async def _load(self, engine: Engine, name: str | None) -> None:
        stored = engine.stored
        if name is None and engine.names:
            name = engine.names[0].name
        options = load_options(stored, name or "")
        path = self._store.plan_path(stored)
        shown = f"{engine.id} ({name})" if name else str(engine.id)
        logger.info("engine %s: loading (%s, %.1f MB)", shown, stored.format, stored.plan_bytes / 1e6)

        def load() -> None:
            self._refuse_when_closing()  # again: it may have waited for a thread for long
            # First: once the runtime has the engine, nothing may fail here.
            engine.metadata = read_metadata(path) if stored.format == Format.TENSORRT else None
            began = time.perf_counter()
            engine.info = self._runtime.load(stored.id, str(path), stored.backend, options)
            engine.load_seconds = time.perf_counter() - began

        await self._in(self._load_threads, load)
        logger.info("engine %s: loaded in %.2f s", shown, engine.load_seconds)

    # -- removing

    async def remove(self, ref: str) -> None:
        """Remove what a reference stands for, and return when it is gone.

        By ID: the engine and every version that points to it. By name: the current version of the
        name, and its engine where no other version points to it. New requests are refused from the
        beginning; those that were accepted get the drain time.
        """
        await asyncio.shield(self._begin(self._remove(ref)))

    async def _remove(self, ref: str) -> None:
        self._refuse_when_closing()
        while True:
            target = self.resolve(ref)
            engine = target.engine
            async with self._id_locks.hold(engine.id):
                # While this waited for the lock, the name may have moved on.
                if self.resolve(ref) != target:
                    continue
                # Under the ID's lock no version begins or ceases to point to the engine.
                if ref == str(engine.id):
                    await self._rename(self._store.forget_engine, engine.id)
                elif target.version is not None:
                    await self._rename(self._store.forget_version, ref, target.version)
                if ref == str(engine.id) or not engine.names:
                    await self._take_down(engine)
                return

    async def _take_down(self, engine: Engine) -> None:
        """Drain and unload an engine that has no rows any more, and delete its plan."""
        was, engine.state = engine.state, State.DRAINING
        try:
            if was is State.READY:
                await self._unload(engine)
                logger.info("engine %s: unloaded", engine)
        finally:
            self._directory.hide(engine)
            await self._in(self._store_thread, self._store.delete_plan, engine.stored)

    async def _unload(self, engine: Engine, drain: bool = True) -> None:
        def unload() -> None:
            seconds = self._settings.drain_s if drain else 0.0
            if self._drained_by is not None:  # looked at here, not before: it may have waited for a thread
                seconds = min(seconds, max(0.0, self._drained_by - time.monotonic()))
            self._runtime.unload(engine.id, seconds)

        await self._in(self._drain_threads, unload)

    # -- names

    async def _rename(
        self, change: Callable[P, dict[str, StoredName]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Make a change of the store that gives all names back, and take them over."""
        async with self._names_lock:
            self._directory.rename(await self._in(self._store_thread, change, *args, **kwargs))

    # -- running

    def _begin(self, operation: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run an operation to its end, whoever waits for it; close() waits for all of them."""
        task = asyncio.create_task(operation)
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        return task

    async def _in(self, threads: Executor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, lambda: call(*args, **kwargs))

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise Unavailable("The server is stopping.")
