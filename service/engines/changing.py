"""Gives engines other options while they serve: the next life is loaded beside the one that serves.

A change holds the lock of the engine's ID from the first step to the last. Until the next life is READY, the
former one serves, and a failure leaves it as it was. Then the row gets the new options, in one commit. From
there on nothing can fail: in one step of the event loop, between two requests, the two lives change places in
the runtime and in the look-ups. So after a crash at any point, the engine has either its former options or
new ones that it has been loaded with; and every request has one life of the engine, which it ends in.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from runtime_ext import Error
from trtserve.engines.change import Change, ChangeState
from trtserve.engines.engine import WITHOUT_LOAD, Engine, State
from trtserve.engines.marked_ids import MarkedIds
from trtserve.engines.parts import Parts
from trtserve.engines.reasons import reason_of
from trtserve.engines.residency import DoesNotFit
from trtserve.engines.retries import Sleep, pause
from trtserve.engines.room import LOOK_EVERY_S
from trtserve.errors import Conflict, TrtserveError, Unavailable
from trtserve.options.batching import AUTO
from trtserve.options.engine_options import EngineOptions
from trtserve.shortage import is_of_memory
from trtserve.store.database import StoredEngine
from trtserve.text import sentence

logger = logging.getLogger(__name__)

Begin = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

NO_ROOM = (
    " Both lives of an engine need memory while its options change (the one that serves counts as pinned): "
    "make room, or change it in place (in_place=true), which refuses its requests meanwhile."
)


class Changes:
    """Belongs to the event loop. Its caller holds the lock of the engine's ID."""

    def __init__(self, parts: Parts, sleep: Sleep, begin: Begin) -> None:
        """`sleep` waits between looks at a life that drains; `begin` runs what goes on without the lock."""
        self._store, self._lookup, self._loader = parts.store, parts.lookup, parts.loader
        self._stored, self._read = parts.threads.call, parts.threads.read
        self._dependencies, self._rename = parts.dependencies, parts.rename
        self._sleep = sleep
        self._begin = begin
        self._ending: dict[int, asyncio.Task[None]] = {}  # former lives that end without the lock, by ID
        self._unwanted = MarkedIds()  # engines that are to be removed or unloaded

    def unwanted(self, id: int) -> AbstractContextManager[None]:
        """Meanwhile no change of an engine begins, and a former life of it has the drain time to end.

        Then it no longer holds the lock, so that the engine ends in the same drain time: see former_ended().
        """
        return self._unwanted.marked(id)

    def check_wanted(self, engine: Engine) -> None:
        """Raise Conflict if an engine is about to be removed or unloaded."""
        if engine.id in self._unwanted:
            raise Conflict(f"Engine {engine} gets no other options: it is about to be removed or unloaded.")

    async def commit(self, engine: Engine, name: str | None, version: int | None = None) -> None:
        """Store an engine that has just been loaded; if that fails, unload it."""
        if engine.stored.build is not None:
            name, version = name or engine.stored.build.name, version or engine.stored.build.version
            build = engine.stored.build.with_(name=None, version=None)
            engine.stored = replace(engine.stored, build=build)
        engine.stored = replace(engine.stored, measured=engine.past.measure)
        try:
            await self._rename(self._store.commit, engine.stored, name, version)
        except BaseException:
            await self._loader.unload(engine, drain=False)
            raise

    async def check(self, engine: Engine) -> None:
        """Raise Unavailable if the engine's row or its plan is damaged."""
        if engine.stored.damage:
            raise Unavailable(engine.stored.damage)
        await self._read(self._store.check_plan, engine.stored)

    async def renew(
        self, there: Engine, asked: EngineOptions, *, in_place: bool = False, change: Change | None = None
    ) -> None:
        """Give a READY engine these options; returns once its former life has ended.

        No request is refused, unless `in_place`: then it finishes what it has accepted before it is loaded
        again, or, failing that, with its former options. Raises what the load raises, and InvalidInput for
        options that do not go together; the engine serves on then. `change` is told once requests have moved.
        """
        if not there.others(asked):
            await self._keep_without_load(there, asked)
            return
        await self.former_ended(there.id)
        stored = with_options(there.stored, asked)
        stored.options.check()
        if in_place:
            await self._reload(there, stored)
            return
        self._move(there, await self._load_beside(there, stored))
        if change is not None:
            change.state = ChangeState.DRAINING
        await self._end(there)

    async def _load_beside(self, there: Engine, stored: StoredEngine) -> Engine:
        """The next life of an engine, which can serve from now on, and whose row is that of the engine."""
        engine = Engine(stored, names=there.names, is_beside=True, past=replace(there.past))
        try:
            with self._loader.staying(there):
                await self.check(engine)
                await self._loader.load(engine, self._store.plan_path(stored))
            await self.commit(engine, None)
        except (TrtserveError, Error) as failure:
            advice = NO_ROOM if isinstance(failure, DoesNotFit) or is_of_memory(failure) else ""
            failure.args = (
                f"{sentence(str(failure))} Engine {there} serves on with its former options.{advice}",
            )
            raise
        return engine

    def _move(self, there: Engine, engine: Engine) -> None:
        """One step, which cannot fail: who asks from now on finds the next life, READY."""
        self._loader.exchange(there, engine)
        found = engine.past
        self._lookup.show(engine)
        engine.past.memory, engine.past.name = found.memory, found.name
        engine.state, there.state = State.READY, State.DRAINING

    async def _end(self, former: Engine) -> None:
        """Unload a life that nobody finds any more, once it has ended what it had accepted.

        That may last as long as it likes, until somebody waits for it: for a stop, or the end of the engine.
        """
        while not (
            self._loader.is_stopping or former.id in self._unwanted or self._loader.is_drained(former)
        ):
            await pause(self._sleep, LOOK_EVERY_S, self._loader.stopped)
        if former.id in self._unwanted:
            self._ending[former.id] = self._begin(self._unload(former))
        else:
            await self._unload(former)

    async def former_ended(self, id: int) -> None:
        """Return once no former life of an engine is left that does not hold the lock."""
        if id in self._ending:
            await self._ending.pop(id)

    async def _unload(self, former: Engine) -> None:
        try:
            await self._loader.unload(former)
        except Exception as failure:
            logger.error("engine %s: its former life was not unloaded: %s", former, failure)

    async def _keep_without_load(self, engine: Engine, asked: EngineOptions) -> None:
        """Change those options of a READY engine that need no load."""
        before = engine.stored.options
        wanted = {option: value for option, value in asked.asked().items() if option in WITHOUT_LOAD}
        options = EngineOptions(**wanted).over(before)
        if options == before:
            return
        stored = replace(engine.stored, options=options)
        await self._rename(self._store.commit, stored, None)
        engine.stored = stored
        self._loader.pin(engine)

    async def keep(self, there: Engine, asked: EngineOptions) -> None:
        """Keep these options for the next load of an engine that is DORMANT or UNLOADED, and stays so."""
        if there.stored.damage:
            raise Unavailable(there.stored.damage)
        stored = with_options(there.stored, asked)
        stored.options.check()
        if stored.options == there.stored.options:
            return
        await self._stored(self._store.record_options, stored)
        self._lookup.show(Engine(stored, there.state, names=there.names))

    # -- in place

    async def _reload(self, there: Engine, stored: StoredEngine) -> None:
        engine = Engine(stored, names=there.names)
        self._dependencies.check_unused(there)
        await self.check(engine)
        self._lookup.show(engine)
        try:
            await self._loader.unload(there)
            await self._loader.load(engine, self._store.plan_path(stored))
            await self.commit(engine, None)
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
            engine.state, engine.reason = State.FAILED, reason_of(engine, failure)


def with_options(stored: StoredEngine, asked: EngineOptions) -> StoredEngine:
    """The engine with these options, and where they ask for nothing with those that it had.

    Asking for automatic batches repeats the check of them.
    """
    again = asked.asked().get("max_batch_size") == AUTO
    batching = None if again else stored.batching
    return replace(stored, options=asked.over(stored.options), batching=batching)
