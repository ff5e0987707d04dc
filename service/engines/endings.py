"""Unloads and removes engines: what is accepted finishes first, and a build ends at once.

A change holds the lock of the engine's ID, as those in lifecycle.py do.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from trtserve.engines.building import Unwanted
from trtserve.engines.changing import Changes
from trtserve.engines.demand import Demand
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.parts import Parts


class Endings:
    """The steps of the registry's operations. Belongs to the event loop; the store is called in a thread."""

    def __init__(self, parts: Parts, demand: Demand, changes: Changes) -> None:
        self._store, self._lookup, self._loader = parts.store, parts.lookup, parts.loader
        self._stored = parts.threads.call
        self._builds, self._demand, self._changes = parts.builds, demand, changes
        self._id_locks, self._dependencies = parts.id_locks, parts.dependencies
        self._rename, self._still = parts.rename, parts.still

    # -- unloading

    async def unload(self, ref: str, dependents: bool) -> None:
        self._loader.refuse_when_stopping()
        self._lookup.resolve(ref)
        for id in self._lookup.ids(ref):
            if dependents:
                await self._unload_users(id)
            self._check(id, self._dependencies.check_unused)
        unloads = (self._unload_one(ref, id) for id in self._lookup.ids(ref))
        for end in await asyncio.gather(*unloads, return_exceptions=True):
            if end is not None:
                raise end

    async def _unload_one(self, ref: str, id: int) -> None:
        with self._builds.unwanted(id), self._demand.unwanted(id), self._changes.unwanted(id):
            await self._unload_under_lock(ref, id)

    async def _unload_under_lock(self, ref: str, id: int) -> None:
        async with self._id_locks.hold(id):
            engine = self._still(ref, id)
            if engine is None or engine.state is State.UNLOADED:
                return
            self._dependencies.check_unused(engine)  # again: this waited for the lock
            await self._stored(self._store.unload, id)
            try:
                await self._end(engine)
            finally:
                self._loader.forget_counts(engine)
                self._lookup.show(Engine(engine.stored, State.UNLOADED, names=engine.names))

    async def _unload_users(self, id: int) -> None:
        """Unload the modules that call an engine, before its own lock is taken: their loads wait for it."""
        for user in self._dependencies.loaded_users(id):
            await self._unload_users(user.id)
            await self._unload_one(str(user.id), user.id)

    def _check(self, id: int, check: Callable[[Engine], None]) -> None:
        engine = self._lookup.get(id)
        if engine is not None:
            check(engine)

    # -- removing

    async def remove(self, ref: str, force: bool, version: str | None = None) -> None:
        self._loader.refuse_when_stopping()
        while True:
            target = self._lookup.resolve(ref, version)
            engine = target.engine
            goes = ref == str(engine.id) or len(engine.names) == 1  # not only the name
            if goes and force:
                await self._unload_users(engine.id)
            elif goes:
                self._dependencies.check_unreferenced(engine)
            with ExitStack() as ending:
                unwanted = Unwanted()
                if goes:
                    unwanted = ending.enter_context(self._builds.unwanted(engine.id))
                    ending.enter_context(self._demand.unwanted(engine.id))
                    ending.enter_context(self._changes.unwanted(engine.id))
                async with self._id_locks.hold(engine.id):
                    if unwanted.ended and self._lookup.get(engine.id) is None:
                        return  # its upload, which was not answered, has undone everything
                    # While this waited for the lock, the name may have moved on, or another life begun.
                    now = self._lookup.resolve(ref, version)
                    if now.is_like(target):
                        if goes:
                            self._check(engine.id, self._still_goes(force))
                        await self._remove_under_lock(ref, now)
                        return

    def _still_goes(self, force: bool) -> Callable[[Engine], None]:
        """The check of an engine that is about to be removed, now that no load of a module can begin."""
        return self._dependencies.check_unused if force else self._dependencies.check_unreferenced

    async def _remove_under_lock(self, ref: str, target: Resolved) -> None:
        engine = target.engine
        if ref == str(engine.id):
            await self._rename(self._store.forget_engine, engine.id)
        elif target.version is not None:
            await self._rename(self._store.forget_version, ref, target.version, engine.id)
        if ref == str(engine.id) or not engine.names:
            await self._unload_removed(engine)

    async def _unload_removed(self, engine: Engine) -> None:
        """Drain and unload an engine without rows, and delete its plan."""
        try:
            await self._end(engine)
        finally:
            self._loader.forget(engine)
            self._lookup.hide(engine)
            await self._stored(self._store.delete_plan, engine.stored)

    async def _end(self, engine: Engine) -> None:
        """Drain and unload an engine, while a former life of it, whose end has begun, does so too."""
        was, engine.state = engine.state, State.DRAINING
        try:
            if was is State.READY:
                await self._loader.unload(engine)
        finally:
            await self._changes.former_ended(engine.id)
