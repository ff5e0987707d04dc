"""Changes engines that are kept: from the store into the runtime, and what names point to.

A change of an engine holds the lock of its ID from the first step to the last. A change of names commits to
the store, which returns all names, under one lock for all of them. Under an ID's lock no version starts or
stops pointing to the engine.
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from trtserve.engines.change import Change, ChangeState
from trtserve.engines.changing import Begin, Changes, with_options
from trtserve.engines.engine import Engine, Past, State
from trtserve.engines.parts import Parts
from trtserve.engines.progress import Progress
from trtserve.engines.reasons import reason_of
from trtserve.engines.residency import DoesNotFit
from trtserve.engines.retries import Sleep, pause, retry_delays
from trtserve.engines.room import NotWanted
from trtserve.engines.start_order import StartOrder
from trtserve.errors import Unavailable, of_kind
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.shortage import passes
from trtserve.store.database import StoredEngine
from trtserve.store.reserve import DiskFull

logger = logging.getLogger(__name__)


class Lifecycle:
    """The steps of the registry's operations. Belongs to the event loop; the store is called in a thread."""

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        sleep: Sleep,
        clock: Callable[[], float],
        *,
        begin: Begin,
    ) -> None:
        """`sleep` waits before a load is tried again; `clock` measures what loads for requests take; `begin`
        runs what nobody waits for."""
        self._store, self._lookup, self._loader = parts.store, parts.lookup, parts.loader
        self._stored, self._read = parts.threads.call, parts.threads.read
        self._builds = parts.builds
        self._id_locks, self._dependencies = parts.id_locks, parts.dependencies
        self._rename, self._still = parts.rename, parts.still
        self.changes = Changes(parts, sleep, begin)
        self._sleep = sleep
        self._clock = clock
        self._order = StartOrder(())

    async def recall(self) -> StartOrder:
        """Show what the store holds, and return the engines to load."""
        unloaded = await self._stored(self._store.unloaded)
        engines = [
            Engine(
                stored,
                State.UNLOADED if stored.id in unloaded else _state_at_start(stored),
                past=Past.of(stored),
            )
            for stored in await self._stored(self._store.engines)
        ]
        names = await self._stored(self._store.names)
        await self._stored(self._store.marks.keep_only, {engine.digest for engine in engines})
        if not self._loader.keeps_compiled:
            await self._stored(self._store.compiled.keep_only, set())
        await self._stored(self._store.aside.warn)
        self._lookup.show(*engines)
        self._lookup.rename(names)
        self._order = StartOrder(engine for engine in engines if engine.state is State.LOADING)
        return self._order

    # -- loading what is kept

    def fail(self, engine: Engine, failure: BaseException, progress: Progress | None) -> Engine:
        """Show a stored engine as FAILED; its next life begins with a load, an upload or a start."""
        reason = reason_of(engine, failure)
        failed = Engine(engine.stored, State.FAILED, reason, names=engine.names, progress=progress)
        self._lookup.show(failed)
        return failed

    async def load(self, ref: str, asked: EngineOptions) -> None:
        self._loader.refuse_when_stopping()
        self._lookup.resolve(ref)
        failures: list[Exception] = []
        for id in self._lookup.ids(ref):
            async with self._id_locks.hold(id):
                there = self._still(ref, id)
                if there is None:
                    continue
                try:
                    await self.ensure_loaded(there, asked)
                except Exception as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]

    async def ensure_loaded(self, there: Engine, asked: EngineOptions) -> None:
        """Load a stored engine with these options, and its former ones for the rest.

        One that is READY with others goes on serving until it is loaded with these.
        """
        if there.state is State.READY:
            await self.changes.renew(there, asked)
            return
        moving = there.state is State.DORMANT
        engine = Engine(with_options(there.stored, asked), names=there.names, moving=moving)
        engine.stored.options.check()
        self._lookup.show(engine)
        try:
            await self._load_stored(engine, after_trial=there.state is State.FAILED)
            await self.changes.commit(engine, None)
        except Exception as failure:
            take_over_build(engine, there)
            if isinstance(failure, DiskFull) or (there.state is not State.FAILED and passes(failure)):
                self._lookup.show(there)  # it is not at fault: it stays, or waits, as before
                raise
            failed = self.fail(there, failure, engine.progress)
            raise of_kind(getattr(failure, "kind", ""), failed.why_not_ready()) from failure
        is_ready(engine)

    def change(self, ref: str, asked: EngineOptions, *, in_place: bool) -> Coroutine[Any, Any, None]:
        """A change of an engine's options, which the engine shows from now on."""
        self._loader.refuse_when_stopping()
        engine = self._lookup.resolve(ref).engine
        change = engine.past.change = Change(asked.asked())
        return self._change(engine, ref, asked, change, in_place=in_place)

    async def _change(
        self, engine: Engine, ref: str, asked: EngineOptions, change: Change, *, in_place: bool
    ) -> None:
        # The engine serves on, and who asked is told: no error of the server's.
        reason = partial(reason_of, engine, level=logging.WARNING)
        with change.under_way(reason):
            while True:
                async with self._id_locks.hold(engine.id):
                    # While this waited for the lock, the engine may have gone, or the name may have moved on.
                    there = self._lookup.resolve(ref).engine
                    if there.id == engine.id:
                        there.past.change, change.state = change, ChangeState.LOADING
                        await self._change_under_lock(there, asked, change, in_place=in_place)
                        return
                engine = there

    async def _change_under_lock(
        self, there: Engine, asked: EngineOptions, change: Change, *, in_place: bool
    ) -> None:
        self.changes.check_wanted(there)
        if there.state is State.READY:
            await self.changes.renew(there, asked, in_place=in_place, change=change)
        elif there.state in {State.DORMANT, State.UNLOADED}:
            await self.changes.keep(there, asked)
        else:
            await self.ensure_loaded(there, asked)

    async def wake(self, id: int, wanted: Callable[[], bool]) -> bool:
        """Load a DORMANT engine because requests wait for it; gives up its wait for memory unless `wanted`.

        Returns whether it loaded it. What is short may come back: then it stays DORMANT, and the next request
        tries again.
        """
        async with self._id_locks.hold(id):
            there = self._lookup.get(id)
            if there is None or there.state is not State.DORMANT:
                return False
            engine = Engine(there.stored, names=there.names, moving=True, wanted=wanted)
            self._lookup.show(engine)
            began = self._clock()
            try:
                await self._load_restored(engine)
            except BaseException as failure:
                take_over_build(engine, there)
                there.stored = engine.stored
                ended = not isinstance(failure, Exception) or isinstance(failure, NotWanted)
                if ended or self._loader.is_stopping or passes(failure):
                    self._lookup.show(there)  # it is not at fault
                    raise
                failed = self.fail(there, failure, engine.progress)
                raise of_kind(getattr(failure, "kind", ""), failed.why_not_ready()) from failure
            is_ready(engine)
            engine.past.cold_start_seconds = self._clock() - began
            return True

    async def restore(self, engine: Engine) -> None:
        """Load a stored engine after a start, in its turn; it is FAILED if that fails.

        If memory, threads or descriptors are short, it is tried again until it is loaded or changed.
        """
        await self._order.turn(engine)
        engine.asks = self._order.asks
        try:
            await self._restore(engine)
        finally:
            self._order.asks(engine)

    async def _restore(self, engine: Engine) -> None:
        pinned = engine.stored.options.residency == "pinned"
        engine.may_evict = pinned  # or engines of one start would evict each other
        for delay in retry_delays():
            async with self._id_locks.hold(engine.id):
                if self._lookup.get(engine.id) is not engine:
                    return
                try:
                    await self._load_restored(engine)
                    engine.state, engine.reason, engine.may_evict = State.READY, None, True
                    return
                except Exception as failure:
                    if isinstance(failure, DoesNotFit) and not pinned:
                        logger.info("engine %s: is left to its first request: %s", engine, failure)
                        engine.state, engine.reason, engine.may_evict = State.DORMANT, None, True
                        return
                    engine.reason = reason_of(engine, failure)
                    # A build costs minutes: whatever it lacked, a person decides whether to try it again.
                    if (
                        not passes(failure)
                        or engine.state is State.BUILDING
                        or isinstance(failure, DoesNotFit)
                    ):
                        engine.state = State.FAILED
                        return
            self._order.asks(engine)  # the others do not wait for what it lacks
            logger.warning("engine %s: is tried again in %g s", engine, delay)
            await pause(self._sleep, delay, self._loader.stopped)

    async def _load_restored(self, engine: Engine) -> None:
        mark = await self._stored(self._store.marks.of, engine.digest)
        known = engine.stored.batching, engine.stored.uses
        if mark is None:
            await self._load_stored(engine, again=False)
        else:
            self._loader.refuse_when_stopping()
            await self._builds.refresh(engine, again=False)
            await self.changes.check(engine)
            await self._loader.load_suspect(engine, self._store.plan_path(engine.stored), mark)
        if engine.stored.build is not None and engine.stored.build.name is not None:
            await self.changes.commit(engine, None)  # what the upload was promised
        elif (engine.stored.batching, engine.stored.uses) != known:
            await self._record_check(engine)

    async def _record_check(self, engine: Engine) -> None:
        """Keep what a load found out of the engine's batches, so that the next start need not."""
        try:
            await self._stored(self._store.record_check, engine.stored)
        except Unavailable as broken:
            logger.warning("engine %s: the check of its batches is not kept: %s", engine, broken)

    async def _load_stored(self, engine: Engine, after_trial: bool = False, again: bool = True) -> None:
        """Load a stored engine, after building its plan if that is needed; see Builds.refresh for `again`."""
        self._loader.refuse_when_stopping()
        if await self._builds.refresh(engine, again=again):
            after_trial = True
        await self.changes.check(engine)
        plan = self._store.plan_path(engine.stored)
        if after_trial:
            await self._loader.load_first(engine, plan, None)
        else:
            await self._loader.load(engine, plan)

    async def keep_measures(self) -> None:
        """Keep what the engines take, where that is not what the store says: all in one change."""
        news: list[StoredEngine] = []
        for engine in self._lookup.engines():
            self._loader.measure(engine)
            measure = engine.past.measure
            if measure is not None and engine.kept and not measure.is_like(engine.stored.measured):
                engine.stored = replace(engine.stored, measured=measure)
                news.append(engine.stored)
        if not news:
            return
        try:
            await self._stored(self._store.record_measures, news)
        except Unavailable as broken:
            logger.warning("what the engines take is not kept: %s", broken)

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
                if engine.state is not State.DORMANT:
                    await self.ensure_loaded(engine, EngineOptions())
                await self._rename(self._store.point, name, version)
                return


def _state_at_start(stored: StoredEngine) -> State:
    """A lazy engine waits for a request, unless a start has something to find out about it."""
    is_whole = stored.plan_digest is not None and not stored.damage
    return State.DORMANT if stored.options.residency == "lazy" and is_whole else State.LOADING


def is_ready(engine: Engine) -> None:
    engine.state, engine.moving = State.READY, False


def take_over_build(source: Engine, engine: Engine) -> None:
    """Give an engine the plan that another life of it has, or why that could not be built."""
    if source.stored.build is not None and engine.stored.build is not None:
        build, size = source.stored.build, source.stored.plan_bytes
        engine.stored = replace(engine.stored, build=build, plan_bytes=size)
