"""Changes engines and names: from the store into the runtime, out of it again, and off the disk.

A change of an engine holds the lock of its ID from the first step to the last. A change of names commits to
the store, which returns all names, under one lock for all of them. Under an ID's lock no version starts or
stops pointing to the engine.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from runtime_ext import Error
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.keyed_lock import KeyedLock
from trtserve.engines.loading import Loader
from trtserve.engines.lookup import Lookup
from trtserve.errors import TrtserveError, Unavailable, of_kind
from trtserve.options.engine_options import EngineOptions
from trtserve.shortage import passes
from trtserve.store.database import StoredEngine, StoredName
from trtserve.store.reserve import DiskFull
from trtserve.store.staging import StagedPlan
from trtserve.store.store import Store
from trtserve.workers import UPLOADS

logger = logging.getLogger(__name__)

PLANS_READ_AT_ONCE = 2  # as many as load at once
P = ParamSpec("P")
T = TypeVar("T")
Sleep = Callable[[float], Coroutine[Any, Any, None]]

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0


def retry_delays() -> Iterator[float]:
    """Seconds between the attempts to load an engine that lacks memory, threads or descriptors; endless."""
    delay = FIRST_RETRY_S
    while True:
        yield delay
        delay = min(2 * delay, LAST_RETRY_S)


class Lifecycle:
    """The steps of the registry's operations. Belongs to the event loop; the store is called in a thread."""

    def __init__(self, store: Store, lookup: Lookup, loader: Loader, sleep: Sleep = asyncio.sleep) -> None:
        """`sleep` waits before a load is tried again."""
        self._store = store
        self._sleep = sleep
        self._lookup = lookup
        self._loader = loader
        self._id_locks: KeyedLock[int] = KeyedLock()
        self._names_lock = asyncio.Lock()
        self._store_thread = ThreadPoolExecutor(1, "trtserve-store")
        self._reading_threads = ThreadPoolExecutor(PLANS_READ_AT_ONCE, "trtserve-read")

    async def recall(self) -> list[Engine]:
        """Show what the store holds, and return the engines to load."""
        unloaded = await self._stored(self._store.unloaded)
        engines = [
            Engine(stored, State.UNLOADED if stored.id in unloaded else State.LOADING)
            for stored in await self._stored(self._store.engines)
        ]
        names = await self._stored(self._store.names)
        await self._stored(self._store.marks.keep_only, {engine.digest for engine in engines})
        await self._stored(self._store.aside.warn)
        self._lookup.show(*engines)
        self._lookup.rename(names)
        return [engine for engine in engines if engine.state is State.LOADING]

    def close(self) -> None:
        self._store_thread.shutdown(wait=False)
        self._reading_threads.shutdown(wait=False)

    # -- adding

    async def add(
        self,
        plan: StagedPlan,
        wanted: StoredEngine,
        name: str | None,
        asked: EngineOptions,
        version: int | None = None,
        *,
        renew: bool,
    ) -> tuple[Resolved, bool]:
        try:
            self._loader.refuse_when_stopping()
            self._loader.turns.check_room()
            async with self._id_locks.hold(wanted.id):
                there = self._lookup.get(wanted.id)
                if there is not None:
                    there.check_same_plan(wanted)
                # Under the ID's lock an engine that is there is READY, UNLOADED or FAILED, or its load waits
                # to be tried again.
                if there is not None and there.state is State.READY:
                    if not renew:
                        there.check_options(asked)
                    await self._repair(plan, there)
                    await self._ensure_loaded(self._lookup.get(wanted.id) or there, asked, renew)
                    engine = (
                        self._lookup.get(wanted.id) or there
                    )  # with the options that it is loaded with now
                    await self._rename(self._store.commit, engine.stored, name, version)
                    engine = self._lookup.get(wanted.id) or engine
                else:
                    wanted.options.check()
                    engine = await self._load_new(plan, wanted, name, version, there)
                return self._lookup.label(engine, name), there is None
        finally:
            await UPLOADS.run(plan.discard)

    async def _repair(self, plan: StagedPlan, there: Engine) -> None:
        """If the stored plan of a READY engine is damaged, replace it with this one and reload the engine.

        It may have loaded the damaged bytes, and a library may have mapped them.
        """
        try:
            await self._read(self._store.check_plan, there.stored)
            return
        except Unavailable as damage:
            logger.warning("engine %s: repaired by an upload: %s", there, damage)
        await self._stored(self._store.adopt, plan, there.stored)
        engine = Engine(there.stored, names=there.names)
        self._lookup.show(engine)
        try:
            await self._loader.unload(there)
            await self._loader.load(engine, self._store.plan_path(engine.stored))
        except Exception as failure:
            engine.state, engine.reason = State.FAILED, _reason(engine, failure)
            raise
        engine.state = State.READY

    async def _load_new(
        self,
        plan: StagedPlan,
        wanted: StoredEngine,
        name: str | None,
        version: int | None,
        kept: Engine | None,
    ) -> Engine:
        """Load and store a new engine, or one that is stored but not loaded; undo everything on failure."""
        engine = Engine(wanted, names=kept.names if kept else ())
        self._lookup.show(engine)
        try:
            await self._stored(self._store.adopt, plan, wanted)
            await self._loader.load_first(engine, self._store.plan_path(wanted), name)
            await self._commit(engine, name, version)
        except BaseException as failure:
            logger.warning("engine %s: not added: %s", engine, failure)
            if kept is None:
                self._lookup.hide(engine)
                await self._stored(self._store.delete_plan, wanted)
            else:
                self._lookup.show(kept)
            raise
        engine.state = State.READY
        return engine

    async def _commit(self, engine: Engine, name: str | None, version: int | None = None) -> None:
        """Store an engine that has just been loaded; if that fails, unload it."""
        try:
            await self._rename(self._store.commit, engine.stored, name, version)
        except BaseException:
            await self._loader.unload(engine, drain=False)
            raise

    # -- loading what is kept

    async def load(self, ref: str, asked: EngineOptions, renew: bool) -> None:
        self._loader.refuse_when_stopping()
        self._lookup.resolve(ref)
        failures: list[Exception] = []
        for id in self._lookup.ids(ref):
            async with self._id_locks.hold(id):
                there = self._still(ref, id)
                if there is None:
                    continue
                try:
                    await self._ensure_loaded(there, asked, renew)
                except Exception as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]

    async def _ensure_loaded(self, there: Engine, asked: EngineOptions, renew: bool = False) -> None:
        """Load a stored engine with these options, and its former ones for the rest.

        With `renew`, an engine that is READY with others is reloaded.
        """
        if there.state is State.READY:
            if not renew:
                there.check_options(asked)
            elif there.others(asked):
                await self._reload(there, asked)
            return
        engine = Engine(_with(there.stored, asked), names=there.names)
        engine.stored.options.check()
        self._lookup.show(engine)
        try:
            await self._load_stored(engine, after_trial=there.state is State.FAILED)
            await self._commit(engine, None)
        except Exception as failure:
            if isinstance(failure, DiskFull) or (there.state is not State.FAILED and passes(failure)):
                self._lookup.show(there)  # it is not at fault: it stays, or waits, as before
                raise
            failed = Engine(there.stored, State.FAILED, _reason(engine, failure), names=there.names)
            self._lookup.show(failed)
            raise of_kind(getattr(failure, "kind", ""), failed.why_not_ready()) from failure
        engine.state = State.READY

    async def _reload(self, there: Engine, asked: EngineOptions) -> None:
        """Finish what a READY engine has accepted; reload it with other options or, failing that, its own.

        An ID can be loaded only once, so new requests are refused meanwhile.
        """
        engine = Engine(_with(there.stored, asked), names=there.names)
        engine.stored.options.check()
        await self._check(engine)
        self._lookup.show(engine)
        try:
            await self._loader.unload(there)
            await self._loader.load(engine, self._store.plan_path(engine.stored))
            await self._commit(engine, None)
        except Exception as failure:
            logger.warning("engine %s: not loaded with other options: %s", engine, failure)
            await self._reload_former(there)
            raise
        engine.state = State.READY

    async def _reload_former(self, there: Engine) -> None:
        """Load an engine as it was before; it is FAILED if that fails."""
        engine = Engine(there.stored, names=there.names)
        self._lookup.show(engine)
        try:
            await self._loader.load(engine, self._store.plan_path(engine.stored))
            engine.state = State.READY
        except Exception as failure:
            engine.state, engine.reason = State.FAILED, _reason(engine, failure)

    async def restore(self, engine: Engine) -> None:
        """Load a stored engine after a start; it is FAILED if that fails.

        If memory, threads or descriptors are short, it is tried again until it is loaded or changed.
        """
        for delay in retry_delays():
            async with self._id_locks.hold(engine.id):
                if self._lookup.get(engine.id) is not engine:
                    return
                try:
                    await self._load_restored(engine)
                    engine.state, engine.reason = State.READY, None
                    return
                except Exception as failure:
                    engine.reason = _reason(engine, failure)
                    if not passes(failure):
                        engine.state = State.FAILED
                        return
            logger.warning("engine %s: is tried again in %g s", engine, delay)
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but return at once when the server stops."""
        waits = [asyncio.ensure_future(wait) for wait in (self._sleep(seconds), self._loader.stopped())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _load_restored(self, engine: Engine) -> None:
        mark = await self._stored(self._store.marks.of, engine.digest)
        if mark is None:
            await self._load_stored(engine)
            return
        self._loader.refuse_when_stopping()
        await self._check(engine)
        await self._loader.load_suspect(engine, self._store.plan_path(engine.stored), mark)

    async def _load_stored(self, engine: Engine, after_trial: bool = False) -> None:
        self._loader.refuse_when_stopping()
        await self._check(engine)
        plan = self._store.plan_path(engine.stored)
        if after_trial:
            await self._loader.load_first(engine, plan, None)
        else:
            await self._loader.load(engine, plan)

    async def _check(self, engine: Engine) -> None:
        """Raise Unavailable if the engine's row or its plan is damaged."""
        if engine.stored.damage:
            raise Unavailable(engine.stored.damage)
        await self._read(self._store.check_plan, engine.stored)

    # -- unloading

    async def unload(self, ref: str) -> None:
        self._loader.refuse_when_stopping()
        self._lookup.resolve(ref)
        unloads = (self._unload_one(ref, id) for id in self._lookup.ids(ref))
        for end in await asyncio.gather(*unloads, return_exceptions=True):
            if end is not None:
                raise end

    async def _unload_one(self, ref: str, id: int) -> None:
        async with self._id_locks.hold(id):
            engine = self._still(ref, id)
            if engine is None or engine.state is State.UNLOADED:
                return
            await self._stored(self._store.unload, id)
            was, engine.state = engine.state, State.DRAINING
            try:
                if was is State.READY:
                    await self._loader.unload(engine)
            finally:
                self._lookup.show(Engine(engine.stored, State.UNLOADED, names=engine.names))

    def _still(self, ref: str, id: int) -> Engine | None:
        """The engine; None if the reference no longer stands for it after the wait for its lock."""
        return self._lookup.get(id) if id in self._lookup.ids(ref) else None

    # -- pointing

    async def point(self, name: str, version: int) -> None:
        self._loader.refuse_when_stopping()
        while True:
            self._lookup.name(name)
            id = self._lookup.resolve(name, str(version)).engine.id
            async with self._id_locks.hold(id):
                # While this waited for the lock, the version may have gone, or point elsewhere.
                engine = self._lookup.resolve(name, str(version)).engine
                if engine.id != id:
                    continue
                await self._ensure_loaded(engine, EngineOptions())
                await self._rename(self._store.point, name, version)
                return

    # -- removing

    async def remove(self, ref: str) -> None:
        self._loader.refuse_when_stopping()
        while True:
            target = self._lookup.resolve(ref)
            engine = target.engine
            async with self._id_locks.hold(engine.id):
                # While this waited for the lock, the name may have moved on.
                if self._lookup.resolve(ref) != target:
                    continue
                if ref == str(engine.id):
                    await self._rename(self._store.forget_engine, engine.id)
                elif target.version is not None:
                    await self._rename(self._store.forget_version, ref, target.version)
                if ref == str(engine.id) or not engine.names:
                    await self._unload_removed(engine)
                return

    async def _unload_removed(self, engine: Engine) -> None:
        """Drain and unload an engine without rows, and delete its plan."""
        was, engine.state = engine.state, State.DRAINING
        try:
            if was is State.READY:
                await self._loader.unload(engine)
        finally:
            self._lookup.hide(engine)
            await self._stored(self._store.delete_plan, engine.stored)

    # -- the store

    async def _rename(
        self, change: Callable[P, dict[str, StoredName]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Make a change in the store that returns all names, and show them."""
        async with self._names_lock:
            self._lookup.rename(await self._stored(change, *args, **kwargs))

    async def _read(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads a whole plan, in threads other than the store's."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading_threads, lambda: call(*args, **kwargs))

    async def _stored(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._store_thread, lambda: call(*args, **kwargs))


def _with(stored: StoredEngine, asked: EngineOptions) -> StoredEngine:
    """The engine with these options, and where they ask for nothing with those that it had."""
    return replace(stored, options=asked.over(stored.options))


def _reason(engine: Engine, failure: Exception) -> str:
    """Why an engine could not be loaded: a sentence, which the log has too."""
    told = isinstance(failure, (TrtserveError, Error))
    reason = str(failure) if told else f"An unexpected {type(failure).__name__}; see the log."
    logger.error("engine %s: %s", engine, reason, exc_info=None if told else failure)
    return reason
